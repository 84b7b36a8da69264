//! What a request gave, and how a line shows it.

use kanjo_format::client::{
    AccountBalanceBody, AccountBody, AccountFlags, AccountTermsBody, Freeze, LineKind, OutcomeBody,
    OutcomeState, StatementBody, StatementLineBody, TransferBody, TransferDetailBody,
    TransferFlags, TrialBalanceBody,
};
use kanjo_format::result::CreateTransferResult;

use super::json::Misread;
use super::shown::{Shown, wide};

type ShownFields = Vec<(&'static str, Shown)>;

/// How one event of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: &'static str,
    pub(crate) timestamp: u64,
}

/// An account between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Before the first moment.
    pub(crate) opening: AccountBalanceBody,
    pub(crate) lines: Vec<StatementLineBody>,
    /// Behind the last line.
    pub(crate) closing: AccountBalanceBody,
    /// Whether there is more than the limit let through.
    pub(crate) more: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// One an event.
    Ended(Vec<Ended>),
    /// Of a request with one event.
    EndedOne(Ended),
    Accounts(Vec<AccountBody>),
    Transfers(Vec<TransferBody>),
    Details(Vec<TransferDetailBody>),
    Terms(Vec<AccountTermsBody>),
    Outcomes(Vec<OutcomeBody>),
    Balances(Vec<AccountBalanceBody>),
    Statement(Box<Statement>),
    Totals(Vec<TrialBalanceBody>),
    /// What the clock says now.
    Clock(u64),
    Help(String),
}

impl Reply {
    /// The line of a request of that name.
    pub(crate) fn line(&self, name: &'static str) -> String {
        Shown::Object(vec![(name, self.shown())]).line()
    }

    /// For people: one row a line.
    pub(crate) fn in_lines(&self) -> String {
        match self.shown() {
            Shown::List(rows) if rows.is_empty() => "nothing".to_owned(),
            Shown::List(rows) => {
                let rows: Vec<String> = rows.iter().map(Shown::line).collect();
                rows.join("\n")
            }
            one => one.line(),
        }
    }

    fn shown(&self) -> Shown {
        match self {
            Self::Ended(all) => list(all, Ended::shown),
            Self::EndedOne(one) => Shown::Object(one.shown()),
            Self::Accounts(rows) => list(rows, account),
            Self::Transfers(rows) => list(rows, transfer),
            Self::Details(rows) => list(rows, detail),
            Self::Terms(rows) => list(rows, terms),
            Self::Outcomes(rows) => list(rows, outcome),
            Self::Balances(rows) => list(rows, balance),
            Self::Statement(statement) => Shown::Object(statement.shown()),
            Self::Totals(rows) => list(rows, totals),
            Self::Clock(clock) => Shown::Object(vec![("clock", (*clock).into())]),
            Self::Help(text) => Shown::text(text),
        }
    }
}

/// The line of something that was not understood, or could not be done.
pub(crate) fn error_line(wrong: &Misread) -> String {
    let error = vec![
        ("message", Shown::text(&wrong.message)),
        ("field", Shown::text(&wrong.field)),
    ];
    Shown::Object(vec![("error", Shown::Object(error))]).line()
}

fn list<T>(rows: &[T], show: impl Fn(&T) -> ShownFields) -> Shown {
    Shown::List(rows.iter().map(|row| Shown::Object(show(row))).collect())
}

impl Ended {
    fn shown(&self) -> ShownFields {
        vec![
            ("timestamp", self.timestamp.into()),
            ("status", Shown::text(self.status)),
        ]
    }
}

fn account(body: &AccountBody) -> ShownFields {
    vec![
        ("id", body.id.get().into()),
        ("debits_pending", body.debits_pending.get().into()),
        ("debits_posted", body.debits_posted.get().into()),
        ("credits_pending", body.credits_pending.get().into()),
        ("credits_posted", body.credits_posted.get().into()),
        ("user_data_128", body.user_data_128.get().into()),
        ("user_data_64", body.user_data_64.get().into()),
        ("user_data_32", body.user_data_32.get().into()),
        ("ledger", body.ledger.get().into()),
        ("code", body.code.get().into()),
        ("flags", Shown::flags(body.flags.get(), AccountFlags::NAMES)),
        ("timestamp", body.timestamp.get().into()),
    ]
}

fn transfer(body: &TransferBody) -> ShownFields {
    vec![
        ("id", body.id.get().into()),
        ("debit_account_id", body.debit_account_id.get().into()),
        ("credit_account_id", body.credit_account_id.get().into()),
        ("amount", body.amount.get().into()),
        ("pending_id", body.pending_id.get().into()),
        ("user_data_128", body.user_data_128.get().into()),
        ("user_data_64", body.user_data_64.get().into()),
        ("user_data_32", body.user_data_32.get().into()),
        ("timeout", body.timeout.get().into()),
        ("ledger", body.ledger.get().into()),
        ("code", body.code.get().into()),
        (
            "flags",
            Shown::flags(body.flags.get(), TransferFlags::NAMES),
        ),
        ("timestamp", body.timestamp.get().into()),
    ]
}

