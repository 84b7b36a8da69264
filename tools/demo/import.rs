//! Imports the bank's transactions day by day and lets the bank judge the balances.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use kanjo_client::{AccountId, Client};

use super::post::Poster;
use crate::bank;
use crate::berka::{ClosingCounts, ClosingOracle, Date, Movement};

/// Balances of accounts by id, as Kanjo gave them.
pub(super) type Balances = BTreeMap<u64, i128>;

/// What the import left.
pub(super) struct Imported {
    /// How the bank judged each account and day.
    pub(super) closings: ClosingCounts,
    /// The balance that Kanjo gave for each account after the last day that touched it.
    pub(super) balances: Balances,
    /// Days with movements.
    pub(super) days: usize,
}

/// Opens every account that the movements need.
pub(super) async fn open_accounts(client: &Client, movements: &[Movement]) -> Result<usize> {
    let accounts = bank::accounts(movements);
    let results = client.create_accounts(&accounts).await?;
    for (account, result) in accounts.iter().zip(&results) {
        ensure!(
            result.created(),
            "account {} was not opened: result {}",
            account.id.get(),
            result.result
        );
    }
    Ok(accounts.len())
}

/// Posts all movements. A day's are outstanding together; the next day begins when each has its
/// answer and the balances were compared.
pub(super) async fn import(poster: &Poster, movements: &[Movement]) -> Result<Imported> {
    let mut oracle = ClosingOracle::default();
    let mut balances = Balances::new();
    let mut days = 0;
    for day in movements.chunk_by(|a, b| a.date == b.date) {
        let date = day[0].date;
        poster
            .post_all(day.iter().map(bank::transfer).collect())
            .await
            .with_context(|| format!("posting the movements of {date}"))?;
        let touched: BTreeSet<u64> = day.iter().map(|one| one.account_id).collect();
        let after = look_up(poster.client(), touched.iter().copied()).await?;
        judge_day(&mut oracle, day, date, &balances, &after);
        balances.extend(after);
        days += 1;
    }
    Ok(Imported {
        closings: oracle.counts(),
        balances,
        days,
    })
}

/// Compares what Kanjo gave before and after a day with what the bank printed on it.
fn judge_day(
    oracle: &mut ClosingOracle,
    day: &[Movement],
    date: Date,
    before: &Balances,
    after: &Balances,
) {
    for (account, balance) in after {
        let of_account = day.iter().filter(|one| one.account_id == *account);
        let printed: Vec<i64> = of_account.map(|one| one.printed_balance).collect();
        // An account that nothing has touched yet stands at zero.
        let earlier = before.get(account).copied().unwrap_or(0);
        oracle.judge(*account, date, earlier, *balance, &printed);
    }
}

/// Reads balances; an account that is not there is an error.
pub(super) async fn look_up(
    client: &Client,
    accounts: impl Iterator<Item = u64>,
) -> Result<Balances> {
    let asked: Vec<u64> = accounts.collect();
    let ids: Vec<AccountId> = asked
        .iter()
        .map(|id| AccountId::new(u128::from(*id)))
        .collect();
    let rows = client
        .lookup_accounts(&ids)
        .await
        .context("reading balances")?;
    ensure!(
        rows.len() == asked.len(),
        "of {} accounts {} are there",
        asked.len(),
        rows.len()
    );
    let mut balances = Balances::new();
    for (id, row) in asked.into_iter().zip(&rows) {
        ensure!(
            row.id.get() == u128::from(id),
            "account {} came instead of {id}",
            row.id.get()
        );
        balances.insert(id, bank::balance(row));
    }
    Ok(balances)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::berka::{Direction, carried_movements};

    #[test]
    fn a_ledger_that_posts_every_movement_once_gets_the_known_counts() {
        let movements = carried_movements().unwrap();
        assert_eq!(judge_model(&movements, 1), ClosingCounts::CARRIED);
    }

    #[test]
    fn a_ledger_that_posts_twice_gets_other_counts() {
        let movements = carried_movements().unwrap();
        assert_ne!(judge_model(&movements, 2), ClosingCounts::CARRIED);
    }

    /// Judges a model ledger that posts the first movement so many times.
    fn judge_model(movements: &[Movement], times: i128) -> ClosingCounts {
        let mut oracle = ClosingOracle::default();
        let mut balances = Balances::new();
        let mut times = times;
        for day in movements.chunk_by(|a, b| a.date == b.date) {
            let mut after = Balances::new();
            for one in day {
                let opening = balances.get(&one.account_id).copied().unwrap_or(0);
                let change = i128::from(one.amount) * times;
                times = 1;
                *after.entry(one.account_id).or_insert(opening) += match one.direction {
                    Direction::Credit => change,
                    Direction::Debit => -change,
                };
            }
            judge_day(&mut oracle, day, day[0].date, &balances, &after);
            balances.extend(after);
        }
        oracle.counts()
    }
}
