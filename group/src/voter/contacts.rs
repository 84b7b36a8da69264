//! When each voter was last heard of, on whichever connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::register::SetMember;

/// Longer than anybody asks back.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The voters that this one hears.
#[derive(Debug, Default)]
pub(crate) struct Contacts(Mutex<BTreeMap<SetMember, Instant>>);

impl Contacts {
    pub(crate) fn hear(&self, voter: SetMember) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Directories that are no more do not stay for ever.
        heard.retain(|_, at| at.elapsed() < FORGOTTEN);
        heard.insert(voter, Instant::now());
    }

    /// Whether something came from it within that time.
    pub(crate) fn heard_within(&self, voter: SetMember, time: Duration) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&voter).is_some_and(|at| at.elapsed() <= time)
    }
}
