//! A second ledger, as simple as can be: every rule is one line of a table, every search a walk.
//! It shares no code with the first beyond the result names.

use kanjo_format::client::{AccountBody, TransferBody};
use kanjo_format::result::{CreateAccountResult as A, CreateTransferResult as T};

const MAX: u128 = u128::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) accounts: Vec<AccountBody>,
    pub(super) transfers: Vec<TransferBody>,
    pub(super) burned: Vec<u128>,
}

/// The first rule that is broken.
fn first<R: Copy>(rules: &[(bool, R)]) -> Option<R> {
    rules
        .iter()
        .find(|(broken, _)| *broken)
        .map(|&(_, result)| result)
}

impl Model {
    /// `time` is when a record would happen. Gives result, timestamp, and whether it is recorded.
    pub(super) fn create_account(&mut self, e: &AccountBody, time: u64) -> (u32, u64, bool) {
        let there = self.accounts.iter().find(|a| a.id == e.id);
        let flags = e.flags.get();
        let envelope = first(&[
            (e.timestamp.get() != 0, A::TimestampMustBeZero),
            (e.reserved.get() != 0, A::ReservedField),
            (!matches!(flags, 0 | 2 | 4 | 6), A::ReservedFlag),
            (e.id.get() == 0, A::IdMustNotBeZero),
            (e.id.get() == MAX, A::IdMustNotBeIntMax),
        ]);
        let exists = there.map(|a| {
            first(&[
                (a.flags != e.flags, A::ExistsWithDifferentFlags),
                (
                    a.user_data_128 != e.user_data_128,
                    A::ExistsWithDifferentUserData128,
                ),
                (
                    a.user_data_64 != e.user_data_64,
                    A::ExistsWithDifferentUserData64,
                ),
                (
                    a.user_data_32 != e.user_data_32,
                    A::ExistsWithDifferentUserData32,
                ),
                (a.ledger != e.ledger, A::ExistsWithDifferentLedger),
                (a.code != e.code, A::ExistsWithDifferentCode),
            ])
            .unwrap_or(A::Exists)
        });
        let fields = first(&[
            (flags == 6, A::FlagsAreMutuallyExclusive),
            (e.debits_pending.get() != 0, A::DebitsPendingMustBeZero),
            (e.debits_posted.get() != 0, A::DebitsPostedMustBeZero),
            (e.credits_pending.get() != 0, A::CreditsPendingMustBeZero),
            (e.credits_posted.get() != 0, A::CreditsPostedMustBeZero),
            (e.ledger.get() == 0, A::LedgerMustNotBeZero),
            (e.code.get() == 0, A::CodeMustNotBeZero),
        ]);
        match envelope.or(exists).or(fields) {
            Some(A::Exists) => (21, there.unwrap().timestamp.get(), false),
            Some(result) => (result.number(), time, false),
            None => {
                self.accounts.push(AccountBody {
                    timestamp: time.into(),
                    ..*e
                });
                (u32::MAX, time, true)
            }
        }
    }

    /// As [`Self::create_account`].
    pub(super) fn create_transfer(&mut self, e: &TransferBody, time: u64) -> (u32, u64, bool) {
        let there = self.transfers.iter().find(|t| t.id == e.id);
        let debit = self
            .accounts
            .iter()
            .position(|a| a.id == e.debit_account_id);
        let credit = self
            .accounts
            .iter()
            .position(|a| a.id == e.credit_account_id);
        let refused = Self::envelope(e)
            .or(there.map(|t| Self::exists(t, e)))
            .or(first(&[(
                self.burned.contains(&e.id.get()),
                T::IdAlreadyFailed,
            )]))
            .or(Self::fields(e))
            .or(first(&[
                (debit.is_none(), T::DebitAccountNotFound),
                (credit.is_none(), T::CreditAccountNotFound),
            ]))
            .or_else(|| {
                Self::balances(
                    &self.accounts[debit.unwrap()],
                    &self.accounts[credit.unwrap()],
                    e,
                )
            });
        match refused {
            None => {
                let (from, to) = (debit.unwrap(), credit.unwrap());
                self.accounts[from].debits_posted += e.amount.get();
                self.accounts[to].credits_posted += e.amount.get();
                self.transfers.push(TransferBody {
                    timestamp: time.into(),
                    ..*e
                });
                (u32::MAX, time, true)
            }
            Some(T::Exists) => (46, there.unwrap().timestamp.get(), false),
            Some(result) if [21, 22, 54, 55].contains(&result.number()) => {
                self.burned.push(e.id.get());
                (result.number(), time, true)
            }
            Some(result) => (result.number(), time, false),
        }
    }

