//! Transfers of one phase, and the first phase of two.

use kanjo_format::client::TransferBody;
use kanjo_format::result::CreateTransferResult;

use super::account::{CREDITS_MUST_NOT_EXCEED_DEBITS, DEBITS_MUST_NOT_EXCEED_CREDITS};
use super::{Account, Model, Pending, TIME_END};

pub(crate) const LINKED: u16 = 1 << 0;
pub(crate) const PENDING: u16 = 1 << 1;
pub(crate) const POST_PENDING: u16 = 1 << 2;
pub(crate) const VOID_PENDING: u16 = 1 << 3;
pub(crate) const BALANCING_DEBIT: u16 = 1 << 4;
pub(crate) const BALANCING_CREDIT: u16 = 1 << 5;
pub(crate) const CLOSING_DEBIT: u16 = 1 << 6;
pub(crate) const CLOSING_CREDIT: u16 = 1 << 7;
pub(crate) const IMPORTED: u16 = 1 << 8;
const KNOWN_FLAGS: u16 = (1 << 9) - 1;

const SECOND_NS: u64 = 1_000_000_000;

/// A transfer as it is asked for: the documented fields, and those beyond them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) body: TransferBody,
    /// Id of the transfer that this one reverses; zero for none.
    pub(crate) reverses: u128,
    /// YYYYMMDD, zero for none.
    pub(crate) value_date: u32,
    /// YYYYMMDD, zero for the current one.
    pub(crate) business_date: u32,
}

impl Asked {
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.body.flags.get() & flag != 0
    }

    pub(super) fn id(&self) -> u128 {
        self.body.id.get()
    }
}

/// A transfer as it was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) id: u128,
    pub(crate) debit_account_id: u128,
    pub(crate) credit_account_id: u128,
    pub(crate) amount: u128,
    pub(crate) pending_id: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    pub(crate) timeout: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) flags: u16,
    pub(crate) timestamp: u64,
    pub(crate) reverses: u128,
    pub(crate) value_date: u32,
    pub(crate) business_date: u32,
    /// Whether the request named that business date.
    pub(crate) business_date_named: bool,
}

impl Transfer {
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The business date that its request named; zero for none.
    pub(crate) fn asked_business_date(&self) -> u32 {
        if self.business_date_named {
            self.business_date
        } else {
            0
        }
    }

    /// Whether a retry asks for another amount. What a balancing transfer asks for is the most
    /// that it may move.
    pub(super) fn differs_in_amount(&self, asked: u128) -> bool {
        if self.has(BALANCING_DEBIT | BALANCING_CREDIT) {
            asked < self.amount
        } else {
            asked != self.amount
        }
    }

    /// When it is due to expire, if ever.
    pub(crate) fn due(&self) -> Option<u64> {
        (self.timeout != 0).then(|| self.timestamp + u64::from(self.timeout) * SECOND_NS)
    }

    /// As a reply shows it.
    pub(crate) fn body(&self) -> TransferBody {
        TransferBody {
            id: self.id.into(),
            debit_account_id: self.debit_account_id.into(),
            credit_account_id: self.credit_account_id.into(),
            amount: self.amount.into(),
            pending_id: self.pending_id.into(),
            user_data_128: self.user_data_128.into(),
            user_data_64: self.user_data_64.into(),
            user_data_32: self.user_data_32.into(),
            timeout: self.timeout.into(),
            ledger: self.ledger.into(),
            code: self.code.into(),
            flags: self.flags.into(),
            timestamp: self.timestamp.into(),
        }
    }
}

type Refused = CreateTransferResult;

impl Model {
    /// Creates one transfer of any form; the rules of a whole request stand in `chain`.
    pub(super) fn create_transfer(&mut self, asked: &Asked) -> (CreateTransferResult, u64) {
        use CreateTransferResult as R;
        match self.try_transfer(asked) {
            Ok(timestamp) => (R::Created, timestamp),
            Err(R::Exists) => {
                let there = self.transfer(asked.id()).expect("it exists");
                (R::Exists, there.timestamp)
            }
            Err(refused) => (refused, self.now()),
        }
    }

