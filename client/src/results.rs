//! From runs of equal results, as they are sent, to one result an event.

use kanjo_format::client::ResultRun;
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use kanjo_format::result::{CreateAccountResult, CreateTransferResult};

/// The event was executed now.
pub(crate) const CREATED: u32 = u32::MAX;
/// An account of this id and content was opened before.
const ACCOUNT_EXISTS: u32 = 21;
/// A transfer of this id and content was posted before.
pub(crate) const TRANSFER_EXISTS: u32 = 46;

/// How one event of a create request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateResult {
    /// Number of the result, as TigerBeetle numbers them: accounts and transfers each have
    /// numbers of their own, so the same one may mean another thing there.
    pub result: u32,
    /// Nanoseconds: when it was created, when the existing one was; of any other result, when it
    /// was found out.
    pub timestamp: u64,
}

impl CreateResult {
    /// Executed by this very request.
    pub fn created(self) -> bool {
        self.result == CREATED
    }

    /// Of an account: one of this id and content was opened by an earlier request.
    pub fn account_exists(self) -> bool {
        self.result == ACCOUNT_EXISTS
    }

    /// Of a transfer: one of this id and content was posted by an earlier request.
    pub fn transfer_exists(self) -> bool {
        self.result == TRANSFER_EXISTS
    }

    /// Of an account: the result by name, if this version knows it.
    pub fn of_account(self) -> Option<CreateAccountResult> {
        CreateAccountResult::from_number(self.result)
    }

    /// Of a transfer: the result by name, if this version knows it.
    pub fn of_transfer(self) -> Option<CreateTransferResult> {
        CreateTransferResult::from_number(self.result)
    }
}

/// How one event of another request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventResult<R> {
    /// The result by name.
    pub result: R,
    /// Nanoseconds: when it was recorded, or found out.
    pub timestamp: u64,
}

/// Why runs do not describe a request's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("result runs cover {covered} events or more, the request has {events}")]
pub struct RunsError {
    /// Events covered up to where it no longer fits.
    pub covered: usize,
    /// Events of the request.
    pub events: usize,
}

/// One result an event. Created events are one nanosecond apart; all others share their run's
/// timestamp. Memory is bounded by `events`, whatever the runs say.
pub fn expand_runs(runs: &[ResultRun], events: usize) -> Result<Vec<CreateResult>, RunsError> {
    let mut results = Vec::with_capacity(events.min(REQUEST_EVENTS_MAX));
    for run in runs {
        let count = run.count.get() as usize;
        if count == 0 || count > events - results.len() {
            let covered = results.len() + count;
            return Err(RunsError { covered, events });
        }
        let (result, first) = (run.result.get(), run.timestamp.get());
        let step = u64::from(result == CREATED);
        results.extend((0..count as u64).map(|place| CreateResult {
            result,
            timestamp: first.wrapping_add(place * step),
        }));
    }
    if results.len() != events {
        let covered = results.len();
        return Err(RunsError { covered, events });
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(count: u32, result: u32, timestamp: u64) -> ResultRun {
        ResultRun {
            count: count.into(),
            result: result.into(),
            timestamp: timestamp.into(),
        }
    }

    #[test]
    fn created_events_are_a_nanosecond_apart_and_others_share_their_time() {
        let runs = [
            run(2, CREATED, 100),
            run(2, TRANSFER_EXISTS, 7),
            run(1, 21, 0),
        ];
        let results = expand_runs(&runs, 5).unwrap();
        let pairs: Vec<_> = results.iter().map(|r| (r.result, r.timestamp)).collect();
        let expected = [
            (CREATED, 100),
            (CREATED, 101),
            (TRANSFER_EXISTS, 7),
            (TRANSFER_EXISTS, 7),
            (21, 0),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn an_existing_account_and_an_existing_transfer_have_numbers_of_their_own() {
        let of = |result| CreateResult {
            result,
            timestamp: 1,
        };
        assert!(of(21).account_exists() && !of(21).transfer_exists());
        assert!(of(46).transfer_exists() && !of(46).account_exists());
        assert!(of(CREATED).created() && !of(0).created());
    }

    #[test]
    fn runs_that_do_not_cover_the_events_exactly_are_refused() {
        assert!(expand_runs(&[run(3, CREATED, 1)], 2).is_err());
        assert!(expand_runs(&[run(1, CREATED, 1)], 2).is_err());
        assert!(expand_runs(&[run(0, CREATED, 1), run(2, CREATED, 1)], 2).is_err());
        assert!(expand_runs(&[run(u32::MAX, CREATED, 1)], 2).is_err());
        assert_eq!(expand_runs(&[], 0), Ok(Vec::new()));
    }
}
