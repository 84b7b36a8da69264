//! Accounts: what they hold, and how one is opened.

use kanjo_format::client::{AccountBody, AccountTermsBody};
use kanjo_format::result::CreateAccountResult;

use super::{Model, What};

pub(crate) const LINKED: u16 = 1 << 0;
pub(crate) const DEBITS_MUST_NOT_EXCEED_CREDITS: u16 = 1 << 1;
pub(crate) const CREDITS_MUST_NOT_EXCEED_DEBITS: u16 = 1 << 2;
pub(crate) const HISTORY: u16 = 1 << 3;
pub(crate) const IMPORTED: u16 = 1 << 4;
pub(crate) const CLOSED: u16 = 1 << 5;
const KNOWN_FLAGS: u16 = (1 << 6) - 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) debits_pending: u128,
    pub(crate) debits_posted: u128,
    pub(crate) credits_pending: u128,
    pub(crate) credits_posted: u128,
}

impl Balance {
    /// All debits. Never overflows: no transfer that would make it is created.
    pub(crate) fn debits(&self) -> u128 {
        self.debits_pending + self.debits_posted
    }

    /// All credits.
    pub(crate) fn credits(&self) -> u128 {
        self.credits_pending + self.credits_posted
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    /// As asked for; `closed` comes and goes.
    pub(crate) flags: u16,
    pub(crate) timestamp: u64,
    pub(crate) balance: Balance,
    pub(crate) overdraft_limit: Option<u128>,
    pub(crate) debits_frozen: bool,
    pub(crate) credits_frozen: bool,
    /// When limit or freeze last changed; zero where they never did.
    pub(crate) terms_changed: u64,
}

impl Account {
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    pub(super) fn set_closed(&mut self, closed: bool) {
        self.flags &= !CLOSED;
        if closed {
            self.flags |= CLOSED;
        }
    }

    /// Its terms as a reply shows them.
    pub(crate) fn terms(&self) -> AccountTermsBody {
        AccountTermsBody {
            id: self.id.into(),
            overdraft_limit: self.overdraft_limit.unwrap_or(0).into(),
            has_overdraft_limit: u32::from(self.overdraft_limit.is_some()).into(),
            freeze: (u32::from(self.debits_frozen) + 2 * u32::from(self.credits_frozen)).into(),
            timestamp: self.terms_changed.into(),
        }
    }

    /// As a reply shows it.
    pub(crate) fn body(&self) -> AccountBody {
        AccountBody {
            id: self.id.into(),
            debits_pending: self.balance.debits_pending.into(),
            debits_posted: self.balance.debits_posted.into(),
            credits_pending: self.balance.credits_pending.into(),
            credits_posted: self.balance.credits_posted.into(),
            user_data_128: self.user_data_128.into(),
            user_data_64: self.user_data_64.into(),
            user_data_32: self.user_data_32.into(),
            reserved: 0.into(),
            ledger: self.ledger.into(),
            code: self.code.into(),
            flags: self.flags.into(),
            timestamp: self.timestamp.into(),
        }
    }
}

impl Model {
    /// Opens one account; chains and the rules of a whole request stand in `chain`.
    pub(super) fn create_account(&mut self, asked: &AccountBody) -> (CreateAccountResult, u64) {
        use CreateAccountResult as R;
        match self.refuse_account(asked) {
            Some(R::Exists) => {
                let there = self.account(asked.id.get()).expect("it exists");
                (R::Exists, there.timestamp)
            }
            Some(refused) => (refused, self.now()),
            None => {
                let place = self.accounts.len();
                let logged = self.record(What::Opened(place));
                let imported = asked.flags.get() & IMPORTED != 0;
                let timestamp = if imported {
                    asked.timestamp.get()
                } else {
                    logged
                };
                self.accounts.push(Account {
                    id: asked.id.get(),
                    user_data_128: asked.user_data_128.get(),
                    user_data_64: asked.user_data_64.get(),
                    user_data_32: asked.user_data_32.get(),
                    ledger: asked.ledger.get(),
                    code: asked.code.get(),
                    flags: asked.flags.get(),
                    timestamp,
                    balance: Balance::default(),
                    overdraft_limit: None,
                    debits_frozen: false,
                    credits_frozen: false,
                    terms_changed: 0,
                });
                (R::Created, timestamp)
            }
        }
    }

    fn refuse_account(&self, asked: &AccountBody) -> Option<CreateAccountResult> {
        use CreateAccountResult as R;
        let flags = asked.flags.get();
        let both = DEBITS_MUST_NOT_EXCEED_CREDITS | CREDITS_MUST_NOT_EXCEED_DEBITS;
        let found = self.account(asked.id.get());
        // In order of precedence: the first that applies is the answer.
        let rules = [
            (asked.reserved.get() != 0, R::ReservedField),
            (flags & !KNOWN_FLAGS != 0, R::ReservedFlag),
            (asked.id.get() == 0, R::IdMustNotBeZero),
            (asked.id.get() == u128::MAX, R::IdMustNotBeIntMax),
            (found.is_some(), R::Exists),
            (flags & both == both, R::FlagsAreMutuallyExclusive),
            (asked.debits_pending.get() != 0, R::DebitsPendingMustBeZero),
            (asked.debits_posted.get() != 0, R::DebitsPostedMustBeZero),
            (
                asked.credits_pending.get() != 0,
                R::CreditsPendingMustBeZero,
            ),
            (asked.credits_posted.get() != 0, R::CreditsPostedMustBeZero),
            (asked.ledger.get() == 0, R::LedgerMustNotBeZero),
            (asked.code.get() == 0, R::CodeMustNotBeZero),
            (
                self.account_time_regresses(asked),
                R::ImportedEventTimestampMustNotRegress,
            ),
        ];
        let (_, refused) = rules.into_iter().find(|(applies, _)| *applies)?;
        match (refused, found) {
            (R::Exists, Some(there)) => Some(compare(there, asked)),
            (refused, _) => Some(refused),
        }
    }

    /// Times of accounts rise in the order of opening, and no transfer has the same one.
    fn account_time_regresses(&self, asked: &AccountBody) -> bool {
        let time = asked.timestamp.get();
        asked.flags.get() & IMPORTED != 0
            && (self
                .accounts
                .last()
                .is_some_and(|last| time <= last.timestamp)
                || self
                    .transfers
                    .iter()
                    .any(|transfer| transfer.timestamp == time))
    }
}

fn compare(there: &Account, asked: &AccountBody) -> CreateAccountResult {
    use CreateAccountResult as R;
    let differences = [
        (
            there.flags != asked.flags.get(),
            R::ExistsWithDifferentFlags,
        ),
        (
            there.user_data_128 != asked.user_data_128.get(),
            R::ExistsWithDifferentUserData128,
        ),
        (
            there.user_data_64 != asked.user_data_64.get(),
            R::ExistsWithDifferentUserData64,
        ),
        (
            there.user_data_32 != asked.user_data_32.get(),
            R::ExistsWithDifferentUserData32,
        ),
        (
            there.ledger != asked.ledger.get(),
            R::ExistsWithDifferentLedger,
        ),
        (there.code != asked.code.get(), R::ExistsWithDifferentCode),
    ];
    let first = differences.into_iter().find(|(differs, _)| *differs);
    first.map_or(R::Exists, |(_, result)| result)
}
