//! A run's file: its footer and fences in memory, its blocks read and checked one by one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kanjo_format::run::{
    FENCE_BYTES, Fence, RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RUN_SECTIONS, RunFooter,
    RunFormatError, RunHeader, RunSection, decode_fences,
};

use crate::error::RunError;

#[derive(Debug)]
pub(crate) struct RunFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) footer: RunFooter,
    file: File,
    fences: [Vec<Fence>; RUN_SECTIONS],
}

impl RunFile {
    /// Opens a file and checks its header, footer and fences; no block is read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, RunError> {
        let file = kanjo_disk::open(&path).map_err(RunError::io(&path, 0, "open the file"))?;
        let metadata = file
            .metadata()
            .map_err(RunError::io(&path, 0, "read the file's length"))?;
        let bytes = metadata.len();
        let least = (RUN_HEADER_BYTES + RUN_FOOTER_BYTES) as u64;
        if bytes < least {
            let short = RunFormatError::Length {
                part: "file",
                have: bytes,
                need: least,
            };
            return Err(RunError::bad(&path, 0)(short));
        }
        let mut start = [0; RUN_HEADER_BYTES];
        read(&file, &path, 0, &mut start)?;
        let header = RunHeader::decode(&start).map_err(RunError::bad(&path, 0))?;
        let at = bytes - RUN_FOOTER_BYTES as u64;
        let mut end = [0; RUN_FOOTER_BYTES];
        read(&file, &path, at, &mut end)?;
        let footer = RunFooter::decode(&end, bytes)
            .and_then(|footer| footer.check(&header).map(|()| footer))
            .map_err(RunError::bad(&path, at))?;
        let mut fences: [Vec<Fence>; RUN_SECTIONS] = Default::default();
        for section in RunSection::ALL {
            let facts = footer.section(section);
            let mut rows = vec![0; facts.block_count as usize * FENCE_BYTES];
            read(&file, &path, facts.fences_offset, &mut rows)?;
            fences[section as usize] = decode_fences(&footer, section, &rows)
                .map_err(RunError::bad(&path, facts.fences_offset))?;
        }
        Ok(Self {
            path,
            bytes,
            footer,
            file,
            fences,
        })
    }

    pub(crate) fn fences(&self, section: RunSection) -> &[Fence] {
        &self.fences[section as usize]
    }

    /// Reads block `n` of a section.
    pub(crate) fn block(
        &self,
        section: RunSection,
        n: usize,
        block: &mut Vec<u8>,
    ) -> Result<(), RunError> {
        let fence = &self.fences(section)[n];
        let bytes = fence.bytes as usize;
        // New memory comes zeroed; every byte of it is then read over.
        match block.capacity() < bytes {
            true => *block = vec![0; bytes],
            false => block.resize(bytes, 0),
        }
        read(&self.file, &self.path, fence.offset, block)?;
        fence
            .check_block(section, block)
            .map_err(RunError::bad(&self.path, fence.offset))
    }

    /// Says where a block stands whose content is wrong although its checksum is right.
    pub(crate) fn bad_block(
        &self,
        section: RunSection,
        n: usize,
    ) -> impl FnOnce(RunFormatError) -> RunError {
        let offset = self.fences(section).get(n).map_or(0, |fence| fence.offset);
        RunError::bad(&self.path, offset)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.fences
            .iter()
            .map(|f| f.capacity() * size_of::<Fence>())
            .sum()
    }
}

fn read(file: &File, path: &Path, offset: u64, bytes: &mut [u8]) -> Result<(), RunError> {
    file.read_exact_at(bytes, offset)
        .map_err(RunError::io(path, offset, "read the index"))
}
