//! Small files that are written whole and name what they are.
//!
//! ```text
//! "KNJV 1 crc=1a2b3c4d bytes=4711\n"   magic, version, CRC-32 and length of what follows
//! one JSON document
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::GroupError;

/// The first line is shorter than this.
const HEADER_BYTES_MAX: usize = 80;
const LOCK: &str = "LOCK";

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) magic: &'static str,
    pub(crate) version: u32,
    pub(crate) bytes_max: usize,
}

impl Form {
    pub(crate) fn encode<T: Serialize>(&self, content: &T) -> Vec<u8> {
        let body = serde_json::to_vec(content).expect("what is kept is plain data");
        let (magic, version) = (self.magic, self.version);
        let (crc, length) = (crc32fast::hash(&body), body.len());
        let mut bytes = format!("{magic} {version} crc={crc:08x} bytes={length}\n").into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        file: &Path,
        bytes: &[u8],
    ) -> Result<T, GroupError> {
        let damaged = |field, why| Err(self.damaged(file, field, why));
        let end = bytes
            .iter()
            .take(HEADER_BYTES_MAX)
            .position(|b| *b == b'\n');
        let header = end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
        let (Some(end), Some(header)) = (end, header) else {
            let why = format!("it is no line of text that ends within {HEADER_BYTES_MAX} bytes");
            return damaged("first line", why);
        };
        let mut fields = header.split(' ');
        if fields.next() != Some(self.magic) {
            return damaged("magic", format!("{} should stand there", self.magic));
        }
        match fields.next().map(str::parse::<u32>) {
            Some(Ok(version)) if version == self.version => {}
            Some(Ok(version)) if version > self.version => {
                let file = file.to_owned();
                return Err(GroupError::Version { file, version });
            }
            _ => return damaged("version", "it is no version".to_owned()),
        }
        let body = &bytes[end + 1..];
        let crc = crc32fast::hash(body);
        if fields.next() != Some(&format!("crc={crc:08x}")) {
            return damaged("checksum", format!("the content has {crc:08x}"));
        }
        let length = body.len();
        if fields.next() != Some(&format!("bytes={length}")) || fields.next().is_some() {
            return damaged("length", format!("the content has {length} bytes"));
        }
        serde_json::from_slice(body).or_else(|error| damaged("content", error.to_string()))
    }

    pub(crate) fn damaged(&self, file: &Path, field: &'static str, why: String) -> GroupError {
        let file = file.to_owned();
        GroupError::Damaged { file, field, why }
    }

    /// The file's bytes; `None` if it is not there.
    pub(crate) fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, GroupError> {
        let failed = GroupError::io(file, "read the file");
        let opened = match File::open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        let bound = (self.bytes_max + HEADER_BYTES_MAX) as u64;
        match opened.take(bound).read_to_end(&mut bytes) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Writes a new file, or one anew; its name is not synced with it.
pub(crate) fn write_synced(file: &Path, bytes: &[u8]) -> Result<(), GroupError> {
    File::create(file)
        .and_then(|mut out| {
            out.write_all(bytes)?;
            out.sync_all()
        })
        .map_err(GroupError::io(file, "write and sync the file"))
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), GroupError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(GroupError::io(path, "sync the directory"))
}

/// Replaces a file by one of another content, through a temporary name in the same folder. When
/// this returns it is on the disk.
pub(crate) fn replace(temporary: &Path, file: &Path, bytes: &[u8]) -> Result<(), GroupError> {
    // ORDER: content before name, name before the folder; only then anything is answered.
    write_synced(temporary, bytes)?;
    fs::rename(temporary, file).map_err(GroupError::io(file, "rename the file"))?;
    sync_dir(file.parent().unwrap_or(Path::new(".")))
}

/// Locks a folder for this process alone, as long as the file is held.
pub(crate) fn lock(dir: &Path) -> Result<File, GroupError> {
    let file = dir.join(LOCK);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .map_err(GroupError::io(&file, "open the lock file"))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&mut lock).take(64).read_to_string(&mut text);
            let holder = match text.trim().parse::<u32>() {
                Ok(pid) => format!("process {pid}"),
                Err(_) => "another process".to_owned(),
            };
            let path = dir.to_owned();
            return Err(GroupError::InUse { path, holder });
        }
        Err(errno) => return Err(GroupError::io(&file, "lock the file")(errno.into())),
    }
    // The process id only helps a person; the lock itself is the kernel's.
    lock.set_len(0)
        .and_then(|()| lock.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(lock, "{}", std::process::id()))
        .map_err(GroupError::io(&file, "write the lock file"))?;
    Ok(lock)
}
