//! Execution on the primary: the rules of money, in the order that TigerBeetle documents.
//!
//! An event either leaves a record in the open batch, and is in memory from then on, or leaves
//! no trace. A failure that may pass with time leaves one too: it burns the id, so that a retry
//! never ends otherwise than the first attempt did.

use kanjo_format::client::{AccountBody, AccountFlags, ResultRun, TransferBody};
use kanjo_format::record::{AccountRow, FailedRow, TransferRow};
use kanjo_format::result::{CreateAccountResult, CreateTransferResult};
use kanjo_format::{AccountId, AccountNumber, Timestamp, TransferId};

use crate::account::{Account, Accounts, FIND_MAX};
use crate::batch::OpenBatch;
use crate::index::{Entry, Probe};
use crate::ledger::{Books, Ledger, Posting};
use crate::lookup::{HistoryError, HistoryReader, PostedTransfer, no_such_account, read_posted};
use kanjo_format::RecordAt;

const LIMIT_FLAGS: u16 =
    AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS;
const NO_TIME: Timestamp = Timestamp::new(0);
/// Events whose accounts are looked up together.
const CHUNK_EVENTS: usize = FIND_MAX / 2;

/// The accounts of a transfer, as far as they are there.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    debit: Option<AccountNumber>,
    credit: Option<AccountNumber>,
}

impl Ledger {
    /// Opens accounts, and pushes how each event ended. Panics if the batch has no room for as
    /// many records as there are events.
    pub fn create_accounts(
        &mut self,
        open: &mut OpenBatch,
        events: &[AccountBody],
        results: &mut Vec<ResultRun>,
    ) {
        assert!(events.len() <= open.room(), "more events than room");
        let mut runs = Runs::new(results);
        for event in events {
            let (result, timestamp) = self.create_account(open, event);
            let created = result == CreateAccountResult::Created;
            runs.push(result.number(), timestamp, created);
        }
    }

    /// Posts transfers, and pushes how each event ended. Panics if the batch has no room for as
    /// many records as there are events. After an error, the events before the one that needed
    /// history stand in the batch, which stays good; the request must not be answered.
    pub fn create_transfers(
        &mut self,
        open: &mut OpenBatch,
        events: &[TransferBody],
        history: &mut dyn HistoryReader,
        results: &mut Vec<ResultRun>,
    ) -> Result<(), HistoryError> {
        assert!(events.len() <= open.room(), "more events than room");
        let mut runs = Runs::new(results);
        for events in events.chunks(CHUNK_EVENTS) {
            let ends = self.resolve(events);
            for (event, ends) in events.iter().zip(&ends) {
                let (result, timestamp) = self.create_transfer(open, event, ends, history)?;
                let created = result == CreateTransferResult::Created;
                runs.push(result.number(), timestamp, created);
            }
        }
        Ok(())
    }

    fn create_account(
        &mut self,
        open: &mut OpenBatch,
        event: &AccountBody,
    ) -> (CreateAccountResult, Timestamp) {
        if let Some(refused) = refuse_account_envelope(event) {
            return (refused, NO_TIME);
        }
        let accounts = &self.books.accounts;
        if let Some(number) = accounts.find(AccountId::new(event.id.get())) {
            return compare_account(&accounts.at(number), event);
        }
        if let Some(refused) = refuse_account_fields(event) {
            return (refused, NO_TIME);
        }
        let row = AccountRow {
            id: event.id,
            user_data_128: event.user_data_128,
            user_data_64: event.user_data_64,
            number: accounts.count().into(),
            ledger: event.ledger,
            user_data_32: event.user_data_32,
            code: event.code,
            flags: event.flags,
        };
        let timestamp = open.next_timestamp();
        let number = self.books.open_account(&row, timestamp);
        assert_eq!(number, Some(row.number()), "the id was not found above");
        open.push_account(row);
        (CreateAccountResult::Created, timestamp)
    }

    /// Looks up both accounts of some events together. A transfer opens no account and changes no
    /// number, so what is found holds until each event is executed.
    fn resolve(&self, events: &[TransferBody]) -> [Ends; CHUNK_EVENTS] {
        let mut ids = [AccountId::new(0); FIND_MAX];
        for (ids, event) in ids.as_chunks_mut().0.iter_mut().zip(events) {
            *ids = [event.debit_account_id, event.credit_account_id]
                .map(|id| AccountId::new(id.get()));
        }
        let mut found = [None; FIND_MAX];
        let wanted = 2 * events.len();
        self.books
            .accounts
            .find_many(&ids[..wanted], &mut found[..wanted]);
        std::array::from_fn(|n| Ends {
            debit: found[2 * n],
            credit: found[2 * n + 1],
        })
    }

