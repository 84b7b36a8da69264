//! Reads back everything that was answered and says what is missing or different.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kanjo_client::{AccountBody, AccountFlags, AccountId, Client, TransferBody, TransferId};
use kanjo_format::limits::REQUEST_EVENTS_MAX;

use super::import::{Balances, look_up};
use super::post::{Answer, Fate};

/// What is wrong with an answered transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Its id.
    pub(super) id: u128,
    /// In words.
    pub(super) what: String,
}

/// Looks up every answered transfer.
pub(super) async fn find_lost(client: &Client, answers: &[Answer]) -> Result<Vec<Lost>> {
    let mut lost = Vec::new();
    for some in answers.chunks(REQUEST_EVENTS_MAX) {
        let ids: Vec<TransferId> = some
            .iter()
            .map(|answer| TransferId::new(answer.transfer.id.get()))
            .collect();
        let rows = client.lookup_transfers(&ids).await;
        let rows = rows.context("reading answered transfers")?;
        let found: BTreeMap<u128, TransferBody> =
            rows.into_iter().map(|row| (row.id.get(), row)).collect();
        lost.extend(some.iter().filter_map(|answer| {
            let row = found.get(&answer.transfer.id.get());
            compare(answer, row)
        }));
    }
    Ok(lost)
}

/// Compares one answer with what stands in the ledger.
fn compare(answer: &Answer, row: Option<&TransferBody>) -> Option<Lost> {
    let mut expected = answer.transfer;
    expected.timestamp = answer.timestamp.into();
    let what = match (answer.fate, row) {
        (Fate::Posted, None) => "was answered as posted and is not there".to_owned(),
        (Fate::Rejected, Some(_)) => "was answered as rejected and is there".to_owned(),
        (Fate::Posted, Some(row)) if *row != expected => {
            format!("was answered as {expected:?} and is {row:?}")
        }
        _ => return None,
    };
    let id = answer.transfer.id.get();
    Some(Lost { id, what })
}

/// Reads accounts again and counts those whose balance is not the one known.
pub(super) async fn count_changed(client: &Client, known: &Balances) -> Result<usize> {
    let now = look_up(client, known.keys().copied()).await?;
    Ok(known.iter().filter(|(id, was)| now[id] != **was).count())
}

/// Accounts whose balances are not the sums of the posted answers, or break their limit.
pub(super) async fn find_wrong_accounts(
    client: &Client,
    accounts: &[AccountBody],
    answers: &[Answer],
) -> Result<Vec<String>> {
    let sums = sums(answers);
    let ids: Vec<AccountId> = accounts
        .iter()
        .map(|account| AccountId::new(account.id.get()))
        .collect();
    let rows = client.lookup_accounts(&ids).await?;
    let rows: BTreeMap<u128, AccountBody> =
        rows.into_iter().map(|row| (row.id.get(), row)).collect();
    let wrong = accounts.iter().filter_map(|account| {
        let id = account.id.get();
        let Some(row) = rows.get(&id) else {
            return Some(format!("account {id} is not there"));
        };
        let (debits, credits) = (row.debits_posted.get(), row.credits_posted.get());
        let expected = sums.get(&id).copied().unwrap_or_default();
        if (debits, credits) != expected {
            let (d, c) = expected;
            return Some(format!(
                "account {id} has debits {debits} and credits {credits}, its answers give {d} and {c}"
            ));
        }
        let limited = row.flags.get() & AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS != 0;
        let broken = limited && debits > credits;
        broken.then(|| format!("account {id} overdrew: {debits} over {credits}"))
    });
    Ok(wrong.collect())
}

/// Debits and credits of each account.
fn sums(answers: &[Answer]) -> BTreeMap<u128, (u128, u128)> {
    let mut sums: BTreeMap<u128, (u128, u128)> = BTreeMap::new();
    for answer in answers.iter().filter(|one| one.fate == Fate::Posted) {
        let transfer = &answer.transfer;
        let amount = transfer.amount.get();
        sums.entry(transfer.debit_account_id.get()).or_default().0 += amount;
        sums.entry(transfer.credit_account_id.get()).or_default().1 += amount;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fate: Fate) -> Answer {
        let transfer = TransferBody {
            id: 5.into(),
            debit_account_id: 1.into(),
            credit_account_id: 2.into(),
            amount: 70.into(),
            ..TransferBody::default()
        };
        Answer {
            transfer,
            fate,
            timestamp: 9,
            repeated: false,
        }
    }

    #[test]
    fn an_answer_that_is_absent_different_or_later_than_said_is_lost() {
        let posted = answer(Fate::Posted);
        let row = TransferBody {
            timestamp: 9.into(),
            ..posted.transfer
        };
        assert_eq!(compare(&posted, Some(&row)), None);
        assert!(compare(&posted, None).is_some());
        let other_amount = TransferBody {
            amount: 71.into(),
            ..row
        };
        assert!(compare(&posted, Some(&other_amount)).is_some());
        let other_time = TransferBody {
            timestamp: 10.into(),
            ..row
        };
        assert!(compare(&posted, Some(&other_time)).is_some());
    }

    #[test]
    fn a_rejected_transfer_must_not_be_there_and_moves_nothing() {
        let rejected = answer(Fate::Rejected);
        assert_eq!(compare(&rejected, None), None);
        assert!(compare(&rejected, Some(&rejected.transfer)).is_some());
        assert!(sums(&[rejected]).is_empty());
        assert_eq!(sums(&[answer(Fate::Posted)])[&1], (70, 0));
        assert_eq!(sums(&[answer(Fate::Posted)])[&2], (0, 70));
    }
}
