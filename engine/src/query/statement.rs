//! Statements: an account's movements in a span, with its balances after each.

use kanjo_format::RecordAt;
use kanjo_format::client::{Span, StatementBody};

use super::balances::{Balances, Effect, Present, Running};
use super::calendar::Calendar;
use super::extent::{Extent, Opening};
use super::past::{Budget, Key, Past, PastError, behind, transfer_at};
use super::times::opened_place;
use super::told::Told;
use super::walk::{Event, Step, Walk};
use super::{PAGE_WORK, Work};

/// A line of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The transfer; of an expiry, the pending transfer that expired.
    pub told: Told,
    /// Whether it is an expiry.
    pub expired: bool,
    /// When it happened.
    pub timestamp: u64,
    /// The balances after it.
    pub balances: Balances,
}

/// One page of a statement.
#[derive(Clone, Debug)]
pub struct StatementQuery {
    account: Present,
    unit: Span,
    from: u64,
    to: u64,
    cursor: u64,
    rows_max: usize,
    calendar: Calendar,
    state: State,
    lines: Vec<Line>,
    work: Work,
}

#[derive(Clone, Debug)]
enum State {
    Located,
    Opening(Box<(Opening, [Walk; 2], Extent)>),
    Lines(Box<([Walk; 2], Extent)>, Running),
}

impl StatementQuery {
    /// A page of at most `rows_max` lines; `None` for a request that is not valid.
    pub fn new(
        body: &StatementBody,
        account: Present,
        calendar: Calendar,
        rows_max: usize,
    ) -> Option<Self> {
        let unit = Span::from_number(body.unit.get())?;
        let limit = body.limit.get() as usize;
        let cursor = body.cursor.get();
        if limit == 0 || body.reserved != [0; 16] {
            return None;
        }
        if cursor > 0 {
            RecordAt::from_packed(cursor - 1)?;
        }
        let to = match body.to.get() {
            0 => u64::MAX,
            to => to,
        };
        Some(Self {
            account,
            unit,
            from: body.from.get(),
            to,
            cursor,
            rows_max: limit.min(rows_max),
            calendar,
            state: State::Located,
            lines: Vec::new(),
            work: Work::default(),
        })
    }

    pub(super) fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        loop {
            match &mut self.state {
                State::Located => self.state = self.begin(past)?,
                State::Opening(opening) => {
                    let Some(balances) = opening.0.step(past, budget)? else {
                        return Ok(None);
                    };
                    let (_, walks, extent) = (**opening).clone();
                    self.state = State::Lines(Box::new((walks, extent)), balances);
                }
                State::Lines(..) => return self.go_on(past, budget),
            }
        }
    }

    fn begin<P: Past>(&self, past: &mut P) -> Result<State, PastError> {
        let extent = Extent::locate(past, self.unit, self.from, self.to, &self.calendar)?;
        let opened_at = opened_place(past, self.account.opened)?;
        let cursor = match self.cursor.checked_sub(1) {
            Some(packed) => RecordAt::from_packed(packed).unwrap_or(RecordAt::MAX),
            None => RecordAt::MIN,
        };
        let account = &self.account;
        let opening = Opening::begin(past, account, opened_at, &extent, cursor)?;
        let number = account.number;
        let first = cursor.max(opened_at);
        let named = extent.exceptions(number, first, extent.start);
        let plan = vec![Key::Account(number)];
        let rest = Walk::new(plan, false, first.max(extent.start), extent.to_end);
        Ok(State::Opening(Box::new((opening, [named, rest], extent))))
    }

    /// Where the next page starts, once this one is full or there is no more.
    fn go_on<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        let State::Lines(walks, balances) = &mut self.state else {
            unreachable!("asked for only in that state");
        };
        let (walks, extent) = walks.as_mut();
        for walk in walks {
            loop {
                let spent = budget.spent();
                match walk.step(past, budget)? {
                    Step::Event(at, event) => {
                        let next = behind(at).packed() + 1;
                        if event.touches(self.account.number) && extent.holds(at, &event) {
                            let effect = Effect::of(past, budget, &event, self.account.number)?;
                            balances.apply(effect);
                            let shown = balances.shown();
                            let line = line(past, budget, &self.calendar, at, &event, shown)?;
                            self.lines.push(line);
                        }
                        self.work.add(budget.spent() - spent);
                        if self.lines.len() >= self.rows_max || self.work.done() >= PAGE_WORK {
                            return Ok(Some(next));
                        }
                    }
                    Step::Pause => {
                        self.work.add(budget.spent() - spent);
                        return Ok(None);
                    }
                    Step::End => break,
                }
            }
        }
        Ok(Some(0))
    }

    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}

fn line<P: Past>(
    past: &mut P,
    budget: &mut Budget,
    calendar: &Calendar,
    at: RecordAt,
    event: &Event,
    balances: Balances,
) -> Result<Line, PastError> {
    let (told, expired) = match event {
        Event::Transfer(transfer) => (Told::of(past, budget, calendar, at, transfer)?, false),
        Event::Expired(expired, _) => {
            let pending = transfer_at(past, expired.pending)?;
            let told = Told::of(past, budget, calendar, expired.pending, &pending)?;
            (told, true)
        }
    };
    Ok(Line {
        told,
        expired,
        timestamp: event.timestamp(),
        balances,
    })
}
