//! Writing a run's file: blocks as they come, then fences and footer, then its name.
//!
//! ```text
//! A-B.run.tmp > blocks, fences, footer > fsync > rename to A-B.run > fsync of the folder
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use kanjo_disk::Pace;
use kanjo_format::run::{
    Fence, RUN_BLOCK_BYTES_MAX, RUN_SECTIONS, RunFooter, RunHeader, RunSection, SectionFacts,
};
use kanjo_format::{ClusterId, Lsn};

use crate::error::RunError;

/// How a run's file is called.
pub(crate) fn run_name(first: Lsn, end: Lsn) -> String {
    format!("{:016x}-{:016x}.run", first.get(), end.get())
}

/// A run on its way; removed again unless it is finished.
#[derive(Debug)]
pub(crate) struct RunWriter {
    out: Option<kanjo_disk::Writer<'static>>,
    temporary: PathBuf,
    target: PathBuf,
    offset: u64,
    fences: [Vec<Fence>; RUN_SECTIONS],
}

impl RunWriter {
    pub(crate) fn create(
        dir: &Path,
        cluster: ClusterId,
        first_lsn: Lsn,
        end_lsn: Lsn,
        pace: Pace<'static>,
    ) -> Result<Self, RunError> {
        make_dir(dir)?;
        let target = dir.join(run_name(first_lsn, end_lsn));
        let temporary = target.with_extension("run.tmp");
        let file =
            File::create(&temporary).map_err(RunError::io(&temporary, 0, "create the file"))?;
        let mut writer = Self {
            out: Some(kanjo_disk::Writer::new(file, pace)),
            temporary,
            target,
            offset: 0,
            fences: Default::default(),
        };
        writer.write(&RunHeader { cluster, first_lsn }.encode())?;
        Ok(writer)
    }

    /// Appends a block to a section; keys must not fall.
    pub(crate) fn block(
        &mut self,
        section: RunSection,
        key: u128,
        bytes: &[u8],
    ) -> Result<(), RunError> {
        assert!(
            (1..=RUN_BLOCK_BYTES_MAX).contains(&bytes.len()),
            "a block has a bounded size"
        );
        let fences = &mut self.fences[section as usize];
        assert!(
            fences.last().is_none_or(|before| before.key <= key),
            "blocks of a section are in order"
        );
        fences.push(Fence {
            key,
            offset: self.offset,
            bytes: bytes.len() as u32,
            crc: crc32fast::hash(bytes),
        });
        self.write(bytes)
    }

    /// Fills in the footer's sections and writes it; the run is there whole and synced, or not
    /// at all.
    pub(crate) fn finish(mut self, mut footer: RunFooter) -> Result<PathBuf, RunError> {
        for section in RunSection::ALL {
            let fences = std::mem::take(&mut self.fences[section as usize]);
            let mut bytes = Vec::with_capacity(fences.len() * kanjo_format::run::FENCE_BYTES);
            fences.iter().for_each(|fence| fence.encode(&mut bytes));
            footer.sections[section as usize] = SectionFacts {
                fences_offset: self.offset,
                block_count: fences.len() as u32,
                fences_crc: crc32fast::hash(&bytes),
                bytes: fences.iter().map(|fence| u64::from(fence.bytes)).sum(),
            };
            self.write(&bytes)?;
        }
        self.write(&footer.encode())?;
        let out = self.out.take().expect("there until it is finished");
        if let Err(source) = out.finish() {
            let _ = fs::remove_file(&self.temporary);
            return Err(RunError::io(
                &self.temporary,
                self.offset,
                "write the index",
            )(source));
        }
        // ORDER: content before name, name before the directory.
        fs::rename(&self.temporary, &self.target).map_err(RunError::io(
            &self.target,
            0,
            "name the file",
        ))?;
        sync_dir(self.target.parent().unwrap_or(&self.target))?;
        Ok(self.target.clone())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let out = self.out.as_mut().expect("there until it is finished");
        out.write_all(bytes).map_err(RunError::io(
            &self.temporary,
            self.offset,
            "write the index",
        ))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Syncs a directory, so that names made, renamed or removed in it stay so.
pub(crate) fn sync_dir(path: &Path) -> Result<(), RunError> {
    kanjo_disk::sync_dir(path).map_err(RunError::io(path, 0, "sync the directory"))
}

/// Makes the folder of the runs, unless it is there.
fn make_dir(path: &Path) -> Result<(), RunError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(RunError::io(path, 0, "make the folder"))?;
    sync_dir(path.parent().unwrap_or(path))
}
