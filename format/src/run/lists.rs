//! Blocks of lists: chunks of rising ordinals, each under its key.
//!
//! An *item* is a stretch of consecutive records with the same role. A chunk of an account tells
//! its role item by item, and how much the run has changed the account's balances up to the
//! chunk's end; other chunks have neither.
//!
//! ```text
//! tag (u8)   bits 0..3 kind  3 key as before  4 one record  5 stretches  6..8 form of the roles
//! key        varint, the difference to the chunk before if that is of the same kind
//! first      varint, ordinal of the first record
//! items (u8), body bytes (varint)        neither if it is one record
//! sums       four varints                accounts only
//! body       rice of the gaps (u8); with stretches: rice of their lengths (u8)
//!            role (u8)                   accounts only: that of all, or without its side, or 0
//!            gaps, lengths, roles        in bits, to a whole byte
//! ```

use super::bits::{
    BitReader, BitWriter, RICE_MAX, put_varint, rice_parameter, take_varint, take_varint_64,
};
pub use super::roles::{Action, Role, Sums};
use super::{CHUNK_ITEMS_MAX, RUN_RECORDS_MAX, RunFormatError};

/// Kind of the lists of accounts.
pub const ACCOUNT: u8 = 0;
/// Kind of the lists of hashed 128-bit user data.
pub const USER_DATA_128: u8 = 1;
/// Kind of the lists of 64-bit user data.
pub const USER_DATA_64: u8 = 2;
/// Kind of the lists of 32-bit user data.
pub const USER_DATA_32: u8 = 3;
/// Kind of the lists of ledgers.
pub const LEDGER: u8 = 4;
/// Kind of the lists of reason codes.
pub const CODE: u8 = 5;

const TAG_SAME_KEY: u8 = 1 << 3;
const TAG_SINGLE: u8 = 1 << 4;
const TAG_STRETCHES: u8 = 1 << 5;
const ROLES_ONE: u8 = 0;
const ROLES_SIDES: u8 = 1;
const ROLES_EACH: u8 = 2;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListKey {
    /// What it is by.
    pub kind: u8,
    /// The value, or its hash.
    pub value: u64,
}

impl ListKey {
    /// Key of a fence before a chunk that begins with that record.
    pub const fn fence(self, ordinal: u64) -> u128 {
        (self.kind as u128) << 112 | (self.value as u128) << 48 | ordinal as u128
    }
}

/// Consecutive records with the same role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first record.
    pub first: u64,
    /// Records behind it.
    pub more: u64,
    /// Role of the account; of no meaning in other lists.
    pub role: Role,
}

impl Item {
    /// The last record.
    pub const fn last(&self) -> u64 {
        self.first + self.more
    }
}

/// Appends a chunk behind one of key `before`, if there is one in the block.
pub fn encode(
    out: &mut Vec<u8>,
    before: Option<ListKey>,
    key: ListKey,
    items: &[Item],
    sums: &Sums,
) {
    assert!(
        (1..=CHUNK_ITEMS_MAX).contains(&items.len()),
        "a chunk has a bounded size"
    );
    let is_account = key.kind == ACCOUNT;
    let stretches = items.iter().any(|item| item.more > 0);
    let single = items.len() == 1 && !stretches;
    let (form, role) = roles_form(items);
    let form = if is_account { form } else { ROLES_ONE };
    let same_key = before == Some(key);
    let mut tag = key.kind | form << 6;
    for (is_set, bit) in [
        (same_key, TAG_SAME_KEY),
        (single, TAG_SINGLE),
        (stretches, TAG_STRETCHES),
    ] {
        tag |= if is_set { bit } else { 0 };
    }
    out.push(tag);
    if !same_key {
        let base = before.filter(|b| b.kind == key.kind).map_or(0, |b| b.value);
        put_varint(out, u128::from(key.value - base));
    }
    put_varint(out, u128::from(items[0].first));
    let body = match single {
        true => Vec::new(),
        false => encode_body(items, stretches, is_account.then_some((form, role))),
    };
    if !single {
        out.push(items.len() as u8);
        put_varint(out, body.len() as u128);
    }
    if is_account {
        put_sums(out, sums);
    }
    if single && is_account {
        out.push(role);
    }
    out.extend_from_slice(&body);
}

/// How the roles of a chunk are told, and the byte before them.
fn roles_form(items: &[Item]) -> (u8, u8) {
    let first = items[0].role.number();
    let differ = items
        .iter()
        .fold(0, |all, item| all | (item.role.number() ^ first));
    match differ {
        0 => (ROLES_ONE, first),
        1 => (ROLES_SIDES, first & !1),
        _ => (ROLES_EACH, 0),
    }
}

