//! Cutting the log: what is cut is kept in `quarantine/`, then the files end at the cut.
//!
//! Readers may hold memory of the cut range, so nothing is zeroed under them: the segment is
//! made anew with the part that stays, and takes the old one's name. Each step leaves a log
//! that opens: a copy more, a lower mark, whole segments less, and at last the shorter one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use kanjo_disk::Pace;
use kanjo_format::Lsn;
use kanjo_format::limits::PAGE_BYTES;

use crate::DataDir;
use crate::dir::sync_dir;
use crate::error::LogError;
use crate::log::{Entry, Log, Shared};
use crate::raw::{Geometry, Reached, Window, create_zeroed, open_file, publish, raw_path, walk};
use crate::recovery::{list_segments, open_raw};

/// What was cut, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutReport {
    /// The log ends here now.
    pub from: Lsn,
    /// It ended here before.
    pub to: Lsn,
    /// The raw bytes of that range; a note beside it says why they were cut.
    pub path: PathBuf,
    /// How many bytes are kept there.
    pub bytes: u64,
}

impl Log {
    /// Ends the log at `to`, which must be a batch boundary above every sealed segment. What is
    /// cut is kept in `quarantine/`. Marks in the control file are lowered to `to` first.
    pub fn cut(&mut self, to: Lsn, reason: &str) -> Result<CutReport, LogError> {
        let shared = Arc::clone(&self.shared);
        shared.check_open()?;
        let mut preparing = shared.lock_soon(&shared.preparing);
        let _files = shared.lock_soon(&shared.files);
        let _syncing = shared
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let base = self.check_cut(to)?;
        let keep = shared.reached_at(to, base)?;
        let end = self.reached.tail.lsn;
        self.prepared.clear();
        self.current = None;
        shared.generation.fetch_add(1, Ordering::AcqRel);
        let cut = cut_files(&shared.dir, &shared.geometry, &keep, end, reason);
        let opened = cut.and_then(|report| Ok((report, shared.reopen(&keep, base)?)));
        let (report, segment) = opened.inspect_err(|error| shared.poison(error))?;
        self.reached = keep;
        self.ready_to = Lsn::ZERO;
        self.current = segment;
        *preparing = shared.table_len().max(shared.geometry.number_of(to));
        // All that is kept was synced before it got its name.
        shared.synced.store(to.get(), Ordering::Release);
        Ok(report)
    }

    /// The log before the segment that the cut is in.
    fn check_cut(&self, to: Lsn) -> Result<Reached, LogError> {
        let refused = |why: String| LogError::Refused {
            doing: "cut the log",
            lsn: to,
            why,
        };
        let end = self.reached.tail.lsn;
        if to >= end {
            return Err(refused(format!("it ends at {end}")));
        }
        let number = self.shared.geometry.number_of(to);
        let mut base = None;
        for at in number..self.shared.table_len() {
            match self.shared.entry(at) {
                Some(Entry::Raw(segment)) => base = base.or(Some(segment.base)),
                _ => return Err(refused(format!("segment {at} is sealed, so committed"))),
            }
        }
        base.ok_or_else(|| refused("there is no such segment".to_owned()))
    }
}

impl Shared {
    /// Walks from the start of a raw segment to `to`, checking every batch.
    fn reached_at(&self, to: Lsn, base: Reached) -> Result<Reached, LogError> {
        if to == base.tail.lsn {
            return Ok(base);
        }
        let number = self.geometry.number_of(to);
        let path = raw_path(&self.log_path, number);
        let file = open_file(&path)?;
        let mut window = Window::new(&path, &file, self.geometry.raw_file_bytes());
        let (reached, bad) = walk(&mut window, &self.geometry, number, base, |reached, _| {
            Ok(reached.tail.lsn < to)
        })?;
        if let Some(bad) = bad {
            return Err(LogError::bad_batch(&path, bad.offset, bad.lsn, bad.error));
        }
        if reached.tail.lsn != to {
            return Err(LogError::NoBatch { lsn: to });
        }
        Ok(reached)
    }

    /// Puts the shorter segment into the table, where there is one.
    fn reopen(
        &self,
        keep: &Reached,
        base: Reached,
    ) -> Result<Option<Arc<crate::raw::RawSegment>>, LogError> {
        let number = self.geometry.number_of(keep.tail.lsn);
        let segment = if keep.tail.lsn > base.tail.lsn {
            let frontier = self.geometry.offset_of(keep.tail.lsn);
            let opened = open_raw(
                &self.log_path,
                &self.geometry,
                &self.devices,
                number,
                base,
                frontier,
            )?;
            Some(Arc::new(opened))
        } else {
            None
        };
        // The tail first: nobody looks for what the table no longer holds.
        self.set_tail(keep.tail);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.truncate(number as usize);
        table.extend(segment.iter().map(|s| Entry::Raw(Arc::clone(s))));
        Ok(segment)
    }
}

