//! Reading the files of a log without opening it: for people, beside a running server too.
//!
//! Takes no lock, changes nothing, and cuts nothing: an end that recovery would cut is an error
//! here. What stands behind the committed lsn may still be cut by the server; say so.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::control::Control;
use kanjo_format::limits::BATCH_HEADER_BYTES;
use kanjo_format::segment::SegmentForm;
use kanjo_format::{BatchError, BatchHeader, Lsn};

use crate::dir::{DataDir, LOG};
use crate::error::LogError;
use crate::raw::{BadBatch, Geometry, Reached, Window, check_raw_header, raw_path, read_checked};
use crate::reader::SegmentInfo;
use crate::recovery::list_segments;
use crate::sealed::{SealedFile, SealedMeta, Unpacker};

/// How often a batch that does not verify is read again: a server may be writing it.
const REREADS_MAX: u32 = 5;
const REREAD_PAUSE: Duration = Duration::from_millis(5);

/// The files of one log, as they were listed.
#[derive(Debug)]
pub struct LogFiles {
    log: PathBuf,
    control: Control,
    geometry: Geometry,
    numbers: Vec<u64>,
}

/// Sees the batches in order, each with the file that it stands in; stops the walk with `false`.
pub type Visit<'a> = &'a mut dyn FnMut(&Path, &BatchHeader, &[u8]) -> bool;

impl LogFiles {
    /// Lists the log of the data directory at `path`.
    pub fn list(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let control = DataDir::inspect(&path)?;
        let log = path.as_ref().join(LOG);
        let numbers = list_segments(&log)?.into_keys().collect();
        let geometry = Geometry {
            cluster: control.cluster,
            segment_bytes: control.segment_bytes,
        };
        Ok(Self {
            log,
            control,
            geometry,
            numbers,
        })
    }

