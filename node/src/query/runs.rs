//! The indexed part of the past: posting lists and bases of the runs, asked for by place.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;

use kanjo_engine::query::{Balances, Key, PastError};
use kanjo_format::{AccountNumber, Lsn, RecordAt, Timestamp, TransferId};
use kanjo_index::{Direction, Postings, RunError, RunKey, RunSet};

use crate::indexing::set_aside;

/// Ways through posting lists that are kept, so that each goes on where it was.
const WAYS_MAX: usize = 64;
/// Records that are passed over one by one before a way is begun anew further on.
const STEPS_MAX: usize = 64;

/// The runs that a query reads.
#[derive(Default)]
pub(super) struct Runs {
    set: Option<Arc<RunSet>>,
    /// Whose turn it is.
    job: u64,
    ways: VecDeque<Way>,
}

/// A way through one list.
struct Way {
    job: u64,
    key: Key,
    direction: Direction,
    end: Lsn,
    postings: Peekable<Postings>,
    /// The last place that was asked for: it only goes on from there.
    asked: RecordAt,
}

impl Runs {
    /// The runs of a job.
    pub(super) fn show(&mut self, set: Arc<RunSet>, job: u64) {
        (self.set, self.job) = (Some(set), job);
    }

    pub(super) fn end(&self) -> Lsn {
        self.set.as_ref().map_or(Lsn::ZERO, |set| set.end())
    }

    pub(super) fn length(&self, key: Key) -> u64 {
        let bytes = |set: &Arc<RunSet>| run_key(key).map(|key| set.list_bytes(key));
        self.set.as_ref().and_then(bytes).unwrap_or(0)
    }

    pub(super) fn seek(&mut self, key: Key, from: RecordAt) -> Result<Option<RecordAt>, PastError> {
        self.go(key, from, Direction::Forwards)
    }

    pub(super) fn seek_back(
        &mut self,
        key: Key,
        before: RecordAt,
    ) -> Result<Option<RecordAt>, PastError> {
        self.go(key, before, Direction::Backwards)
    }

    fn go(
        &mut self,
        key: Key,
        asked: RecordAt,
        direction: Direction,
    ) -> Result<Option<RecordAt>, PastError> {
        let Some(set) = &self.set else {
            return Ok(None);
        };
        let Some(run_key) = run_key(key) else {
            return Ok(None);
        };
        let is_past = |at: RecordAt, asked: RecordAt| match direction {
            Direction::Forwards => at < asked,
            Direction::Backwards => at >= asked,
        };
        let begin = || Way {
            job: self.job,
            key,
            direction,
            end: set.end(),
            postings: set
                .postings(run_key, range(direction, asked), direction)
                .peekable(),
            asked,
        };
        let is_same = |way: &Way| {
            let goes_on = match direction {
                Direction::Forwards => way.asked <= asked,
                Direction::Backwards => asked <= way.asked,
            };
            way.job == self.job
                && way.key == key
                && way.direction == direction
                && way.end == set.end()
                && goes_on
        };
        let known = self.ways.iter().position(is_same);
        let mut way = known
            .and_then(|n| self.ways.remove(n))
            .unwrap_or_else(begin);
        way.asked = asked;
        let mut steps = 0;
        let found = loop {
            match way.postings.peek() {
                None => break None,
                Some(Err(error)) => return Err(unreadable(asked.lsn(), error)),
                Some(Ok(posting)) if is_past(posting.at, asked) && steps >= STEPS_MAX => {
                    way = begin();
                    steps = 0;
                }
                Some(Ok(posting)) => {
                    let role_fits = match key {
                        Key::Debits(_) => posting.role.is_none_or(|role| !role.is_credit()),
                        Key::Credits(_) => posting.role.is_none_or(|role| role.is_credit()),
                        _ => true,
                    };
                    if !is_past(posting.at, asked) && role_fits {
                        break Some(posting.at);
                    }
                    steps += usize::from(is_past(posting.at, asked));
                    way.postings.next();
                }
            }
        };
        self.ways.truncate(WAYS_MAX - 1);
        self.ways.push_front(way);
        Ok(found)
    }

    pub(super) fn base(
        &self,
        account: AccountNumber,
        before: RecordAt,
    ) -> Result<(RecordAt, Balances), PastError> {
        let Some(set) = &self.set else {
            return Ok((RecordAt::MIN, Balances::default()));
        };
        let base = set.base(account, before);
        let base = base.map_err(|error| unreadable(before.lsn(), &error))?;
        let balances = Balances {
            debits_pending: base.sums.debits_pending,
            debits_posted: base.sums.debits_posted,
            credits_pending: base.sums.credits_pending,
            credits_posted: base.sums.credits_posted,
        };
        Ok((base.from, balances))
    }

    /// Everything that is earlier stands in front of it.
    pub(super) fn start_of_time(&self, timestamp: u64) -> Result<Lsn, PastError> {
        let Some(set) = &self.set else {
            return Ok(Lsn::ZERO);
        };
        let place = set.seek_time(Timestamp::new(timestamp));
        let place = place.map_err(|error| unreadable(Lsn::ZERO, &error))?;
        Ok(place.lsn())
    }

    /// Places at which the transfer of that id may stand.
    pub(super) fn find(&self, id: TransferId) -> Result<Vec<RecordAt>, PastError> {
        match &self.set {
            None => Ok(Vec::new()),
            Some(set) => set.find(id).map_err(|error| unreadable(Lsn::ZERO, &error)),
        }
    }
}

pub(super) fn run_key(key: Key) -> Option<RunKey> {
    Some(match key {
        Key::Account(account) | Key::Debits(account) | Key::Credits(account) => {
            RunKey::Account(account)
        }
        Key::UserData128(value) => RunKey::UserData128(value),
        Key::UserData64(value) => RunKey::UserData64(value),
        Key::UserData32(value) => RunKey::UserData32(value),
        Key::Ledger(ledger) => RunKey::Ledger(ledger),
        Key::Code(code) => RunKey::Code(code),
        Key::Dated => return None,
    })
}

fn range(direction: Direction, asked: RecordAt) -> std::ops::Range<RecordAt> {
    match direction {
        Direction::Forwards => asked..RecordAt::MAX,
        Direction::Backwards => RecordAt::MIN..asked,
    }
}

fn unreadable(lsn: Lsn, error: &RunError) -> PastError {
    set_aside(error);
    PastError::Unreadable {
        lsn,
        reason: error.to_string(),
    }
}
