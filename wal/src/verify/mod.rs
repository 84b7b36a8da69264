//! Checks every byte of a data directory and changes none. Works beside a running server.
//!
//! It goes on behind a problem: at the next batch that verifies by itself, the next block, the
//! next file; the chain is then known again from there. Beside a running server the tail moves:
//! what looks bad there is read again a few times before it is called a problem.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::batch::{BATCH_MAGIC, stored_bytes};
use kanjo_format::control::{CONTROL_FILE_BYTES, CONTROL_ROW_BYTES, Control};
use kanjo_format::limits::{BATCH_HEADER_BYTES, PAGE_BYTES};
use kanjo_format::{BatchError, BatchHeader, Lsn, Tail};

use crate::control::{choose, read_slots};
use crate::dir::{CONTROL, LOG, list_checkpoints};
use crate::error::{DirError, LogError};
use crate::lock::is_in_use;
use crate::raw::{
    BadBatch, Geometry, Reached, Window, all_zero, check_raw_header, forget_cached, raw_path,
    read_checked, sealed_path,
};
use crate::recovery::list_segments;
use crate::sealed::{SealedFile, SealedMeta, Unpacker};

mod report;

pub use report::{Problem, VerifiedFile, VerifyProgress, VerifyReport};

/// How often what looks bad beside a running server is read again.
const REREADS_MAX: u32 = 5;
const REREAD_PAUSE: Duration = Duration::from_millis(5);
const PROGRESS_BYTES: u64 = 4 << 20;

/// Checks a checkpoint's content: the offset of the first bad byte and what is wrong there.
pub type CheckpointCheck<'a> = &'a mut dyn FnMut(Lsn, &Path) -> Result<(), (u64, String)>;

/// Checks the data directory at `path`, checkpoints only by their names.
pub fn verify(
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport, DirError> {
    verify_with(path, progress, &mut |_, _| Ok(()))
}

/// The same, and hands each checkpoint to `checkpoint`, whose layout is not this crate's.
pub fn verify_with(
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(VerifyProgress),
    checkpoint: CheckpointCheck<'_>,
) -> Result<VerifyReport, DirError> {
    let path = path.as_ref();
    let in_use = is_in_use(path);
    let control_path = path.join(CONTROL);
    let (control, control_problems) = check_control(&control_path, in_use)?;
    let geometry = Geometry {
        cluster: control.cluster,
        segment_bytes: control.segment_bytes,
    };
    let mut verifier = Verifier {
        log: path.join(LOG),
        geometry,
        in_use,
        reached: Reached::start(control.cluster),
        known: true,
        ended: None,
        progress,
        bytes_done: 0,
        bytes_told: 0,
        bytes_total: folder_bytes(path),
        report: VerifyReport {
            control,
            tail: Tail::empty(control.cluster),
            files: Vec::new(),
            batches: 0,
            records: 0,
            problems: Vec::new(),
            in_use,
        },
    };
    verifier.begin(&control_path, CONTROL_FILE_BYTES);
    for (offset, what) in control_problems {
        verifier.problem(&control_path, offset, None, what);
    }
    verifier.log()?;
    for (lsn, file) in list_checkpoints(path)? {
        verifier.begin(&file, fs::metadata(&file).map_or(0, |m| m.len()));
        if let Err((offset, what)) = checkpoint(lsn, &file) {
            // One that the server has removed meanwhile is no problem.
            if file.exists() {
                verifier.problem(&file, offset, Some(lsn), what);
            }
        }
    }
    Ok(verifier.report)
}

struct Verifier<'a> {
    log: PathBuf,
    geometry: Geometry,
    in_use: bool,
    reached: Reached,
    /// Whether epoch and chain of `reached` are known: not right behind a problem.
    known: bool,
    /// The raw segment in which the log ends, once that is found.
    ended: Option<u64>,
    progress: &'a mut dyn FnMut(VerifyProgress),
    bytes_done: u64,
    bytes_told: u64,
    bytes_total: u64,
    report: VerifyReport,
}

