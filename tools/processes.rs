//! What running processes use, as the kernel counts it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Resident memory of these processes and of all below them. Pages that several of them share
/// count once (proportional set size), so that a pool of shared buffers is not counted with each
/// of its users.
pub(crate) fn resident_bytes(roots: &[u32]) -> Result<u64> {
    let mut bytes = 0;
    for pid in with_descendants(roots, &parents()?) {
        let path = format!("/proc/{pid}/smaps_rollup");
        match std::fs::read_to_string(&path) {
            Ok(text) => bytes += proportional_bytes(&text).with_context(|| path.clone())?,
            // Ended meanwhile, or has no memory of its own.
            Err(_) if !roots.contains(&pid) => {}
            Err(error) => return Err(error).context(path),
        }
    }
    Ok(bytes)
}

/// Parent of each process.
fn parents() -> Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("listing /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may end at any time.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; after it come the state and the parent.
        let numbers = stat.rsplit(')').next().unwrap_or_default();
        let parent = numbers.split_ascii_whitespace().nth(1);
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

fn with_descendants(roots: &[u32], parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut all = roots.to_vec();
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let children = parents.iter().filter(|&(_, parent)| *parent == pid);
        let new = children.map(|(child, _)| *child);
        let new: Vec<u32> = new.filter(|child| !all.contains(child)).collect();
        all.extend(new);
    }
    all
}

/// From lines as `Pss:   1234 kB`.
fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_with_all_below_it() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 6)]);
        assert_eq!(with_descendants(&[2], &parents), [2, 3, 4]);
        assert_eq!(with_descendants(&[5, 6], &parents), [5, 6]);
    }

    #[test]
    fn memory_of_this_process_is_counted() {
        let held = std::hint::black_box(vec![1_u8; 32 << 20]);
        let bytes = resident_bytes(&[std::process::id()]).unwrap();
        assert!(bytes > held.len() as u64, "{bytes}");
        assert!(parents().unwrap().contains_key(&std::process::id()));
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        assert_eq!(
            proportional_bytes("Rss: 9 kB\nPss:     12 kB\n"),
            Some(12 << 10)
        );
        assert_eq!(proportional_bytes("Rss: 9 kB\n"), None);
    }
}
