//! What records say about money and ids, in one shape whatever the row is.
//!
//! Rows are narrow because most transfers need little. Who reads the past (the ledger, the index,
//! queries, people) asks the same of all of them, and asks it here.

use crate::batch::BatchHeader;
use crate::client::TransferFlags;
use crate::columns::{Group, Groups, PayloadError};
use crate::ids::{AccountNumber, Timestamp, TransferId};
use crate::place::RecordAt;
use crate::record::{
    DetailedRow, ExpiredRow, FailedRow, PendingRow, RecordKind, ResolvedRow, TransferRow,
};

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Moves money at once.
    Posts,
    /// Reserves money.
    Reserves,
    /// Moves what the pending transfer there reserved, or part of it.
    PostsPending(RecordAt),
    /// Releases what the pending transfer there reserved.
    VoidsPending(RecordAt),
    /// Moves money back that the transfer there moved.
    Reverses(RecordAt),
}

impl Form {
    /// The other transfer that it is about.
    pub const fn related(self) -> Option<RecordAt> {
        match self {
            Self::Posts | Self::Reserves => None,
            Self::PostsPending(at) | Self::VoidsPending(at) | Self::Reverses(at) => Some(at),
        }
    }

    /// Whether its amount is added to posted balances.
    pub const fn moves_money(self) -> bool {
        matches!(
            self,
            Self::Posts | Self::PostsPending(_) | Self::Reverses(_)
        )
    }
}

/// A transfer as its record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The client's id.
    pub id: TransferId,
    /// Whose debits it is about.
    pub debit: AccountNumber,
    /// Whose credits it is about.
    pub credit: AccountNumber,
    /// What was moved, reserved or released, in minor units.
    pub amount: u128,
    /// What it does.
    pub form: Form,
    /// When it happened; of an imported one, when it is said to have happened.
    pub timestamp: Timestamp,
    /// The client's own data.
    pub user_data_128: u128,
    /// The client's own data.
    pub user_data_64: u64,
    /// The client's own data.
    pub user_data_32: u32,
    /// Seconds after which it expires; 0 for never.
    pub timeout: u32,
    /// The reason code.
    pub code: u16,
    /// Flags as requested (see [`TransferFlags`]).
    pub flags: u16,
    /// Value date as YYYYMMDD; 0 for none.
    pub value_date: u32,
    /// Business date as YYYYMMDD where the client named one; 0: the one that was current.
    pub business_date: u32,
}

/// A record that moved, reserved or released money, or used up an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// A transfer.
    Transfer(Transfer),
    /// A pending transfer timed out.
    Expired(Expired),
    /// An id failed for ever.
    Failed(FailedRow),
}

/// A pending transfer that timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The pending transfer.
    pub pending: RecordAt,
    /// Its debit account.
    pub debit: AccountNumber,
    /// Its credit account.
    pub credit: AccountNumber,
}

/// Calls `take` for every movement of a batch, in order, with its place. Stops at the first error.
pub fn each_movement<E: From<PayloadError>>(
    header: &BatchHeader,
    payload: &[u8],
    mut take: impl FnMut(RecordAt, Movement) -> Result<(), E>,
) -> Result<(), E> {
    let mut rows = Rows::default();
    for group in Groups::new(payload, header.record_count()) {
        rows.each(header, &group?, &mut take)?;
    }
    Ok(())
}

/// The same for one group of a batch.
pub fn each_of_group<E: From<PayloadError>>(
    header: &BatchHeader,
    group: &Group<'_>,
    mut take: impl FnMut(RecordAt, Movement) -> Result<(), E>,
) -> Result<(), E> {
    Rows::default().each(header, group, &mut take)
}