fn encode_body(items: &[Item], stretches: bool, roles: Option<(u8, u8)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let gaps = || items.windows(2).map(|pair| pair[1].first - pair[0].last());
    let gap_rice = rice_parameter(gaps().sum(), items.len() - 1);
    let more_rice = rice_parameter(items.iter().map(|item| item.more).sum(), items.len());
    out.push(gap_rice);
    if stretches {
        out.push(more_rice);
    }
    if let Some((_, role)) = roles {
        out.push(role);
    }
    let mut bits = BitWriter::default();
    gaps().for_each(|gap| bits.put_rice(&mut out, gap, gap_rice));
    if stretches {
        items
            .iter()
            .for_each(|item| bits.put_rice(&mut out, item.more, more_rice));
    }
    let role_bits = roles.map_or(0, |(form, _)| role_bits(form));
    if role_bits > 0 {
        let mask = (1 << role_bits) - 1;
        let each = items
            .iter()
            .map(|item| u64::from(item.role.number() & mask));
        each.for_each(|role| bits.put(&mut out, role, role_bits));
    }
    bits.finish(&mut out);
    out
}

const fn role_bits(form: u8) -> u32 {
    match form {
        ROLES_SIDES => 1,
        ROLES_EACH => 4,
        _ => 0,
    }
}

fn put_sums(out: &mut Vec<u8>, sums: &Sums) {
    for posted in [sums.debits_posted, sums.credits_posted] {
        put_varint(out, posted);
    }
    for pending in [sums.debits_pending, sums.credits_pending] {
        // Small steps down are small numbers too.
        let zigzag = pending << 1 ^ ((pending as i128) >> 127) as u128;
        put_varint(out, zigzag);
    }
}

/// A chunk as far as it is told before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// Its key.
    pub key: ListKey,
    /// Its first record.
    pub first: u64,
    /// What the run has changed up to its end; zero where it is not of an account.
    pub sums: Sums,
    tag: u8,
    count: usize,
    body_at: usize,
    body_bytes: usize,
}

/// Reads the heads of a block's chunks.
pub fn decode_heads(block: &[u8], heads: &mut Vec<ChunkHead>) -> Result<(), RunFormatError> {
    heads.clear();
    let (mut at, mut before) = (0, None);
    while at < block.len() {
        let head = decode_head(block, at, before).ok_or(bad("a chunk that no writer makes"))?;
        at = head.body_at + head.body_bytes;
        before = Some(head.key);
        heads.push(head);
    }
    Ok(())
}

fn decode_head(block: &[u8], at: usize, before: Option<ListKey>) -> Option<ChunkHead> {
    let (&tag, mut rest) = block[at..].split_first()?;
    let kind = tag & 7;
    let key = match tag & TAG_SAME_KEY != 0 {
        true => before.filter(|before| before.kind == kind)?,
        false => {
            let base = before.filter(|b| b.kind == kind).map_or(0, |b| b.value);
            let value = base.checked_add(take_varint_64(&mut rest)?)?;
            ListKey { kind, value }
        }
    };
    let first = take_varint_64(&mut rest).filter(|first| *first < RUN_RECORDS_MAX)?;
    let is_account = kind == ACCOUNT;
    let single = tag & TAG_SINGLE != 0;
    let (count, body_bytes) = match single {
        true => (1, usize::from(is_account)),
        false => {
            let (&count, behind) = rest.split_first()?;
            rest = behind;
            (
                usize::from(count),
                usize::try_from(take_varint_64(&mut rest)?).ok()?,
            )
        }
    };
    let sums = match is_account {
        true => take_sums(&mut rest)?,
        false => Sums::default(),
    };
    let body_at = block.len() - rest.len();
    (count > 0 && body_bytes <= rest.len()).then_some(ChunkHead {
        key,
        first,
        sums,
        tag,
        count,
        body_at,
        body_bytes,
    })
}

fn take_sums(rest: &mut &[u8]) -> Option<Sums> {
    let (debits_posted, credits_posted) = (take_varint(rest)?, take_varint(rest)?);
    let mut pending = || {
        let zigzag = take_varint(rest)?;
        Some(zigzag >> 1 ^ (zigzag & 1).wrapping_neg())
    };
    Some(Sums {
        debits_pending: pending()?,
        debits_posted,
        credits_pending: pending()?,
        credits_posted,
    })
}

