//! Going through movements in order, forwards or backwards: by posting lists as far as they
//! reach, through every batch where they do not.

use kanjo_format::columns::{PayloadError, find_row};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::movement::{self, Expired, Movement, Transfer, each_movement, record_time};
use kanjo_format::record::{ExpiredRow, RecordKind};
use kanjo_format::{AccountNumber, BatchHeader, Lsn, RecordAt};

use super::past::{BATCH_COST, Budget, Key, Past, PastError, batch_at, behind, start_of};

/// A movement that queries are about, with when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transfer.
    Transfer(Transfer),
    /// A pending transfer expired.
    Expired(Expired, u64),
}

impl Event {
    /// When it happened, in nanoseconds; of an imported transfer what it says.
    pub fn timestamp(&self) -> u64 {
        match self {
            Self::Transfer(transfer) => transfer.timestamp.get(),
            Self::Expired(_, timestamp) => *timestamp,
        }
    }

    /// Its debit and credit account.
    pub fn accounts(&self) -> (AccountNumber, AccountNumber) {
        match self {
            Self::Transfer(transfer) => (transfer.debit, transfer.credit),
            Self::Expired(expired, _) => (expired.debit, expired.credit),
        }
    }

    /// Whether it is about that account.
    pub fn touches(&self, account: AccountNumber) -> bool {
        let (debit, credit) = self.accounts();
        debit == account || credit == account
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A movement that may be meant: posting lists and batches tell no less than is asked for.
    Event(RecordAt, Event),
    /// The budget is spent; to be continued.
    Pause,
    /// There is no more.
    End,
}

/// A list that is so many times as long as the shortest one is not gone through beside it: to
/// look at what the short one names costs less.
const LENGTH_RATIO_MAX: u64 = 16;

/// Which posting lists a place must be in: in all of them.
pub(super) type Plan = Vec<Key>;

/// A way through part of the log.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    plan: Plan,
    /// How far the posting lists of the plan reach, once that was asked for.
    listed: Option<RecordAt>,
    reversed: bool,
    /// What is left is at or behind this place …
    from: RecordAt,
    /// … and in front of this one.
    to: RecordAt,
    /// Of a batch that was looked through, what was not given yet; the next one is the last.
    loaded: Vec<(RecordAt, Event)>,
    /// Where it goes on behind what is loaded.
    then: Option<RecordAt>,
}

impl Walk {
    pub(super) fn new(plan: Plan, reversed: bool, from: RecordAt, to: RecordAt) -> Self {
        Self {
            plan,
            listed: None,
            reversed,
            from,
            to,
            loaded: Vec::new(),
            then: None,
        }
    }

    /// Whether nothing is left, as far as that is known without looking.
    pub(super) fn is_over(&self) -> bool {
        self.loaded.is_empty() && self.then.is_none() && self.from >= self.to
    }

    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Step, PastError> {
        loop {
            if budget.is_spent() && !self.is_over() {
                return Ok(Step::Pause);
            }
            if let Some((at, event)) = self.loaded.pop() {
                budget.spend(1);
                self.passed(at);
                return Ok(Step::Event(at, event));
            }
            if let Some(place) = self.then.take() {
                match self.reversed {
                    false => self.from = place,
                    true => self.to = place,
                }
            }
            if self.from >= self.to {
                return Ok(Step::End);
            }
            let listed = self.listed_to(past);
            let by_lists = match self.reversed {
                false => self.from < listed,
                true => self.to <= listed,
            };
            if !by_lists {
                self.load(past, budget, listed)?;
                continue;
            }
            let found = match self.reversed {
                false => self.find(past, budget, listed.min(self.to))?,
                true => self.find_back(past, budget)?,
            };
            let Some(at) = found else { continue };
            budget.spend(1 + BATCH_COST / 4);
            self.passed(at);
            let batch = batch_at(past, at)?;
            let event = event_at(&batch.header, batch.payload.as_ref(), at)?;
            return Ok(Step::Event(at, event));
        }
    }

    fn passed(&mut self, at: RecordAt) {
        match self.reversed {
            false => self.from = behind(at),
            true => self.to = at,
        }
    }

    /// How far posting lists are gone through. A list that does not exist is left out: posting
    /// lists narrow down what is looked at, and decide nothing.
    fn listed_to<P: Past>(&mut self, past: &P) -> RecordAt {
        if let Some(listed) = self.listed {
            return listed;
        }
        self.plan.retain(|key| past.is_indexed(*key));
        self.plan.sort_by_key(|key| past.length(*key));
        if let Some(shortest) = self.plan.first().map(|key| past.length(*key)) {
            let limit = shortest.saturating_mul(LENGTH_RATIO_MAX);
            self.plan.retain(|key| past.length(*key) <= limit);
        }
        let listed = match self.plan.is_empty() {
            true => RecordAt::MIN,
            false => start_of(past.indexed_to()),
        };
        *self.listed.insert(listed)
    }

