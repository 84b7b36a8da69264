//! Lookups by id, what became of an id, and how an id is made to fail for ever.

use kanjo_format::client::{AccountBody, TransferBody};
use kanjo_format::result::{BurnResult, CreateTransferResult};

use super::Model;

/// What is known of a transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There is such a transfer, created at that time.
    Committed(u64),
    /// It failed for ever, for that reason.
    Rejected(CreateTransferResult),
    Unknown,
}

impl Model {
    pub(crate) fn lookup_accounts(&self, ids: &[u128]) -> Vec<AccountBody> {
        let found = ids.iter().filter_map(|id| self.account(*id));
        found.map(|account| account.body()).collect()
    }

    pub(crate) fn lookup_transfers(&self, ids: &[u128]) -> Vec<TransferBody> {
        let found = ids.iter().filter_map(|id| self.transfer(*id));
        found.map(|transfer| transfer.body()).collect()
    }

    pub(crate) fn fate(&self, id: u128) -> Fate {
        match id {
            0 => return Fate::Rejected(CreateTransferResult::IdMustNotBeZero),
            u128::MAX => return Fate::Rejected(CreateTransferResult::IdMustNotBeIntMax),
            _ => {}
        }
        if let Some(transfer) = self.transfer(id) {
            return Fate::Committed(transfer.timestamp);
        }
        self.failed
            .get(&id)
            .map_or(Fate::Unknown, |why| Fate::Rejected(*why))
    }

    pub(crate) fn burn(&mut self, id: u128) -> (BurnResult, u64) {
        use BurnResult as R;
        if id == 0 {
            return (R::IdMustNotBeZero, self.now());
        }
        if id == u128::MAX {
            return (R::IdMustNotBeIntMax, self.now());
        }
        match self.fate(id) {
            Fate::Committed(timestamp) => (R::Exists, timestamp),
            Fate::Rejected(_) => (R::AlreadyFailed, self.now()),
            Fate::Unknown => {
                let logged = self.fail_for_ever(id, CreateTransferResult::Burned);
                (R::Burned, logged)
            }
        }
    }
}