    fn try_transfer(&mut self, asked: &Asked) -> Result<u64, Refused> {
        use CreateTransferResult as R;
        first_of([
            (asked.body.flags.get() & !KNOWN_FLAGS != 0, R::ReservedFlag),
            (asked.id() == 0, R::IdMustNotBeZero),
            (asked.id() == u128::MAX, R::IdMustNotBeIntMax),
        ])?;
        if let Some(there) = self.transfer(asked.id()) {
            return Err(self.compare_transfer(there, asked));
        }
        if self.failed.contains_key(&asked.id()) {
            return Err(R::IdAlreadyFailed);
        }
        self.refuse_details(asked)?;
        let transfer = if asked.reverses != 0 {
            self.weigh_reversal(asked)?
        } else if asked.has(POST_PENDING | VOID_PENDING) {
            return self.try_resolve(asked);
        } else {
            self.weigh_transfer(asked)?
        };
        Ok(self.carry_out(transfer))
    }

    /// A transfer that neither ends a pending one nor reverses another.
    fn weigh_transfer(&self, asked: &Asked) -> Result<Transfer, Refused> {
        use CreateTransferResult as R;
        let body = &asked.body;
        let (debit, credit) = (body.debit_account_id.get(), body.credit_account_id.get());
        let closing = asked.has(CLOSING_DEBIT | CLOSING_CREDIT);
        let pending = asked.has(PENDING);
        first_of([
            (debit == 0, R::DebitAccountIdMustNotBeZero),
            (debit == u128::MAX, R::DebitAccountIdMustNotBeIntMax),
            (credit == 0, R::CreditAccountIdMustNotBeZero),
            (credit == u128::MAX, R::CreditAccountIdMustNotBeIntMax),
            (debit == credit, R::AccountsMustBeDifferent),
            (body.pending_id.get() != 0, R::PendingIdMustBeZero),
            (
                body.timeout.get() != 0 && !pending,
                R::TimeoutReservedForPendingTransfer,
            ),
            (closing && !pending, R::ClosingTransferMustBePending),
            (body.ledger.get() == 0, R::LedgerMustNotBeZero),
            (body.code.get() == 0, R::CodeMustNotBeZero),
        ])?;
        let debit = self.account(debit).ok_or(R::DebitAccountNotFound)?;
        let credit = self.account(credit).ok_or(R::CreditAccountNotFound)?;
        first_of([
            (
                debit.ledger != credit.ledger,
                R::AccountsMustHaveTheSameLedger,
            ),
            (
                debit.ledger != body.ledger.get(),
                R::TransferMustHaveTheSameLedgerAsAccounts,
            ),
        ])?;
        self.refuse_business_date(asked)?;
        self.refuse_import(asked, debit, credit)?;
        refuse_closed_and_frozen(debit, credit)?;
        let transfer = Transfer {
            amount: balanced_amount(asked, debit, credit),
            ..self.as_asked(asked)
        };
        refuse_sums(&transfer, debit, credit)?;
        refuse_limits(transfer.amount, debit, credit)?;
        Ok(transfer)
    }

    /// The transfer as asked for, with the time that it would get.
    pub(super) fn as_asked(&self, asked: &Asked) -> Transfer {
        let body = &asked.body;
        let timestamp = if asked.has(IMPORTED) {
            body.timestamp.get()
        } else {
            self.now()
        };
        let business_date_named = asked.business_date != 0;
        Transfer {
            id: body.id.get(),
            debit_account_id: body.debit_account_id.get(),
            credit_account_id: body.credit_account_id.get(),
            amount: body.amount.get(),
            pending_id: body.pending_id.get(),
            user_data_128: body.user_data_128.get(),
            user_data_64: body.user_data_64.get(),
            user_data_32: body.user_data_32.get(),
            timeout: body.timeout.get(),
            ledger: body.ledger.get(),
            code: body.code.get(),
            flags: body.flags.get(),
            timestamp,
            reverses: asked.reverses,
            value_date: asked.value_date,
            business_date: if business_date_named {
                asked.business_date
            } else {
                self.business_date
            },
            business_date_named,
        }
    }