impl Verifier<'_> {
    fn log(&mut self) -> Result<(), DirError> {
        let files = match list_segments(&self.log) {
            Ok(files) => files,
            Err(LogError::Dir(error)) => return Err(error),
            Err(error) => {
                self.log_problem(&error);
                return Ok(());
            }
        };
        let mut expected = 0;
        for (number, forms) in files {
            while expected < number {
                if self.ended.is_none() {
                    let path = raw_path(&self.log, expected);
                    let lsn = self.geometry.first_lsn(expected);
                    self.problem(&path, 0, Some(lsn), "the segment is missing".into());
                    self.lose(self.geometry.first_lsn(expected + 1));
                }
                expected += 1;
            }
            expected = number + 1;
            let path = raw_path(&self.log, number);
            // A raw file may have been sealed since the folder was listed.
            let sealed =
                forms.sealed || (!path.exists() && sealed_path(&self.log, number).exists());
            let checked = if sealed {
                self.sealed(number)
            } else {
                self.raw(number, &path)
            };
            if let Err(error) = checked {
                self.log_problem(&error);
                self.lose(self.geometry.first_lsn(number + 1));
            }
        }
        self.report.tail = self.reached.tail;
        self.check_mark();
        Ok(())
    }

    /// The log reaches its durable mark.
    fn check_mark(&mut self) {
        let mark = self.report.control.durable;
        let tail = self.reached.tail;
        let number = self.geometry.number_of(tail.lsn);
        let path = raw_path(&self.log, number);
        // Where it ended with a problem, that has been said.
        if self.known && tail.lsn < mark.lsn {
            let what = format!(
                "the log ends here, but was durable through lsn {}",
                mark.lsn
            );
            let offset = self.geometry.offset_of(tail.lsn);
            self.problem(&path, offset, Some(tail.lsn), what);
        }
    }

    /// The history from here on is not known until something verifies by itself.
    fn lose(&mut self, lsn: Lsn) {
        self.reached.tail.lsn = self.reached.tail.lsn.max(lsn);
        self.known = false;
    }

    fn sealed(&mut self, number: u64) -> Result<(), LogError> {
        let path = sealed_path(&self.log, number);
        self.begin(&path, fs::metadata(&path).map_or(0, |m| m.len()));
        if let Ok(file) = File::open(&path) {
            forget_cached(&file);
        }
        let meta = Arc::new(SealedMeta::open(&self.log, &self.geometry, number)?);
        if !self.known {
            self.reached.tail = meta.footer.base;
        }
        let behind = meta.reached();
        let file = SealedFile::open(Arc::clone(&meta));
        let (base, geometry) = (self.reached, self.geometry);
        let walked = file.and_then(|file| {
            file.walk(&geometry, base, |batch| {
                self.count(u64::from(batch.header.record_count()));
                self.told(0);
                Ok(())
            })
            .or_else(|error| {
                self.log_problem(&error);
                self.other_blocks(&file, &error);
                Ok(behind)
            })
        });
        if let Err(error) = walked {
            self.log_problem(&error);
        }
        // The footer verified, so the history behind the segment is known whatever is in it.
        self.reached = behind;
        self.known = true;
        self.told(meta.file_bytes);
        Ok(())
    }

    /// Names the other bad blocks of a file in which one problem was found.
    fn other_blocks(&mut self, file: &SealedFile, found: &LogError) {
        let LogError::Corruption { offset: at, .. } = found else {
            return;
        };
        for entry in file.index.iter().filter(|e| e.offset != *at) {
            if let Err(error) = file.block(entry, &mut Unpacker::default()) {
                self.log_problem(&error);
            }
        }
    }

    fn raw(&mut self, number: u64, path: &Path) -> Result<(), LogError> {
        let file = kanjo_disk::open(path).map_err(LogError::io(path, 0, "open the file"))?;
        let file_bytes = self.geometry.raw_file_bytes();
        self.begin(path, file_bytes);
        forget_cached(&file);
        if let Err(error) = check_raw_header(path, &file, &self.geometry, number) {
            self.log_problem(&error);
        }
        if file.metadata().map_or(0, |m| m.len()) < file_bytes {
            // Already said; what is there cannot be told from what is not.
            self.lose(self.geometry.first_lsn(number + 1));
            return Ok(());
        }
        let mut window = Window::new(path, &file, file_bytes);
        if let Some(ended) = self.ended {
            self.behind_the_end(number, ended, path, &mut window)?;
        } else {
            self.batches(number, path, &mut window)?;
        }
        self.told(file_bytes);
        Ok(())
    }

    /// A segment behind the one in which the log ended: empty, or the server has gone on.
    fn behind_the_end(
        &mut self,
        number: u64,
        ended: u64,
        path: &Path,
        window: &mut Window<'_>,
    ) -> Result<(), LogError> {
        let file_bytes = self.geometry.raw_file_bytes();
        let Some(at) = first_non_zero(window, PAGE_BYTES, file_bytes)? else {
            return Ok(());
        };
        if self.in_use && number == ended + 1 {
            let before = raw_path(&self.log, ended);
            let file =
                kanjo_disk::open(&before).map_err(LogError::io(&before, 0, "open the file"))?;
            self.ended = None;
            self.batches(ended, &before, &mut Window::new(&before, &file, file_bytes))?;
            if self.ended.is_none() {
                window.refresh();
                return self.batches(number, path, window);
            }
        }
        let lsn = self.geometry.first_lsn(number).advance(at - PAGE_BYTES);
        let what = "data behind the end of the log".to_owned();
        self.problem(path, at, Some(page_of(lsn)), what);
        Ok(())
    }

    fn batches(
        &mut self,
        number: u64,
        path: &Path,
        window: &mut Window<'_>,
    ) -> Result<(), LogError> {
        let geometry = self.geometry;
        let file_bytes = geometry.raw_file_bytes();
        let mut rereads = 0;
        while geometry.number_of(self.reached.tail.lsn) == number {
            self.adopt(window)?;
            let lsn = self.reached.tail.lsn;
            let start = geometry.offset_of(lsn);
            let bad = match read_checked(window, &geometry, &self.reached)? {
                Ok((header, payload)) => {
                    self.reached = self.reached.behind(&header, payload, &geometry);
                    self.count(u64::from(header.record_count()));
                    let padding = start + (BATCH_HEADER_BYTES + header.payload_bytes()) as u64;
                    let end = if header.is_segment_end() {
                        file_bytes
                    } else {
                        start + stored_bytes(header.payload_bytes())
                    };
                    self.padding(path, window, padding, end)?;
                    self.told(end - start);
                    rereads = 0;
                    continue;
                }
                Err(bad) => bad,
            };
            let absent = bad.error == BatchError::Absent;
            let data = first_non_zero(window, start, file_bytes)?;
            if absent && data.is_none() {
                self.ended = Some(number);
                return Ok(());
            }
            if self.in_use && rereads < REREADS_MAX {
                // The server may be writing right here.
                rereads += 1;
                std::thread::sleep(REREAD_PAUSE);
                window.refresh();
                continue;
            }
            self.bad_batch(path, &bad, data);
            self.resume(number, path, window)?;
            if self.ended.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Behind a problem: epoch and chain are taken from the header that stands here.
    fn adopt(&mut self, window: &mut Window<'_>) -> Result<(), LogError> {
        if self.known {
            return Ok(());
        }
        let lsn = self.reached.tail.lsn;
        let bytes = window.get(self.geometry.offset_of(lsn), BATCH_HEADER_BYTES)?;
        if let Ok(header) = BatchHeader::decode(bytes) {
            self.reached.tail.epoch = header.epoch();
            self.reached.tail.chain = header.prev_chain();
            self.known = true;
        }
        Ok(())
    }

    fn bad_batch(&mut self, path: &Path, bad: &BadBatch, data: Option<u64>) {
        let what = match (&bad.error, data) {
            (BatchError::Absent, Some(at)) => {
                format!("the log ends here, but there is data behind, at offset {at}")
            }
            (error, _) => error.to_string(),
        };
        self.problem(path, bad.offset, Some(bad.lsn), what);
    }

    /// Goes to the next batch that verifies by itself, or to the end of the segment.
    fn resume(
        &mut self,
        number: u64,
        path: &Path,
        window: &mut Window<'_>,
    ) -> Result<(), LogError> {
        let geometry = self.geometry;
        let mut lsn = self.reached.tail.lsn.advance(PAGE_BYTES);
        while geometry.number_of(lsn) == number {
            let offset = geometry.offset_of(lsn);
            let bytes = window.get(offset, BATCH_HEADER_BYTES)?;
            match BatchHeader::decode(bytes) {
                Ok(h) if h.lsn() == lsn && h.cluster() == geometry.cluster => break,
                Err(error) if bytes.starts_with(&BATCH_MAGIC) => {
                    self.problem(path, offset, Some(lsn), error.to_string());
                }
                _ => {}
            }
            lsn = lsn.advance(PAGE_BYTES);
        }
        if geometry.number_of(lsn) != number {
            // Nothing more in this segment. If the next one holds data, it starts there.
            let next = raw_path(&self.log, number + 1);
            let goes_on = sealed_path(&self.log, number + 1).exists() || has_data(&next);
            if !goes_on {
                self.ended = Some(number);
                self.known = false;
                return Ok(());
            }
        }
        self.lose(lsn);
        Ok(())
    }

    /// Zeros stand behind a batch.
    fn padding(
        &mut self,
        path: &Path,
        window: &mut Window<'_>,
        from: u64,
        to: u64,
    ) -> Result<(), LogError> {
        if let Some(at) = first_non_zero(window, from, to)? {
            let in_segment = self.geometry.segment_bytes;
            let number = (self.reached.tail.lsn.get() - 1) / in_segment;
            let lsn = page_of(self.geometry.first_lsn(number).advance(at - PAGE_BYTES));
            let what = "a byte behind a batch is not zero".to_owned();
            self.problem(path, at, Some(lsn), what);
        }
        Ok(())
    }

    fn begin(&mut self, file: &Path, bytes: u64) {
        self.report.files.push(VerifiedFile {
            file: file.to_path_buf(),
            bytes,
            batches: 0,
            records: 0,
            problems: 0,
        });
        self.bytes_told = self.bytes_done;
        self.tell();
    }

    fn count(&mut self, records: u64) {
        self.report.batches += 1;
        self.report.records += records;
        if let Some(file) = self.report.files.last_mut() {
            file.batches += 1;
            file.records += records;
        }
    }

    fn told(&mut self, bytes: u64) {
        self.bytes_done = (self.bytes_done + bytes).min(self.bytes_total);
        if self.bytes_done - self.bytes_told >= PROGRESS_BYTES {
            self.bytes_told = self.bytes_done;
            self.tell();
        }
    }

    fn tell(&mut self) {
        let file = self.report.files.last();
        (self.progress)(VerifyProgress {
            file: file.map(|f| f.file.clone()).unwrap_or_default(),
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
        });
    }

    fn problem(&mut self, file: &Path, offset: u64, lsn: Option<Lsn>, what: String) {
        if let Some(last) = self.report.files.last_mut()
            && last.file == file
        {
            last.problems += 1;
        }
        self.report.problems.push(Problem {
            file: file.to_path_buf(),
            offset,
            lsn,
            what,
        });
    }

    fn log_problem(&mut self, error: &LogError) {
        let (file, offset, lsn, what) = match error {
            LogError::Corruption {
                file,
                offset,
                lsn,
                what,
            }
            | LogError::Version {
                file,
                offset,
                lsn,
                what,
            } => (file.clone(), *offset, Some(*lsn), what.clone()),
            LogError::OtherCluster { file, .. } => (file.clone(), 0, None, error.to_string()),
            LogError::Io { file, offset, .. } => (file.clone(), *offset, None, error.to_string()),
            other => (self.log.clone(), 0, None, other.to_string()),
        };
        self.problem(&file, offset, lsn, what);
    }
}

/// Both slots, and the zeros behind them.
fn check_control(path: &Path, in_use: bool) -> Result<(Control, Vec<(u64, String)>), DirError> {
    let mut rereads = if in_use { REREADS_MAX } else { 0 };
    loop {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DirError::NotFormatted {
                    path: path.parent().unwrap_or(path).to_path_buf(),
                });
            }
            other => other.map_err(DirError::io(path, "open the control file"))?,
        };
        forget_cached(&file);
        let slots = read_slots(path, &file)?;
        if slots.iter().any(Result::is_err) && rereads > 0 {
            rereads -= 1;
            std::thread::sleep(REREAD_PAUSE);
            continue;
        }
        let mut problems = Vec::new();
        for (number, slot) in (0..).zip(&slots) {
            if let Err(error) = slot {
                problems.push((number * PAGE_BYTES, error.to_string()));
            }
            let mut rest = vec![0; PAGE_BYTES as usize - CONTROL_ROW_BYTES];
            let at = number * PAGE_BYTES + CONTROL_ROW_BYTES as u64;
            match file.read_exact_at(&mut rest, at) {
                Ok(()) => {
                    if let Some(bad) = rest.iter().position(|&b| b != 0) {
                        let what = "a byte behind a control slot is not zero".to_owned();
                        problems.push((at + bad as u64, what));
                    }
                }
                Err(error) => problems.push((at, error.to_string())),
            }
        }
        return Ok((choose(path, slots)?.0, problems));
    }
}

