//! Lines of a statement: what each says, and what they sum up to.

use kanjo_client::{AccountBalanceBody, LineKind, StatementLineBody, TransferFlags};
use kanjo_format::Timestamp;
use serde::Serialize;

use crate::amounts::AmountArgs;
use crate::commands::transfer::{ShownDetail, shown_detail};
use crate::dates::show_date;
use crate::output::table;
use crate::times::{show_second, show_time};

/// What the lines sum up to.
pub(super) struct Totals {
    opening: AccountBalanceBody,
    pub(super) closing: AccountBalanceBody,
    pub(super) lines: u64,
    pub(super) debits: u128,
    pub(super) credits: u128,
}

impl Totals {
    pub(super) fn new(opening: AccountBalanceBody) -> Self {
        Self {
            opening,
            closing: opening,
            lines: 0,
            debits: 0,
            credits: 0,
        }
    }

    pub(super) fn add(&mut self, account: u128, line: &StatementLineBody) {
        let (debit, credit) = moved(account, line);
        self.lines += 1;
        // Sums of posted amounts fit: the account's own balances hold them.
        self.debits = self.debits.wrapping_add(debit);
        self.credits = self.credits.wrapping_add(credit);
        self.closing.debits_pending = line.debits_pending;
        self.closing.debits_posted = line.debits_posted;
        self.closing.credits_pending = line.credits_pending;
        self.closing.credits_posted = line.credits_posted;
    }

    /// Whether the lines lead from the opening to the closing balance.
    pub(super) fn add_up(&self) -> bool {
        let (before, after) = (&self.opening, &self.closing);
        before.debits_posted.get().wrapping_add(self.debits) == after.debits_posted.get()
            && before.credits_posted.get().wrapping_add(self.credits) == after.credits_posted.get()
    }
}

fn is_expiry(line: &StatementLineBody) -> bool {
    line.kind.get() == LineKind::Expiry as u32
}

/// What a line took from the account and what it brought.
fn moved(account: u128, line: &StatementLineBody) -> (u128, u128) {
    let transfer = &line.detail.transfer;
    let unmoved = TransferFlags::PENDING | TransferFlags::VOID_PENDING_TRANSFER;
    if is_expiry(line) || transfer.flags.get() & unmoved != 0 {
        return (0, 0);
    }
    match transfer.debit_account_id.get() == account {
        true => (transfer.amount.get(), 0),
        false => (0, transfer.amount.get()),
    }
}

/// What a line is, in words.
fn told(account: u128, line: &StatementLineBody) -> String {
    let (detail, transfer) = (&line.detail, &line.detail.transfer);
    let (debit, credit) = (
        transfer.debit_account_id.get(),
        transfer.credit_account_id.get(),
    );
    let other = match debit == account {
        true => format!("to {credit}"),
        false => format!("from {debit}"),
    };
    let flags = transfer.flags.get();
    if is_expiry(line) {
        format!("reservation {other} expired")
    } else if flags & TransferFlags::PENDING != 0 {
        format!("reserved {other}")
    } else if flags & TransferFlags::VOID_PENDING_TRANSFER != 0 {
        format!("reservation {} {other} released", transfer.pending_id)
    } else if flags & TransferFlags::POST_PENDING_TRANSFER != 0 {
        format!("{other}, reserved by {}", transfer.pending_id)
    } else if detail.reverses.get() != 0 {
        format!("{other}, reverses {}", detail.reverses)
    } else {
        other
    }
}

/// The lines of one page. Columns that say nothing are left out.
pub(super) fn lines_table(
    account: u128,
    lines: &[StatementLineBody],
    by_date: bool,
    amounts: AmountArgs,
) -> comfy_table::Table {
    let date = if by_date { "business date" } else { "time" };
    let header = [
        date,
        "transfer",
        "what",
        "value date",
        "set aside",
        "debit",
        "credit",
        "balance",
        "reserved",
    ];
    let row = |line| cells(account, line, by_date, amounts);
    let rows: Vec<[String; 9]> = lines.iter().map(row).collect();
    let is_said = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let said: Vec<usize> = (0..header.len()).filter(is_said).collect();
    let names: Vec<&str> = said.iter().map(|column| header[*column]).collect();
    let is_number = |place: &usize| [1, 4, 5, 6, 7, 8].contains(&said[*place]);
    let numbers: Vec<usize> = (0..said.len()).filter(is_number).collect();
    let mut table = table(&names, &numbers);
    for row in &rows {
        table.add_row(said.iter().map(|column| &row[*column]));
    }
    table
}

fn cells(
    account: u128,
    line: &StatementLineBody,
    by_date: bool,
    amounts: AmountArgs,
) -> [String; 9] {
    let or_blank = |amount: u128| match amount {
        0 => String::new(),
        amount => amounts.show(amount),
    };
    let (debit, credit) = moved(account, line);
    [
        match by_date {
            true => show_date(line.detail.business_date.get()),
            false => show_second(Timestamp::new(line.timestamp.get())),
        },
        line.detail.transfer.id.to_string(),
        told(account, line),
        show_date(line.detail.value_date.get()),
        // What only reserves or releases moves nothing.
        match debit == 0 && credit == 0 {
            true => amounts.show(line.detail.transfer.amount.get()),
            false => String::new(),
        },
        or_blank(debit),
        or_blank(credit),
        amounts.difference(line.credits_posted.get(), line.debits_posted.get()),
        or_blank(line.debits_pending.get()),
    ]
}

