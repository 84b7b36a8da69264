//! The installed PostgreSQL: where its programs are, and as whom they run.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where packages of Debian and its relatives put one folder for each version.
const PACKAGED: &str = "/usr/lib/postgresql";
/// What a pair needs.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_basebackup"];
/// Whom root runs them as, since they refuse root: the first of these that the system has.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// One folder of programs.
pub(crate) struct Programs {
    folder: PathBuf,
    user: Option<User>,
}

/// An unprivileged user of this system.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Programs {
    /// Looks where packages put them, where `pg_config` says, and along `PATH`.
    pub(crate) fn find() -> Result<Self> {
        let folder = candidates().into_iter().find(|folder| holds_all(folder));
        let Some(folder) = folder else {
            bail!("PostgreSQL's programs are not on this machine: apt-get install postgresql");
        };
        let user = match rustix::process::geteuid().is_root() {
            true => Some(User::unprivileged()?),
            false => None,
        };
        Ok(Self { folder, user })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whom they run as, if not as the user of this process.
    pub(super) const fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Makes a command run as that user, away from any settings of whoever called.
    pub(super) fn tame(&self, command: &mut Command) {
        let ours = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("PG") || name.starts_with("LC_") || name == "LANG"
        });
        for (name, _) in ours.collect::<Vec<_>>() {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").stdin(Stdio::null());
        // Ctrl-C on the terminal is for this process, which ends the others itself.
        command.process_group(0);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
    }
}

impl User {
    fn unprivileged() -> Result<Self> {
        let known = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        let found = USERS.iter().find_map(|name| Self::read(&known, name));
        found.context("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
    }

    /// From lines of `name:password:uid:gid:…`.
    fn read(passwd: &str, name: &str) -> Option<Self> {
        let mut fields = passwd
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
        fields.next()?;
        Some(Self {
            name: name.to_owned(),
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}

fn holds_all(folder: &Path) -> bool {
    NEEDED.iter().all(|name| folder.join(name).is_file())
}

/// Folders to look in, the best first.
fn candidates() -> Vec<PathBuf> {
    let mut packaged: Vec<PathBuf> = std::fs::read_dir(PACKAGED)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    // The newest first.
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    packaged.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let mut folders: Vec<PathBuf> = packaged.iter().map(|path| path.join("bin")).collect();
    let asked = Command::new("pg_config").arg("--bindir").output();
    if let Ok(output) = asked
        && output.status.success()
    {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104:,,,:/:\n";
        let user = User::read(passwd, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(User::read(passwd, "nobody").is_none());
        assert!(User::read("postgres:x:-1:0::", "postgres").is_none());
    }
}