/// The transfer that is record `index` of a batch; `None` if another kind of record is.
pub fn transfer_at(
    header: &BatchHeader,
    payload: &[u8],
    index: usize,
) -> Result<Option<Transfer>, PayloadError> {
    for group in Groups::new(payload, header.record_count()) {
        let group = group?;
        if index >= group.first_index + group.count {
            continue;
        }
        let within = index - group.first_index;
        let timestamp = record_time(header, index);
        return Ok(match group.kind {
            RecordKind::TransferPosted => group
                .read_row(within)
                .map(|row: TransferRow| posted(&row, timestamp)),
            RecordKind::TransferPending => group
                .read_row(within)
                .map(|row: PendingRow| pending(&row, timestamp)),
            RecordKind::PendingPosted | RecordKind::PendingVoided => group
                .read_row(within)
                .map(|row: ResolvedRow| resolved(&row, group.kind, timestamp))
                .transpose()?,
            RecordKind::TransferDetailed => group
                .read_row(within)
                .map(|row: DetailedRow| detailed(&row, timestamp))
                .transpose()?,
            _ => None,
        });
    }
    Ok(None)
}

/// When record `index` of a batch happened.
pub fn record_time(header: &BatchHeader, index: usize) -> Timestamp {
    Timestamp::new(header.timestamp().get() + index as u64)
}

/// Rows to decode groups into.
#[derive(Default)]
struct Rows {
    posted: Vec<TransferRow>,
    pending: Vec<PendingRow>,
    resolved: Vec<ResolvedRow>,
    detailed: Vec<DetailedRow>,
    expired: Vec<ExpiredRow>,
    failed: Vec<FailedRow>,
}

impl Rows {
    fn each<E: From<PayloadError>>(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        take: &mut impl FnMut(RecordAt, Movement) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = |n: usize| RecordAt::new(header.lsn(), group.first_index + n);
        let time = |n: usize| record_time(header, group.first_index + n);
        match group.kind {
            RecordKind::TransferPosted => {
                group.read_rows(&mut self.posted);
                let mut rows = self.posted.iter().enumerate();
                rows.try_for_each(|(n, row)| take(at(n), Movement::Transfer(posted(row, time(n)))))
            }
            RecordKind::TransferPending => {
                group.read_rows(&mut self.pending);
                let mut rows = self.pending.iter().enumerate();
                rows.try_for_each(|(n, row)| take(at(n), Movement::Transfer(pending(row, time(n)))))
            }
            RecordKind::PendingPosted | RecordKind::PendingVoided => {
                group.read_rows(&mut self.resolved);
                let mut rows = self.resolved.iter().enumerate();
                rows.try_for_each(|(n, row)| {
                    let transfer = resolved(row, group.kind, time(n))?;
                    take(at(n), Movement::Transfer(transfer))
                })
            }
            RecordKind::TransferDetailed => {
                group.read_rows(&mut self.detailed);
                let mut rows = self.detailed.iter().enumerate();
                rows.try_for_each(|(n, row)| {
                    take(at(n), Movement::Transfer(detailed(row, time(n))?))
                })
            }
            RecordKind::PendingExpired => {
                group.read_rows(&mut self.expired);
                let mut rows = self.expired.iter().enumerate();
                rows.try_for_each(|(n, row)| take(at(n), Movement::Expired(expired(row)?)))
            }
            RecordKind::TransferFailed => {
                group.read_rows(&mut self.failed);
                let mut rows = self.failed.iter().enumerate();
                rows.try_for_each(|(n, row)| take(at(n), Movement::Failed(*row)))
            }
            RecordKind::EpochStart
            | RecordKind::SetChange
            | RecordKind::AccountOpened
            | RecordKind::AccountImported
            | RecordKind::AccountChanged
            | RecordKind::DayClosed => Ok(()),
        }
    }
}