    /// The next place in front of `end` that is in all lists. `None`: none, or
    /// the budget is spent; where it goes on is noted.
    fn find<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
        end: RecordAt,
    ) -> Result<Option<RecordAt>, PastError> {
        let (mut at, mut agreed) = (self.from, 0);
        for (tries, key) in (1..).zip(self.plan.iter().cycle()) {
            let first = past.seek(*key, at)?;
            budget.spend(1);
            let Some(first) = first.filter(|first| *first < end) else {
                self.from = end;
                return Ok(None);
            };
            agreed = if first == at { agreed + 1 } else { 1 };
            at = first;
            if agreed >= self.plan.len() {
                break;
            }
            // Each list was asked once: if they do not agree, there was a step forward.
            if budget.is_spent() && tries >= self.plan.len() {
                self.from = at;
                return Ok(None);
            }
        }
        Ok(Some(at))
    }

    /// The same backwards, from `self.to` on.
    fn find_back<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<RecordAt>, PastError> {
        let (mut at, mut agreed) = (None, 0);
        for (tries, key) in (1..).zip(self.plan.iter().cycle()) {
            let last = past.seek_back(*key, at.map_or(self.to, behind))?;
            budget.spend(1);
            let Some(found) = last.filter(|last| *last >= self.from) else {
                self.to = self.from;
                return Ok(None);
            };
            agreed = if last == at { agreed + 1 } else { 1 };
            at = last;
            if agreed >= self.plan.len() {
                break;
            }
            if budget.is_spent() && tries > self.plan.len() {
                self.to = behind(found);
                return Ok(None);
            }
        }
        Ok(at)
    }

    /// Looks through the next batch that no posting list reaches.
    fn load<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
        listed: RecordAt,
    ) -> Result<(), PastError> {
        let batch = match self.reversed {
            false => past.batch_from(self.from.lsn())?,
            true => past.batch_before(page_behind(self.to))?,
        };
        let Some(batch) = batch else {
            self.from = self.to;
            return Ok(());
        };
        budget.spend(BATCH_COST);
        let lsn = batch.header.lsn();
        if start_of(lsn) >= self.to {
            self.from = self.to;
            return Ok(());
        }
        let floor = self
            .from
            .max(if self.reversed { listed } else { RecordAt::MIN });
        let (from, to) = (floor, self.to);
        let loaded = &mut self.loaded;
        each_movement(&batch.header, batch.payload.as_ref(), |at, movement| {
            if from <= at && at < to {
                match movement {
                    Movement::Transfer(transfer) => loaded.push((at, Event::Transfer(transfer))),
                    Movement::Expired(expired) => {
                        let time = record_time(&batch.header, at.index());
                        loaded.push((at, Event::Expired(expired, time.get())));
                    }
                    Movement::Failed(_) => {}
                }
            }
            Ok::<_, PayloadError>(())
        })
        .map_err(|source| PastError::Payload { lsn, source })?;
        self.then = Some(match self.reversed {
            false => start_of(batch.end),
            true => start_of(lsn).max(floor),
        });
        if !self.reversed {
            self.loaded.reverse();
        }
        Ok(())
    }
}

/// The first page behind every batch that has records in front of `place`.
fn page_behind(place: RecordAt) -> Lsn {
    match place.index() {
        0 => place.lsn(),
        _ => place.lsn().advance(PAGE_BYTES),
    }
}

/// The movement at a place that a posting list names.
fn event_at(header: &BatchHeader, payload: &[u8], at: RecordAt) -> Result<Event, PastError> {
    let lsn = at.lsn();
    let bad = |source| PastError::Payload { lsn, source };
    if let Some(transfer) = movement::transfer_at(header, payload, at.index()).map_err(bad)? {
        return Ok(Event::Transfer(transfer));
    }
    let count = header.record_count();
    let row: Option<ExpiredRow> =
        find_row(payload, count, RecordKind::PendingExpired, at.index()).map_err(bad)?;
    let row = row.ok_or(PastError::Misplaced { at })?;
    let expired = movement::expired(&row).map_err(bad)?;
    let time = record_time(header, at.index());
    Ok(Event::Expired(expired, time.get()))
}
