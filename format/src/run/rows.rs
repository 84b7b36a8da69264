//! Blocks of batches, links, reserved amounts and accounts: rows of varints, sorted.
//!
//! ```text
//! batches   page of the lsn, records before it, latest time: each less that of the row before
//! links     place of the transfer less that of the row before; ordinal * 4 + how
//! reserved  ordinal less that of the row before; amount
//! accounts  ledger (u32) of each account, in order of their numbers
//! ```

use super::bits::{put_varint, take_varint, take_varint_64};
use super::{BLOCK_ROWS_MAX, RUN_RECORDS_MAX, RunFormatError, RunSection};
use crate::ids::{LedgerId, Lsn, Timestamp};
use crate::limits::PAGE_BYTES;
use crate::place::RecordAt;

/// Where a batch stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchRow {
    /// Its lsn.
    pub lsn: Lsn,
    /// Ordinal of its first record.
    pub first: u64,
    /// Latest time of a transfer or expiry up to its end.
    pub time: Timestamp,
}

impl BatchRow {
    /// Key of a fence before it.
    pub const fn fence(&self) -> u128 {
        (self.lsn.get() as u128) << 64 | self.first as u128
    }
}

/// How a link came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LinkKind {
    /// The pending transfer was posted.
    Posted = 0,
    /// The pending transfer was voided.
    Voided = 1,
    /// The pending transfer timed out.
    Expired = 2,
    /// The transfer was reversed.
    Reversed = 3,
}

/// A later record that settles what became of an earlier transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkRow {
    /// The earlier transfer, in this run or before it.
    pub of: RecordAt,
    /// How.
    pub kind: LinkKind,
    /// Ordinal of the later record.
    pub ordinal: u64,
}

/// A pending transfer that the run leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReservedRow {
    /// Which record.
    pub ordinal: u64,
    /// What it reserves.
    pub amount: u128,
}

/// Appends a block of batches, which must rise.
pub fn encode_batches(out: &mut Vec<u8>, rows: &[BatchRow]) {
    let mut before = BatchRow::default();
    for row in rows {
        put_varint(
            out,
            u128::from((row.lsn.get() - before.lsn.get()) / PAGE_BYTES),
        );
        put_varint(out, u128::from(row.first - before.first));
        put_varint(out, u128::from(row.time.get() - before.time.get()));
        before = *row;
    }
}

/// Reads a block of batches.
pub fn decode_batches(block: &[u8], rows: &mut Vec<BatchRow>) -> Result<(), RunFormatError> {
    decode(
        RunSection::Batches,
        block,
        rows,
        |rest, before: Option<&BatchRow>| {
            let before = before.copied().unwrap_or_default();
            let pages = take_varint_64(rest)?.checked_add(before.lsn.get() / PAGE_BYTES)?;
            let first = take_varint_64(rest)?.checked_add(before.first)?;
            let time = take_varint_64(rest)?.checked_add(before.time.get())?;
            let lsn = pages.checked_mul(PAGE_BYTES).filter(|lsn| lsn >> 61 == 0)?;
            (first < RUN_RECORDS_MAX).then_some(BatchRow {
                lsn: Lsn::new(lsn),
                first,
                time: Timestamp::new(time),
            })
        },
    )
}

/// Appends a block of links, which must be sorted.
pub fn encode_links(out: &mut Vec<u8>, rows: &[LinkRow]) {
    let mut before = 0;
    for row in rows {
        put_varint(out, u128::from(row.of.packed() - before));
        put_varint(out, u128::from(row.ordinal) << 2 | row.kind as u128);
        before = row.of.packed();
    }
}

/// Reads a block of links.
pub fn decode_links(block: &[u8], rows: &mut Vec<LinkRow>) -> Result<(), RunFormatError> {
    decode(
        RunSection::Links,
        block,
        rows,
        |rest, before: Option<&LinkRow>| {
            let before = before.map_or(0, |row| row.of.packed());
            let of = RecordAt::from_packed(take_varint_64(rest)?.checked_add(before)?)?;
            let packed = take_varint_64(rest)?;
            let kind = match packed & 3 {
                0 => LinkKind::Posted,
                1 => LinkKind::Voided,
                2 => LinkKind::Expired,
                _ => LinkKind::Reversed,
            };
            let ordinal = packed >> 2;
            (ordinal < RUN_RECORDS_MAX).then_some(LinkRow { of, kind, ordinal })
        },
    )
}

