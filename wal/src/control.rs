//! The control file on disk: two slots, written in turn, each synced before the next.
//!
//! The slot with the higher sequence counts. A write always goes into the *other* slot first,
//! so a torn write leaves the last whole one. After a failed write nothing is written again:
//! a repeated sync proves nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kanjo_format::control::{CONTROL_FILE_BYTES, Control, ControlError};
use kanjo_format::limits::PAGE_BYTES;

use crate::error::DirError;

#[derive(Debug)]
pub(crate) struct ControlFile {
    path: PathBuf,
    file: File,
    content: Control,
    /// The slot that does not hold `content`, or holds it too.
    next_slot: u64,
    failed: Option<String>,
}

impl ControlFile {
    /// Writes both slots of a new file, syncs it and gives it its name.
    pub(crate) fn create(temporary: &Path, path: &Path, content: &Control) -> Result<(), DirError> {
        let slot = content.encode();
        let written = (|| {
            let file = File::create(temporary)?;
            file.write_all_at(&slot, 0)?;
            file.write_all_at(&slot, PAGE_BYTES)?;
            file.sync_all()?;
            fs::rename(temporary, path)
        })();
        written.map_err(DirError::io(path, "write the control file"))
    }

    pub(crate) fn open(path: &Path) -> Result<Self, DirError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(DirError::io(path, "open the control file"))?;
        let (content, slot) = choose(path, read_slots(path, &file)?)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            content,
            next_slot: 1 - slot,
            failed: None,
        })
    }

    /// Reads a file that another process may be writing.
    pub(crate) fn inspect(path: &Path) -> Result<Control, DirError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DirError::NotFormatted {
                    path: path.parent().unwrap_or(path).to_path_buf(),
                });
            }
            Err(error) => return Err(DirError::io(path, "open the control file")(error)),
        };
        Ok(choose(path, read_slots(path, &file)?)?.0)
    }

    pub(crate) fn control(&self) -> Control {
        self.content
    }

    /// Writes changed content into the other slot, or with `both` into one after the other.
    pub(crate) fn write(
        &mut self,
        both: bool,
        change: impl FnOnce(&mut Control),
    ) -> Result<(), DirError> {
        if let Some(first) = &self.failed {
            return Err(DirError::Poisoned {
                file: self.path.clone(),
                first: first.clone(),
            });
        }
        let mut content = self.content;
        change(&mut content);
        for _ in 0..if both { 2 } else { 1 } {
            content.sequence = self.content.sequence + 1;
            // ORDER: this slot is synced before the other, which is still good, is touched.
            let written = self
                .file
                .write_all_at(&content.encode(), self.next_slot * PAGE_BYTES)
                .and_then(|()| self.file.sync_data());
            if let Err(error) = written {
                self.failed = Some(error.to_string());
                return Err(DirError::io(&self.path, "write the control file")(error));
            }
            self.content = content;
            self.next_slot = 1 - self.next_slot;
        }
        Ok(())
    }
}

pub(crate) type Slots = [Result<Control, ControlError>; 2];

/// Both slots as they read. A slot that is cut short is a bad one.
pub(crate) fn read_slots(path: &Path, file: &File) -> Result<Slots, DirError> {
    let mut bytes = vec![0; CONTROL_FILE_BYTES as usize];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DirError::io(path, "read the control file")(error)),
        }
    }
    let page = PAGE_BYTES as usize;
    let slot = |at: usize| Control::decode(&bytes[at.min(have)..(at + page).min(have)]);
    Ok([slot(0), slot(page)])
}

/// The content that counts, and its slot.
pub(crate) fn choose(path: &Path, slots: Slots) -> Result<(Control, u64), DirError> {
    for slot in &slots {
        // A newer program wrote here: what it promised is not ours to overwrite.
        if let Err(ControlError::Version(version)) = slot {
            return Err(DirError::Version {
                file: path.to_path_buf(),
                version: *version,
            });
        }
    }
    match slots {
        [Ok(first), Ok(second)] if second.sequence > first.sequence => Ok((second, 1)),
        [Ok(first), _] => Ok((first, 0)),
        [Err(_), Ok(second)] => Ok((second, 1)),
        [Err(first), Err(second)] => Err(DirError::BothSlotsBad {
            file: path.to_path_buf(),
            first,
            second,
        }),
    }
}
