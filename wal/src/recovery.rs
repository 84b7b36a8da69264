//! Opening a log after a clean stop, a kill or a power cut.
//!
//! Sealed segments: header and footer. Raw ones: every batch. The first that does not verify is
//! judged (`M`: the durable mark in the control file, the end of the last sealed segment and,
//! where this node's disk counted for every commit, the highest confirmed lsn in any header,
//! later ones too):
//!
//! ```text
//! below M                                              corruption: stop
//! header's sector zeros, nothing but zeros behind      the end of the log
//! header's sector zeros, data behind it                unsynced, lost: cut
//! header verifies, payload fails, a sector of it zeros unsynced, torn at 512 bytes: cut
//! header verifies, payload fails, no sector is missing corruption: stop
//! header does not verify and is not all zeros          corruption: stop (512 bytes hold it all)
//! header verifies, but not its place, epoch or chain   corruption: stop
//! ```
//!
//! A checksum alone never cuts anything. What is cut is kept in `quarantine/`, and the node is
//! *uncertain* from then on, durably so before anything is cut.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::segment::SegmentForm;
use kanjo_format::{BatchError, BatchHeader, Lsn, Tail, Timestamp};

use crate::DataDir;
use crate::cut::{CutReport, cut_files};
use crate::device::Devices;
use crate::dir::{names, remove_temporary, sync_dir};
use crate::error::LogError;
use crate::judge::{SECTOR_BYTES, Verdict, judge};
use crate::log::Entry;
use crate::prepare::Prepared;
use crate::raw::{
    BadBatch, Geometry, RawSegment, Reached, Window, all_zero, ask_ahead, check_raw_header,
    forget_cached, open_file, parse_name, raw_path, walk,
};
use crate::sealed::SealedMeta;

/// What opening a log found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Where the log ends; all of it is synced.
    pub tail: Tail,
    /// The highest confirmed lsn in any header that is kept, or in the control file.
    pub confirmed: Lsn,
    /// What was cut off as a torn tail.
    pub cut: Option<CutReport>,
    /// Something was cut above the mark, now or earlier, and nobody has vouched for the end.
    pub uncertain: bool,
    /// Time of the last record.
    pub last_timestamp: Timestamp,
    /// Raw segments that hold data.
    pub raw_segments: usize,
    /// Sealed segments.
    pub sealed_segments: usize,
}

pub(crate) struct Recovered {
    pub(crate) geometry: Geometry,
    pub(crate) table: Vec<Entry>,
    pub(crate) prepared: BTreeMap<u64, Prepared>,
    pub(crate) reached: Reached,
    pub(crate) recovery: Recovery,
}

/// In which forms a segment is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forms {
    pub(crate) raw: bool,
    pub(crate) sealed: bool,
}

/// A segment that holds data, before its device is opened.
enum Found {
    Raw(Reached),
    Sealed(Arc<SealedMeta>),
}

struct Walk<'a> {
    dir: &'a DataDir,
    log: PathBuf,
    control: Control,
    geometry: Geometry,
    files: BTreeMap<u64, Forms>,
    found: Vec<Found>,
    reached: Reached,
    sealed_end: Lsn,
    /// The raw segment that was walked last: what is read from it is what the disk has.
    walked: Option<u64>,
}

/// What stands behind the first bad batch.
#[derive(Clone, Copy, Debug)]
struct Beyond {
    /// End of the last page that is not all zeros; the bad batch's lsn if there is none.
    end: Lsn,
    /// Highest confirmed lsn in headers that verify there.
    confirmed: Lsn,
}

pub(crate) fn recover(dir: &DataDir, devices: &Devices) -> Result<Recovered, LogError> {
    let control = dir.control();
    let geometry = Geometry {
        cluster: control.cluster,
        segment_bytes: control.segment_bytes,
    };
    let log = dir.log_path();
    remove_temporary(&log)?;
    let files = list_segments(&log)?;
    let mut walk = Walk {
        dir,
        log,
        control,
        geometry,
        files,
        found: Vec::new(),
        reached: Reached::start(control.cluster),
        sealed_end: Lsn::ZERO,
        walked: None,
    };
    let bad = walk.segments()?;
    let cut = walk.end_at(bad)?;
    if cut.is_some() {
        walk.files = list_segments(&walk.log)?;
    }
    walk.open(devices, cut)
}