fn detail(body: &TransferDetailBody) -> ShownFields {
    let mut fields = transfer(&body.transfer);
    fields.extend([
        ("reverses", body.reverses.get().into()),
        ("value_date", body.value_date.get().into()),
        ("business_date", body.business_date.get().into()),
    ]);
    fields
}

fn terms(body: &AccountTermsBody) -> ShownFields {
    let limit = match body.has_overdraft_limit.get() {
        0 => Shown::Null,
        _ => body.overdraft_limit.get().into(),
    };
    vec![
        ("id", body.id.get().into()),
        ("overdraft_limit", limit),
        ("freeze", Shown::flags(body.freeze.get(), Freeze::NAMES)),
        ("timestamp", body.timestamp.get().into()),
    ]
}

fn outcome(body: &OutcomeBody) -> ShownFields {
    let state = OutcomeState::from_number(body.state.get()).map_or("", OutcomeState::name);
    let mut fields = vec![("id", body.id.get().into()), ("state", Shown::text(state))];
    if let Some(why) = CreateTransferResult::from_number(body.result.get()) {
        fields.push(("status", Shown::text(why.name())));
    }
    if body.timestamp.get() != 0 {
        fields.push(("timestamp", body.timestamp.get().into()));
    }
    fields
}

fn balance(body: &AccountBalanceBody) -> ShownFields {
    vec![
        ("debits_pending", body.debits_pending.get().into()),
        ("debits_posted", body.debits_posted.get().into()),
        ("credits_pending", body.credits_pending.get().into()),
        ("credits_posted", body.credits_posted.get().into()),
        ("timestamp", body.timestamp.get().into()),
    ]
}

impl Statement {
    /// The request for a statement with one line more than asked for: whether it comes tells
    /// whether there are more.
    pub(crate) fn with_one_more(asked: &StatementBody) -> StatementBody {
        let limit = asked.limit.get();
        StatementBody {
            limit: limit.saturating_add(u32::from(limit != 0)).into(),
            ..*asked
        }
    }

    /// Of the lines that [`Self::with_one_more`] brought.
    pub(crate) fn new(
        asked: &StatementBody,
        opening: AccountBalanceBody,
        mut lines: Vec<StatementLineBody>,
    ) -> Self {
        let limit = asked.limit.get() as usize;
        let more = lines.len() > limit;
        lines.truncate(limit);
        let closing = lines.last().map_or(opening, |line| AccountBalanceBody {
            debits_pending: line.debits_pending,
            debits_posted: line.debits_posted,
            credits_pending: line.credits_pending,
            credits_posted: line.credits_posted,
            timestamp: line.timestamp,
            ..AccountBalanceBody::default()
        });
        Self {
            opening,
            lines,
            closing,
            more,
        }
    }

    fn shown(&self) -> ShownFields {
        vec![
            ("opening", Shown::Object(balance(&self.opening))),
            ("lines", list(&self.lines, statement_line)),
            ("closing", Shown::Object(balance(&self.closing))),
            ("more", Shown::Truth(self.more)),
        ]
    }
}

fn statement_line(body: &StatementLineBody) -> ShownFields {
    let kind = LineKind::from_number(body.kind.get()).map_or("", LineKind::name);
    vec![
        ("kind", Shown::text(kind)),
        ("timestamp", body.timestamp.get().into()),
        ("transfer", Shown::Object(detail(&body.detail))),
        ("debits_pending", body.debits_pending.get().into()),
        ("debits_posted", body.debits_posted.get().into()),
        ("credits_pending", body.credits_pending.get().into()),
        ("credits_posted", body.credits_posted.get().into()),
    ]
}

fn totals(body: &TrialBalanceBody) -> ShownFields {
    let b = body;
    vec![
        ("ledger", b.ledger.get().into()),
        ("code", b.code.get().into()),
        ("accounts", b.accounts.get().into()),
        (
            "debits_pending",
            wide(b.debits_pending.get(), b.debits_pending_high.get()),
        ),
        (
            "debits_posted",
            wide(b.debits_posted.get(), b.debits_posted_high.get()),
        ),
        (
            "credits_pending",
            wide(b.credits_pending.get(), b.credits_pending_high.get()),
        ),
        (
            "credits_posted",
            wide(b.credits_posted.get(), b.credits_posted_high.get()),
        ),
    ]
}
