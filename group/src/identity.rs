//! Who a witness's directory is. A server's says so in its control file; a witness has none.
//!
//! ```text
//! identity = "KNJI 1 crc=… bytes=…\n" and {cluster, site, node, incarnation}
//! ```

use std::fs;
use std::io;
use std::path::Path;

use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use serde::{Deserialize, Serialize};

use crate::GroupError;
use crate::disk::{Form, sync_dir, write_synced};

const FORM: Form = Form {
    magic: "KNJI",
    version: 1,
    bytes_max: 4096,
};
const NAME: &str = "identity";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    cluster: ClusterId,
    /// None of a third site's witness.
    site: Option<Site>,
    node: NodeId,
    incarnation: Incarnation,
}

/// The incarnation of a witness's directory: drawn when the directory is used for the first time,
/// and never again. A directory of another witness is refused.
pub fn witness_incarnation(
    dir: &Path,
    cluster: ClusterId,
    site: Option<Site>,
    node: NodeId,
) -> Result<Incarnation, GroupError> {
    let file = dir.join(NAME);
    if FORM.read(&file)?.is_none() {
        let incarnation = draw()?;
        make(
            dir,
            &Identity {
                cluster,
                site,
                node,
                incarnation,
            },
        )?;
    }
    // Also what was just made is read: another process may have been faster.
    let bytes = FORM.read(&file)?.unwrap_or_default();
    let found: Identity = FORM.decode(&file, &bytes)?;
    let pairs = [
        ("cluster", found.cluster.to_string(), cluster.to_string()),
        ("site", shown(found.site), shown(site)),
        ("node", found.node.to_string(), node.to_string()),
    ];
    for (field, found, expected) in pairs {
        if found != expected {
            return Err(GroupError::Foreign {
                file,
                field,
                found,
                expected,
            });
        }
    }
    Ok(found.incarnation)
}

fn shown(site: Option<Site>) -> String {
    site.map_or_else(|| "a third one".to_owned(), |site| site.to_string())
}

fn make(dir: &Path, identity: &Identity) -> Result<(), GroupError> {
    fs::create_dir_all(dir).map_err(GroupError::io(dir, "create the directory"))?;
    // What an interrupted start can leave, and what a fresh file system has by itself.
    let temporary = format!("{NAME}.{}.tmp", std::process::id());
    let entries = fs::read_dir(dir).map_err(GroupError::io(dir, "list the directory"))?;
    for entry in entries {
        let entry = entry.map_err(GroupError::io(dir, "list the directory"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "lost+found" && !name.ends_with(".tmp") && name != NAME {
            let path = dir.display();
            return Err(GroupError::Setup {
                why: format!(
                    "{path} holds {name:?} but no {NAME:?}: a witness begins in an empty directory; nothing was changed"
                ),
            });
        }
    }
    let (temporary, file) = (dir.join(temporary), dir.join(NAME));
    // ORDER: content before name, name before the folder, the folder before anybody is told.
    write_synced(&temporary, &FORM.encode(identity))?;
    match fs::hard_link(&temporary, &file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(GroupError::io(&file, "name the file")(error));
        }
        _ => {}
    }
    fs::remove_file(&temporary).map_err(GroupError::io(&temporary, "remove the file"))?;
    sync_dir(dir)?;
    match dir.canonicalize().ok().as_deref().and_then(Path::parent) {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// A random number that is not zero, which stands for "none".
pub(crate) fn draw() -> Result<Incarnation, GroupError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| GroupError::Setup {
        why: format!("the system gives no random bytes: {error}"),
    })?;
    Ok(Incarnation::new(u128::from_le_bytes(random).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_incarnation_and_refuses_to_be_another_witness() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let (cluster, node) = (ClusterId::new(5), NodeId::new(9));
        let site = Some(Site::One);
        let first = witness_incarnation(&path, cluster, site, node).unwrap();
        let again = witness_incarnation(&path, cluster, site, node).unwrap();
        assert_eq!(first, again);
        for (cluster, site, node) in [
            (ClusterId::new(6), site, node),
            (cluster, Some(Site::Two), node),
            (cluster, None, node),
            (cluster, site, NodeId::new(8)),
        ] {
            let refused = witness_incarnation(&path, cluster, site, node);
            assert!(matches!(refused, Err(GroupError::Foreign { .. })));
        }
        let mut bytes = fs::read(path.join(NAME)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path.join(NAME), bytes).unwrap();
        let damaged = witness_incarnation(&path, cluster, site, node);
        assert!(matches!(damaged, Err(GroupError::Damaged { .. })));
    }

    #[test]
    fn a_directory_that_holds_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ledger"), "1").unwrap();
        let node = NodeId::new(9);
        let refused = witness_incarnation(dir.path(), ClusterId::new(5), Some(Site::One), node);
        assert!(matches!(refused, Err(GroupError::Setup { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