    fn refuse_import(
        &self,
        asked: &Asked,
        debit: &Account,
        credit: &Account,
    ) -> Result<(), Refused> {
        use CreateTransferResult as R;
        if !asked.has(IMPORTED) {
            return Ok(());
        }
        let time = asked.body.timestamp.get();
        first_of([
            (
                self.transfer_time_regresses(time),
                R::ImportedEventTimestampMustNotRegress,
            ),
            (
                time <= debit.timestamp,
                R::ImportedEventTimestampMustPostdateDebitAccount,
            ),
            (
                time <= credit.timestamp,
                R::ImportedEventTimestampMustPostdateCreditAccount,
            ),
            (
                asked.body.timeout.get() != 0,
                R::ImportedEventTimeoutMustBeZero,
            ),
        ])
    }

    /// Times of transfers rise in the order of creation, and no account has the same one.
    pub(super) fn transfer_time_regresses(&self, time: u64) -> bool {
        self.transfers
            .last()
            .is_some_and(|last| time <= last.timestamp)
            || self
                .accounts
                .iter()
                .any(|account| account.timestamp == time)
    }

    /// Moves the money of a transfer of one phase, or of a first phase, and keeps it.
    fn carry_out(&mut self, transfer: Transfer) -> u64 {
        let amount = transfer.amount;
        let pending = transfer.has(PENDING);
        let debit = self.account_mut(transfer.debit_account_id);
        if pending {
            debit.balance.debits_pending += amount;
        } else {
            debit.balance.debits_posted += amount;
        }
        if transfer.has(CLOSING_DEBIT) {
            debit.set_closed(true);
        }
        let credit = self.account_mut(transfer.credit_account_id);
        if pending {
            credit.balance.credits_pending += amount;
        } else {
            credit.balance.credits_posted += amount;
        }
        if transfer.has(CLOSING_CREDIT) {
            credit.set_closed(true);
        }
        if pending {
            self.pending.insert(transfer.id, Pending::Open);
        }
        self.keep(transfer)
    }

    pub(super) fn keep(&mut self, transfer: Transfer) -> u64 {
        let timestamp = transfer.timestamp;
        self.transfers.push(transfer);
        self.record_movement(self.transfers.len() - 1, false);
        timestamp
    }

    fn compare_transfer(&self, there: &Transfer, asked: &Asked) -> CreateTransferResult {
        use CreateTransferResult as R;
        let body = &asked.body;
        let envelope = first_of([
            (there.flags != body.flags.get(), R::ExistsWithDifferentFlags),
            (
                there.pending_id != body.pending_id.get(),
                R::ExistsWithDifferentPendingId,
            ),
            (
                there.timeout != body.timeout.get(),
                R::ExistsWithDifferentTimeout,
            ),
        ]);
        if let Err(different) = envelope {
            return different;
        }
        let compared = if there.has(POST_PENDING | VOID_PENDING) {
            let pending = self.transfer(there.pending_id).expect("it was resolved");
            super::pending::compare_resolution(there, pending, asked)
        } else if asked.reverses != 0 {
            let original = self.transfer(there.reverses);
            super::reversal::compare_reversal(there, original, asked)
        } else {
            compare_plain(there, asked)
        };
        if let Err(different) = compared {
            return different;
        }
        first_of([
            (
                there.reverses != asked.reverses,
                R::ExistsWithDifferentReverses,
            ),
            (
                there.value_date != asked.value_date,
                R::ExistsWithDifferentValueDate,
            ),
            (
                there.asked_business_date() != asked.business_date,
                R::ExistsWithDifferentBusinessDate,
            ),
        ])
        .err()
        .unwrap_or(R::Exists)
    }
}

/// The first of the rules that applies.
pub(super) fn first_of<const N: usize>(rules: [(bool, Refused); N]) -> Result<(), Refused> {
    let first = rules.into_iter().find(|(applies, _)| *applies);
    first.map_or(Ok(()), |(_, refused)| Err(refused))
}