/// A line as JSON shows it.
#[derive(Serialize)]
pub(super) struct ShownLine {
    kind: &'static str,
    timestamp: u64,
    time: String,
    transfer: ShownDetail,
    debit: String,
    credit: String,
    debits_posted: String,
    credits_posted: String,
    debits_pending: String,
    credits_pending: String,
}

pub(super) fn shown_line(account: u128, line: &StatementLineBody) -> ShownLine {
    let (debit, credit) = moved(account, line);
    ShownLine {
        kind: LineKind::from_number(line.kind.get()).map_or("unknown", LineKind::name),
        timestamp: line.timestamp.get(),
        time: show_time(Timestamp::new(line.timestamp.get())),
        transfer: shown_detail(&line.detail),
        debit: debit.to_string(),
        credit: credit.to_string(),
        debits_posted: line.debits_posted.to_string(),
        credits_posted: line.credits_posted.to_string(),
        debits_pending: line.debits_pending.to_string(),
        credits_pending: line.credits_pending.to_string(),
    }
}

/// The first and the last balance as JSON shows them.
#[derive(Serialize)]
pub(super) struct ShownBalance {
    kind: &'static str,
    debits_posted: String,
    credits_posted: String,
    debits_pending: String,
    credits_pending: String,
}

/// The end of a statement as JSON shows it.
#[derive(Serialize)]
pub(super) struct ShownClosing {
    #[serde(flatten)]
    balance: ShownBalance,
    lines: u64,
    debits: String,
    credits: String,
    /// The position of the log that it shows.
    lsn: u64,
}

pub(super) fn shown_balance(kind: &'static str, balance: &AccountBalanceBody) -> ShownBalance {
    ShownBalance {
        kind,
        debits_posted: balance.debits_posted.to_string(),
        credits_posted: balance.credits_posted.to_string(),
        debits_pending: balance.debits_pending.to_string(),
        credits_pending: balance.credits_pending.to_string(),
    }
}

pub(super) fn shown_closing(totals: &Totals, lsn: u64) -> ShownClosing {
    ShownClosing {
        balance: shown_balance("closing", &totals.closing),
        lines: totals.lines,
        debits: totals.debits.to_string(),
        credits: totals.credits.to_string(),
        lsn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kanjo_client::{TransferBody, TransferDetailBody};

    fn line(flags: u16, amount: u128, debits: u128, credits: u128) -> StatementLineBody {
        let transfer = TransferBody {
            debit_account_id: 77.into(),
            credit_account_id: 5.into(),
            amount: amount.into(),
            pending_id: 9.into(),
            flags: flags.into(),
            ..TransferBody::default()
        };
        StatementLineBody {
            detail: TransferDetailBody {
                transfer,
                ..TransferDetailBody::default()
            },
            debits_posted: debits.into(),
            credits_posted: credits.into(),
            ..StatementLineBody::default()
        }
    }

    #[test]
    fn lines_lead_from_the_opening_balance_to_the_closing_one() {
        let opening = AccountBalanceBody {
            debits_posted: 100.into(),
            ..AccountBalanceBody::default()
        };
        let mut totals = Totals::new(opening);
        assert!(totals.add_up());
        totals.add(77, &line(0, 20, 120, 0));
        totals.add(77, &line(TransferFlags::PENDING, 1_000, 120, 0));
        totals.add(77, &line(TransferFlags::POST_PENDING_TRANSFER, 3, 123, 0));
        assert!(totals.add_up());
        assert_eq!((totals.lines, totals.debits, totals.credits), (3, 23, 0));
        totals.add(77, &line(0, 5, 124, 0));
        assert!(!totals.add_up());
    }

    #[test]
    fn a_table_has_the_columns_that_say_something() {
        let (by_date, plain) = (false, AmountArgs::default());
        let posted = [line(0, 7, 7, 1_000)];
        let shown = lines_table(77, &posted, by_date, plain).to_string();
        assert!(
            shown.contains("1970-01-01 00:00:00") && shown.contains("993"),
            "{shown}"
        );
        assert!(
            !shown.contains("set aside") && !shown.contains("value date"),
            "{shown}"
        );
        let mut pending = line(TransferFlags::PENDING, 5, 7, 1_000);
        pending.debits_pending = 5.into();
        let shown = lines_table(77, &[pending], by_date, plain).to_string();
        assert!(
            shown.contains("set aside") && shown.contains("reserved"),
            "{shown}"
        );
    }

    #[test]
    fn a_line_says_what_happened_from_the_accounts_own_side() {
        assert_eq!(told(77, &line(0, 1, 0, 0)), "to 5");
        assert_eq!(told(5, &line(0, 1, 0, 0)), "from 77");
        assert_eq!(moved(5, &line(0, 7, 0, 0)), (0, 7));
        let pending = line(TransferFlags::PENDING, 1, 0, 0);
        assert_eq!(told(77, &pending), "reserved to 5");
        let expired = StatementLineBody {
            kind: (LineKind::Expiry as u32).into(),
            ..pending
        };
        assert_eq!(told(77, &expired), "reservation to 5 expired");
        let void = line(TransferFlags::VOID_PENDING_TRANSFER, 1, 0, 0);
        assert_eq!(told(77, &void), "reservation 9 to 5 released");
    }
}
