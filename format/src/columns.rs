//! Payloads: groups of records of one kind, laid out by field.
//!
//! Byte `p` of every row of a group forms plane `p`. A plane that is zero in all rows is not
//! stored, one that has the same byte in all rows is stored once, any other has one byte a row.
//! So ids, accounts and amounts take what they vary by, and record `i` is still found by index.
//!
//! ```text
//! group  0 kind (u16)  2 form = 1 (u8)  3 zero  4 count (u32)  8 body_bytes (u32)  12 zero
//! body   2 bits a plane (0 zero, 1 constant, 2 full), lowest bits first, to a whole byte
//!        one byte for each constant plane
//!        `count` bytes for each full plane
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::record::{RecordKind, Row};

/// Bytes of a group's header.
pub const GROUP_HEADER_BYTES: usize = 16;
/// Most bytes of one row of any kind.
const ROW_BYTES_MAX: usize = 312;
/// Rows that are turned into planes at a time, so that they stay in the first-level cache.
const BLOCK_ROWS: usize = 64;
const FORM_PLANES: u8 = 1;
const ZERO: u8 = 0;
const CONSTANT: u8 = 1;
const FULL: u8 = 2;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GroupHeader {
    kind: U16,
    form: u8,
    zero: u8,
    count: U32,
    body_bytes: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<GroupHeader>() == GROUP_HEADER_BYTES);

/// Why a payload cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The payload ends inside a group.
    #[error("payload ends inside the group at byte {at}")]
    Short {
        /// Offset of the group.
        at: usize,
    },
    /// A kind that this version does not know.
    #[error(
        "group at byte {at} has record kind {kind}, which this program does not know: use a newer kanjo"
    )]
    Kind {
        /// Offset of the group.
        at: usize,
        /// The unknown number.
        kind: u16,
    },
    /// A form or reserved field that this version does not know.
    #[error(
        "group at byte {at} is in form {form}, which this program does not know: use a newer kanjo"
    )]
    Form {
        /// Offset of the group.
        at: usize,
        /// The unknown form.
        form: u8,
    },
    /// A count that is zero, over the limit, or not what the body holds.
    #[error("group at byte {at} says {count} records in {body_bytes} bytes, which do not fit")]
    Count {
        /// Offset of the group.
        at: usize,
        /// Records promised.
        count: u32,
        /// Bytes promised.
        body_bytes: u32,
    },
    /// A row that no writer makes.
    #[error("a record of kind {kind} contradicts itself")]
    Row {
        /// Its kind.
        kind: u16,
    },
    /// The groups together do not hold what the batch header says.
    #[error("payload holds {found} records, its header says {expected}")]
    Total {
        /// In the groups.
        found: u64,
        /// In the header.
        expected: u32,
    },
}

/// Most payload bytes that `count` rows of `row_bytes` can take as one group.
pub const fn group_bytes_max(row_bytes: usize, count: usize) -> usize {
    GROUP_HEADER_BYTES + row_bytes.div_ceil(4) + row_bytes * count
}

/// Appends rows of one kind to a payload as one group. Panics on no rows, too many, or rows of
/// another kind's width, which only a bug can cause.
pub fn push_group<R: Row>(payload: &mut Vec<u8>, kind: RecordKind, rows: &[R]) {
    let width = size_of::<R>();
    assert!(
        !rows.is_empty() && rows.len() <= BATCH_RECORDS_MAX,
        "a group holds 1 to 8192 rows"
    );
    assert_eq!(width, kind.row_bytes(), "rows of another kind");
    let at = payload.len();
    payload.resize(at + GROUP_HEADER_BYTES + width.div_ceil(4), 0);
    let first = rows[0].as_bytes();
    let varies = varying_bytes(rows);
    let mut full = [0_u16; ROW_BYTES_MAX];
    let mut full_count = 0;
    for plane in 0..width {
        let mode = if varies[plane] != 0 {
            full[full_count] = plane as u16;
            full_count += 1;
            FULL
        } else if first[plane] != 0 {
            payload.push(first[plane]);
            CONSTANT
        } else {
            ZERO
        };
        payload[at + GROUP_HEADER_BYTES + plane / 4] |= mode << (plane % 4 * 2);
    }
    gather_planes(payload, rows, &full[..full_count]);
    let header = GroupHeader {
        kind: (kind as u16).into(),
        form: FORM_PLANES,
        zero: 0,
        count: (rows.len() as u32).into(),
        body_bytes: ((payload.len() - at - GROUP_HEADER_BYTES) as u32).into(),
        reserved: 0.into(),
    };
    payload[at..at + GROUP_HEADER_BYTES].copy_from_slice(header.as_bytes());
}