/// A posted transfer as its row tells it.
pub fn posted(row: &TransferRow, timestamp: Timestamp) -> Transfer {
    Transfer {
        id: row.id(),
        debit: row.debit_account(),
        credit: row.credit_account(),
        amount: row.amount.get(),
        form: Form::Posts,
        timestamp,
        user_data_128: row.user_data_128.get(),
        user_data_64: row.user_data_64.get(),
        user_data_32: row.user_data_32.get(),
        timeout: 0,
        code: row.code.get(),
        flags: row.flags.get(),
        value_date: 0,
        business_date: 0,
    }
}

/// A pending transfer as its row tells it.
pub fn pending(row: &PendingRow, timestamp: Timestamp) -> Transfer {
    Transfer {
        form: Form::Reserves,
        timeout: row.timeout.get(),
        ..posted(&row.transfer, timestamp)
    }
}

/// A transfer that posted or voided a pending one, as its row tells it.
pub fn resolved(
    row: &ResolvedRow,
    kind: RecordKind,
    timestamp: Timestamp,
) -> Result<Transfer, PayloadError> {
    let at = place(row.pending(), kind)?;
    let form = match kind {
        RecordKind::PendingVoided => Form::VoidsPending(at),
        _ => Form::PostsPending(at),
    };
    Ok(Transfer {
        id: TransferId::new(row.id.get()),
        debit: AccountNumber::new(row.debit_account.get()),
        credit: AccountNumber::new(row.credit_account.get()),
        amount: row.amount.get(),
        form,
        timestamp,
        user_data_128: row.user_data_128.get(),
        user_data_64: row.user_data_64.get(),
        user_data_32: row.user_data_32.get(),
        timeout: 0,
        code: row.code.get(),
        flags: row.flags.get(),
        value_date: 0,
        business_date: 0,
    })
}

/// A transfer of any form as its detailed row tells it; `recorded` is the record's own time.
pub fn detailed(row: &DetailedRow, recorded: Timestamp) -> Result<Transfer, PayloadError> {
    let kind = RecordKind::TransferDetailed;
    let related = place(row.related(), kind)?;
    let flag = |flag: u16| row.flags.get() & flag != 0;
    let form = match (row.reverses, related) {
        (1, Some(at)) => Form::Reverses(at),
        (0, Some(at)) if flag(TransferFlags::POST_PENDING_TRANSFER) => Form::PostsPending(at),
        (0, Some(at)) if flag(TransferFlags::VOID_PENDING_TRANSFER) => Form::VoidsPending(at),
        (0, None) if flag(TransferFlags::PENDING) => Form::Reserves,
        (0, None) => Form::Posts,
        _ => return Err(PayloadError::Row { kind: kind as u16 }),
    };
    Ok(Transfer {
        id: TransferId::new(row.id.get()),
        debit: AccountNumber::new(row.debit_account.get()),
        credit: AccountNumber::new(row.credit_account.get()),
        amount: row.amount.get(),
        form,
        timestamp: match row.timestamp.get() {
            0 => recorded,
            imported => Timestamp::new(imported),
        },
        user_data_128: row.user_data_128.get(),
        user_data_64: row.user_data_64.get(),
        user_data_32: row.user_data_32.get(),
        timeout: row.timeout.get(),
        code: row.code.get(),
        flags: row.flags.get(),
        value_date: row.value_date.get(),
        business_date: row.business_date.get(),
    })
}

/// An expiry as its row tells it.
pub fn expired(row: &ExpiredRow) -> Result<Expired, PayloadError> {
    Ok(Expired {
        pending: place(row.pending(), RecordKind::PendingExpired)?,
        debit: AccountNumber::new(row.debit_account.get()),
        credit: AccountNumber::new(row.credit_account.get()),
    })
}

