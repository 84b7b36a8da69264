//! Files that a primary sends whole to seed this replica: sealed segments and a checkpoint.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use kanjo_disk::Pace;
use kanjo_format::replication::SeedFile;
use kanjo_format::{Lsn, Tail};

use crate::error::NodeError;
use crate::node::Node;

/// A file that is being received.
pub(crate) struct Incoming {
    which: SeedFile,
    file: File,
    path: PathBuf,
}

impl Node {
    /// Writes a piece of a file that the primary sends; the first one begins it anew.
    pub(crate) fn write_chunk(
        &mut self,
        which: SeedFile,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), NodeError> {
        let failed = |source| NodeError::System {
            what: "write a file that the primary sends",
            source,
        };
        if offset == 0 {
            let (file, path) = match which {
                SeedFile::Segment(number) => self.hot.store.log.install_file(number)?,
                SeedFile::Checkpoint(lsn) => self.checkpoint_file(lsn).map_err(failed)?,
            };
            self.following.file = Some(Incoming { which, file, path });
        }
        match &self.following.file {
            Some(incoming) if incoming.which == which => {
                incoming.file.write_all_at(bytes, offset).map_err(failed)
            }
            _ => Err(failed(std::io::Error::other(
                "a piece of a file that was not begun",
            ))),
        }
    }

    /// Where a checkpoint is received; a name that the next start removes if this one fails.
    fn checkpoint_file(&self, lsn: Lsn) -> std::io::Result<(File, PathBuf)> {
        let name = format!("{:016x}.received.tmp", lsn.get());
        let path = self.hot.store.dir.path().join("checkpoints").join(name);
        Ok((File::create(&path)?, path))
    }

    /// Verifies a received file and makes it part of this directory, durably.
    pub(crate) fn install_file(&mut self, which: SeedFile) -> Result<Tail, NodeError> {
        let incoming = self
            .following
            .file
            .take()
            .filter(|incoming| incoming.which == which);
        let Some(mut incoming) = incoming else {
            let source = std::io::Error::other("a file that was not begun");
            return Err(NodeError::System {
                what: "install a file that the primary sent",
                source,
            });
        };
        let failed = |source| NodeError::System {
            what: "sync a file that the primary sent",
            source,
        };
        incoming
            .file
            .flush()
            .and_then(|()| incoming.file.sync_all())
            .map_err(failed)?;
        match which {
            SeedFile::Segment(number) => {
                self.hot.store.log.install_sealed(number, &incoming.path)?;
            }
            SeedFile::Checkpoint(lsn) => {
                let mut received = File::open(&incoming.path).map_err(failed)?;
                let copy = |out: &mut dyn Write| std::io::copy(&mut received, out).map(drop);
                self.hot
                    .store
                    .dir
                    .write_checkpoint(lsn, Pace::at_once(), copy)?;
                std::fs::remove_file(&incoming.path).map_err(failed)?;
            }
        }
        let tail = self.hot.store.log.tail();
        self.hot.note_durable(tail);
        Ok(tail)
    }
}