/// For each byte of a row: zero if it is the same in all rows.
fn varying_bytes<R: Row>(rows: &[R]) -> [u8; ROW_BYTES_MAX] {
    let first = rows[0].as_bytes();
    let mut varies = [0; ROW_BYTES_MAX];
    let varies_here = &mut varies[..size_of::<R>()];
    for row in &rows[1..] {
        for ((seen, byte), base) in varies_here.iter_mut().zip(row.as_bytes()).zip(first) {
            *seen |= byte ^ base;
        }
    }
    varies
}

fn gather_planes<R: Row>(payload: &mut Vec<u8>, rows: &[R], planes: &[u16]) {
    let count = rows.len();
    let start = payload.len();
    payload.resize(start + planes.len() * count, 0);
    let out = &mut payload[start..];
    for (block, chunk) in rows.chunks(BLOCK_ROWS).enumerate() {
        for (slot, &plane) in planes.iter().enumerate() {
            let from = slot * count + block * BLOCK_ROWS;
            let target = &mut out[from..from + chunk.len()];
            for (byte, row) in target.iter_mut().zip(chunk) {
                *byte = row.as_bytes()[usize::from(plane)];
            }
        }
    }
}

/// One group of a payload, checked as far as its lengths go.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// What its records tell.
    pub kind: RecordKind,
    /// How many records it holds.
    pub count: usize,
    /// Index of its first record within the batch.
    pub first_index: usize,
    modes: &'a [u8],
    constants: &'a [u8],
    planes: &'a [u8],
}

impl Group<'_> {
    /// Decodes all rows into `rows`, which is cleared first. Panics if `R` is not the row of
    /// this group's kind, which only a bug can cause.
    pub fn read_rows<R: Row>(&self, rows: &mut Vec<R>) {
        assert_eq!(
            size_of::<R>(),
            self.kind.row_bytes(),
            "rows of another kind"
        );
        let width = size_of::<R>();
        let mut template = R::new_zeroed();
        let mut full = [0_u16; ROW_BYTES_MAX];
        let mut full_count = 0;
        let mut constants = self.constants.iter();
        for plane in 0..width {
            match mode_of(self.modes, plane) {
                CONSTANT => {
                    template.as_mut_bytes()[plane] = *constants.next().expect("counted when parsed")
                }
                FULL => {
                    full[full_count] = plane as u16;
                    full_count += 1;
                }
                _ => {}
            }
        }
        rows.clear();
        rows.resize(self.count, template);
        for (block, chunk) in rows.chunks_mut(BLOCK_ROWS).enumerate() {
            for (slot, &plane) in full[..full_count].iter().enumerate() {
                let from = slot * self.count + block * BLOCK_ROWS;
                let source = &self.planes[from..from + chunk.len()];
                for (byte, row) in source.iter().zip(chunk.iter_mut()) {
                    row.as_mut_bytes()[usize::from(plane)] = *byte;
                }
            }
        }
    }

    /// Decodes one row by its index within the group; `None` beyond the last.
    pub fn read_row<R: Row>(&self, index: usize) -> Option<R> {
        if index >= self.count || size_of::<R>() != self.kind.row_bytes() {
            return None;
        }
        let mut row = R::new_zeroed();
        let (mut constants, mut slot) = (0, 0);
        for (plane, byte) in row.as_mut_bytes().iter_mut().enumerate() {
            match mode_of(self.modes, plane) {
                CONSTANT => {
                    *byte = self.constants[constants];
                    constants += 1;
                }
                FULL => {
                    *byte = self.planes[slot * self.count + index];
                    slot += 1;
                }
                _ => {}
            }
        }
        Some(row)
    }
}

