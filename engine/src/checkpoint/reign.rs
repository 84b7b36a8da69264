//! Rows of who writes, and how commits are protected.

use kanjo_format::checkpoint::{EpochRow, ReignSectionRow, Section, SectionKind, UnprotectedRow};
use kanjo_format::limits::{REASON_BYTES_MAX, SET_MEMBERS_MAX};
use kanjo_format::record::{MemberRow, Protection};
use kanjo_format::{Chain, Epoch, Incarnation, LedgerId, Lsn, NodeId, OpeningId, Tail};

use super::RestoreError;
use crate::reign::{EpochEntry, ReignState, Unprotected};
use crate::totals::WideAmount;

/// Rows of all epochs.
pub(super) fn epoch_rows(reign: &ReignState) -> Vec<EpochRow> {
    let row = |entry: &EpochEntry| EpochRow {
        epoch: entry.epoch.get().into(),
        base_epoch: entry.base.epoch.get().into(),
        base_lsn: entry.base.lsn.get().into(),
        base_chain: *entry.base.chain.bytes(),
    };
    reign.epochs.iter().map(row).collect()
}

/// Rows of what was posted alone.
pub(super) fn unprotected_rows(unprotected: &Unprotected) -> Vec<UnprotectedRow> {
    let row = |(ledger, amount): (&LedgerId, &WideAmount)| UnprotectedRow {
        ledger: ledger.get().into(),
        zero: 0.into(),
        amount_low: amount.low().into(),
        amount_high: amount.high().into(),
    };
    unprotected.amounts.iter().map(row).collect()
}

/// The row of who writes.
pub(super) fn reign_row(reign: &ReignState) -> ReignSectionRow {
    let mut row = ReignSectionRow {
        opening_random: reign.opening.random.into(),
        opening_incarnation: reign.opening.incarnation.get().into(),
        opening_node: reign.opening.node.get().into(),
        protection: reign.protection as u8,
        unfenced: reign.unfenced.into(),
        member_count: reign.members.len() as u8,
        reason_bytes: 0,
        since: reign.since.get().into(),
        unprotected_since: reign.unprotected.since.get().into(),
        unprotected_count: reign.unprotected.count.into(),
        settled: reign.settled.into(),
        zero: [0; 7],
        members: [MemberRow::default(); SET_MEMBERS_MAX],
        reason: [0; REASON_BYTES_MAX],
    };
    for (slot, &(node, incarnation)) in row.members.iter_mut().zip(&reign.members) {
        *slot = MemberRow {
            incarnation: incarnation.get().into(),
            node: node.get().into(),
            reserved: 0.into(),
        };
    }
    let reason = reign.reason.as_bytes();
    row.reason[..reason.len()].copy_from_slice(reason);
    row.reason_bytes = reason.len() as u8;
    row
}

/// Takes a section of the reign, its epochs, or what it left unprotected.
pub(super) fn restore(reign: &mut ReignState, section: &Section<'_>) -> Result<(), RestoreError> {
    match section.kind {
        SectionKind::Reign => take_reign(reign, &section.rows::<ReignSectionRow>()[0])?,
        SectionKind::Epochs => {
            for row in section.rows::<EpochRow>() {
                let epoch = Epoch::new(row.epoch.get());
                if epoch <= reign.epoch() {
                    let (field, value) = ("an epoch", epoch.get());
                    return Err(RestoreError::Field { field, value });
                }
                reign.epochs.push(EpochEntry {
                    epoch,
                    base: Tail {
                        epoch: Epoch::new(row.base_epoch.get()),
                        lsn: Lsn::new(row.base_lsn.get()),
                        chain: Chain::new(row.base_chain),
                    },
                });
            }
        }
        SectionKind::Unprotected => {
            let amounts = section.rows::<UnprotectedRow>().iter().map(|row| {
                let amount = WideAmount::from_parts(row.amount_high.get(), row.amount_low.get());
                (LedgerId::new(row.ledger.get()), amount)
            });
            reign.unprotected.amounts.extend(amounts);
        }
        _ => {}
    }
    Ok(())
}

fn take_reign(reign: &mut ReignState, row: &ReignSectionRow) -> Result<(), RestoreError> {
    let bad = |field, value: u8| RestoreError::Field {
        field,
        value: value.into(),
    };
    let members = row
        .members
        .get(..usize::from(row.member_count))
        .ok_or(bad("member count", row.member_count))?;
    let reason = row
        .reason
        .get(..usize::from(row.reason_bytes))
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or(bad("bytes of the reason", row.reason_bytes))?;
    reign.protection =
        Protection::from_number(row.protection).ok_or(bad("protection", row.protection))?;
    reign.opening = OpeningId {
        node: NodeId::new(row.opening_node.get()),
        incarnation: Incarnation::new(row.opening_incarnation.get()),
        random: row.opening_random.get(),
    };
    let member = |m: &MemberRow| {
        (
            NodeId::new(m.node.get()),
            Incarnation::new(m.incarnation.get()),
        )
    };
    reign.members = members.iter().map(member).collect();
    reign.reason = reason.to_owned();
    reign.unfenced = row.unfenced != 0;
    reign.since = Lsn::new(row.since.get());
    reign.settled = row.settled != 0;
    reign.unprotected.since = Lsn::new(row.unprotected_since.get());
    reign.unprotected.count = row.unprotected_count.get();
    Ok(())
}