fn compare_plain(there: &Transfer, asked: &Asked) -> Result<(), Refused> {
    use CreateTransferResult as R;
    let body = &asked.body;
    first_of([
        (
            there.debit_account_id != body.debit_account_id.get(),
            R::ExistsWithDifferentDebitAccountId,
        ),
        (
            there.credit_account_id != body.credit_account_id.get(),
            R::ExistsWithDifferentCreditAccountId,
        ),
        (
            there.differs_in_amount(body.amount.get()),
            R::ExistsWithDifferentAmount,
        ),
        (
            there.user_data_128 != body.user_data_128.get(),
            R::ExistsWithDifferentUserData128,
        ),
        (
            there.user_data_64 != body.user_data_64.get(),
            R::ExistsWithDifferentUserData64,
        ),
        (
            there.user_data_32 != body.user_data_32.get(),
            R::ExistsWithDifferentUserData32,
        ),
        (
            there.ledger != body.ledger.get(),
            R::ExistsWithDifferentLedger,
        ),
        (there.code != body.code.get(), R::ExistsWithDifferentCode),
    ])
}

pub(super) fn refuse_closed_and_frozen(debit: &Account, credit: &Account) -> Result<(), Refused> {
    use CreateTransferResult as R;
    first_of([
        (debit.is_closed(), R::DebitAccountAlreadyClosed),
        (credit.is_closed(), R::CreditAccountAlreadyClosed),
        (debit.debits_frozen, R::DebitAccountFrozen),
        (credit.credits_frozen, R::CreditAccountFrozen),
    ])
}

/// As much of the amount as leaves the balanced account's one side within its other.
fn balanced_amount(asked: &Asked, debit: &Account, credit: &Account) -> u128 {
    let mut amount = asked.body.amount.get();
    if asked.has(BALANCING_DEBIT) {
        let room = debit
            .balance
            .credits_posted
            .saturating_sub(debit.balance.debits());
        amount = amount.min(room);
    }
    if asked.has(BALANCING_CREDIT) {
        let room = credit
            .balance
            .debits_posted
            .saturating_sub(credit.balance.credits());
        amount = amount.min(room);
    }
    amount
}

/// Every sum has to fit 128 bits, and the time of expiry 63.
pub(super) fn refuse_sums(
    transfer: &Transfer,
    debit: &Account,
    credit: &Account,
) -> Result<(), Refused> {
    use CreateTransferResult as R;
    let amount = transfer.amount;
    let pending = transfer.has(PENDING);
    let overflows = |sum: u128| sum.checked_add(amount).is_none();
    let (debit, credit) = (&debit.balance, &credit.balance);
    first_of([
        (
            pending && overflows(debit.debits_pending),
            R::OverflowsDebitsPending,
        ),
        (
            pending && overflows(credit.credits_pending),
            R::OverflowsCreditsPending,
        ),
        (overflows(debit.debits_posted), R::OverflowsDebitsPosted),
        (overflows(credit.credits_posted), R::OverflowsCreditsPosted),
        (overflows(debit.debits()), R::OverflowsDebits),
        (overflows(credit.credits()), R::OverflowsCredits),
        (
            transfer.due().is_some_and(|due| due >= TIME_END),
            R::OverflowsTimeout,
        ),
    ])
}

pub(super) fn refuse_limits(
    amount: u128,
    debit: &Account,
    credit: &Account,
) -> Result<(), Refused> {
    use CreateTransferResult as R;
    let debits_after = debit.balance.debits() + amount;
    let credits_after = credit.balance.credits() + amount;
    let exceeds_credits = debits_after > debit.balance.credits_posted;
    let exceeds_overdraft = |limit: u128| {
        // More than can be told is no limit.
        debits_after > debit.balance.credits_posted.saturating_add(limit)
    };
    let (too_much, why) = match debit.overdraft_limit {
        Some(limit) => (exceeds_overdraft(limit), R::ExceedsOverdraftLimit),
        None => (
            exceeds_credits && debit.has(DEBITS_MUST_NOT_EXCEED_CREDITS),
            R::ExceedsCredits,
        ),
    };
    let exceeds_debits = credits_after > credit.balance.debits_posted;
    first_of([
        (too_much, why),
        (
            exceeds_debits && credit.has(CREDITS_MUST_NOT_EXCEED_DEBITS),
            R::ExceedsDebits,
        ),
    ])
}