/// Cuts the raw files of a log at `keep`; data stands up to `end`.
pub(crate) fn cut_files(
    dir: &DataDir,
    geometry: &Geometry,
    keep: &Reached,
    end: Lsn,
    reason: &str,
) -> Result<CutReport, LogError> {
    let log = dir.log_path();
    let from = keep.tail.lsn;
    let number = geometry.number_of(from);
    // ORDER: kept elsewhere and synced before anything goes.
    let report = quarantine(dir, geometry, from, end, reason)?;
    // ORDER: the marks fall before the data does, or the next start would take it for lost.
    let control = dir.control();
    if control.durable.lsn > from || control.confirmed > from {
        dir.promise(|c| {
            if c.durable.lsn > from {
                c.durable = keep.tail;
                c.log_time = keep.last_timestamp;
            }
            c.confirmed = c.confirmed.min(from);
        })?;
    }
    // ORDER: from the last segment down: what is left at any time is the log's beginning.
    let whole_too = from == geometry.first_lsn(number);
    for (&later, _) in list_segments(&log)?.range(number..).rev() {
        if later > number || whole_too {
            let path = raw_path(&log, later);
            fs::remove_file(&path).map_err(LogError::io(&path, 0, "remove the segment"))?;
            sync_dir(&log)?;
        }
    }
    if !whole_too {
        shorten(&log, geometry, number, geometry.offset_of(from))?;
    }
    Ok(report)
}

/// Makes the segment anew with its first `keep_bytes` of file and zeros behind.
fn shorten(log: &Path, geometry: &Geometry, number: u64, keep_bytes: u64) -> Result<(), LogError> {
    let path = raw_path(log, number);
    let temporary = path.with_extension("seg.tmp");
    create_zeroed(&temporary, geometry, number, &mut Pace::at_once())?;
    let old = open_file(&path)?;
    let new = OpenOptions::new()
        .write(true)
        .open(&temporary)
        .map_err(LogError::io(&temporary, 0, "open the file"))?;
    copy_range(&path, &old, PAGE_BYTES, keep_bytes, |at, bytes| {
        new.write_all_at(bytes, at)
            .map_err(LogError::io(&temporary, at, "copy the segment"))
    })?;
    new.sync_all()
        .map_err(LogError::io(&temporary, 0, "sync the segment"))?;
    publish(&temporary, &path)
}

fn quarantine(
    dir: &DataDir,
    geometry: &Geometry,
    from: Lsn,
    end: Lsn,
    reason: &str,
) -> Result<CutReport, LogError> {
    let name = format!("lsn-{:016x}-{:016x}.log", from.get(), end.get());
    let (mut file, path) = dir.quarantine_file(&name)?;
    let log = dir.log_path();
    let mut at = from;
    while at < end {
        let number = geometry.number_of(at);
        let stop = end.min(geometry.first_lsn(number + 1));
        let source_path = raw_path(&log, number);
        let source = open_file(&source_path)?;
        let start = geometry.offset_of(at);
        let bytes = stop.since(at);
        copy_range(&source_path, &source, start, start + bytes, |_, bytes| {
            file.write_all(bytes)
                .map_err(LogError::io(&path, 0, "keep what is cut"))
        })?;
        at = stop;
    }
    file.sync_all()
        .map_err(LogError::io(&path, 0, "sync what is cut"))?;
    let bytes = end.since(from);
    let note = format!(
        "cut from the log of node {} (cluster {}, incarnation {})\n\
         lsn {from} to {end}, {bytes} bytes, kept in {name}\nreason: {reason}\n",
        dir.control().node,
        dir.control().cluster,
        dir.control().incarnation,
    );
    write_note(dir, &format!("{name}.txt"), &note)?;
    Ok(CutReport {
        from,
        to: end,
        path,
        bytes,
    })
}

fn write_note(dir: &DataDir, name: &str, note: &str) -> Result<(), LogError> {
    let (mut file, path) = dir.quarantine_file(name)?;
    file.write_all(note.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(LogError::io(&path, 0, "write the note"))
}

fn copy_range(
    path: &Path,
    file: &File,
    start: u64,
    end: u64,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut window = Window::new(path, file, end);
    let mut at = start;
    while at < end {
        let len = (end - at).min(1 << 20);
        write(at, window.get(at, len as usize)?)?;
        at += len;
    }
    Ok(())
}
