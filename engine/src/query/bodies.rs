//! What is found as clients see it: account numbers turned into ids at the very end.

use kanjo_format::client::{
    AccountBalanceBody, AccountBody, AccountTermsBody, CloseDayBody, FeedRowBody, LineKind,
    OutcomeBody, OutcomeState, StatementLineBody, TransferBody, TransferDetailBody,
};
use kanjo_format::movement::Form;
use kanjo_format::{AccountId, AccountNumber, LedgerId, TransferId};
use zerocopy::IntoBytes;

use super::feed::{Change, FeedItem};
use super::history::BalanceThen;
use super::lookups::Fate;
use super::statement::Line;
use super::told::Told;

/// Knows the accounts' ids.
pub trait Names {
    /// Id and ledger of an account; `None` for a number that was not given out.
    fn name_of(&self, account: AccountNumber) -> Option<(AccountId, LedgerId)>;
}

/// As clients see it. An account that was never opened shows as id 0, which only a damaged log
/// can cause.
pub fn transfer_body(told: &Told, names: &impl Names) -> TransferBody {
    let transfer = &told.transfer;
    let nobody = (AccountId::new(0), LedgerId::new(0));
    let (debit, ledger) = names.name_of(transfer.debit).unwrap_or(nobody);
    let (credit, _) = names.name_of(transfer.credit).unwrap_or(nobody);
    TransferBody {
        id: transfer.id.get().into(),
        debit_account_id: debit.get().into(),
        credit_account_id: credit.get().into(),
        amount: transfer.amount.into(),
        pending_id: told.pending_id().get().into(),
        user_data_128: transfer.user_data_128.into(),
        user_data_64: transfer.user_data_64.into(),
        user_data_32: transfer.user_data_32.into(),
        timeout: match transfer.form {
            Form::Reserves => transfer.timeout.into(),
            _ => 0.into(),
        },
        ledger: ledger.get().into(),
        code: transfer.code.into(),
        flags: transfer.flags.into(),
        timestamp: transfer.timestamp.get().into(),
    }
}

/// The same with what goes beyond the documented model.
pub fn detail_body(told: &Told, names: &impl Names) -> TransferDetailBody {
    TransferDetailBody {
        transfer: transfer_body(told, names),
        reverses: told.reverses().get().into(),
        value_date: told.transfer.value_date.into(),
        business_date: told.business_date.into(),
        reserved: 0.into(),
    }
}

/// As clients see it.
pub fn balance_body(then: &BalanceThen) -> AccountBalanceBody {
    AccountBalanceBody {
        debits_pending: then.balances.debits_pending.into(),
        debits_posted: then.balances.debits_posted.into(),
        credits_pending: then.balances.credits_pending.into(),
        credits_posted: then.balances.credits_posted.into(),
        timestamp: then.timestamp.into(),
        reserved: [0; 56],
    }
}

/// As clients see it.
pub fn outcome_body(id: TransferId, fate: &Fate) -> OutcomeBody {
    let (state, result, timestamp) = match fate {
        Fate::Unknown => (OutcomeState::Unknown, 0, 0),
        Fate::Rejected(result) => (OutcomeState::Rejected, *result, 0),
        Fate::Transfer(told) => {
            let timestamp = told.transfer.timestamp.get();
            (OutcomeState::Committed, 0, timestamp)
        }
    };
    OutcomeBody {
        id: id.get().into(),
        state: (state as u32).into(),
        result: result.into(),
        timestamp: timestamp.into(),
    }
}

/// As clients see it.
pub fn line_body(line: &Line, names: &impl Names) -> StatementLineBody {
    let kind = match line.expired {
        false => LineKind::Transfer,
        true => LineKind::Expiry,
    };
    StatementLineBody {
        detail: detail_body(&line.told, names),
        kind: (kind as u32).into(),
        timestamp: line.timestamp.into(),
        debits_pending: line.balances.debits_pending.into(),
        debits_posted: line.balances.debits_posted.into(),
        credits_pending: line.balances.credits_pending.into(),
        credits_posted: line.balances.credits_posted.into(),
        ..StatementLineBody::default()
    }
}

/// As clients see it.
pub fn feed_body(item: &FeedItem, names: &impl Names) -> FeedRowBody {
    let mut row = FeedRowBody {
        lsn: item.at.lsn().get().into(),
        epoch: item.epoch.get().into(),
        timestamp: item.timestamp.into(),
        index: (item.at.index() as u32).into(),
        kind: (item.kind as u16).into(),
        ..FeedRowBody::default()
    };
    let mut put = |bytes: &[u8]| row.body[..bytes.len()].copy_from_slice(bytes);
    match &item.change {
        Change::Transfer(told) => put(detail_body(told, names).as_bytes()),
        Change::Account(account, opened) => put(AccountBody {
            id: account.id,
            user_data_128: account.user_data_128,
            user_data_64: account.user_data_64,
            user_data_32: account.user_data_32,
            ledger: account.ledger,
            code: account.code,
            flags: account.flags,
            timestamp: (*opened).into(),
            ..AccountBody::default()
        }
        .as_bytes()),
        Change::Terms(terms) => {
            let named = names.name_of(AccountNumber::new(terms.account.get()));
            put(AccountTermsBody {
                id: named.map_or(0, |(id, _)| id.get()).into(),
                overdraft_limit: terms.overdraft_limit,
                has_overdraft_limit: u32::from(terms.has_overdraft_limit).into(),
                freeze: u32::from(terms.freeze).into(),
                timestamp: item.timestamp.into(),
            }
            .as_bytes());
        }
        Change::Failed(failed) => put(OutcomeBody {
            id: failed.id,
            state: (OutcomeState::Rejected as u32).into(),
            result: failed.result,
            timestamp: 0.into(),
        }
        .as_bytes()),
        Change::Day(day) => put(CloseDayBody {
            date: day.closed,
            next: day.next,
            reserved: 0.into(),
        }
        .as_bytes()),
        Change::Reign => {}
    }
    row
}
