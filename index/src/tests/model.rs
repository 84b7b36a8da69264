//! What the runs must answer, found by going through everything.

use std::collections::BTreeMap;

use kanjo_format::columns::{Groups, PayloadError};
use kanjo_format::movement::{Form, Movement, each_movement, record_time};
use kanjo_format::record::{AccountRow, ImportedAccountRow, RecordKind};
use kanjo_format::{AccountNumber, LedgerId, RecordAt, Timestamp, TransferId};

use super::log::TestBatch;
use crate::{Action, Link, LinkKind, Posting, Role, RunKey, Sums};

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) movements: Vec<(RecordAt, Timestamp, Movement)>,
    pub(super) ledgers: Vec<LedgerId>,
    amounts: BTreeMap<RecordAt, u128>,
    /// By the earlier transfer, and whether it was reversed.
    links: BTreeMap<(RecordAt, bool), Link>,
    pub(super) records: u64,
}

impl Model {
    pub(super) fn take(&mut self, batch: &TestBatch) {
        let header = &batch.header;
        for group in Groups::new(&batch.payload, header.record_count()) {
            let group = group.unwrap();
            if group.kind == RecordKind::AccountOpened {
                let mut rows: Vec<AccountRow> = Vec::new();
                group.read_rows(&mut rows);
                self.ledgers.extend(rows.iter().map(AccountRow::ledger));
            }
            if group.kind == RecordKind::AccountImported {
                let mut rows: Vec<ImportedAccountRow> = Vec::new();
                group.read_rows(&mut rows);
                self.ledgers
                    .extend(rows.iter().map(|row| row.account.ledger()));
            }
        }
        self.records += u64::from(header.record_count());
        each_movement(header, &batch.payload, |at, movement| {
            let mut time = record_time(header, at.index());
            if let Movement::Transfer(transfer) = &movement {
                self.amounts.insert(at, transfer.amount);
                time = transfer.timestamp;
            }
            if let Some((kind, of)) = link(&movement) {
                let reversal = kind == LinkKind::Reversed;
                self.links.insert((of, reversal), Link { kind, by: at });
            }
            self.movements.push((at, time, movement));
            Ok::<_, PayloadError>(())
        })
        .unwrap();
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (TransferId, RecordAt)> {
        self.movements
            .iter()
            .filter_map(|(at, _, movement)| match movement {
                Movement::Transfer(transfer) => Some((transfer.id, *at)),
                Movement::Failed(row) => Some((TransferId::new(row.id.get()), *at)),
                Movement::Expired(_) => None,
            })
    }

    pub(super) fn link(&self, of: RecordAt, reversal: bool) -> Option<Link> {
        self.links.get(&(of, reversal)).copied()
    }

    pub(super) fn postings(&self, key: RunKey) -> Vec<Posting> {
        let listed = self.movements.iter().flat_map(|(at, _, movement)| {
            let role = |account: AccountNumber| -> Vec<Role> {
                roles(movement)
                    .into_iter()
                    .filter(|(number, _)| *number == account)
                    .map(|(_, role)| role)
                    .collect()
            };
            let holds = |test: &dyn Fn(&kanjo_format::movement::Transfer) -> bool| match movement {
                Movement::Transfer(transfer) if test(transfer) => vec![None],
                _ => vec![],
            };
            let found: Vec<Option<Role>> = match key {
                RunKey::Account(number) => role(number).into_iter().map(Some).collect(),
                RunKey::UserData128(value) => holds(&|t| value != 0 && t.user_data_128 == value),
                RunKey::UserData64(value) => holds(&|t| value != 0 && t.user_data_64 == value),
                RunKey::UserData32(value) => holds(&|t| value != 0 && t.user_data_32 == value),
                RunKey::Ledger(ledger) => {
                    holds(&|t| self.ledgers[t.debit.get() as usize] == ledger)
                }
                RunKey::Code(code) => holds(&|t| t.code == code),
            };
            found.into_iter().map(|role| Posting { at: *at, role })
        });
        listed.collect()
    }

    /// Balances from the records of `account` in a range.
    pub(super) fn sums(&self, account: AccountNumber, from: RecordAt, before: RecordAt) -> Sums {
        let mut sums = Sums::default();
        for (at, _, movement) in &self.movements {
            if *at < from || *at >= before {
                continue;
            }
            let (amount, released) = match movement {
                Movement::Transfer(transfer) => match transfer.form {
                    Form::PostsPending(pending) => (transfer.amount, self.amounts[&pending]),
                    _ => (transfer.amount, 0),
                },
                Movement::Expired(expired) => (self.amounts[&expired.pending], 0),
                Movement::Failed(_) => continue,
            };
            for (number, role) in roles(movement) {
                if number == account {
                    sums.add(role, amount, released);
                }
            }
        }
        sums
    }
}

fn roles(movement: &Movement) -> Vec<(AccountNumber, Role)> {
    let (debit, credit, action) = match movement {
        Movement::Transfer(transfer) => {
            let action = match transfer.form {
                Form::Posts => Action::Posts,
                Form::Reserves => Action::Reserves,
                Form::PostsPending(_) => Action::PostsPending,
                Form::VoidsPending(_) => Action::VoidsPending,
                Form::Reverses(_) => Action::Reverses,
            };
            (transfer.debit, transfer.credit, action)
        }
        Movement::Expired(expired) => (expired.debit, expired.credit, Action::Expires),
        Movement::Failed(_) => return Vec::new(),
    };
    vec![(debit, Role::debit(action)), (credit, Role::credit(action))]
}

/// The earlier transfer that a movement settles, and how.
fn link(movement: &Movement) -> Option<(LinkKind, RecordAt)> {
    match movement {
        Movement::Expired(expired) => Some((LinkKind::Expired, expired.pending)),
        Movement::Transfer(transfer) => match transfer.form {
            Form::PostsPending(at) => Some((LinkKind::Posted, at)),
            Form::VoidsPending(at) => Some((LinkKind::Voided, at)),
            Form::Reverses(at) => Some((LinkKind::Reversed, at)),
            Form::Posts | Form::Reserves => None,
        },
        Movement::Failed(_) => None,
    }
}
