//! What clients asked for and what became of it, counted by kind.

use std::sync::atomic::{AtomicU64, Ordering};

use kanjo_format::client::{FrameKind, Outcome};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};

/// One more than the highest number of a request's kind.
const KINDS: usize = FrameKind::ReadFeed as usize + 1;
/// Every outcome with its name.
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Done, "done"),
    (Outcome::Indeterminate, "indeterminate"),
    (Outcome::NotPrimary, "not_primary"),
    (Outcome::Fenced, "fenced"),
    (Outcome::Overloaded, "overloaded"),
    (Outcome::Malformed, "malformed"),
];

/// Answered requests by kind and outcome.
#[derive(Debug)]
pub(crate) struct RequestCounts([[AtomicU64; OUTCOMES.len()]; KINDS]);

impl Default for RequestCounts {
    fn default() -> Self {
        Self([const { [const { AtomicU64::new(0) }; OUTCOMES.len()] }; KINDS])
    }
}

impl RequestCounts {
    /// A request was answered.
    pub(crate) fn count(&self, kind: FrameKind, outcome: Outcome) {
        self.0[kind as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Kind, outcome and how many, of every combination there is.
    pub(crate) fn each(&self) -> impl Iterator<Item = (String, &'static str, u64)> {
        request_kinds().flat_map(|kind| {
            let counts = &self.0[kind as usize];
            let named = OUTCOMES.iter().zip(counts);
            let name = snake_case(kind);
            named.map(move |((_, outcome), n)| (name.clone(), *outcome, n.load(Ordering::Relaxed)))
        })
    }
}

fn request_kinds() -> impl Iterator<Item = FrameKind> {
    let numbers = FrameKind::CreateAccounts as u8..=FrameKind::ReadFeed as u8;
    numbers.filter_map(FrameKind::from_number)
}

/// `CreateTransfers` as `create_transfers`.
fn snake_case(kind: FrameKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Counters of one enum of results.
macro_rules! event_counts {
    ($($(#[$doc:meta])* $field:ident: $result:ident $name:literal,)*) => {
        /// Events by kind and result, as they were executed.
        #[derive(Debug)]
        pub(crate) struct EventCounts {
            $($(#[$doc])* $field: [AtomicU64; $result::ALL.len()],)*
        }

        impl Default for EventCounts {
            fn default() -> Self {
                Self { $($field: [const { AtomicU64::new(0) }; $result::ALL.len()],)* }
            }
        }

        impl EventCounts {
            /// Kind, result and how many, of every combination there is.
            pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                let none = std::iter::empty();
                $(let none = none.chain($result::ALL.iter().zip(&self.$field).map(
                    |(result, n)| ($name, result.name(), n.load(Ordering::Relaxed)),
                ));)*
                none
            }
        }
    };
}

event_counts! {
    /// Accounts to be opened.
    accounts: CreateAccountResult "create_account",
    /// Transfers to be posted.
    transfers: CreateTransferResult "create_transfer",
    /// Terms to be changed.
    changes: ChangeAccountResult "change_account",
    /// Business dates to be closed.
    days: CloseDayResult "close_day",
    /// Ids to be burned.
    burns: BurnResult "burn_id",
}

impl EventCounts {
    /// So many events of a request of this kind got the result of that number.
    pub(crate) fn count(&self, kind: FrameKind, result: u32, events: u32) {
        // Results are declared in the order of `ALL`, so a variant is its own index.
        let counter = match kind {
            FrameKind::CreateAccounts => {
                CreateAccountResult::from_number(result).map(|r| &self.accounts[r as usize])
            }
            FrameKind::CreateTransfers | FrameKind::CreateTransfersDetailed => {
                CreateTransferResult::from_number(result).map(|r| &self.transfers[r as usize])
            }
            FrameKind::ChangeAccounts => {
                ChangeAccountResult::from_number(result).map(|r| &self.changes[r as usize])
            }
            FrameKind::CloseDay => {
                CloseDayResult::from_number(result).map(|r| &self.days[r as usize])
            }
            FrameKind::BurnIds => BurnResult::from_number(result).map(|r| &self.burns[r as usize]),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(events.into(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_of_every_kind_is_counted_under_its_own_name() {
        let counts = EventCounts::default();
        for (index, result) in CreateTransferResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, index, "{result}");
            let events = index as u32 + 1;
            counts.count(FrameKind::CreateTransfers, result.number(), events);
            counts.count(FrameKind::CreateTransfersDetailed, result.number(), events);
        }
        for result in BurnResult::ALL {
            counts.count(FrameKind::BurnIds, result.number(), 7);
        }
        counts.count(FrameKind::CreateTransfers, 999_999, 5);
        counts.count(FrameKind::LookupAccounts, 1, 5);
        for (kind, result, n) in counts.each() {
            let expected = match kind {
                "create_transfer" => {
                    let all = CreateTransferResult::ALL.iter();
                    let index = all.map(|r| r.name()).position(|name| name == result);
                    2 * (index.unwrap() as u64 + 1)
                }
                "burn_id" => 7,
                _ => 0,
            };
            assert_eq!(n, expected, "{kind} {result}");
        }
    }

    #[test]
    fn every_outcome_of_every_request_is_counted_under_its_own_name() {
        let counts = RequestCounts::default();
        for kind in request_kinds() {
            for (index, (outcome, _)) in OUTCOMES.iter().enumerate() {
                assert_eq!(*outcome as usize, index);
                counts.count(kind, *outcome);
            }
        }
        counts.count(FrameKind::CreateTransfers, Outcome::Overloaded);
        let all: Vec<_> = counts.each().collect();
        assert_eq!(all.len(), (KINDS - 3) * OUTCOMES.len());
        let twice: Vec<_> = all.iter().filter(|(_, _, n)| *n == 2).collect();
        assert_eq!(twice, [&("create_transfers".to_owned(), "overloaded", 2)]);
        assert!(all.iter().all(|(_, _, n)| *n >= 1));
    }
}
