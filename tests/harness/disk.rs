//! A small file system of its own, ballast that fills one, and a hand that holds it still.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::program::said;

/// Holds a file system until its input ends, which it does with the test, however that ends: what
/// is blocked in a held file system cannot even be killed.
const HOLD: &str =
    r#"trap "" INT; fsfreeze --freeze "$1" && echo held && read -r _; fsfreeze --unfreeze "$1""#;

/// An ext4 file system in a file, mounted through a loop device; unmounted on drop.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    image: PathBuf,
    mount: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` mebibytes, or says why that cannot be done here.
    pub(crate) fn mount(mib: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a small file system needs root".to_owned());
        }
        let name = format!(
            "small-disk-{}-{:x}",
            std::process::id(),
            getrandom::u64().unwrap_or(0)
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (image, mount) = (folder.join(format!("{name}.img")), folder.join(name));
        let disk = Self { image, mount };
        std::fs::create_dir(&disk.mount).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&disk.image).map_err(|error| error.to_string())?;
        file.set_len(mib << 20).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(&disk.image))?;
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Result<(), String> {
        // No commit of the journal by time: only a sync brings anything to the image.
        let options = ["-o", "loop,commit=300"];
        let mut mount = Command::new("mount");
        run(mount.args(options).arg(&self.image).arg(&self.mount))
    }

    /// As if the power had failed: what was not synced is gone. Every process on it must have
    /// been killed just now, so that nothing writes while the image is taken.
    pub(crate) fn cut_power(&self) {
        let cut = self.image.with_extension("cut");
        std::fs::copy(&self.image, &cut).expect("the image can be copied");
        // This writes all the rest, into the image that is thrown away.
        run(Command::new("umount").arg(&self.mount)).expect("nobody uses it");
        std::fs::rename(&cut, &self.image).expect("an image can be renamed");
        self.attach().expect("it could be mounted before");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mount).expect("a mounted file system has a state");
        stat.f_bavail * stat.f_frsize
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Fills the file system until no more than `left` bytes are free.
    pub(crate) fn fill(&self, left: u64) {
        let opened = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.ballast());
        let mut file = opened.expect("ballast can be made");
        let block = vec![0x5a; 4096];
        while self.free_bytes() > left {
            match std::io::Write::write_all(&mut file, &block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
                Err(error) => panic!("ballast: {error}"),
            }
        }
    }

    /// As if the disk had stopped to answer: whoever writes waits until this is dropped.
    pub(crate) fn hold(&self) -> Held {
        let spawned = Command::new("sh")
            .args(["-c", HOLD, "sh"])
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut held = Held(spawned.expect("a shell can be run"));
        let told = held.0.stdout.as_mut().expect("it is piped");
        let read = told.read_exact(&mut [0; "held\n".len()]);
        read.expect("fsfreeze says that it is held");
        held
    }

    /// Takes the ballast away.
    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.ballast()).expect("ballast can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a killed process may not have let go yet. What was not mounted fails alone.
        let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        let _ = std::fs::remove_dir(&self.mount);
        let _ = std::fs::remove_file(&self.image);
    }
}

/// A file system to which nothing is written until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let ended = self.0.wait().expect("a child can be waited for");
        if !std::thread::panicking() {
            assert!(ended.success(), "it cannot be released: {ended}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", said(&output).trim())),
    }
}