/// The groups of a payload, in order; stops after the first error.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    payload: &'a [u8],
    at: usize,
    records: u64,
    expected: u32,
    done: bool,
}

impl<'a> Groups<'a> {
    /// Reads a payload that its header says holds `record_count` records.
    pub fn new(payload: &'a [u8], record_count: u32) -> Self {
        Self {
            payload,
            at: 0,
            records: 0,
            expected: record_count,
            done: false,
        }
    }

    fn parse(&mut self) -> Result<Group<'a>, PayloadError> {
        let at = self.at;
        let rest = &self.payload[at..];
        let (header, body) =
            GroupHeader::read_from_prefix(rest).map_err(|_| PayloadError::Short { at })?;
        let (count, body_bytes) = (header.count.get(), header.body_bytes.get());
        let kind = RecordKind::from_number(header.kind.get()).ok_or(PayloadError::Kind {
            at,
            kind: header.kind.get(),
        })?;
        if header.form != FORM_PLANES || header.zero != 0 || header.reserved.get() != 0 {
            return Err(PayloadError::Form {
                at,
                form: header.form,
            });
        }
        let misfit = PayloadError::Count {
            at,
            count,
            body_bytes,
        };
        if count == 0
            || count as usize > BATCH_RECORDS_MAX
            || body_bytes as usize > BATCH_PAYLOAD_BYTES_MAX
        {
            return Err(misfit);
        }
        let body = body
            .get(..body_bytes as usize)
            .ok_or(PayloadError::Short { at })?;
        let width = kind.row_bytes();
        let (modes, values) = body.split_at_checked(width.div_ceil(4)).ok_or(misfit)?;
        let (constant, full) = count_modes(modes, width).ok_or(misfit)?;
        if values.len() != constant + full * count as usize {
            return Err(misfit);
        }
        let (constants, planes) = values.split_at(constant);
        let first_index = self.records as usize;
        self.at += GROUP_HEADER_BYTES + body_bytes as usize;
        self.records += u64::from(count);
        if self.records > BATCH_RECORDS_MAX as u64 {
            return Err(misfit);
        }
        Ok(Group {
            kind,
            count: count as usize,
            first_index,
            modes,
            constants,
            planes,
        })
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<Group<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.at == self.payload.len() {
            self.done = true;
            let total = PayloadError::Total {
                found: self.records,
                expected: self.expected,
            };
            return (self.records != u64::from(self.expected)).then_some(Err(total));
        }
        let group = self.parse();
        self.done = group.is_err();
        Some(group)
    }
}

/// Decodes record `index` of a batch if it is of `kind`.
pub fn find_row<R: Row>(
    payload: &[u8],
    record_count: u32,
    kind: RecordKind,
    index: usize,
) -> Result<Option<R>, PayloadError> {
    for group in Groups::new(payload, record_count) {
        let group = group?;
        if index < group.first_index + group.count {
            let within = index - group.first_index;
            return Ok((group.kind == kind)
                .then(|| group.read_row(within))
                .flatten());
        }
    }
    Ok(None)
}

