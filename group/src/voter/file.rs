//! The file of one voter: all that it has promised, rewritten whole.
//!
//! ```text
//! register = "KNJV 1 crc=1a2b3c4d bytes=4711\n"  then one JSON document of that many bytes:
//!            cluster site node incarnation vote committed purged machine log
//! ```
//!
//! A change is written under a temporary name, synced, renamed, and the folder is synced: there
//! is always one whole file. The first failure is final, since a repeated sync proves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kanjo_format::limits::REGISTER_FILE_BYTES_MAX;
use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::GroupError;
use crate::voter::machine::Machine;
use crate::voter::setup::{Entry, LogId, Setup, Vote};

const MAGIC: &str = "KNJV";
const VERSION: u32 = 1;
const NAME: &str = "register";
const TEMPORARY: &str = "register.tmp";
const LOCK: &str = "LOCK";
/// The first line is shorter than this.
const HEADER_BYTES_MAX: usize = 80;

/// What a voter keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    cluster: ClusterId,
    site: Site,
    node: NodeId,
    incarnation: Incarnation,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    /// The last entry that is only in the machine.
    pub(crate) purged: Option<LogId>,
    pub(crate) machine: Machine,
    /// The entries behind it, by index.
    pub(crate) log: BTreeMap<u64, Entry>,
}

impl Kept {
    fn new(setup: &Setup) -> Self {
        Self {
            cluster: setup.cluster,
            site: setup.site,
            node: setup.node,
            incarnation: setup.incarnation,
            vote: None,
            committed: None,
            purged: None,
            machine: Machine::new(setup.cluster, setup.site),
            log: BTreeMap::new(),
        }
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        let last = self.log.last_key_value().map(|(_, entry)| entry.log_id);
        last.or(self.purged)
    }

    fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec(self).expect("what a voter keeps is plain data");
        let crc = crc32fast::hash(&body);
        let length = body.len();
        let mut bytes = format!("{MAGIC} {VERSION} crc={crc:08x} bytes={length}\n").into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The log has no hole, neither inside nor towards what was purged.
    fn check_log(&self) -> Result<(), String> {
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        for (next, (index, entry)) in (first..).zip(&self.log) {
            if *index != next || entry.log_id.index != next {
                return Err(format!("entry {next} is missing, {index} stands there"));
            }
        }
        Ok(())
    }
}

/// The open file: the exclusive lock of its folder, and whether it may still be written.
#[derive(Debug)]
pub(crate) struct RegisterFile {
    dir: PathBuf,
    failed: Option<GroupError>,
    // Held, not read: the lock goes with it.
    _lock: File,
}

impl RegisterFile {
    /// Locks the folder and reads what is kept there; a voter without a file has promised nothing.
    pub(crate) fn open(setup: &Setup) -> Result<(Self, Kept), GroupError> {
        let dir = setup.dir.clone();
        fs::create_dir_all(&dir).map_err(GroupError::io(&dir, "create the directory"))?;
        if let Some(parent) = dir.canonicalize().ok().as_deref().and_then(Path::parent) {
            sync_dir(parent)?;
        }
        let lock = lock(&dir)?;
        let temporary = dir.join(TEMPORARY);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(GroupError::io(&temporary, "remove the unfinished file")(
                    error,
                ));
            }
            _ => {}
        }
        let file = dir.join(NAME);
        let kept = match read(&file)? {
            Some(bytes) => decode(&file, &bytes, setup)?,
            None => Kept::new(setup),
        };
        let failed = None;
        Ok((
            Self {
                dir,
                failed,
                _lock: lock,
            },
            kept,
        ))
    }

    /// Replaces the content. When this returns it is on the disk.
    pub(crate) fn write(&mut self, kept: &Kept) -> Result<(), GroupError> {
        if let Some(first) = &self.failed {
            return Err(first.clone());
        }
        let written = self.replace(&kept.encode());
        self.failed = written.as_ref().err().cloned();
        written
    }

    /// The first failure.
    pub(crate) const fn failed(&self) -> Option<&GroupError> {
        self.failed.as_ref()
    }

    fn replace(&self, bytes: &[u8]) -> Result<(), GroupError> {
        let (temporary, file) = (self.dir.join(TEMPORARY), self.dir.join(NAME));
        if bytes.len() > REGISTER_FILE_BYTES_MAX {
            let cause = format!("it would have {} bytes", bytes.len());
            let doing = "write the register";
            return Err(GroupError::Io { file, doing, cause });
        }
        // ORDER: content before name, name before the folder; only then anything is answered.
        File::create(&temporary)
            .and_then(|mut out| {
                out.write_all(bytes)?;
                out.sync_all()
            })
            .map_err(GroupError::io(&temporary, "write and sync the register"))?;
        fs::rename(&temporary, &file).map_err(GroupError::io(&file, "rename the register"))?;
        sync_dir(&self.dir)
    }
}

