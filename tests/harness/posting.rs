//! Transfers and accounts as the tests ask for them.

use kanjo_client::{AccountBody, AccountFlags, TransferBody};

use super::{Book, Random};

/// A transfer as a client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) id: u128,
    pub(crate) debit: u128,
    pub(crate) credit: u128,
    pub(crate) amount: u64,
    pub(crate) ledger: u32,
    /// Goes into the user data.
    pub(crate) tag: u64,
}

impl Posting {
    pub(crate) fn body(&self) -> TransferBody {
        TransferBody {
            id: self.id.into(),
            debit_account_id: self.debit.into(),
            credit_account_id: self.credit.into(),
            amount: u128::from(self.amount).into(),
            user_data_128: scatter(self.id).into(),
            user_data_64: self.tag.into(),
            ledger: self.ledger.into(),
            code: 7.into(),
            ..TransferBody::default()
        }
    }

    /// Whether a balance limit may have rejected it.
    pub(crate) fn may_be_rejected(&self) -> bool {
        self.debit & u128::from(u64::MAX) > FREE_ACCOUNTS
    }
}

impl Book {
    /// A transfer of this amount, which no limit rejects.
    pub(crate) fn draw_of(&self, amount: u64, random: &mut Random) -> Posting {
        loop {
            let posting = self.draw(random);
            if !posting.may_be_rejected() {
                return Posting { amount, ..posting };
            }
            self.not_done(&[posting]);
        }
    }
}

/// 128 bits that look random and follow from these.
pub(crate) fn scatter(from: u128) -> u128 {
    let mut random = Random::new((from >> 64) as u64 ^ from as u64);
    u128::from(random.next()) << 64 | u128::from(random.next())
}

/// Two currencies, so that no sum mixes them by accident.
pub(crate) const LEDGERS: [u32; 2] = [203, 978];
/// Accounts of one ledger that may go anywhere.
pub(crate) const FREE_ACCOUNTS: u128 = 24;
/// And those whose debits may not exceed their credits.
pub(crate) const LIMITED_ACCOUNTS: u128 = 8;

pub(crate) fn account_id(ledger: u32, place: u128) -> u128 {
    u128::from(ledger) << 64 | place
}

pub(crate) fn accounts_of(ledger: u32) -> impl Iterator<Item = AccountBody> {
    (1..=FREE_ACCOUNTS + LIMITED_ACCOUNTS).map(move |place| {
        let limited = place > FREE_ACCOUNTS;
        let flags = if limited {
            AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS
        } else {
            0
        };
        AccountBody {
            id: account_id(ledger, place).into(),
            ledger: ledger.into(),
            code: 1.into(),
            flags: flags.into(),
            ..AccountBody::default()
        }
    })
}