/// How many planes are constant, and how many full; `None` if a mode is none of the three. Counted
/// in words: a commit of one transfer comes by here several times.
fn count_modes(modes: &[u8], width: usize) -> Option<(usize, usize)> {
    const LOW_BITS: u64 = 0x5555_5555_5555_5555;
    const PLANES_A_WORD: usize = 32;
    let (mut constant, mut full) = (0, 0);
    for (at, bytes) in modes.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let planes = (width - at * PLANES_A_WORD).min(PLANES_A_WORD);
        // What stands behind the last plane counts for nothing.
        let word = u64::from_le_bytes(word) & (u64::MAX >> (64 - 2 * planes));
        let (low, high) = (word & LOW_BITS, word >> 1 & LOW_BITS);
        if low & high != 0 {
            return None;
        }
        constant += low.count_ones() as usize;
        full += high.count_ones() as usize;
    }
    Some((constant, full))
}

fn mode_of(modes: &[u8], plane: usize) -> u8 {
    modes[plane / 4] >> (plane % 4 * 2) & 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{AccountRow, ReignRow, TransferRow};
    use proptest::prelude::*;

    fn transfers(count: usize, seed: u64) -> Vec<TransferRow> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count)
            .map(|_| TransferRow {
                id: (u128::from(next()) << 64 | u128::from(next())).into(),
                amount: u128::from(next() % 10_000).into(),
                debit_account: (next() as u32 % 10_000).into(),
                credit_account: (next() as u32 % 10_000).into(),
                code: 1.into(),
                ..TransferRow::default()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went_in(count in 1_usize..300, seed: u64) {
            let rows = transfers(count, seed);
            let accounts = vec![AccountRow { id: 9.into(), ..AccountRow::default() }; 3];
            let mut payload = Vec::new();
            push_group(&mut payload, RecordKind::AccountOpened, &accounts);
            push_group(&mut payload, RecordKind::TransferPosted, &rows);
            let groups: Vec<_> = Groups::new(&payload, count as u32 + 3).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(groups.len(), 2);
            let mut read: Vec<TransferRow> = Vec::new();
            groups[1].read_rows(&mut read);
            prop_assert_eq!(&read, &rows);
            prop_assert_eq!(groups[1].read_row::<TransferRow>(count - 1), Some(rows[count - 1]));
            let found = find_row(&payload, count as u32 + 3, RecordKind::TransferPosted, 3).unwrap();
            prop_assert_eq!(found, Some(rows[0]));
        }

        #[test]
        fn modes_are_counted_as_they_are_read(modes in proptest::collection::vec(any::<u8>(), 1..80), spare in 0_usize..4) {
            let width = modes.len() * 4 - spare;
            let read: Vec<u8> = (0..width).map(|plane| mode_of(&modes, plane)).collect();
            let count = |mode| read.iter().filter(|m| **m == mode).count();
            let expected = (count(3) == 0).then(|| (count(CONSTANT), count(FULL)));
            prop_assert_eq!(count_modes(&modes, width), expected);
        }

        #[test]
        fn garbage_never_panics(mut bytes: Vec<u8>, flips in proptest::collection::vec((0_usize..200, any::<u8>()), 0..8)) {
            for group in Groups::new(&bytes, 1) {
                let _ = group;
            }
            bytes.clear();
            push_group(&mut bytes, RecordKind::TransferPosted, &transfers(3, 5));
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            for group in Groups::new(&bytes, 3).flatten() {
                if group.kind == RecordKind::TransferPosted {
                    group.read_rows::<TransferRow>(&mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn a_full_batch_of_transfers_fits_the_payload_limit() {
        let most = group_bytes_max(size_of::<TransferRow>(), BATCH_RECORDS_MAX);
        assert!(most <= BATCH_PAYLOAD_BYTES_MAX, "{most}");
        assert!(size_of::<ReignRow>() <= ROW_BYTES_MAX);
    }

    #[test]
    fn what_does_not_vary_takes_no_room() {
        let mut payload = Vec::new();
        push_group(
            &mut payload,
            RecordKind::TransferPosted,
            &transfers(8_000, 3),
        );
        // 16 random id bytes, and 2 each for the accounts and the amount.
        let a_transfer = payload.len() as f64 / 8_000.0;
        assert!(a_transfer < 22.1, "{a_transfer} bytes a transfer");
    }
}
