//! Identifiers and positions: one type each, so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares an ordered newtype over an integer with `new`, `get` and decimal display.
macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the bare integer.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The bare integer.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// Declares a newtype over `u128` that is shown as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Wraps the bare integer.
            pub const fn new(value: u128) -> Self {
                Self(value)
            }

            /// The bare integer.
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }
    };
}

integer_id!(
    /// Byte position in the log, padding included; in public APIs always a batch boundary.
    Lsn(u64)
);
integer_id!(
    /// Nanoseconds since the Unix epoch by the log's own clock, which never goes back.
    Timestamp(u64)
);
integer_id!(
    /// A client's identifier of an account. Zero and `u128::MAX` are not valid.
    AccountId(u128)
);
integer_id!(
    /// A client's identifier of a transfer. Zero and `u128::MAX` are not valid.
    TransferId(u128)
);
integer_id!(
    /// The dense number that an account gets when it is opened, from 0 upwards.
    AccountNumber(u32)
);
integer_id!(
    /// A currency: transfers move amounts between accounts of one ledger. Zero is not valid.
    LedgerId(u32)
);
integer_id!(
    /// A server of the cluster, as its operator numbered it.
    NodeId(u32)
);
random_id!(
    /// Random identity of a cluster; bytes of another cluster never verify.
    ClusterId
);
random_id!(
    /// Random identity of one formatted data directory; a wiped disk comes back as another.
    Incarnation
);
random_id!(
    /// Digest of all accounts at one lsn; equal on all nodes at the same lsn.
    Digest
);

impl Lsn {
    /// The first position of every log.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` further on. Panics on overflow, which only a bug can cause.
    pub const fn advance(self, bytes: u64) -> Self {
        match self.0.checked_add(bytes) {
            Some(value) => Self(value),
            None => panic!("lsn overflow"),
        }
    }

    /// Bytes from `earlier` to this position; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One of the two clouds. Its number decides which site terms it may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Opens only odd site terms; active in a fresh cluster.
    One,
    /// Opens only even site terms; auxiliary in a fresh cluster.
    Two,
}

impl Site {
    /// 1 or 2.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The other one of the two.
    pub const fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// The site of that number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// A write reign: `site_term << 32 | local_term`. Ordered; zero means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Before any epoch was opened.
    pub const NONE: Self = Self(0);

    /// Wraps the bare integer.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The epoch of these two terms.
    pub const fn from_terms(site_term: u32, local_term: u32) -> Self {
        Self((site_term as u64) << 32 | local_term as u64)
    }

    /// The bare integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Counts the moves of authority between sites.
    pub const fn site_term(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Counts the openings within one site term.
    pub const fn local_term(self) -> u32 {
        self.0 as u32
    }

    /// Whether a node of `site` may open this epoch.
    pub const fn may_be_opened_by(self, site: Site) -> bool {
        self.site_term() != 0 && self.site_term() % 2 == (site.number() % 2) as u32
    }

    /// The next epoch for a node of `site` that keeps the authority: same site term if it is
    /// that site's, else the site's next one. `None` when the terms are used up.
    pub const fn next_for(self, site: Site) -> Option<Self> {
        if self.may_be_opened_by(site) {
            match self.local_term().checked_add(1) {
                Some(local) => Some(Self::from_terms(self.site_term(), local)),
                None => None,
            }
        } else {
            self.next_site_term(site)
        }
    }

    /// The first epoch of the next site term that `site` may open.
    pub const fn next_site_term(self, site: Site) -> Option<Self> {
        let mut term = self.site_term();
        loop {
            term = match term.checked_add(1) {
                Some(next) => next,
                None => return None,
            };
            let epoch = Self::from_terms(term, 1);
            if epoch.may_be_opened_by(site) {
                return Some(epoch);
            }
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.site_term(), self.local_term())
    }
}

/// BLAKE3 over the previous chain value and a batch's header and payload.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Wraps the bare bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bare bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The chain value before the first batch of a cluster's log.
    pub fn genesis(cluster: ClusterId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("kanjo 2026 log chain genesis");
        hasher.update(&cluster.get().to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The chain value after a batch of these bytes.
    pub fn extend(&self, header: &[u8], payload: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(header);
        hasher.update(payload);
        Self(*hasher.finalize().as_bytes())
    }

    /// The first eight bytes in hexadecimal, for people to compare.
    pub fn short(&self) -> String {
        self.0[..8].iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.short())
    }
}

/// Where a log ends: the epoch of its last batch, the position behind it, the chain there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tail {
    /// Epoch of the last batch; [`Epoch::NONE`] for an empty log.
    pub epoch: Epoch,
    /// Position behind the last batch, its padding included.
    pub lsn: Lsn,
    /// Chain value there.
    pub chain: Chain,
}

impl Tail {
    /// The tail of a cluster's empty log.
    pub fn empty(cluster: ClusterId) -> Self {
        Self {
            epoch: Epoch::NONE,
            lsn: Lsn::ZERO,
            chain: Chain::genesis(cluster),
        }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(epoch {}, lsn {}, chain {})",
            self.epoch,
            self.lsn,
            self.chain.short()
        )
    }
}

/// Names one opening of an epoch: who opened it, and a random number of that one attempt.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OpeningId {
    /// The node that opens.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Drawn anew for each attempt.
    #[serde(with = "crate::json::hex128")]
    pub random: u128,
}

impl fmt::Display for OpeningId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} incarnation {} opening {:032x}",
            self.node, self.incarnation, self.random
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_opens_only_terms_of_its_own_parity() {
        assert!(Epoch::from_terms(1, 1).may_be_opened_by(Site::One));
        assert!(!Epoch::from_terms(1, 1).may_be_opened_by(Site::Two));
        assert!(!Epoch::NONE.may_be_opened_by(Site::Two));
        let first = Epoch::NONE.next_for(Site::One).unwrap();
        assert_eq!(first, Epoch::from_terms(1, 1));
        assert_eq!(first.next_for(Site::One).unwrap(), Epoch::from_terms(1, 2));
        assert_eq!(
            first.next_site_term(Site::Two).unwrap(),
            Epoch::from_terms(2, 1)
        );
        assert_eq!(
            first.next_site_term(Site::One).unwrap(),
            Epoch::from_terms(3, 1)
        );
    }

    #[test]
    fn epochs_run_out_with_none_rather_than_wrap() {
        assert_eq!(Epoch::from_terms(1, u32::MAX).next_for(Site::One), None);
        assert_eq!(
            Epoch::from_terms(u32::MAX, 1).next_site_term(Site::Two),
            None
        );
    }
}
