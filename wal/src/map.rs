//! The mapped device: a segment's data as shared memory. The only file with `unsafe`.
//!
//! Two facts make it sound. Bytes are written once: a *frontier* goes up with each write, what
//! is below it never changes, and what is above is never lent out. And the file is not made
//! shorter while it is mapped (the mapping holds the shared lock that `kanjo_disk::remove` asks
//! for) nor, under the directory's lock, written by anyone else; a cut makes a new file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::device::LogDevice;

/// A segment's file, mapped whole.
#[derive(Debug)]
pub(crate) struct MappedDevice {
    inner: Arc<Mapping>,
    /// Held while writing: one writer at a time.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Mapping {
    memory: MmapRaw,
    /// Holds the lock that keeps the file whole. Declared behind the memory, so dropped after it.
    _held: File,
    /// Bytes below it are written and never change; bytes from it on are nobody's yet.
    frontier: AtomicU64,
}

/// A lent part of a mapping, which it keeps alive.
struct Lent {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl MappedDevice {
    /// Maps the first `len` bytes of `file`; those below `frontier` are never written again.
    /// The caller has made sure that the file is at least that long, with its blocks allocated.
    pub(crate) fn new(file: &File, len: u64, frontier: u64) -> io::Result<Self> {
        let length = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        assert!(frontier <= len, "the frontier lies within the mapping");
        // ORDER: from here on nobody makes it shorter; then its length is looked at.
        kanjo_disk::hold(file)?;
        if file.metadata()?.len() < len {
            // A mapping beyond the end of the file would kill the process when touched.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let memory = MmapOptions::new().len(length).map_raw(file)?;
        // Small folios: 4.1 KiB reach the disk a commit, 9.9 KiB without.
        memory.advise(Advice::Random)?;
        Ok(Self {
            inner: Arc::new(Mapping {
                memory,
                _held: file.try_clone()?,
                frontier: AtomicU64::new(frontier),
            }),
            writing: Mutex::new(()),
        })
    }

    /// Maps the pages that will be written in before the commit path touches them. Failure costs
    /// time only. What is written already is read where somebody wants it: page by page, as the
    /// mapping is advised, all of it would take longer than a replay.
    pub(crate) fn populate(&self) {
        let memory = &self.inner.memory;
        let frontier = self.inner.frontier.load(Ordering::Relaxed) as usize;
        let ahead = memory.len() - frontier;
        if let Err(error) = memory.advise_range(Advice::PopulateRead, frontier, ahead) {
            tracing::debug!(%error, "a segment could not be populated ahead");
        }
    }
}

impl LogDevice for MappedDevice {
    fn write(&self, offset: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let len = (parts[0].len() + parts[1].len()) as u64;
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        assert!(
            offset >= self.inner.frontier.load(Ordering::Relaxed),
            "bytes are written once"
        );
        assert!(
            end <= self.inner.memory.len() as u64,
            "a write lies within the mapping"
        );
        let start = offset as usize;
        // SAFETY: `start + len` is within the mapping (asserted), which lives as long as
        // `self`. Nobody else writes there (`writing` is held, other processes are kept out by
        // the directory's lock), and nobody reads there: only bytes below the frontier are
        // lent, and the frontier is not above `offset` (asserted). The parts are borrowed
        // slices, so they cannot overlap with memory that is not lent.
        unsafe {
            let target = self.inner.memory.as_mut_ptr().add(start);
            std::ptr::copy_nonoverlapping(parts[0].as_ptr(), target, parts[0].len());
            let target = target.add(parts[0].len());
            std::ptr::copy_nonoverlapping(parts[1].as_ptr(), target, parts[1].len());
        }
        // Release: who sees the new frontier sees the bytes.
        self.inner.frontier.store(end, Ordering::Release);
        Ok(())
    }

    fn sync(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.memory.flush_range(offset as usize, len as usize)
    }

    /// Takes the faults of the first write to these pages now.
    fn ready(&self, offset: u64, len: u64) {
        let memory = &self.inner.memory;
        let len = len.min((memory.len() as u64).saturating_sub(offset));
        let ready = memory.advise_range(Advice::PopulateWrite, offset as usize, len as usize);
        if let Err(error) = ready {
            tracing::debug!(%error, "pages could not be made ready to be written");
        }
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| end > self.inner.frontier.load(Ordering::Acquire)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Bytes::from_owner(Lent {
            mapping: Arc::clone(&self.inner),
            offset: offset as usize,
            len,
        }))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `offset + len` was below the frontier when this was made and the frontier
        // never falls, so the range is initialised, within the mapping and never written
        // again. The mapping is kept alive by `self.mapping`.
        unsafe {
            std::slice::from_raw_parts(self.mapping.memory.as_ptr().add(self.offset), self.len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_bytes_outlive_the_device_and_unwritten_ones_are_not_lent() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let device = MappedDevice::new(&file, 8192, 0).unwrap();
        device.write(0, [b"head", b"body"]).unwrap();
        assert!(device.read(0, 9).is_err());
        assert!(device.read(u64::MAX, 9).is_err());
        let lent = device.read(4, 4).unwrap();
        device.write(4096, [b"more", b""]).unwrap();
        device.sync(0, 8192).unwrap();
        drop(device);
        assert_eq!(&lent[..], b"body");
    }

    #[test]
    #[should_panic(expected = "bytes are written once")]
    fn written_bytes_are_never_written_again() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let device = MappedDevice::new(&file, 8192, 4096).unwrap();
        let _ = device.write(0, [b"x", b""]);
    }

    #[test]
    fn a_file_that_is_too_short_is_not_mapped() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        assert!(MappedDevice::new(&file, 8192, 0).is_err());
    }
}
