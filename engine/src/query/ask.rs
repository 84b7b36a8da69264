//! From a request to a query: what only the ledger knows is looked up here.

use kanjo_format::client::{
    AccountBody, AccountFilterBody, AccountFlags, BalanceAsOfBody, FeedBody, FrameKind, Span,
    StatementBody,
};
use kanjo_format::{AccountId, TransferId};
use zerocopy::little_endian::U128;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::calendar::Calendar;
use super::feed::FeedQuery;
use super::history::{BalanceQuery, Moment, MomentQuery};
use super::lookups::LookupQuery;
use super::statement::StatementQuery;
use super::transfers::{Filter, TransferQuery};
use super::{Book, Query};
use crate::ledger::Ledger;

/// How a request is to be answered.
#[derive(Debug)]
pub enum Asked {
    /// With no rows: the filter is not valid, or names an account that does not exist or that
    /// keeps no history.
    Nothing,
    /// With what the query finds.
    Query(Box<Query>),
    /// With the book's trial balance.
    TrialBalance(Book),
    /// With these accounts, and where the next page starts.
    Accounts(Vec<AccountBody>, u64),
}

impl Ledger {
    /// Makes a query of a request that is answered by pages, or that looks up transfers. `rows` is
    /// its body, whose size was checked. Panics for another kind, which only a bug can cause.
    pub fn ask(&mut self, kind: FrameKind, rows: &[u8]) -> Asked {
        if kind == FrameKind::GetTrialBalance {
            return Asked::TrialBalance(self.book());
        }
        let rows_max = kind.reply_rows_max();
        if kind == FrameKind::QueryAccounts {
            let mut found = Vec::new();
            let next = one(rows).map_or(0, |b| self.query_accounts(&b, rows_max, &mut found));
            return Asked::Accounts(found, next);
        }
        match self.query(kind, rows, rows_max) {
            Some(query) => Asked::Query(Box::new(query)),
            None => Asked::Nothing,
        }
    }

    fn query(&self, kind: FrameKind, rows: &[u8], rows_max: usize) -> Option<Query> {
        let calendar = Calendar::of(self.business_days());
        Some(match kind {
            FrameKind::GetAccountTransfers => {
                let body: AccountFilterBody = one(rows)?;
                let (account, _) = self.present(AccountId::new(body.account_id.get()))?;
                let filter = Filter::of_account(&body, account.number)?;
                Query::Transfers(TransferQuery::new(filter, calendar, rows_max))
            }
            FrameKind::GetAccountBalances => {
                let body: AccountFilterBody = one(rows)?;
                let (account, flags) = self.present(AccountId::new(body.account_id.get()))?;
                let keeps_history = flags & AccountFlags::HISTORY != 0;
                let filter = Filter::of_account(&body, account.number);
                let filter = filter.filter(|_| keeps_history)?;
                Query::Balances(BalanceQuery::new(filter, account, rows_max))
            }
            FrameKind::QueryTransfers => {
                let filter = Filter::of_query(&one(rows)?)?;
                Query::Transfers(TransferQuery::new(filter, calendar, rows_max))
            }
            FrameKind::GetStatement => {
                let body: StatementBody = one(rows)?;
                let (account, _) = self.present(AccountId::new(body.account_id.get()))?;
                Query::Statement(StatementQuery::new(&body, account, calendar, rows_max)?)
            }
            FrameKind::GetBalancesAsOf => {
                Query::Moments(MomentQuery::new(self.moments(rows)?, calendar))
            }
            FrameKind::ReadFeed => {
                let body: FeedBody = one(rows)?;
                let (from, limit) = (body.from.get(), body.limit.get() as usize);
                if body.reserved.get() != 0 {
                    return None;
                }
                Query::Feed(FeedQuery::new(from, limit, calendar, rows_max))
            }
            FrameKind::LookupTransfers
            | FrameKind::LookupTransferDetails
            | FrameKind::LookupOutcomes => {
                let ids = <[U128]>::ref_from_bytes(rows).ok()?.iter();
                let ids = ids.map(|id| TransferId::new(id.get()));
                Query::Lookups(LookupQuery::new(self, ids))
            }
            kind => panic!("{kind:?} is not answered by pages"),
        })
    }

    /// The moments of a request; `None` if one of them is not valid.
    fn moments(&self, rows: &[u8]) -> Option<Vec<Moment>> {
        let bodies = <[BalanceAsOfBody]>::ref_from_bytes(rows).ok()?;
        let moment = |body: &BalanceAsOfBody| {
            let unit = Span::from_number(body.unit.get())?;
            let account = self.present(AccountId::new(body.account_id.get()));
            (body.reserved.get() == 0).then(|| Moment {
                account: account.map(|(account, _)| account),
                unit,
                at: body.at.get(),
            })
        };
        bodies.iter().map(moment).collect()
    }
}

/// The one row of a request.
fn one<T: FromBytes + Immutable + KnownLayout + Unaligned>(rows: &[u8]) -> Option<T> {
    T::read_from_bytes(rows).ok()
}