/// The segment files of a log folder.
pub(crate) fn list_segments(log: &Path) -> Result<BTreeMap<u64, Forms>, LogError> {
    let mut files: BTreeMap<u64, Forms> = BTreeMap::new();
    for name in names(log)? {
        match parse_name(&name) {
            Some((number, SegmentForm::Raw)) => files.entry(number).or_default().raw = true,
            Some((number, SegmentForm::Sealed)) => files.entry(number).or_default().sealed = true,
            None => tracing::warn!(%name, "not a segment file; left alone"),
        }
    }
    Ok(files)
}

impl Walk<'_> {
    /// Walks all segments up to the first batch that does not verify, or the first that is
    /// missing (`None`).
    fn segments(&mut self) -> Result<Option<BadBatch>, LogError> {
        for number in 0.. {
            match self.files.get(&number) {
                None => return Ok(None),
                Some(forms) if forms.sealed => self.sealed(number, forms.raw)?,
                Some(_) => {
                    if let Some(bad) = self.raw(number)? {
                        return Ok(Some(bad));
                    }
                }
            }
        }
        unreachable!("a directory has a bounded number of files")
    }

    fn sealed(&mut self, number: u64, raw_too: bool) -> Result<(), LogError> {
        let meta = SealedMeta::open(&self.log, &self.geometry, number)?;
        meta.check_continues(&self.reached.tail)?;
        if raw_too {
            // Sealing was interrupted after the rename: the sealed file was whole before it.
            let raw = raw_path(&self.log, number);
            sync_dir(&self.log)?;
            fs::remove_file(&raw).map_err(LogError::io(&raw, 0, "remove the sealed file"))?;
            self.files.insert(
                number,
                Forms {
                    raw: false,
                    sealed: true,
                },
            );
        }
        self.reached = meta.reached();
        self.check_mark(&meta.path, None, &self.reached)?;
        self.sealed_end = self.reached.tail.lsn;
        self.found.push(Found::Sealed(Arc::new(meta)));
        Ok(())
    }

    fn raw(&mut self, number: u64) -> Result<Option<BadBatch>, LogError> {
        let (path, file) = self.open_uncached(number)?;
        self.walked = Some(number);
        let mut window = Window::new(&path, &file, self.geometry.raw_file_bytes());
        let base = self.reached;
        let (reached, bad) = walk(
            &mut window,
            &self.geometry,
            number,
            base,
            |reached, header| self.check_mark(&path, Some(header), reached).map(|()| true),
        )?;
        if reached.tail.lsn > base.tail.lsn {
            self.found.push(Found::Raw(base));
        }
        self.reached = reached;
        Ok(bad)
    }

    /// Opens a raw segment so that what is read from it is what the disk has.
    fn open_uncached(&self, number: u64) -> Result<(PathBuf, File), LogError> {
        let path = raw_path(&self.log, number);
        let file = open_file(&path)?;
        if self.walked != Some(number) {
            // What a killed process left in the page cache is written, and what a failed sync
            // left there is dropped: from here on the disk is what is read.
            file.sync_data()
                .map_err(LogError::io(&path, 0, "sync the log"))?;
            forget_cached(&file);
            check_raw_header(&path, &file, &self.geometry, number)?;
            ask_ahead(&file, self.geometry.raw_file_bytes());
        }
        Ok((path, file))
    }

    /// The history that was marked durable is the one that is here.
    fn check_mark(
        &self,
        path: &Path,
        header: Option<&BatchHeader>,
        reached: &Reached,
    ) -> Result<(), LogError> {
        let mark = self.control.durable;
        let (lsn, tail) = (reached.tail.lsn, reached.tail);
        let passed = header.is_some_and(|h| h.lsn() < mark.lsn && mark.lsn < lsn);
        if passed || (lsn != Lsn::ZERO && lsn == mark.lsn && tail != mark) {
            let offset = header.map_or(0, |h| self.geometry.offset_of(h.lsn()));
            let what = format!("the log holds {tail}, the control file marks {mark} as durable");
            return Err(LogError::corruption(path, offset, lsn, what));
        }
        Ok(())
    }

    /// Whether confirmed lsns in headers speak of this disk. A replica that is not in the
    /// in-sync set gets batches that were confirmed without it.
    fn confirmed_counts(&self) -> bool {
        self.control.role == Role::Primary || self.control.in_sync
    }

    /// How far the log was durable for certain.
    fn mark(&self, beyond: Lsn) -> Lsn {
        let mark = self.control.durable.lsn.max(self.last_sealed_end());
        if self.confirmed_counts() {
            let confirmed = self.control.confirmed.max(self.reached.confirmed);
            return mark.max(confirmed).max(beyond);
        }
        mark
    }

    /// A sealed segment holds committed batches only, so all below it was durable.
    fn last_sealed_end(&self) -> Lsn {
        let last = self.files.iter().rev().find(|(_, forms)| forms.sealed);
        last.map_or(Lsn::ZERO, |(number, _)| self.geometry.first_lsn(number + 1))
    }

    /// Decides what the end of the walk means, and cuts if it is a torn tail.
    fn end_at(&mut self, bad: Option<BadBatch>) -> Result<Option<CutReport>, LogError> {
        let beyond = self.look_beyond()?;
        let lsn = self.reached.tail.lsn;
        let mark = self.mark(beyond.confirmed);
        let number = self.geometry.number_of(lsn);
        let path = raw_path(&self.log, number);
        let Some(bad) = bad else {
            if lsn < mark || beyond.end > lsn {
                return Err(LogError::MissingSegment {
                    file: path,
                    lsn,
                    durable: mark.max(beyond.end),
                });
            }
            return Ok(None);
        };
        if lsn < mark {
            let what = format!("{} (the log was durable through lsn {mark})", bad.error);
            return Err(
                match LogError::bad_batch(&path, bad.offset, lsn, bad.error) {
                    LogError::Corruption { .. } => {
                        LogError::corruption(&path, bad.offset, lsn, what)
                    }
                    other => other,
                },
            );
        }
        let extent = self.extent(&path, &bad)?;
        match judge(&bad.error, &extent, beyond.end > lsn) {
            Verdict::End => Ok(None),
            Verdict::Corrupt => Err(LogError::bad_batch(&path, bad.offset, lsn, bad.error)),
            Verdict::Torn => self.cut(&bad, beyond.end).map(Some),
        }
    }

    fn cut(&mut self, bad: &BadBatch, end: Lsn) -> Result<CutReport, LogError> {
        let extent_end = match &bad.header {
            Some(header) => header.end(self.geometry.segment_bytes).max(end),
            None => end,
        };
        // ORDER: uncertain before the cut, so that a crash between cannot lose the word.
        self.dir.promise(|c| c.uncertain = true)?;
        let reason = format!(
            "torn tail after a crash: {}; unsynced data stood up to lsn {end}",
            bad.error
        );
        let report = cut_files(self.dir, &self.geometry, &self.reached, extent_end, &reason)?;
        tracing::warn!(from = %report.from, to = %report.to, kept = %report.path.display(),
            "cut a torn tail above the durable mark");
        Ok(report)
    }

    /// The bytes that decide whether a sector of the bad batch is missing.
    fn extent(&self, path: &Path, bad: &BadBatch) -> Result<Vec<u8>, LogError> {
        let room = self.geometry.raw_file_bytes() - bad.offset;
        let len = match (&bad.header, &bad.error) {
            (Some(header), BatchError::PayloadChecksum { .. }) => {
                BATCH_HEADER_BYTES + header.payload_bytes()
            }
            _ => SECTOR_BYTES,
        };
        let file = open_file(path)?;
        let mut window = Window::new(path, &file, self.geometry.raw_file_bytes());
        let len = len.min(usize::try_from(room).unwrap_or(len));
        Ok(window.get(bad.offset, len)?.to_vec())
    }

    /// Looks at everything behind the last good batch.
    fn look_beyond(&self) -> Result<Beyond, LogError> {
        let start = self.reached.tail.lsn;
        let mut beyond = Beyond {
            end: start,
            confirmed: Lsn::ZERO,
        };
        let first = self.geometry.number_of(start);
        for (&number, forms) in self.files.range(first..) {
            if forms.sealed {
                beyond.end = self.geometry.first_lsn(number + 1);
                continue;
            }
            let (path, file) = self.open_uncached(number)?;
            let mut window = Window::new(&path, &file, self.geometry.raw_file_bytes());
            let mut lsn = start.max(self.geometry.first_lsn(number));
            while self.geometry.number_of(lsn) == number {
                let page = window.get(self.geometry.offset_of(lsn), PAGE_BYTES as usize)?;
                if !all_zero(page) {
                    beyond.end = lsn.advance(PAGE_BYTES);
                    beyond.confirmed = beyond.confirmed.max(self.confirmed_at(lsn, page));
                }
                lsn = lsn.advance(PAGE_BYTES);
            }
        }
        Ok(beyond)
    }

    fn confirmed_at(&self, lsn: Lsn, page: &[u8]) -> Lsn {
        match BatchHeader::decode(page) {
            Ok(header) if header.lsn() == lsn && header.cluster() == self.geometry.cluster => {
                header.confirmed()
            }
            _ => Lsn::ZERO,
        }
    }

    /// Opens the devices of what remains.
    fn open(self, devices: &Devices, cut: Option<CutReport>) -> Result<Recovered, LogError> {
        let (geometry, tail) = (self.geometry, self.reached.tail);
        let file_bytes = geometry.raw_file_bytes();
        let mut table = Vec::with_capacity(self.found.len());
        for (number, found) in (0..).zip(self.found) {
            table.push(match found {
                Found::Sealed(meta) => Entry::Sealed(meta),
                Found::Raw(base) => {
                    let is_current = geometry.number_of(tail.lsn) == number;
                    let frontier = if is_current {
                        geometry.offset_of(tail.lsn)
                    } else {
                        file_bytes
                    };
                    let segment = open_raw(&self.log, &geometry, devices, number, base, frontier)?;
                    Entry::Raw(Arc::new(segment))
                }
            });
        }
        let mut prepared = BTreeMap::new();
        let mut next = table.len() as u64;
        for (&number, _) in self.files.range(next..).filter(|(_, forms)| forms.raw) {
            let path = raw_path(&self.log, number);
            if number != next {
                // Zeros behind a gap: left by a cut that a crash interrupted.
                fs::remove_file(&path).map_err(LogError::io(&path, 0, "remove the file"))?;
                continue;
            }
            let device = devices
                .open(
                    number,
                    open_file(&path)?,
                    file_bytes,
                    PAGE_BYTES,
                    Some(&mut Pace::at_once()),
                )
                .map_err(LogError::io(&path, 0, "map the file"))?;
            let generation = 0;
            prepared.insert(
                number,
                Prepared {
                    number,
                    path,
                    device,
                    generation,
                },
            );
            next += 1;
        }
        sync_dir(&self.log)?;
        let sealed = |entry: &&Entry| matches!(entry, Entry::Sealed(_));
        let sealed_segments = table.iter().filter(sealed).count();
        let control = self.dir.control();
        let recovery = Recovery {
            tail,
            confirmed: self.reached.confirmed.max(control.confirmed),
            uncertain: control.uncertain,
            cut,
            last_timestamp: self.reached.last_timestamp,
            raw_segments: table.len() - sealed_segments,
            sealed_segments,
        };
        Ok(Recovered {
            geometry,
            table,
            prepared,
            reached: self.reached,
            recovery,
        })
    }
}

pub(crate) fn open_raw(
    log: &Path,
    geometry: &Geometry,
    devices: &Devices,
    number: u64,
    base: Reached,
    frontier: u64,
) -> Result<RawSegment, LogError> {
    let path = raw_path(log, number);
    let file = open_file(&path)?;
    let is_current = frontier < geometry.raw_file_bytes();
    let mut pace = Pace::at_once();
    let device = devices
        .open(
            number,
            file,
            geometry.raw_file_bytes(),
            frontier,
            is_current.then_some(&mut pace),
        )
        .map_err(LogError::io(&path, 0, "map the file"))?;
    Ok(RawSegment {
        number,
        path,
        device,
        base,
    })
}
