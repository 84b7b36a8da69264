//! Balances of the past: one after each transfer of a filter, or one at each moment asked for.

use kanjo_format::RecordAt;
use kanjo_format::client::Span;

use super::balances::{Balances, BalancesAt, Effect, Present, Running};
use super::calendar::Calendar;
use super::extent::{Extent, Opening};
use super::past::{Budget, Key, Past, PastError};
use super::times::opened_place;
use super::transfers::Filter;
use super::walk::{Event, Step, Walk};
use super::{PAGE_WORK, Work};

/// Balances at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceThen {
    /// The balances.
    pub balances: Balances,
    /// Of the transfer, or of the last movement up to the moment; 0 for none.
    pub timestamp: u64,
}

/// One page of an account's balances after each transfer of a filter.
///
/// An expiry makes no balance of its own, but all later ones show it.
#[derive(Clone, Debug)]
pub struct BalanceQuery {
    filter: Filter,
    account: Present,
    rows_max: usize,
    state: State,
    found: Vec<BalanceThen>,
    work: Work,
}

#[derive(Clone, Debug)]
enum State {
    Located,
    Opening(Box<(BalancesAt, Walk)>),
    Rows(Box<Walk>, Running),
}

impl BalanceQuery {
    /// A page of at most `rows_max` balances of the account that the filter names.
    pub fn new(filter: Filter, account: Present, rows_max: usize) -> Self {
        Self {
            rows_max: filter.limit.min(rows_max),
            filter,
            account,
            state: State::Located,
            found: Vec::new(),
            work: Work::default(),
        }
    }

    /// As of transfers.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        loop {
            match &mut self.state {
                State::Located => {
                    let (from, to) = self.filter.places(past)?;
                    let opened_at = opened_place(past, self.account.opened)?;
                    let plan = vec![Key::Account(self.account.number)];
                    let reversed = self.filter.reversed;
                    let walk = Walk::new(plan, reversed, from.max(opened_at), to);
                    let place = if reversed { to } else { from.max(opened_at) };
                    let opening = BalancesAt::begin(past, &self.account, opened_at, place)?;
                    self.state = State::Opening(Box::new((opening, walk)));
                }
                State::Opening(opening) => {
                    let Some(balances) = opening.0.step(past, budget)? else {
                        return Ok(None);
                    };
                    self.state = State::Rows(Box::new(opening.1.clone()), balances);
                }
                State::Rows(..) => return self.go_on(past, budget),
            }
        }
    }

    fn go_on<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        let State::Rows(walk, balances) = &mut self.state else {
            unreachable!("asked for only in that state");
        };
        let filter = &self.filter;
        loop {
            let spent = budget.spent();
            let event = match walk.step(past, budget)? {
                Step::Event(_, event) => event,
                Step::Pause => {
                    self.work.add(budget.spent() - spent);
                    return Ok(None);
                }
                Step::End => return Ok(Some(0)),
            };
            let effect = Effect::of(past, budget, &event, self.account.number)?;
            self.work.add(budget.spent() - spent);
            if !filter.reversed {
                balances.apply(effect);
            }
            let then = BalanceThen {
                balances: balances.shown(),
                timestamp: event.timestamp(),
            };
            if filter.reversed {
                balances.apply(effect.undone());
            }
            let Event::Transfer(transfer) = event else {
                continue;
            };
            if filter.is_in_time(then.timestamp) && filter.matches(past, &transfer) {
                self.found.push(then);
            }
            if self.found.len() >= self.rows_max || self.work.done() >= PAGE_WORK {
                return Ok(Some(filter.next_page(then.timestamp)));
            }
        }
    }

    pub(super) fn into_found(self) -> Vec<BalanceThen> {
        self.found
    }
}

/// Whose balances are asked for, and when.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The account; `None` for one that does not exist, whose balances are zero.
    pub account: Option<Present>,
    /// What `at` counts.
    pub unit: Span,
    /// With everything up to this timestamp, business date or lsn.
    pub at: u64,
}

/// Balances at moments of the past, one each.
#[derive(Clone, Debug)]
pub struct MomentQuery {
    moments: Vec<Moment>,
    calendar: Calendar,
    found: Vec<BalanceThen>,
    under_way: Option<Box<UnderWay>>,
    /// Of the moment before: many accounts are asked for at one moment.
    extent: Option<(Span, u64, Extent)>,
    work: Work,
}

#[derive(Clone, Debug)]
struct UnderWay {
    extent: Extent,
    opening: Opening,
    balances: Option<Running>,
    /// Looks for the last movement that counts.
    last: Walk,
}

impl MomentQuery {
    /// Balances of these moments, in order.
    pub fn new(moments: Vec<Moment>, calendar: Calendar) -> Self {
        Self {
            moments,
            calendar,
            found: Vec::new(),
            under_way: None,
            extent: None,
            work: Work::default(),
        }
    }

    /// 0 once all are found; else how many are.
    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        let spent = budget.spent();
        let outcome = self.go_on(past, budget);
        self.work.add(budget.spent() - spent);
        match outcome? {
            None if self.work.done() >= PAGE_WORK && !self.found.is_empty() => {
                Ok(Some(self.found.len() as u64))
            }
            found => Ok(found),
        }
    }

    fn go_on<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        while let Some(moment) = self.moments.get(self.found.len()) {
            let Some(account) = &moment.account else {
                self.found.push(BalanceThen::default());
                continue;
            };
            let under_way = match &mut self.under_way {
                Some(under_way) => under_way,
                none => {
                    let (unit, at) = (moment.unit, moment.at);
                    let extent = match &self.extent {
                        Some((u, a, extent)) if (*u, *a) == (unit, at) => extent,
                        _ => {
                            let extent = Extent::behind(past, unit, at, &self.calendar)?;
                            &self.extent.insert((unit, at, extent)).2
                        }
                    };
                    let begun = UnderWay::begin(past, account, extent.clone())?;
                    none.insert(Box::new(begun))
                }
            };
            let Some(then) = under_way.step(past, budget)? else {
                return Ok(None);
            };
            self.found.push(then);
            self.under_way = None;
            if budget.is_spent() && self.found.len() < self.moments.len() {
                return Ok(None);
            }
        }
        Ok(Some(0))
    }

    pub(super) fn into_found(self) -> Vec<BalanceThen> {
        self.found
    }
}

impl UnderWay {
    fn begin<P: Past>(past: &mut P, account: &Present, extent: Extent) -> Result<Self, PastError> {
        let opened_at = opened_place(past, account.opened)?;
        let opening = Opening::begin(past, account, opened_at, &extent, RecordAt::MIN)?;
        let plan = vec![Key::Account(account.number)];
        let last = Walk::new(plan, true, opened_at, extent.start.max(extent.from_end));
        Ok(Self {
            extent,
            opening,
            balances: None,
            last,
        })
    }

    fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<BalanceThen>, PastError> {
        let balances = match self.balances {
            Some(balances) => balances,
            None => match self.opening.step(past, budget)? {
                Some(balances) => *self.balances.insert(balances),
                None => return Ok(None),
            },
        };
        loop {
            let timestamp = match self.last.step(past, budget)? {
                Step::Event(at, event) => {
                    let number = self.opening.account();
                    if !event.touches(number) || !self.extent.is_before(at, &event) {
                        continue;
                    }
                    event.timestamp()
                }
                Step::Pause => return Ok(None),
                Step::End => 0,
            };
            return Ok(Some(BalanceThen {
                balances: balances.shown(),
                timestamp,
            }));
        }
    }
}