impl ChunkHead {
    /// Decodes the chunk's items out of the block that the head was read from.
    pub fn items(&self, block: &[u8], items: &mut Vec<Item>) -> Result<(), RunFormatError> {
        items.clear();
        let body = block
            .get(self.body_at..self.body_at + self.body_bytes)
            .ok_or(bad("a chunk beyond its end"))?;
        self.decode_items(body, items)
            .ok_or(bad("items that no writer makes"))
    }

    fn decode_items(&self, body: &[u8], items: &mut Vec<Item>) -> Option<()> {
        let is_account = self.key.kind == ACCOUNT;
        let mut starts = body;
        let mut byte = || {
            let (&byte, rest) = starts.split_first()?;
            starts = rest;
            Some(byte)
        };
        let single = self.tag & TAG_SINGLE != 0;
        let stretches = self.tag & TAG_STRETCHES != 0;
        let gap_rice = if single { 0 } else { byte()? };
        let more_rice = if stretches { byte()? } else { 0 };
        let role = if is_account { byte()? } else { 0 };
        if gap_rice > RICE_MAX || more_rice > RICE_MAX {
            return None;
        }
        let mut bits = BitReader::new(starts);
        let mut first = self.first;
        for n in 0..self.count {
            if n > 0 {
                first = first.checked_add(bits.take_rice(gap_rice))?;
            }
            items.push(Item {
                first,
                more: 0,
                role: Role::from_number(role)?,
            });
        }
        if stretches {
            // Gaps were counted from the end of the stretch before.
            let mut shift = 0_u64;
            for item in items.iter_mut() {
                item.first = item.first.checked_add(shift)?;
                item.more = bits.take_rice(more_rice);
                shift = shift.checked_add(item.more)?;
            }
        }
        let width = role_bits(self.tag >> 6);
        if width > 0 {
            for item in items.iter_mut() {
                item.role = Role::from_number(role | bits.take(width) as u8)?;
            }
        }
        let last = items.last()?;
        let in_bounds = last.first < RUN_RECORDS_MAX && last.more < RUN_RECORDS_MAX - last.first;
        (bits.is_within() && in_bounds).then_some(())
    }
}

const fn bad(what: &'static str) -> RunFormatError {
    RunFormatError::Block {
        section: "lists",
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk() -> impl Strategy<Value = (ListKey, Vec<Item>, Sums)> {
        let key = (0_u8..6, prop_oneof![0_u64..5, any::<u64>()]);
        let items = proptest::collection::vec(
            (0_u64..5_000, prop_oneof![Just(0_u64), 0_u64..900], 0_u8..12),
            1..60,
        );
        let sums = (any::<u128>(), any::<u128>(), any::<i16>(), any::<i128>());
        (key, items, sums).prop_map(|((kind, value), items, sums)| {
            let mut at = 0;
            let items = items.into_iter().map(|(gap, more, role)| {
                let role = if kind == ACCOUNT {
                    Role::from_number(role).unwrap()
                } else {
                    Role::default()
                };
                let item = Item {
                    first: at + gap,
                    more,
                    role,
                };
                at = item.last();
                item
            });
            let sums = Sums {
                debits_posted: sums.0,
                credits_posted: sums.1,
                debits_pending: sums.2 as u128,
                credits_pending: sums.3 as u128,
            };
            let sums = if kind == ACCOUNT {
                sums
            } else {
                Sums::default()
            };
            (ListKey { kind, value }, items.collect(), sums)
        })
    }

    proptest! {
        #[test]
        fn chunks_come_back(chunks in proptest::collection::vec(chunk(), 1..20)) {
            let mut chunks = chunks;
            chunks.sort_by_key(|(key, items, _)| (*key, items[0].first));
            let (mut block, mut before) = (Vec::new(), None);
            for (key, items, sums) in &chunks {
                encode(&mut block, before, *key, items, sums);
                before = Some(*key);
            }
            let mut heads = Vec::new();
            decode_heads(&block, &mut heads).unwrap();
            prop_assert_eq!(heads.len(), chunks.len());
            let mut read = Vec::new();
            for (head, (key, items, sums)) in heads.iter().zip(&chunks) {
                head.items(&block, &mut read).unwrap();
                prop_assert_eq!((head.key, head.first, head.sums), (*key, items[0].first, *sums));
                prop_assert_eq!(&read, items);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut heads, mut items) = (Vec::new(), Vec::new());
            if decode_heads(&block, &mut heads).is_ok() {
                for head in &heads {
                    let _ = head.items(&block, &mut items);
                }
            }
        }
    }
}