    /// The control file's content.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// All segment files, those that are prepared and still empty too, in order. Of a sealed
    /// segment the footer is read, of a raw one the batch headers.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, LogError> {
        self.numbers.iter().map(|&n| self.segment(n)).collect()
    }

    /// Visits every batch from the first one at or behind `from` on. Checksums, places and, from
    /// the second batch on, the chain are checked.
    pub fn batches(&self, from: Lsn, visit: Visit<'_>) -> Result<(), LogError> {
        let mut reached = None;
        let first = self.geometry.number_of(from);
        let numbers = self.numbers.iter().filter(|number| **number >= first);
        for (expected, &number) in (first..).zip(numbers) {
            if number != expected {
                return Err(LogError::MissingSegment {
                    file: raw_path(&self.log, expected),
                    lsn: self.geometry.first_lsn(expected),
                    durable: self.control.durable.lsn,
                });
            }
            let more = match self.sealed_meta(number)? {
                Some(meta) => self.visit_sealed(meta, from, visit)?,
                None => self.visit_raw(number, from, &mut reached, visit)?,
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn segment(&self, number: u64) -> Result<SegmentInfo, LogError> {
        let first_lsn = self.geometry.first_lsn(number);
        if let Some(meta) = self.sealed_meta(number)? {
            return Ok(SegmentInfo {
                number,
                first_lsn,
                end_lsn: meta.footer.end.lsn,
                form: SegmentForm::Sealed,
                bytes_on_disk: meta.file_bytes,
                path: meta.path.clone(),
            });
        }
        let (path, file) = self.open_raw(number)?;
        let mut end_lsn = first_lsn;
        let mut window = Window::new(&path, &file, self.geometry.raw_file_bytes());
        while self.geometry.number_of(end_lsn) == number {
            let bytes = window.get(self.geometry.offset_of(end_lsn), BATCH_HEADER_BYTES)?;
            match BatchHeader::decode(bytes) {
                Ok(header) if header.lsn() == end_lsn => {
                    end_lsn = header.end(self.geometry.segment_bytes);
                }
                _ => break,
            }
        }
        Ok(SegmentInfo {
            number,
            first_lsn,
            end_lsn,
            form: SegmentForm::Raw,
            bytes_on_disk: self.geometry.raw_file_bytes(),
            path,
        })
    }

    fn sealed_meta(&self, number: u64) -> Result<Option<Arc<SealedMeta>>, LogError> {
        // A segment may have been sealed since the folder was listed.
        if !crate::raw::sealed_path(&self.log, number).exists() {
            return Ok(None);
        }
        SealedMeta::open(&self.log, &self.geometry, number).map(|meta| Some(Arc::new(meta)))
    }

    fn open_raw(&self, number: u64) -> Result<(PathBuf, File), LogError> {
        let path = raw_path(&self.log, number);
        let file = kanjo_disk::open(&path).map_err(LogError::io(&path, 0, "open the file"))?;
        check_raw_header(&path, &file, &self.geometry, number)?;
        Ok((path, file))
    }

    fn visit_sealed(
        &self,
        meta: Arc<SealedMeta>,
        from: Lsn,
        visit: Visit<'_>,
    ) -> Result<bool, LogError> {
        let file = SealedFile::open(Arc::clone(&meta))?;
        let skipped = file.index.partition_point(|entry| entry.first_lsn <= from);
        for entry in file.index.iter().skip(skipped.saturating_sub(1)) {
            let block = file.block(entry, &mut Unpacker::default())?;
            for (position, &(lsn, _)) in block.starts.iter().enumerate() {
                if lsn < from {
                    continue;
                }
                let batch = file.batch(entry, &block, position)?;
                if !visit(&meta.path, &batch.header, &batch.payload) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn visit_raw(
        &self,
        number: u64,
        from: Lsn,
        reached: &mut Option<Reached>,
        visit: Visit<'_>,
    ) -> Result<bool, LogError> {
        let (path, file) = self.open_raw(number)?;
        let mut window = Window::new(&path, &file, self.geometry.raw_file_bytes());
        let mut at = match reached.take() {
            Some(at) if at.tail.lsn == self.geometry.first_lsn(number) => at,
            _ => match self.adopt(number, &mut window)? {
                Some(at) => at,
                None => return Ok(false),
            },
        };
        let mut rereads = 0;
        while self.geometry.number_of(at.tail.lsn) == number {
            let bad = match read_checked(&mut window, &self.geometry, &at)? {
                Ok((header, payload)) => {
                    let next = at.behind(&header, payload, &self.geometry);
                    if header.lsn() >= from && !visit(&path, &header, payload) {
                        return Ok(false);
                    }
                    (at, rereads) = (next, 0);
                    continue;
                }
                Err(bad) => bad,
            };
            if bad.error == BatchError::Absent {
                return Ok(false);
            }
            if rereads == REREADS_MAX {
                let BadBatch {
                    offset, lsn, error, ..
                } = bad;
                return Err(LogError::bad_batch(&path, offset, lsn, error));
            }
            rereads += 1;
            std::thread::sleep(REREAD_PAUSE);
            window.refresh();
        }
        *reached = Some(at);
        Ok(true)
    }

    /// The log before a segment's first batch, as that says; `None` if there is no batch.
    fn adopt(&self, number: u64, window: &mut Window<'_>) -> Result<Option<Reached>, LogError> {
        let lsn = self.geometry.first_lsn(number);
        let bytes = window.get(self.geometry.offset_of(lsn), BATCH_HEADER_BYTES)?;
        let mut reached = Reached::start(self.geometry.cluster);
        reached.tail.lsn = lsn;
        match BatchHeader::decode(bytes) {
            Ok(header) => {
                reached.tail.epoch = header.epoch();
                reached.tail.chain = header.prev_chain();
                Ok(Some(reached))
            }
            Err(BatchError::Absent) => Ok(None),
            // Read once more with its checks, which say what is wrong and where.
            Err(_) => Ok(Some(reached)),
        }
    }
}
