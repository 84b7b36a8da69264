//! Writing a large file a piece at a time.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use crate::PIECE_BYTES;
use crate::pace::Pace;

/// Writes a file upwards and syncs it a piece at a time, so that there is never more of it on its
/// way to the disk than one piece. Only [`Writer::finish`] makes the file count.
#[derive(Debug)]
pub struct Writer<'a> {
    out: BufWriter<Pieces<'a>>,
}

#[derive(Debug)]
struct Pieces<'a> {
    file: File,
    unsynced_bytes: u64,
    /// A sync that failed is never repeated: the next one may say yes with nothing on the disk.
    has_failed: bool,
    pace: Pace<'a>,
}

impl<'a> Writer<'a> {
    /// Writes into `file` from where it stands, at this pace.
    pub fn new(file: File, pace: Pace<'a>) -> Self {
        let pieces = Pieces {
            file,
            unsynced_bytes: 0,
            has_failed: false,
            pace,
        };
        Self {
            out: BufWriter::with_capacity(PIECE_BYTES as usize, pieces),
        }
    }

    /// Writes what is left and syncs the whole file with its length.
    pub fn finish(self) -> io::Result<()> {
        let pieces = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        pieces.file.sync_all()
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(io::Error::other("the file could not be synced before"));
        }
        let room = PIECE_BYTES.saturating_sub(self.unsynced_bytes) as usize;
        let len = bytes.len().min(room);
        let written = self.file.write(&bytes[..len])?;
        self.unsynced_bytes += written as u64;
        if self.unsynced_bytes >= PIECE_BYTES {
            let synced = self.pace.piece(|| self.file.sync_data());
            self.has_failed = synced.is_err();
            synced?;
            self.unsynced_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_piece_is_ever_on_its_way_to_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap(), Pace::gentle());
        let bytes: Vec<u8> = (0..3_333_333u32).map(|n| n as u8).collect();
        for part in bytes.chunks(700_001) {
            writer.write_all(part).unwrap();
            assert!(writer.out.get_ref().unsynced_bytes < PIECE_BYTES);
        }
        let synced = file.metadata().unwrap().len() - writer.out.get_ref().unsynced_bytes;
        assert!(synced.is_multiple_of(PIECE_BYTES));
        // The buffer holds less than a piece, and so does the file that is not synced yet.
        assert!(synced + 2 * PIECE_BYTES > bytes.len() as u64);
        writer.finish().unwrap();
        let mut found = Vec::new();
        io::Seek::rewind(&mut &file).unwrap();
        io::Read::read_to_end(&mut &file, &mut found).unwrap();
        assert!(found == bytes, "the file holds what was written");
    }
}
