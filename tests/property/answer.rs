//! The model answers what a line of `kanjo repl` can ask.

use kanjo_format::client::{
    AccountBalanceBody, AccountFilterBody, BalanceAsOfBody, LineKind, OutcomeBody, OutcomeState,
    QueryFilterBody, Span, StatementBody, StatementLineBody, TransferBody, TransferDetailBody,
    TrialBalanceBody,
};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};

use crate::model::{Asked, BalanceAt, Fate, Filter, Line, Model, Totals, Transfer};
use crate::repl::embedded::CLOCK_MAX;
use crate::repl::json::Misread;
use crate::repl::reply::{Ended, Reply, Statement};
use crate::repl::request::Request;

/// A model and its clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modelled {
    pub(crate) model: Model,
    clock: u64,
}

impl Modelled {
    /// Answers one request in a batch of its own.
    pub(crate) fn answer(&mut self, request: &Request) -> Result<Reply, Misread> {
        if let Request::TickNs(passed) = request {
            self.tick(*passed)?;
        }
        self.begin_batch();
        Ok(self.execute(request))
    }

    pub(crate) fn begin_batch(&mut self) {
        self.model.begin_batch(self.clock);
    }

    /// Lets time pass; nothing happens by it yet.
    pub(crate) fn tick(&mut self, passed: u64) -> Result<(), Misread> {
        let clock = self.clock.max(self.model.log_time()).checked_add(passed);
        let clock = clock.filter(|clock| *clock <= CLOCK_MAX);
        self.clock = clock.ok_or_else(|| Misread::new("tick_ns", "too far"))?;
        Ok(())
    }

    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// Answers in the batch that is begun.
    pub(crate) fn execute(&mut self, request: &Request) -> Reply {
        let model = &mut self.model;
        model.begin_request(records_of(request));
        match request {
            Request::CreateAccounts(rows) => {
                let results = model.create_accounts(rows);
                ended(results, CreateAccountResult::name)
            }
            Request::CreateTransfers(rows) => {
                let plain = |row: &TransferBody| Asked {
                    body: *row,
                    ..Asked::default()
                };
                let rows: Vec<Asked> = rows.iter().map(plain).collect();
                ended(model.create_transfers(&rows), CreateTransferResult::name)
            }
            Request::CreateTransfersDetailed(rows) => {
                let rows: Vec<Asked> = rows.iter().map(asked).collect();
                ended(model.create_transfers(&rows), CreateTransferResult::name)
            }
            Request::ChangeAccounts(rows) => {
                let results = rows.iter().map(|row| model.change_account(row)).collect();
                ended(results, ChangeAccountResult::name)
            }
            Request::CloseDay(body) => {
                let (result, timestamp) = model.close_day(body);
                let status = CloseDayResult::name(result);
                Reply::EndedOne(Ended { status, timestamp })
            }
            Request::Burn(ids) => {
                let results = ids.iter().map(|id| model.burn(*id)).collect();
                ended(results, BurnResult::name)
            }
            Request::TickNs(_) => Reply::Clock(self.clock),
            _ => look(model, request),
        }
    }
}

/// How many records a request may make.
fn records_of(request: &Request) -> usize {
    match request {
        Request::CreateAccounts(rows) => rows.len(),
        Request::CreateTransfers(rows) => rows.len(),
        Request::CreateTransfersDetailed(rows) => rows.len(),
        Request::ChangeAccounts(rows) => rows.len(),
        Request::Burn(ids) => ids.len(),
        Request::CloseDay(_) => 1,
        _ => 0,
    }
}

fn look(model: &Model, request: &Request) -> Reply {
    match request {
        Request::LookupAccounts(ids) => Reply::Accounts(model.lookup_accounts(ids)),
        Request::LookupTransfers(ids) => Reply::Transfers(model.lookup_transfers(ids)),
        Request::LookupAccountTerms(ids) => {
            let found = ids.iter().filter_map(|id| model.account(*id));
            Reply::Terms(found.map(|account| account.terms()).collect())
        }
        Request::LookupTransferDetails(ids) => {
            let found = ids.iter().filter_map(|id| model.transfer(*id));
            Reply::Details(found.map(detail).collect())
        }
        Request::LookupOutcome(ids) => {
            Reply::Outcomes(ids.iter().map(|id| outcome(*id, model.fate(*id))).collect())
        }
        Request::GetAccountTransfers(body) => {
            let found = account_filter(body).map(|filter| model.get_account_transfers(&filter));
            Reply::Transfers(found.unwrap_or_default())
        }
        Request::GetAccountBalances(body) => {
            let found = account_filter(body).map(|filter| model.get_account_balances(&filter));
            Reply::Balances(found.unwrap_or_default().iter().map(balance).collect())
        }
        Request::QueryAccounts(body) => {
            let found = query_filter(body).map(|filter| model.query_accounts(&filter));
            Reply::Accounts(found.unwrap_or_default())
        }
        Request::QueryTransfers(body) => {
            let found = query_filter(body).map(|filter| model.query_transfers(&filter));
            Reply::Transfers(found.unwrap_or_default())
        }
        Request::Statement(body) => Reply::Statement(Box::new(statement(model, body))),
        Request::BalancesAsOf(rows) => {
            Reply::Balances(rows.iter().map(|r| as_of(model, r)).collect())
        }
        Request::TrialBalance => {
            let totals = model.trial_balance();
            let rows = totals
                .iter()
                .map(|((ledger, code), t)| total(*ledger, *code, t));
            Reply::Totals(rows.collect())
        }
        _ => unreachable!("that is no look-up"),
    }
}