fn place<T>(place: Option<T>, kind: RecordKind) -> Result<T, PayloadError> {
    place.ok_or(PayloadError::Row { kind: kind as u16 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchFields;
    use crate::columns::push_group;
    use crate::ids::{Chain, ClusterId, Epoch, Lsn};

    fn header(payload: &[u8], record_count: u32) -> BatchHeader {
        BatchHeader::build(
            &BatchFields {
                cluster: ClusterId::new(1),
                epoch: Epoch::from_terms(1, 1),
                lsn: Lsn::new(8_192),
                record_count,
                timestamp: Timestamp::new(1_000),
                confirmed: Lsn::ZERO,
                prev_chain: Chain::default(),
                flags: 0,
            },
            payload,
        )
    }

    #[test]
    fn every_movement_of_a_batch_is_told_once_and_found_by_its_index() {
        let plain = TransferRow {
            id: 5.into(),
            amount: 70.into(),
            debit_account: 1.into(),
            credit_account: 2.into(),
            code: 9.into(),
            ..TransferRow::default()
        };
        let reserved = PendingRow {
            transfer: plain,
            timeout: 3.into(),
            ..PendingRow::default()
        };
        let first = RecordAt::new(Lsn::new(4_096), 7);
        let posts = ResolvedRow {
            id: 6.into(),
            pending: first.packed().into(),
            ..ResolvedRow::default()
        };
        let imports = DetailedRow {
            id: 7.into(),
            timestamp: 12.into(),
            reverses: 1,
            ..DetailedRow::default()
        }
        .with_related(first);
        let expires = ExpiredRow {
            pending: first.packed().into(),
            ..ExpiredRow::default()
        };
        let mut payload = Vec::new();
        push_group(&mut payload, RecordKind::TransferPosted, &[plain, plain]);
        push_group(&mut payload, RecordKind::TransferPending, &[reserved]);
        push_group(&mut payload, RecordKind::PendingVoided, &[posts]);
        push_group(&mut payload, RecordKind::TransferDetailed, &[imports]);
        push_group(&mut payload, RecordKind::PendingExpired, &[expires]);
        push_group(
            &mut payload,
            RecordKind::TransferFailed,
            &[FailedRow::default()],
        );
        let header = header(&payload, 7);
        let mut seen = Vec::new();
        let told = each_movement(&header, &payload, |at, movement| {
            seen.push((at, movement));
            Ok::<_, PayloadError>(())
        });
        told.unwrap();
        assert_eq!(seen.len(), 7);
        for (n, (at, movement)) in seen.iter().enumerate() {
            assert_eq!(*at, RecordAt::new(Lsn::new(8_192), n));
            let found = transfer_at(&header, &payload, n).unwrap();
            match movement {
                Movement::Transfer(transfer) => assert_eq!(found.as_ref(), Some(transfer)),
                _ => assert_eq!(found, None),
            }
        }
        let forms: Vec<Form> = seen
            .iter()
            .filter_map(|(_, movement)| match movement {
                Movement::Transfer(transfer) => Some(transfer.form),
                _ => None,
            })
            .collect();
        let reverses = Form::Reverses(first);
        let voids = Form::VoidsPending(first);
        assert_eq!(
            forms,
            [Form::Posts, Form::Posts, Form::Reserves, voids, reverses]
        );
        assert_eq!(
            seen[1].1,
            Movement::Transfer(posted(&plain, Timestamp::new(1_001)))
        );
        let Movement::Transfer(imported) = seen[4].1 else {
            panic!("the fifth record is a transfer");
        };
        assert_eq!(imported.timestamp, Timestamp::new(12));
    }

    #[test]
    fn a_row_that_contradicts_itself_is_refused() {
        let contradicting = DetailedRow {
            id: 7.into(),
            reverses: 1,
            ..DetailedRow::default()
        };
        let mut payload = Vec::new();
        push_group(&mut payload, RecordKind::TransferDetailed, &[contradicting]);
        let header = header(&payload, 1);
        let told = each_movement(&header, &payload, |_, _| Ok::<_, PayloadError>(()));
        assert_eq!(told, Err(PayloadError::Row { kind: 10 }));
        assert_eq!(
            transfer_at(&header, &payload, 0),
            Err(PayloadError::Row { kind: 10 })
        );
    }
}
