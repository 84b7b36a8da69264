//! What is posted when speed is measured: unique time-ordered ids, accounts uniform or skewed,
//! amounts uniform from 1 to 10,000, seeded.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use kanjo_client::{AccountBody, Client, TransferBody, new_transfer_id};
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use serde::Serialize;

use super::choice::Choice;
use crate::random::Random;

/// Euros.
pub(super) const LEDGER: u32 = 978;
/// Code of all accounts and transfers.
pub(super) const CODE: u16 = 1;
const AMOUNT_MAX: u64 = 10_000;
/// Draws of a credit account that is not the debit account, before its neighbour is taken.
const DRAWS_MAX: usize = 16;

/// What the transfers are like.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(super) struct WorkArgs {
    /// Accounts that the transfers are spread over
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    pub(super) accounts: u64,
    /// Skewed choice of accounts: the one of rank k is drawn in proportion to 1/k^S. Without S: 1
    #[arg(long, value_name = "S", num_args = 0..=1, default_missing_value = "1",
        value_parser = parse_exponent)]
    pub(super) zipf: Option<f64>,
    /// Seed of ids, accounts and amounts
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
}

/// How the ids of transfers follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdOrder {
    /// Milliseconds of the clock, then chance: as `new_transfer_id` draws them
    #[default]
    Time,
    /// Chance alone
    Random,
}

/// Draws transfers between accounts of its own.
pub(super) struct Workload {
    /// The first account's id; a cluster that others use too has none of these.
    base: u128,
    choice: Choice,
    random: Random,
    ids: IdOrder,
}

impl Workload {
    /// Between accounts whose ids are free in any cluster; somebody has to open them.
    pub(super) fn new(args: &WorkArgs) -> Self {
        let mut random = Random::new(args.seed);
        Self {
            base: new_transfer_id().get(),
            choice: Choice::new(args.accounts, args.zipf, &mut random),
            random,
            ids: IdOrder::default(),
        }
    }

    /// Changes how the ids of the next transfers follow each other.
    pub(super) const fn order_ids(&mut self, ids: IdOrder) {
        self.ids = ids;
    }

    /// The same, with the accounts opened, without limits.
    pub(super) async fn open(client: &Client, args: &WorkArgs) -> Result<Self> {
        let workload = Self::new(args);
        let mut ids = workload.account_ids();
        loop {
            let some = ids.by_ref().take(REQUEST_EVENTS_MAX);
            let bodies: Vec<AccountBody> = some.map(account).collect();
            if bodies.is_empty() {
                break;
            }
            let results = client.create_accounts(&bodies).await;
            let results = results.context("opening the accounts")?;
            ensure!(
                results.iter().all(|result| result.created()),
                "not all accounts were opened"
            );
        }
        drop(ids);
        Ok(workload)
    }

    /// Ids of all accounts.
    pub(super) fn account_ids(&self) -> impl Iterator<Item = u128> + use<> {
        let (base, accounts) = (self.base, self.choice.accounts());
        (0..accounts).map(move |number| base + u128::from(number))
    }

    /// The next transfer.
    pub(super) fn next(&mut self) -> TransferBody {
        self.draw(now_ms())
    }

    /// Replaces what is in `transfers` by the next `count`, as they are drawn for one request.
    pub(super) fn fill(&mut self, transfers: &mut Vec<TransferBody>, count: usize) {
        let now_ms = now_ms();
        transfers.clear();
        transfers.extend((0..count).map(|_| self.draw(now_ms)));
    }

    fn draw(&mut self, now_ms: u64) -> TransferBody {
        let random = &mut self.random;
        // 48 bits of milliseconds, 80 of chance, as `new_transfer_id` has them, without asking
        // the system for each.
        let high = match self.ids {
            IdOrder::Time => now_ms << 16 | random.next() >> 48,
            // Never all ones.
            IdOrder::Random => random.next() >> 1,
        };
        let id = u128::from(high) << 64 | u128::from(random.next());
        let debit = self.choice.draw(random);
        let credit = (0..DRAWS_MAX)
            .map(|_| self.choice.draw(random))
            .find(|credit| *credit != debit)
            .unwrap_or((debit + 1) % self.choice.accounts());
        TransferBody {
            id: id.into(),
            debit_account_id: (self.base + u128::from(debit)).into(),
            credit_account_id: (self.base + u128::from(credit)).into(),
            amount: u128::from(1 + random.below(AMOUNT_MAX)).into(),
            ledger: LEDGER.into(),
            code: CODE.into(),
            ..TransferBody::default()
        }
    }
}

fn account(id: u128) -> AccountBody {
    AccountBody {
        id: id.into(),
        ledger: LEDGER.into(),
        code: CODE.into(),
        ..AccountBody::default()
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_millis() as u64)
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(exponent) if (0.0..=4.0).contains(&exponent) => Ok(exponent),
        _ => Err("a number from 0 to 4".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn workload(accounts: u64, zipf: Option<f64>) -> Workload {
        let seed = 3;
        Workload::new(&WorkArgs {
            accounts,
            zipf,
            seed,
        })
    }

    #[test]
    fn ids_are_unique_and_ordered_by_time() {
        let mut workload = workload(10, None);
        let before = new_transfer_id().get() >> 80;
        let mut transfers = Vec::new();
        workload.fill(&mut transfers, 10_000);
        transfers.push(workload.next());
        let after = new_transfer_id().get() >> 80;
        let ids: BTreeSet<u128> = transfers.iter().map(|one| one.id.get()).collect();
        assert_eq!(ids.len(), 10_001);
        assert!(ids.iter().all(|id| (before..=after).contains(&(id >> 80))));
    }

    #[test]
    fn nobody_pays_himself_and_every_account_is_one_of_its_own() {
        for zipf in [None, Some(1.0), Some(4.0)] {
            let mut workload = workload(2, zipf);
            let ids: Vec<u128> = workload.account_ids().collect();
            assert_eq!(ids.len(), 2);
            for _ in 0..1_000 {
                let one = workload.next();
                let (debit, credit) = (one.debit_account_id.get(), one.credit_account_id.get());
                assert!(debit != credit && ids.contains(&debit) && ids.contains(&credit));
                assert!((1..=u128::from(AMOUNT_MAX)).contains(&one.amount.get()));
            }
        }
    }
}
