//! The opening of one account.

use kanjo_format::client::{AccountBody, AccountFlags};
use kanjo_format::record::{AccountRow, ImportedAccountRow};
use kanjo_format::result::CreateAccountResult;
use kanjo_format::{AccountId, Timestamp};

use super::Ended;
use crate::account::Account;
use crate::batch::OpenBatch;
use crate::ledger::Ledger;
use crate::lookup::{HistoryError, HistoryReader};

const LIMIT_FLAGS: u16 =
    AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS;

impl Ledger {
    pub(super) fn create_account(
        &mut self,
        open: &mut OpenBatch,
        event: &AccountBody,
        history: &mut dyn HistoryReader,
    ) -> Result<Ended<CreateAccountResult>, HistoryError> {
        if let Some(refused) = refuse_envelope(event) {
            return Ok(refused.into());
        }
        let accounts = &self.books.accounts;
        if let Some(number) = accounts.find(AccountId::new(event.id.get())) {
            return Ok(compare(&accounts.at(number), event));
        }
        if let Some(refused) = refuse_fields(event) {
            return Ok(refused.into());
        }
        let is_imported = event.flags.get() & AccountFlags::IMPORTED != 0;
        if is_imported && self.regresses(event.timestamp.get(), history)? {
            return Ok(CreateAccountResult::ImportedEventTimestampMustNotRegress.into());
        }
        let account = AccountRow {
            id: event.id,
            user_data_128: event.user_data_128,
            user_data_64: event.user_data_64,
            number: self.books.accounts.count().into(),
            ledger: event.ledger,
            user_data_32: event.user_data_32,
            code: event.code,
            flags: event.flags,
        };
        let timestamp = match is_imported {
            true => Timestamp::new(event.timestamp.get()),
            false => open.next_timestamp(),
        };
        let number = self
            .books
            .open_account(&Account::opened(&account, timestamp));
        assert_eq!(number, Some(account.number()), "the id was not found above");
        match is_imported {
            true => open.push_imported(ImportedAccountRow {
                account,
                timestamp: event.timestamp,
            }),
            false => open.push_account(account),
        }
        Ok(Ended::Created(timestamp))
    }

    /// Whether an account may not be opened at that time of the past: one was opened then or
    /// later, or a transfer happened just then.
    fn regresses(
        &self,
        timestamp: u64,
        history: &mut dyn HistoryReader,
    ) -> Result<bool, HistoryError> {
        if timestamp <= self.books.accounts.last_opened_at() {
            return Ok(true);
        }
        if timestamp > self.books.transfer_time {
            return Ok(false);
        }
        match self.index.has_transfer_at(timestamp) {
            true => Ok(true),
            false => history.has_transfer_at_time(Timestamp::new(timestamp)),
        }
    }
}

/// What is checked before it is known whether the account exists.
fn refuse_envelope(event: &AccountBody) -> Option<CreateAccountResult> {
    use CreateAccountResult as R;
    if event.reserved.get() != 0 {
        return Some(R::ReservedField);
    }
    if event.flags.get() & !AccountFlags::ALL != 0 {
        return Some(R::ReservedFlag);
    }
    match event.id.get() {
        0 => Some(R::IdMustNotBeZero),
        u128::MAX => Some(R::IdMustNotBeIntMax),
        _ => None,
    }
}

/// What is checked of an account that does not exist yet.
fn refuse_fields(event: &AccountBody) -> Option<CreateAccountResult> {
    use CreateAccountResult as R;
    if event.flags.get() & LIMIT_FLAGS == LIMIT_FLAGS {
        return Some(R::FlagsAreMutuallyExclusive);
    }
    if event.debits_pending.get() != 0 {
        return Some(R::DebitsPendingMustBeZero);
    }
    if event.debits_posted.get() != 0 {
        return Some(R::DebitsPostedMustBeZero);
    }
    if event.credits_pending.get() != 0 {
        return Some(R::CreditsPendingMustBeZero);
    }
    if event.credits_posted.get() != 0 {
        return Some(R::CreditsPostedMustBeZero);
    }
    if event.ledger.get() == 0 {
        return Some(R::LedgerMustNotBeZero);
    }
    (event.code.get() == 0).then_some(R::CodeMustNotBeZero)
}

fn compare(there: &Account, event: &AccountBody) -> Ended<CreateAccountResult> {
    use CreateAccountResult as R;
    if there.flags != event.flags.get() {
        R::ExistsWithDifferentFlags
    } else if there.user_data_128 != event.user_data_128.get() {
        R::ExistsWithDifferentUserData128
    } else if there.user_data_64 != event.user_data_64.get() {
        R::ExistsWithDifferentUserData64
    } else if there.user_data_32 != event.user_data_32.get() {
        R::ExistsWithDifferentUserData32
    } else if there.ledger != event.ledger.get() {
        R::ExistsWithDifferentLedger
    } else if there.code != event.code.get() {
        R::ExistsWithDifferentCode
    } else {
        return Ended::Exists(Timestamp::new(there.timestamp));
    }
    .into()
}
