//! What a recorded operation may change of an account.

/// Overdraft limit and freeze.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Zero where there is no limit.
    overdraft: u128,
    /// When they last changed, in nanoseconds; 0: never.
    pub(crate) changed: u64,
    has_overdraft: bool,
    /// See `client::Freeze`.
    pub(crate) freeze: u8,
}

impl Terms {
    pub(crate) fn new(overdraft_limit: Option<u128>, freeze: u8, changed: u64) -> Self {
        Self {
            overdraft: overdraft_limit.unwrap_or(0),
            changed,
            has_overdraft: overdraft_limit.is_some(),
            freeze,
        }
    }

    pub(crate) fn overdraft_limit(&self) -> Option<u128> {
        self.has_overdraft.then_some(self.overdraft)
    }
}
