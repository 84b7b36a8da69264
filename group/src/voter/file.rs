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
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kanjo_format::limits::REGISTER_FILE_BYTES_MAX;
use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use serde::{Deserialize, Serialize};

use crate::GroupError;
use crate::disk::{Form, lock, replace, sync_dir};
use crate::voter::machine::Machine;
use crate::voter::setup::{Entry, LogId, Setup, Vote};

const FORM: Form = Form {
    magic: "KNJV",
    version: 1,
    bytes_max: REGISTER_FILE_BYTES_MAX,
};
const NAME: &str = "register";
const TEMPORARY: &str = "register.tmp";

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
        let kept = match FORM.read(&file)? {
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
        let written = self.replace(&FORM.encode(kept));
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
        replace(&temporary, &file, bytes)
    }
}

fn decode(file: &Path, bytes: &[u8], setup: &Setup) -> Result<Kept, GroupError> {
    let kept: Kept = FORM.decode(file, bytes)?;
    check_place(file, &kept, setup)?;
    kept.check_log()
        .map_err(|why| FORM.damaged(file, "log", why))?;
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
