//! Queries of what happened, page by page until there is no more or enough.

use kanjo_engine::query::Asked;
use kanjo_format::client::{
    AccountBalanceBody, AccountBody, AccountFilterBody, AccountFilterFlags, BalanceAsOfBody,
    FrameKind, QueryFilterBody, QueryFilterFlags, Span, StatementBody, TransferBody,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Embedded;
use crate::repl::reply::{Reply, Statement};
use crate::repl::request::Request;

/// A request whose reply may have several pages.
trait Paged: IntoBytes + Immutable {
    /// Asks for what follows: from `next` on.
    fn go_on(&mut self, next: u64);
    /// Most rows that are asked for.
    fn limit(&self) -> u32;
    /// Asks for at most so many.
    fn set_limit(&mut self, limit: u32);
}

impl Paged for AccountFilterBody {
    fn go_on(&mut self, next: u64) {
        match self.flags.get() & AccountFilterFlags::REVERSED {
            0 => self.timestamp_min = next.into(),
            _ => self.timestamp_max = next.into(),
        }
    }

    fn limit(&self) -> u32 {
        self.limit.get()
    }

    fn set_limit(&mut self, limit: u32) {
        self.limit = limit.into();
    }
}

impl Paged for QueryFilterBody {
    fn go_on(&mut self, next: u64) {
        match self.flags.get() & QueryFilterFlags::REVERSED {
            0 => self.timestamp_min = next.into(),
            _ => self.timestamp_max = next.into(),
        }
    }

    fn limit(&self) -> u32 {
        self.limit.get()
    }

    fn set_limit(&mut self, limit: u32) {
        self.limit = limit.into();
    }
}

impl Paged for StatementBody {
    fn go_on(&mut self, next: u64) {
        self.cursor = next.into();
    }

    fn limit(&self) -> u32 {
        self.limit.get()
    }

    fn set_limit(&mut self, limit: u32) {
        self.limit = limit.into();
    }
}

impl Embedded {
    pub(super) fn read_past(&mut self, request: &Request) -> Reply {
        match request {
            Request::GetAccountTransfers(body) => {
                Reply::Transfers(self.pages(FrameKind::GetAccountTransfers, *body))
            }
            Request::GetAccountBalances(body) => {
                Reply::Balances(self.pages(FrameKind::GetAccountBalances, *body))
            }
            Request::QueryAccounts(body) => {
                Reply::Accounts(self.pages::<_, AccountBody>(FrameKind::QueryAccounts, *body))
            }
            Request::QueryTransfers(body) => {
                Reply::Transfers(self.pages::<_, TransferBody>(FrameKind::QueryTransfers, *body))
            }
            Request::Statement(body) => Reply::Statement(Box::new(self.statement(body))),
            Request::BalancesAsOf(rows) => {
                let (found, _) = self.page(FrameKind::GetBalancesAsOf, rows.as_bytes());
                Reply::Balances(found)
            }
            Request::TrialBalance => {
                let asked = self.ledger.ask(FrameKind::GetTrialBalance, &[]);
                match asked {
                    Asked::TrialBalance(book) => Reply::Totals(book.trial_balance()),
                    _ => unreachable!("a trial balance was asked for"),
                }
            }
            _ => unreachable!("that has no pages"),
        }
    }

    fn pages<B: Paged, R: FromBytes>(&mut self, kind: FrameKind, mut body: B) -> Vec<R> {
        let mut rows = Vec::new();
        let mut left = body.limit();
        loop {
            body.set_limit(left.min(self.page_rows));
            let (found, next) = self.page::<R>(kind, body.as_bytes());
            left = left.saturating_sub(found.len() as u32);
            rows.extend(found);
            if next == 0 || left == 0 {
                return rows;
            }
            body.go_on(next);
        }
    }

    /// One page: its rows, and where the next one starts.
    fn page<R: FromBytes>(&mut self, kind: FrameKind, body: &[u8]) -> (Vec<R>, u64) {
        self.log.past.note_accounts(&self.ledger);
        let mut bytes = Vec::new();
        let next = match self.ledger.ask(kind, body) {
            Asked::Nothing => 0,
            Asked::Query(query) => {
                let page = query
                    .run(&mut self.log.past)
                    .expect("a log in memory can be read");
                page.encode(kind, &self.ledger, &mut bytes);
                page.next
            }
            Asked::Accounts(accounts, next) => {
                bytes.extend_from_slice(accounts.as_bytes());
                next
            }
            Asked::TrialBalance(_) => unreachable!("it has no pages"),
        };
        let rows = bytes.chunks_exact(size_of::<R>());
        let rows = rows.map(|row| R::read_from_bytes(row).expect("a row of its size"));
        (rows.collect(), next)
    }

    fn statement(&mut self, body: &StatementBody) -> Statement {
        let lines = self.pages(FrameKind::GetStatement, Statement::with_one_more(body));
        Statement::new(body, self.opening(body), lines)
    }

    /// Balances in front of a statement's first moment.
    fn opening(&mut self, body: &StatementBody) -> AccountBalanceBody {
        let from = body.from.get();
        let at = match body.unit.get() == Span::Lsn as u32 {
            // What ends there stands in front of it.
            true => Some(from).filter(|from| *from != 0),
            false => from.checked_sub(1),
        };
        let Some(at) = at else {
            return AccountBalanceBody::default();
        };
        let asked = BalanceAsOfBody {
            account_id: body.account_id,
            at: at.into(),
            unit: body.unit,
            reserved: 0.into(),
        };
        let (found, _) = self.page(FrameKind::GetBalancesAsOf, asked.as_bytes());
        found.first().copied().unwrap_or_default()
    }
}