/// Appends a block of reserved amounts, which must rise.
pub fn encode_reserved(out: &mut Vec<u8>, rows: &[ReservedRow]) {
    let mut before = 0;
    for row in rows {
        put_varint(out, u128::from(row.ordinal - before));
        put_varint(out, row.amount);
        before = row.ordinal;
    }
}

/// Reads a block of reserved amounts.
pub fn decode_reserved(block: &[u8], rows: &mut Vec<ReservedRow>) -> Result<(), RunFormatError> {
    decode(
        RunSection::Reserved,
        block,
        rows,
        |rest, before: Option<&ReservedRow>| {
            let before = before.map_or(0, |row| row.ordinal);
            let ordinal = take_varint_64(rest)?.checked_add(before)?;
            let amount = take_varint(rest)?;
            (ordinal < RUN_RECORDS_MAX).then_some(ReservedRow { ordinal, amount })
        },
    )
}

/// Appends a block of accounts.
pub fn encode_accounts(out: &mut Vec<u8>, ledgers: &[LedgerId]) {
    for ledger in ledgers {
        out.extend_from_slice(&ledger.get().to_le_bytes());
    }
}

/// Reads a block of accounts, behind those that are there.
pub fn decode_accounts(block: &[u8], ledgers: &mut Vec<LedgerId>) -> Result<(), RunFormatError> {
    let (rows, rest) = block.as_chunks();
    if !rest.is_empty() {
        return Err(bad(RunSection::Accounts));
    }
    let ledger = |row: &[u8; 4]| LedgerId::new(u32::from_le_bytes(*row));
    ledgers.extend(rows.iter().map(ledger));
    Ok(())
}

fn decode<T>(
    section: RunSection,
    mut block: &[u8],
    rows: &mut Vec<T>,
    mut take: impl FnMut(&mut &[u8], Option<&T>) -> Option<T>,
) -> Result<(), RunFormatError> {
    rows.clear();
    while !block.is_empty() {
        let row = match rows.len() < BLOCK_ROWS_MAX {
            true => take(&mut block, rows.last()),
            false => None,
        };
        rows.push(row.ok_or(bad(section))?);
    }
    match rows.is_empty() {
        true => Err(bad(section)),
        false => Ok(()),
    }
}

const fn bad(section: RunSection) -> RunFormatError {
    RunFormatError::Block {
        section: section.name(),
        what: "rows that no writer makes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(steps in proptest::collection::vec((0_u64..1 << 40, 0_u64..1 << 20, any::<u128>()), 1..200)) {
            let (mut page, mut ordinal) = (0, 0);
            let (mut batches, mut links, mut reserved) = (Vec::new(), Vec::new(), Vec::new());
            for (pages, step, amount) in steps {
                (page, ordinal) = (page + pages, ordinal + step);
                let lsn = Lsn::new(page * PAGE_BYTES);
                batches.push(BatchRow { lsn, first: ordinal, time: Timestamp::new(page) });
                links.push(LinkRow { of: RecordAt::new(lsn, 5), kind: LinkKind::Expired, ordinal: step });
                reserved.push(ReservedRow { ordinal, amount });
            }
            let (mut block, mut read) = (Vec::new(), Vec::new());
            encode_batches(&mut block, &batches);
            decode_batches(&block, &mut read).unwrap();
            prop_assert_eq!(read, batches);
            let (mut block, mut read) = (Vec::new(), Vec::new());
            encode_links(&mut block, &links);
            decode_links(&block, &mut read).unwrap();
            prop_assert_eq!(read, links);
            let (mut block, mut read) = (Vec::new(), Vec::new());
            encode_reserved(&mut block, &reserved);
            decode_reserved(&block, &mut read).unwrap();
            prop_assert_eq!(read, reserved);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_batches(&block, &mut Vec::new());
            let _ = decode_links(&block, &mut Vec::new());
            let _ = decode_reserved(&block, &mut Vec::new());
            let _ = decode_accounts(&block, &mut Vec::new());
        }
    }
}
