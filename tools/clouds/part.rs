//! The parts of two clouds, by the numbers that the cluster file has for them.

use std::fmt;

use kanjo_format::Site;

/// A server or a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part(u32);

/// Two servers in each site.
pub(crate) const SERVERS: [Part; 4] = [Part(1), Part(2), Part(3), Part(4)];
/// One quorum device in each site.
pub(super) const WITNESSES: [Part; 2] = [Part(11), Part(12)];
/// In a third site, where there is one.
pub(crate) const THIRD_WITNESS: Part = Part(21);
/// Every process of the two sites, in the order in which all are started.
pub(super) const PARTS: [Part; 6] = [Part(11), Part(12), Part(3), Part(4), Part(1), Part(2)];

impl Part {
    /// The number that it was formatted with.
    pub(crate) const fn node(self) -> u32 {
        self.0
    }

    /// The part of that number.
    pub(crate) fn of_node(node: u32) -> Option<Self> {
        PARTS.into_iter().find(|part| part.0 == node)
    }

    /// Its cloud; the third witness is in neither.
    pub(crate) const fn site(self) -> Site {
        match self.0 {
            1 | 2 | 11 => Site::One,
            _ => Site::Two,
        }
    }

    /// Whether it votes only.
    pub(super) const fn is_witness(self) -> bool {
        self.0 > 10
    }

    /// What its directory and files are called.
    pub(super) fn name(self) -> String {
        match self.is_witness() {
            true => format!("witness-{}", self.0),
            false => format!("node-{}", self.0),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_witness() {
            true => write!(f, "witness {}", self.0),
            false => write!(f, "node {}", self.0),
        }
    }
}

/// Servers and witness of a site.
pub(crate) const fn parts_of(site: Site) -> [Part; 3] {
    match site {
        Site::One => [SERVERS[0], SERVERS[1], WITNESSES[0]],
        Site::Two => [SERVERS[2], SERVERS[3], WITNESSES[1]],
    }
}

/// The witness of a site.
pub(crate) const fn witness_of(site: Site) -> Part {
    parts_of(site)[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_one_site_and_started_once() {
        let mut started = PARTS.to_vec();
        started.sort();
        let mut known: Vec<Part> = SERVERS.into_iter().chain(WITNESSES).collect();
        known.sort();
        assert_eq!(started, known);
        for site in [Site::One, Site::Two] {
            assert!(parts_of(site).iter().all(|part| part.site() == site));
            assert!(witness_of(site).is_witness());
        }
        assert_eq!(Part::of_node(99), None);
    }
}
