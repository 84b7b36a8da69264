//! The seam between the log and the disk: one segment file that is written, synced and read.
//!
//! The mapped device is the default; the `pwrite` one is what it is measured against; tests put
//! their own faults in front of either through [`DeviceWrap`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use kanjo_disk::Pace;

use crate::map::MappedDevice;
use crate::raw::{allocate, warm};

/// How segment files are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// Through a shared mapping, synced with `msync`; readers copy nothing.
    #[default]
    Mapped,
    /// With `pwritev`, synced with `fdatasync`.
    Pwrite,
}

/// One segment file. Offsets are those of the file. Bytes are written once and only upwards.
pub trait LogDevice: Send + Sync + std::fmt::Debug {
    /// Writes both parts, one behind the other.
    fn write(&self, offset: u64, parts: [&[u8]; 2]) -> io::Result<()>;
    /// Returns when the bytes of this range are on the disk. A failure is final: the caller
    /// never asks again, since a repeated sync may say yes with nothing on the disk.
    fn sync(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes a write to this range cheaper that comes soon. Changes nothing that is there.
    fn ready(&self, _offset: u64, _len: u64) {}
    /// Bytes that were written before.
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes>;
}

/// Puts something in front of the device of a segment (its number is given): for tests that
/// inject faults.
pub type DeviceWrap = Arc<dyn Fn(u64, Arc<dyn LogDevice>) -> Arc<dyn LogDevice> + Send + Sync>;

/// Opens devices of one kind.
#[derive(Clone)]
pub(crate) struct Devices {
    pub(crate) kind: DeviceKind,
    pub(crate) wrap: Option<DeviceWrap>,
}

impl Devices {
    /// The device over `file` of `len` bytes, of which those below `frontier` are written. If it
    /// will be written, its pages are brought into memory at this pace.
    pub(crate) fn open(
        &self,
        number: u64,
        file: File,
        len: u64,
        frontier: u64,
        populate: Option<&mut Pace<'_>>,
    ) -> io::Result<Arc<dyn LogDevice>> {
        let device: Arc<dyn LogDevice> = match self.kind {
            DeviceKind::Mapped => {
                if populate.is_some() {
                    allocate(&file, len)?;
                }
                let mapped = MappedDevice::new(&file, len, frontier)?;
                if let Some(pace) = populate {
                    warm(&file, frontier, len, pace);
                    mapped.populate();
                }
                Arc::new(mapped)
            }
            DeviceKind::Pwrite => Arc::new(PwriteDevice { file }),
        };
        Ok(match &self.wrap {
            Some(wrap) => wrap(number, device),
            None => device,
        })
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Devices").field(&self.kind).finish()
    }
}

#[derive(Debug)]
struct PwriteDevice {
    file: File,
}

impl LogDevice for PwriteDevice {
    fn write(&self, offset: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        let slices = [IoSlice::new(parts[0]), IoSlice::new(parts[1])];
        let written = loop {
            match rustix::io::pwritev(&self.file, &slices, offset) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        // The rest of a short write, which is rare: part by part.
        let mut at = 0;
        for part in parts {
            let done = written.saturating_sub(at).min(part.len());
            if done < part.len() {
                self.file
                    .write_all_at(&part[done..], offset + (at + done) as u64)?;
            }
            at += part.len();
        }
        Ok(())
    }

    fn sync(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.file.sync_data()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}