fn ended<R: Copy>(results: Vec<(R, u64)>, name: impl Fn(R) -> &'static str) -> Reply {
    let one = |(result, timestamp)| Ended {
        status: name(result),
        timestamp,
    };
    Reply::Ended(results.into_iter().map(one).collect())
}

fn asked(row: &TransferDetailBody) -> Asked {
    Asked {
        body: row.transfer,
        reverses: row.reverses.get(),
        value_date: row.value_date.get(),
        business_date: row.business_date.get(),
    }
}

fn detail(transfer: &Transfer) -> TransferDetailBody {
    TransferDetailBody {
        transfer: transfer.body(),
        reverses: transfer.reverses.into(),
        value_date: transfer.value_date.into(),
        business_date: transfer.business_date.into(),
        reserved: 0.into(),
    }
}

fn outcome(id: u128, fate: Fate) -> OutcomeBody {
    let (state, result, timestamp) = match fate {
        Fate::Unknown => (OutcomeState::Unknown, 0, 0),
        Fate::Committed(timestamp) => (OutcomeState::Committed, 0, timestamp),
        Fate::Rejected(why) => (OutcomeState::Rejected, why.number(), 0),
    };
    OutcomeBody {
        id: id.into(),
        state: (state as u32).into(),
        result: result.into(),
        timestamp: timestamp.into(),
    }
}

fn balance(then: &BalanceAt) -> AccountBalanceBody {
    AccountBalanceBody {
        debits_pending: then.balance.debits_pending.into(),
        debits_posted: then.balance.debits_posted.into(),
        credits_pending: then.balance.credits_pending.into(),
        credits_posted: then.balance.credits_posted.into(),
        timestamp: then.timestamp.into(),
        ..AccountBalanceBody::default()
    }
}

/// A filter with bits or bytes that mean nothing is none.
fn account_filter(body: &AccountFilterBody) -> Option<Filter> {
    let flags = body.flags.get();
    let meant = flags & !7 == 0 && body.reserved == [0; 58];
    meant.then(|| Filter {
        account_id: body.account_id.get(),
        user_data_128: body.user_data_128.get(),
        user_data_64: body.user_data_64.get(),
        user_data_32: body.user_data_32.get(),
        ledger: 0,
        code: body.code.get(),
        timestamp_min: body.timestamp_min.get(),
        timestamp_max: body.timestamp_max.get(),
        limit: body.limit.get(),
        debits: flags & 1 != 0,
        credits: flags & 2 != 0,
        reversed: flags & 4 != 0,
    })
}

fn query_filter(body: &QueryFilterBody) -> Option<Filter> {
    let flags = body.flags.get();
    let meant = flags & !1 == 0 && body.reserved == [0; 6];
    meant.then(|| Filter {
        account_id: 0,
        user_data_128: body.user_data_128.get(),
        user_data_64: body.user_data_64.get(),
        user_data_32: body.user_data_32.get(),
        ledger: body.ledger.get(),
        code: body.code.get(),
        timestamp_min: body.timestamp_min.get(),
        timestamp_max: body.timestamp_max.get(),
        limit: body.limit.get(),
        debits: false,
        credits: false,
        reversed: flags & 1 != 0,
    })
}

fn statement(model: &Model, body: &StatementBody) -> Statement {
    let id = body.account_id.get();
    let unit = Span::from_number(body.unit.get()).expect("a unit that is known");
    let (from, limit) = (body.from.get(), body.limit.get() as usize);
    let to = match body.to.get() {
        0 => u64::MAX,
        to => to,
    };
    let mut lines = model.statement(id, unit, from, to);
    let more = lines.len() > limit;
    lines.truncate(limit);
    let opening = match from.checked_sub(1) {
        Some(before) => balance(&model.balance_as_of(id, unit, before)),
        None => AccountBalanceBody::default(),
    };
    let closing = lines.last().map_or(opening, |line| balance(&line.then));
    Statement {
        opening,
        lines: lines
            .iter()
            .map(|line| statement_line(model, line))
            .collect(),
        closing,
        more,
    }
}

fn statement_line(model: &Model, line: &Line) -> StatementLineBody {
    let kind = if line.expiry {
        LineKind::Expiry
    } else {
        LineKind::Transfer
    };
    let then = balance(&line.then);
    StatementLineBody {
        detail: detail(&model.transfers[line.transfer]),
        kind: (kind as u32).into(),
        timestamp: then.timestamp,
        debits_pending: then.debits_pending,
        debits_posted: then.debits_posted,
        credits_pending: then.credits_pending,
        credits_posted: then.credits_posted,
        ..StatementLineBody::default()
    }
}

fn as_of(model: &Model, body: &BalanceAsOfBody) -> AccountBalanceBody {
    let unit = Span::from_number(body.unit.get()).expect("a unit that is known");
    balance(&model.balance_as_of(body.account_id.get(), unit, body.at.get()))
}

fn total(ledger: u32, code: u16, totals: &Totals) -> TrialBalanceBody {
    let high = |sum: (u128, i64)| {
        u64::try_from(sum.1)
            .expect("no balance is below zero")
            .into()
    };
    TrialBalanceBody {
        ledger: ledger.into(),
        code: code.into(),
        accounts: totals.accounts.into(),
        debits_pending: totals.debits_pending.0.into(),
        debits_posted: totals.debits_posted.0.into(),
        credits_pending: totals.credits_pending.0.into(),
        credits_posted: totals.credits_posted.0.into(),
        debits_pending_high: high(totals.debits_pending),
        debits_posted_high: high(totals.debits_posted),
        credits_pending_high: high(totals.credits_pending),
        credits_posted_high: high(totals.credits_posted),
        ..TrialBalanceBody::default()
    }
}
