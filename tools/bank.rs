//! How the bank's movements (see `berka`) are kept in Kanjo.
//!
//! | what | how |
//! |---|---|
//! | ledger | 203, Czech crowns by ISO 4217, in hellers |
//! | the bank's account | account of the same id, code 1, no limit: the bank let accounts overdraw |
//! | cash, interest, fee, other bank | accounts 4294967297 to 4294967300 (2^32 + 1 …), code 2 |
//! | movement | transfer of id `trans_id`; code 1 into the account, 2 out of it |
//! | date | `user_data_64`, as the number 19930131 |
//! | `k_symbol` | `user_data_32`: 0 empty, 1 a blank, 2 `UROK`, 3 `SANKC. UROK`, 4 `SLUZBY`, 5 `SIPO`, 6 `DUCHOD`, 7 `POJISTNE`, 8 `UVER` |
//!
//! A credit of the account (`PRIJEM`) debits the counterparty and credits the account; a debit
//! (`VYDAJ`, `VYBER`) the other way round. An account's balance is its credits minus its debits.

use std::collections::BTreeSet;

use kanjo_client::{AccountBody, TransferBody};

use crate::berka::{Counterparty, Direction, Movement};

/// Czech crowns.
pub(crate) const LEDGER: u32 = 203;
const CODE_CUSTOMER: u16 = 1;
const CODE_COUNTERPARTY: u16 = 2;
const CODE_CREDIT: u16 = 1;
const CODE_DEBIT: u16 = 2;

/// The account that stands for a counterparty: above 2^32, where no account of the bank is.
pub(crate) const fn counterparty_id(counterparty: Counterparty) -> u128 {
    let place = match counterparty {
        Counterparty::Cash => 1,
        Counterparty::Interest => 2,
        Counterparty::Fee => 3,
        Counterparty::OtherBank => 4,
    };
    (1 << 32) + place
}

/// Every account that the movements need, each once.
pub(crate) fn accounts(movements: &[Movement]) -> Vec<AccountBody> {
    let own = |id, code: u16| AccountBody {
        id: u128::into(id),
        ledger: LEDGER.into(),
        code: code.into(),
        ..AccountBody::default()
    };
    let counterparties: BTreeSet<Counterparty> =
        movements.iter().map(|one| one.counterparty).collect();
    let customers: BTreeSet<u64> = movements.iter().map(|one| one.account_id).collect();
    let counterparties = counterparties
        .into_iter()
        .map(|one| own(counterparty_id(one), CODE_COUNTERPARTY));
    let customers = customers
        .into_iter()
        .map(|id| own(id.into(), CODE_CUSTOMER));
    counterparties.chain(customers).collect()
}

/// The transfer that a movement becomes.
pub(crate) fn transfer(movement: &Movement) -> TransferBody {
    let account = u128::from(movement.account_id);
    let other = counterparty_id(movement.counterparty);
    let (debit, credit, code) = match movement.direction {
        Direction::Credit => (other, account, CODE_CREDIT),
        Direction::Debit => (account, other, CODE_DEBIT),
    };
    TransferBody {
        id: u128::from(movement.trans_id).into(),
        debit_account_id: debit.into(),
        credit_account_id: credit.into(),
        amount: u128::from(movement.amount).into(),
        user_data_64: u64::from(movement.date.yyyymmdd()).into(),
        user_data_32: movement.k_symbol.number().into(),
        ledger: LEDGER.into(),
        code: code.into(),
        ..TransferBody::default()
    }
}

/// Credits minus debits, as a customer sees an account.
pub(crate) fn balance(account: &AccountBody) -> i128 {
    // The sum of all carried amounts is far below the range.
    let credits = i128::try_from(account.credits_posted.get()).unwrap_or(i128::MAX);
    let debits = i128::try_from(account.debits_posted.get()).unwrap_or(i128::MAX);
    credits.saturating_sub(debits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::berka::carried_movements;

    #[test]
    fn no_account_of_the_bank_is_a_counterparty_and_every_side_is_opened() {
        let movements = carried_movements().unwrap();
        let accounts: BTreeSet<u128> = accounts(&movements).iter().map(|a| a.id.get()).collect();
        let largest = movements.iter().map(|one| one.account_id).max().unwrap();
        assert!(u128::from(largest) < counterparty_id(Counterparty::Cash));
        for movement in &movements {
            let transfer = transfer(movement);
            assert!(accounts.contains(&transfer.debit_account_id.get()));
            assert!(accounts.contains(&transfer.credit_account_id.get()));
        }
    }

    #[test]
    fn money_that_comes_in_credits_the_account() {
        let movements = carried_movements().unwrap();
        for movement in &movements {
            let transfer = transfer(movement);
            let (own, other) = match movement.direction {
                Direction::Credit => (transfer.credit_account_id, transfer.debit_account_id),
                Direction::Debit => (transfer.debit_account_id, transfer.credit_account_id),
            };
            assert_eq!(own.get(), u128::from(movement.account_id));
            assert!(other.get() > 1 << 32);
        }
        let first = transfer(&movements[0]);
        assert_eq!(first.user_data_64.get() / 10_000, 1993);
    }
}