    fn create_transfer(
        &mut self,
        open: &mut OpenBatch,
        event: &TransferBody,
        ends: &Ends,
        history: &mut dyn HistoryReader,
    ) -> Result<(CreateTransferResult, Timestamp), HistoryError> {
        if let Some(refused) = refuse_transfer_envelope(event) {
            return Ok((refused, NO_TIME));
        }
        let id = TransferId::new(event.id.get());
        let books = &mut self.books;
        let free = match self.index.probe(id) {
            Probe::Free(free) => free,
            Probe::Taken(Entry::Failed(_)) => {
                return Ok((CreateTransferResult::IdAlreadyFailed, NO_TIME));
            }
            Probe::Taken(Entry::Posted(at)) => {
                let posted = read_posted(id, at, Some(open), history)?;
                return compare_transfer(&books.accounts, &posted, at, event);
            }
        };
        if let Some(refused) = refuse_transfer_fields(event) {
            return Ok((refused, NO_TIME));
        }
        match weigh(books, event, ends) {
            Ok(posting) => {
                let timestamp = open.next_timestamp();
                let at = RecordAt::new(open.lsn(), open.record_count());
                books.post(&posting);
                open.push_transfer(transfer_row(event, &posting));
                free.take(Entry::Posted(at));
                Ok((CreateTransferResult::Created, timestamp))
            }
            Err(result) if result.is_transient() => {
                open.push_failed(FailedRow {
                    id: event.id,
                    result: result.number().into(),
                    reserved: 0.into(),
                });
                free.take(Entry::Failed(result));
                books.failed += 1;
                Ok((result, NO_TIME))
            }
            Err(result) => Ok((result, NO_TIME)),
        }
    }
}

/// What is checked before it is known whether the account exists.
fn refuse_account_envelope(event: &AccountBody) -> Option<CreateAccountResult> {
    use CreateAccountResult as R;
    if event.timestamp.get() != 0 {
        return Some(R::TimestampMustBeZero);
    }
    if event.reserved.get() != 0 {
        return Some(R::ReservedField);
    }
    if event.flags.get() & !LIMIT_FLAGS != 0 {
        return Some(R::ReservedFlag);
    }
    match event.id.get() {
        0 => Some(R::IdMustNotBeZero),
        u128::MAX => Some(R::IdMustNotBeIntMax),
        _ => None,
    }
}

