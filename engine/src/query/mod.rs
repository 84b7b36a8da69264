//! Queries: what happened, read from the log and what is derived from it.
//!
//! A query is a value that goes on by [`Query::step`] until its page is there, so that whoever
//! runs it decides how long a turn is. It decides nothing about money and sees nothing but a
//! [`Past`], which ends at one place of the log.
//!
//! ```text
//! Ledger::ask (hot thread) → Query ── step … step ──► Page ── encode (hot thread) ──► reply
//!                                     over a Past
//! ```
//!
//! A page is bounded by rows and by work ([`PAGE_WORK`]); one that ended early says where the
//! next one starts, so no page cuts anything silently.

mod accounts;
mod ask;
mod balances;
mod bodies;
mod calendar;
mod extent;
mod feed;
mod history;
mod lookups;
mod memory;
mod past;
mod statement;
mod times;
mod told;
mod transfers;
mod walk;

#[cfg(test)]
mod tests;

use kanjo_format::TransferId;
use kanjo_format::client::FrameKind;
use zerocopy::{Immutable, IntoBytes};

pub use accounts::Book;
pub use ask::Asked;
pub use balances::{Balances, Present};
pub use bodies::{
    Names, balance_body, detail_body, feed_body, line_body, outcome_body, transfer_body,
};
pub use calendar::Calendar;
pub use feed::{Change, FeedItem, FeedQuery};
pub use history::{BalanceQuery, BalanceThen, Moment, MomentQuery};
pub use lookups::{Fate, LookupQuery};
pub use memory::MemoryPast;
pub use past::{Budget, Key, Past, PastBatch, PastError};
pub use statement::{Line, StatementQuery};
pub use told::Told;
pub use transfers::{Filter, TransferQuery, is_valid_account_filter, is_valid_query_filter};
pub use walk::Event;

/// Records that one page may look at, about: it ends at the next transfer then.
pub const PAGE_WORK: u64 = 256 << 10;

/// Work that a page took over all of its turns.
#[derive(Clone, Copy, Debug, Default)]
struct Work(u64);

impl Work {
    fn add(&mut self, records: u64) {
        self.0 += records;
    }

    const fn done(self) -> u64 {
        self.0
    }
}

/// A query under way.
#[derive(Clone, Debug)]
pub enum Query {
    /// Transfers of an account, or of all.
    Transfers(TransferQuery),
    /// Balances after each transfer.
    Balances(BalanceQuery),
    /// Lines of a statement.
    Statement(StatementQuery),
    /// Balances at moments.
    Moments(MomentQuery),
    /// Records in order.
    Feed(FeedQuery),
    /// Transfers by id.
    Lookups(LookupQuery),
}

/// What one page holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Transfers.
    Transfers(Vec<Told>),
    /// Balances.
    Balances(Vec<BalanceThen>),
    /// Lines of a statement.
    Lines(Vec<Line>),
    /// Records.
    Feed(Vec<FeedItem>),
    /// What became of each id.
    Fates(Vec<(TransferId, Fate)>),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Transfers(rows) => rows.len(),
            Self::Balances(rows) => rows.len(),
            Self::Lines(rows) => rows.len(),
            Self::Feed(rows) => rows.len(),
            Self::Fates(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An answer to a query, and where the next one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub rows: Rows,
    /// Where to go on, in the unit of the request; 0 for no more.
    pub next: u64,
}

impl Query {
    /// Goes on until the page is there or the budget is spent. Where the page after it starts is
    /// given once it is there; `None` before.
    pub fn step<P: Past>(
        &mut self,
        past: &mut P,
        budget: &mut Budget,
    ) -> Result<Option<u64>, PastError> {
        match self {
            Self::Transfers(query) => query.step(past, budget),
            Self::Balances(query) => query.step(past, budget),
            Self::Statement(query) => query.step(past, budget),
            Self::Moments(query) => query.step(past, budget),
            Self::Feed(query) => query.step(past, budget),
            Self::Lookups(query) => query.step(past, budget),
        }
    }

    /// Goes on until the page is there, however long it takes.
    pub fn run<P: Past>(mut self, past: &mut P) -> Result<Page, PastError> {
        loop {
            if let Some(next) = self.step(past, &mut Budget::new(PAGE_WORK))? {
                return Ok(self.into_page(next));
            }
        }
    }

    /// The page, once [`Self::step`] has said where the `next` one starts.
    pub fn into_page(self, next: u64) -> Page {
        let rows = match self {
            Self::Transfers(query) => Rows::Transfers(query.into_found()),
            Self::Balances(query) => Rows::Balances(query.into_found()),
            Self::Statement(query) => Rows::Lines(query.into_lines()),
            Self::Moments(query) => Rows::Balances(query.into_found()),
            Self::Feed(query) => Rows::Feed(query.into_items()),
            Self::Lookups(query) => Rows::Fates(query.into_found()),
        };
        Page { rows, next }
    }
}

impl Page {
    /// Appends the rows as the reply to a request of `kind` holds them, and counts them.
    pub fn encode(&self, kind: FrameKind, names: &impl Names, out: &mut Vec<u8>) -> u32 {
        let row_bytes = kind.reply_row_bytes();
        let before = out.len();
        match &self.rows {
            Rows::Transfers(rows) => push_all(rows, |told| transfer_body(told, names), out),
            Rows::Balances(rows) => push_all(rows, balance_body, out),
            Rows::Lines(rows) => push_all(rows, |line| line_body(line, names), out),
            Rows::Feed(rows) => push_all(rows, |item| feed_body(item, names), out),
            Rows::Fates(rows) => encode_fates(rows, kind, names, out),
        }
        let bytes = out.len() - before;
        assert!(bytes.is_multiple_of(row_bytes), "rows of that kind");
        (bytes / row_bytes) as u32
    }
}

/// Of outcomes every id has a row, else only those that are transfers.
fn encode_fates(
    rows: &[(TransferId, Fate)],
    kind: FrameKind,
    names: &impl Names,
    out: &mut Vec<u8>,
) {
    if kind == FrameKind::LookupOutcomes {
        return push_all(rows, |(id, fate)| outcome_body(*id, fate), out);
    }
    for (_, fate) in rows {
        match fate {
            Fate::Transfer(told) if kind == FrameKind::LookupTransfers => {
                out.extend_from_slice(transfer_body(told, names).as_bytes());
            }
            Fate::Transfer(told) => out.extend_from_slice(detail_body(told, names).as_bytes()),
            Fate::Unknown | Fate::Rejected(_) => {}
        }
    }
}

fn push_all<T, B: IntoBytes + Immutable>(rows: &[T], body: impl Fn(&T) -> B, out: &mut Vec<u8>) {
    for row in rows {
        out.extend_from_slice(body(row).as_bytes());
    }
}
