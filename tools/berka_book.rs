//! The bank's movements as transfers between accounts of this store.
//!
//! | bank | here |
//! |---|---|
//! | `trans_id` | transfer id |
//! | `account_id` | account id, as it is, below 2^32 |
//! | cash, interest, fee, other bank | four accounts above 2^32 |
//! | `date` | `user_data_64`, as 19930131 |
//! | `k_symbol` | `user_data_32`, see `berka::KSymbol` |
//!
//! Balances are credits minus debits in hellers, of ledger 203 (CZK). The bank let its accounts
//! overdraw, so none has a balance limit.

use std::collections::BTreeSet;

use kanjo_client::{AccountBody, TransferBody};

use crate::berka::{Counterparty, Direction, Movement};

/// CZK, by its ISO 4217 number.
pub(crate) const LEDGER: u32 = 203;
/// Code of the accounts of the bank's customers.
const CUSTOMER_CODE: u16 = 10;

/// Account of a counterparty, above all ids of the bank's accounts.
pub(crate) const fn counterparty_id(who: Counterparty) -> u128 {
    (1 << 32) + code_of(who) as u128
}

/// Code of a transfer with that counterparty, and of its account.
const fn code_of(who: Counterparty) -> u16 {
    match who {
        Counterparty::Cash => 1,
        Counterparty::Interest => 2,
        Counterparty::Fee => 3,
        Counterparty::OtherBank => 4,
    }
}

/// The transfer of one movement.
pub(crate) fn transfer_of(movement: &Movement) -> TransferBody {
    let account = u128::from(movement.account_id);
    let other = counterparty_id(movement.counterparty);
    let (debit, credit) = match movement.direction {
        Direction::Credit => (other, account),
        Direction::Debit => (account, other),
    };
    TransferBody {
        id: u128::from(movement.trans_id).into(),
        debit_account_id: debit.into(),
        credit_account_id: credit.into(),
        amount: u128::from(movement.amount).into(),
        user_data_64: u64::from(movement.date.yyyymmdd()).into(),
        user_data_32: movement.k_symbol.number().into(),
        ledger: LEDGER.into(),
        code: code_of(movement.counterparty).into(),
        ..TransferBody::default()
    }
}

/// Every account that the movements name: the counterparties, then the customers by id.
pub(crate) fn accounts_of(movements: &[Movement]) -> Vec<AccountBody> {
    let counterparties: BTreeSet<_> = movements.iter().map(|one| one.counterparty).collect();
    let customers: BTreeSet<_> = movements.iter().map(|one| one.account_id).collect();
    let account = |id: u128, code: u16| AccountBody {
        id: id.into(),
        ledger: LEDGER.into(),
        code: code.into(),
        ..AccountBody::default()
    };
    let counterparties = counterparties
        .into_iter()
        .map(|who| account(counterparty_id(who), code_of(who)));
    let customers = customers
        .into_iter()
        .map(|id| account(u128::from(id), CUSTOMER_CODE));
    counterparties.chain(customers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::berka::carried_movements;

    #[test]
    fn every_transfer_names_accounts_that_are_opened_and_no_account_stands_for_two() {
        let movements = carried_movements().unwrap();
        let accounts = accounts_of(&movements);
        let ids: BTreeSet<u128> = accounts.iter().map(|account| account.id.get()).collect();
        assert_eq!(ids.len(), accounts.len());
        assert_eq!(ids.iter().filter(|id| **id > 1 << 32).count(), 4);
        for movement in &movements {
            assert!(movement.account_id < 1 << 32, "{}", movement.account_id);
            let transfer = transfer_of(movement);
            assert!(ids.contains(&transfer.debit_account_id.get()));
            assert!(ids.contains(&transfer.credit_account_id.get()));
        }
    }

    #[test]
    fn money_into_an_account_credits_it() {
        let movements = carried_movements().unwrap();
        let (first, transfer) = (&movements[0], transfer_of(&movements[0]));
        assert_eq!(first.direction, Direction::Credit);
        assert_eq!(
            transfer.credit_account_id.get(),
            u128::from(first.account_id)
        );
        assert_eq!(transfer.user_data_64.get(), 19_930_101);
    }
}