    fn envelope(e: &TransferBody) -> Option<T> {
        first(&[
            (e.timestamp.get() != 0, T::TimestampMustBeZero),
            (e.flags.get() != 0, T::ReservedFlag),
            (e.id.get() == 0, T::IdMustNotBeZero),
            (e.id.get() == MAX, T::IdMustNotBeIntMax),
        ])
    }

    fn exists(t: &TransferBody, e: &TransferBody) -> T {
        first(&[
            (t.flags != e.flags, T::ExistsWithDifferentFlags),
            (
                t.pending_id != e.pending_id,
                T::ExistsWithDifferentPendingId,
            ),
            (t.timeout != e.timeout, T::ExistsWithDifferentTimeout),
            (
                t.debit_account_id != e.debit_account_id,
                T::ExistsWithDifferentDebitAccountId,
            ),
            (
                t.credit_account_id != e.credit_account_id,
                T::ExistsWithDifferentCreditAccountId,
            ),
            (t.amount != e.amount, T::ExistsWithDifferentAmount),
            (
                t.user_data_128 != e.user_data_128,
                T::ExistsWithDifferentUserData128,
            ),
            (
                t.user_data_64 != e.user_data_64,
                T::ExistsWithDifferentUserData64,
            ),
            (
                t.user_data_32 != e.user_data_32,
                T::ExistsWithDifferentUserData32,
            ),
            (t.ledger != e.ledger, T::ExistsWithDifferentLedger),
            (t.code != e.code, T::ExistsWithDifferentCode),
        ])
        .unwrap_or(T::Exists)
    }

    fn fields(e: &TransferBody) -> Option<T> {
        let (debit, credit) = (e.debit_account_id.get(), e.credit_account_id.get());
        first(&[
            (debit == 0, T::DebitAccountIdMustNotBeZero),
            (debit == MAX, T::DebitAccountIdMustNotBeIntMax),
            (credit == 0, T::CreditAccountIdMustNotBeZero),
            (credit == MAX, T::CreditAccountIdMustNotBeIntMax),
            (debit == credit, T::AccountsMustBeDifferent),
            (e.pending_id.get() != 0, T::PendingIdMustBeZero),
            (e.timeout.get() != 0, T::TimeoutReservedForPendingTransfer),
            (e.ledger.get() == 0, T::LedgerMustNotBeZero),
            (e.code.get() == 0, T::CodeMustNotBeZero),
        ])
    }

    fn balances(debit: &AccountBody, credit: &AccountBody, e: &TransferBody) -> Option<T> {
        let amount = e.amount.get();
        let room = |balance: u128| amount <= MAX - balance;
        first(&[
            (
                debit.ledger != credit.ledger,
                T::AccountsMustHaveTheSameLedger,
            ),
            (
                debit.ledger != e.ledger,
                T::TransferMustHaveTheSameLedgerAsAccounts,
            ),
            (!room(debit.debits_posted.get()), T::OverflowsDebitsPosted),
            (
                !room(credit.credits_posted.get()),
                T::OverflowsCreditsPosted,
            ),
        ])
        .or_else(|| {
            let debits = debit.debits_posted.get() + amount;
            let credits = credit.credits_posted.get() + amount;
            first(&[
                (
                    debit.flags.get() == 2 && debits > debit.credits_posted.get(),
                    T::ExceedsCredits,
                ),
                (
                    credit.flags.get() == 4 && credits > credit.debits_posted.get(),
                    T::ExceedsDebits,
                ),
            ])
        })
    }
}
