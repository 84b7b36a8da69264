//! What is posted when speed is measured: unique time-ordered ids, accounts uniform, amounts
//! uniform from 1 to 10,000, seeded.

use anyhow::{Result, ensure};
use kanjo_client::{AccountBody, Client, TransferBody, new_transfer_id};

use crate::random::Random;

/// Euros.
const LEDGER: u32 = 978;
const CODE: u16 = 1;
const AMOUNT_MAX: u64 = 10_000;

/// Draws transfers between accounts of its own.
pub(super) struct Workload {
    /// The first account's id; a cluster that others use too has none of these.
    base: u128,
    accounts: u64,
    random: Random,
}

impl Workload {
    /// Opens so many accounts without limits.
    pub(super) async fn open(client: &Client, accounts: u64, seed: u64) -> Result<Self> {
        let base = new_transfer_id().get();
        let bodies: Vec<AccountBody> = (0..accounts)
            .map(|number| AccountBody {
                id: (base + u128::from(number)).into(),
                ledger: LEDGER.into(),
                code: CODE.into(),
                ..AccountBody::default()
            })
            .collect();
        let results = client.create_accounts(&bodies).await?;
        ensure!(
            results.iter().all(|result| result.created()),
            "not all accounts were opened"
        );
        Ok(Self {
            base,
            accounts,
            random: Random::new(seed),
        })
    }

    /// The next transfer.
    pub(super) fn next(&mut self) -> TransferBody {
        let debit = self.random.below(self.accounts);
        // Any but the first one.
        let credit = (debit + 1 + self.random.below(self.accounts - 1)) % self.accounts;
        TransferBody {
            id: new_transfer_id().get().into(),
            debit_account_id: (self.base + u128::from(debit)).into(),
            credit_account_id: (self.base + u128::from(credit)).into(),
            amount: u128::from(1 + self.random.below(AMOUNT_MAX)).into(),
            ledger: LEDGER.into(),
            code: CODE.into(),
            ..TransferBody::default()
        }
    }
}
