//! The fence certificate as a file beside the log, and what holds it to be true offline.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kanjo_format::control::Control;
use kanjo_group::register::FenceCertificate;

/// Folder of the data directory that keeps them.
const FENCES: &str = "fences";

/// A certificate that was read from a file.
#[derive(Clone, Debug)]
pub struct FenceFile {
    /// Where it stands.
    pub path: PathBuf,
    /// What it says.
    pub certificate: FenceCertificate,
}

/// Keeps a certificate in the data directory, durably, one file an epoch.
pub(crate) fn keep_fence(data_dir: &Path, certificate: &FenceCertificate) -> io::Result<PathBuf> {
    let folder = data_dir.join(FENCES);
    fs::create_dir_all(&folder)?;
    let epoch = certificate.opened;
    let path = folder.join(format!(
        "{:08}.{:08}.json",
        epoch.site_term(),
        epoch.local_term()
    ));
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    let mut text = serde_json::to_string_pretty(certificate).map_err(io::Error::other)?;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    // ORDER: the content is on disk before the name says that it is there.
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(&folder)?.sync_all()?;
    Ok(path)
}

impl FenceFile {
    /// Reads one certificate.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let certificate = serde_json::from_str(&text)
            .map_err(|error| io::Error::other(format!("not a fence certificate: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            certificate,
        })
    }

    /// All certificates of a data directory, oldest first.
    pub fn all(data_dir: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(data_dir.join(FENCES)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// What a control file says against the certificate: nothing if it bears it out.
    pub fn disputes(&self, control: &Control) -> Vec<String> {
        let mut found = Vec::new();
        let said = &self.certificate;
        if control.cluster != said.cluster {
            found.push(format!(
                "it is of cluster {}, the directory of {}",
                said.cluster, control.cluster
            ));
        }
        if said.opened <= said.fenced {
            found.push(format!(
                "epoch {} is said to fence {}, which is not lower",
                said.opened, said.fenced
            ));
        }
        let granted_here = said
            .grants
            .iter()
            .any(|grant| grant.member.incarnation == control.incarnation);
        let knows = granted_here || control.incarnation == said.opening.incarnation;
        if knows && control.granted_epoch < said.opened {
            found.push(format!(
                "this directory is said to refuse everything below epoch {}, but it granted only {}",
                said.opened, control.granted_epoch
            ));
        }
        for grant in &said.grants {
            if grant.tail.lsn > said.base.lsn && grant.tail.epoch == said.base.epoch {
                found.push(format!(
                    "node {} had more ({}) than the base ({}) when it granted",
                    grant.member.node, grant.tail, said.base
                ));
            }
        }
        found
    }
}