/// Offset of the first byte in a range that is not zero.
fn first_non_zero(window: &mut Window<'_>, from: u64, to: u64) -> Result<Option<u64>, LogError> {
    let mut at = from;
    while at < to {
        let len = (to - at).min(1 << 20);
        let bytes = window.get(at, len as usize)?;
        if !all_zero(bytes) {
            let first = bytes.iter().position(|&b| b != 0);
            return Ok(first.map(|first| at + first as u64));
        }
        at += len;
    }
    Ok(None)
}

fn has_data(raw: &Path) -> bool {
    let Ok(file) = kanjo_disk::open(raw) else {
        return false;
    };
    let bytes = file.metadata().map_or(0, |m| m.len());
    let mut window = Window::new(raw, &file, bytes);
    matches!(first_non_zero(&mut window, PAGE_BYTES, bytes), Ok(Some(_)))
}

fn page_of(lsn: Lsn) -> Lsn {
    Lsn::new(lsn.get() / PAGE_BYTES * PAGE_BYTES)
}

fn folder_bytes(path: &Path) -> u64 {
    let folders = [
        path.to_path_buf(),
        path.join(LOG),
        path.join(crate::dir::CHECKPOINTS),
    ];
    let files = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file);
    files.map(|m| m.len()).sum()
}