fn sync_dir(path: &Path) -> Result<(), GroupError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(GroupError::io(path, "sync the directory"))
}

fn lock(dir: &Path) -> Result<File, GroupError> {
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

fn read(file: &Path) -> Result<Option<Vec<u8>>, GroupError> {
    let failed = GroupError::io(file, "read the register");
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let bound = (REGISTER_FILE_BYTES_MAX + HEADER_BYTES_MAX) as u64;
    match opened.take(bound).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => Err(failed(error)),
    }
}

fn decode(file: &Path, bytes: &[u8], setup: &Setup) -> Result<Kept, GroupError> {
    let damaged = |field: &'static str, why: String| GroupError::Damaged {
        file: file.to_owned(),
        field,
        why,
    };
    let end = bytes
        .iter()
        .take(HEADER_BYTES_MAX)
        .position(|b| *b == b'\n');
    let header = end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
    let (Some(end), Some(header)) = (end, header) else {
        return Err(damaged("first line", "there is none".to_owned()));
    };
    let mut fields = header.split(' ');
    if fields.next() != Some(MAGIC) {
        return Err(damaged("magic", format!("{MAGIC} should stand there")));
    }
    match fields.next().map(str::parse) {
        Some(Ok(VERSION)) => {}
        Some(Ok(version)) if version > VERSION => {
            let file = file.to_owned();
            return Err(GroupError::Version { file, version });
        }
        _ => return Err(damaged("version", "it is no version".to_owned())),
    }
    let body = &bytes[end + 1..];
    let length = fields.clone().nth(1);
    if length != Some(&format!("bytes={}", body.len())) {
        let why = format!("{} bytes follow the first line", body.len());
        return Err(damaged("length", why));
    }
    let crc = crc32fast::hash(body);
    if fields.next() != Some(&format!("crc={crc:08x}")) {
        let why = format!("the content has checksum {crc:08x}");
        return Err(damaged("checksum", why));
    }
    let kept: Kept =
        serde_json::from_slice(body).map_err(|error| damaged("content", error.to_string()))?;
    check_place(file, &kept, setup)?;
    kept.check_log().map_err(|why| damaged("log", why))?;
    Ok(kept)
}

/// A file of another place never passes for this voter's.
fn check_place(file: &Path, kept: &Kept, setup: &Setup) -> Result<(), GroupError> {
    let register = &kept.machine.register;
    let pairs = [
        (
            "cluster",
            kept.cluster.to_string(),
            setup.cluster.to_string(),
        ),
        ("site", kept.site.to_string(), setup.site.to_string()),
        ("node", kept.node.to_string(), setup.node.to_string()),
        (
            "incarnation",
            kept.incarnation.to_string(),
            setup.incarnation.to_string(),
        ),
        (
            "the register's cluster",
            register.cluster.to_string(),
            setup.cluster.to_string(),
        ),
        (
            "the register's site",
            register.site.to_string(),
            setup.site.to_string(),
        ),
    ];
    for (field, found, expected) in pairs {
        if found != expected {
            let file = file.to_owned();
            return Err(GroupError::Foreign {
                file,
                field,
                found,
                expected,
            });
        }
    }
    Ok(())
}