/// What is checked of an account that does not exist yet.
fn refuse_account_fields(event: &AccountBody) -> Option<CreateAccountResult> {
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

fn compare_account(there: &Account, event: &AccountBody) -> (CreateAccountResult, Timestamp) {
    use CreateAccountResult as R;
    let result = if there.flags != event.flags.get() {
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
        return (R::Exists, Timestamp::new(there.timestamp));
    };
    (result, NO_TIME)
}

/// What is checked before it is known whether the id is taken.
fn refuse_transfer_envelope(event: &TransferBody) -> Option<CreateTransferResult> {
    use CreateTransferResult as R;
    if event.timestamp.get() != 0 {
        return Some(R::TimestampMustBeZero);
    }
    if event.flags.get() != 0 {
        return Some(R::ReservedFlag);
    }
    match event.id.get() {
        0 => Some(R::IdMustNotBeZero),
        u128::MAX => Some(R::IdMustNotBeIntMax),
        _ => None,
    }
}

/// What is checked of a transfer whose id is free, before its accounts are looked up.
fn refuse_transfer_fields(event: &TransferBody) -> Option<CreateTransferResult> {
    use CreateTransferResult as R;
    match event.debit_account_id.get() {
        0 => return Some(R::DebitAccountIdMustNotBeZero),
        u128::MAX => return Some(R::DebitAccountIdMustNotBeIntMax),
        _ => {}
    }
    match event.credit_account_id.get() {
        0 => return Some(R::CreditAccountIdMustNotBeZero),
        u128::MAX => return Some(R::CreditAccountIdMustNotBeIntMax),
        _ => {}
    }
    if event.debit_account_id == event.credit_account_id {
        return Some(R::AccountsMustBeDifferent);
    }
    if event.pending_id.get() != 0 {
        return Some(R::PendingIdMustBeZero);
    }
    if event.timeout.get() != 0 {
        return Some(R::TimeoutReservedForPendingTransfer);
    }
    if event.ledger.get() == 0 {
        return Some(R::LedgerMustNotBeZero);
    }
    (event.code.get() == 0).then_some(R::CodeMustNotBeZero)
}

/// Looks at both accounts: what the transfer makes of them, or why it cannot be posted.
#[inline]
fn weigh(
    books: &Books,
    event: &TransferBody,
    ends: &Ends,
) -> Result<Posting, CreateTransferResult> {
    use CreateTransferResult as R;
    let accounts = &books.accounts;
    let from = ends.debit.ok_or(R::DebitAccountNotFound)?;
    let to = ends.credit.ok_or(R::CreditAccountNotFound)?;
    let (debit, credit) = (accounts.core_at(from), accounts.core_at(to));
    let ledger_slot = debit.traits.ledger_slot();
    if ledger_slot != credit.traits.ledger_slot() {
        return Err(R::AccountsMustHaveTheSameLedger);
    }
    if books.totals.at(ledger_slot).ledger.get() != event.ledger.get() {
        return Err(R::TransferMustHaveTheSameLedgerAsAccounts);
    }
    let amount = event.amount.get();
    let sum = |balance: u128, more: u128, overflow| balance.checked_add(more).ok_or(overflow);
    let debits_after = sum(debit.debits_posted, amount, R::OverflowsDebitsPosted)?;
    let credits_after = sum(credit.credits_posted, amount, R::OverflowsCreditsPosted)?;
    let pending = accounts.pending(from, debit).debits;
    let debits_all = sum(debits_after, pending, R::OverflowsDebits)?;
    let pending = accounts.pending(to, credit).credits;
    let credits_all = sum(credits_after, pending, R::OverflowsCredits)?;
    if debit.traits.has_limited_debits() && debits_all > debit.credits_posted {
        return Err(R::ExceedsCredits);
    }
    if credit.traits.has_limited_credits() && credits_all > credit.debits_posted {
        return Err(R::ExceedsDebits);
    }
    Ok(Posting {
        debit: from,
        credit: to,
        ledger_slot,
        amount,
        debits_after,
        credits_after,
    })
}

fn transfer_row(event: &TransferBody, posting: &Posting) -> TransferRow {
    TransferRow {
        id: event.id,
        amount: event.amount,
        user_data_128: event.user_data_128,
        user_data_64: event.user_data_64,
        debit_account: posting.debit.get().into(),
        credit_account: posting.credit.get().into(),
        user_data_32: event.user_data_32,
        code: event.code,
        flags: event.flags,
    }
}

fn compare_transfer(
    accounts: &Accounts,
    there: &PostedTransfer,
    at: RecordAt,
    event: &TransferBody,
) -> Result<(CreateTransferResult, Timestamp), HistoryError> {
    use CreateTransferResult as R;
    let row = &there.row;
    let (Some(debit), Some(credit)) = (
        accounts.get(row.debit_account()),
        accounts.get(row.credit_account()),
    ) else {
        return Err(no_such_account(at, row));
    };
    let result = if row.flags != event.flags {
        R::ExistsWithDifferentFlags
    } else if event.pending_id.get() != 0 {
        R::ExistsWithDifferentPendingId
    } else if event.timeout.get() != 0 {
        R::ExistsWithDifferentTimeout
    } else if debit.id != event.debit_account_id.get() {
        R::ExistsWithDifferentDebitAccountId
    } else if credit.id != event.credit_account_id.get() {
        R::ExistsWithDifferentCreditAccountId
    } else if row.amount != event.amount {
        R::ExistsWithDifferentAmount
    } else if row.user_data_128 != event.user_data_128 {
        R::ExistsWithDifferentUserData128
    } else if row.user_data_64 != event.user_data_64 {
        R::ExistsWithDifferentUserData64
    } else if row.user_data_32 != event.user_data_32 {
        R::ExistsWithDifferentUserData32
    } else if debit.ledger != event.ledger.get() {
        R::ExistsWithDifferentLedger
    } else if row.code != event.code {
        R::ExistsWithDifferentCode
    } else {
        return Ok((R::Exists, there.timestamp));
    };
    Ok((result, NO_TIME))
}

/// Joins results of consecutive events of one request into runs.
struct Runs<'a> {
    out: &'a mut Vec<ResultRun>,
    start: usize,
}

impl<'a> Runs<'a> {
    fn new(out: &'a mut Vec<ResultRun>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    fn push(&mut self, result: u32, timestamp: Timestamp, created: bool) {
        if let Some(run) = self.out[self.start..].last_mut() {
            let passed = if created { run.count.get() } else { 0 };
            let next = run.timestamp.get() + u64::from(passed);
            if run.result.get() == result && next == timestamp.get() {
                run.count += 1;
                return;
            }
        }
        self.out.push(ResultRun {
            count: 1.into(),
            result: result.into(),
            timestamp: timestamp.get().into(),
        });
    }
}
