//! What the builder keeps of each record in little room.

use std::collections::BTreeMap;

/// An amount for each record: nearly all fit into 64 bits.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    small: Vec<u64>,
    large: BTreeMap<u32, u128>,
}

impl Amounts {
    pub(super) fn set(&mut self, ordinal: u32, amount: u128) {
        let at = ordinal as usize;
        if self.small.len() <= at {
            self.small.resize(at + 1, 0);
        }
        self.small[at] = match u64::try_from(amount) {
            Ok(small) if small < u64::MAX => small,
            _ => {
                self.large.insert(ordinal, amount);
                u64::MAX
            }
        };
    }

    #[inline]
    pub(super) fn get(&self, ordinal: u32) -> u128 {
        match self.small.get(ordinal as usize) {
            None => 0,
            Some(&u64::MAX) => self.large[&ordinal],
            Some(&small) => small.into(),
        }
    }
}

/// Lists of few keys, kept as stretches of records as they come.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    lists: BTreeMap<u32, Vec<(u32, u32)>>,
    /// The list that got the last record.
    last: Option<(u32, Vec<(u32, u32)>)>,
}

impl Stretches {
    #[inline]
    pub(super) fn add(&mut self, key: u32, ordinal: u32) {
        if self.last.as_ref().is_none_or(|(last, _)| *last != key) {
            let next = self.lists.remove(&key).unwrap_or_default();
            if let Some((key, list)) = self.last.replace((key, next)) {
                self.lists.insert(key, list);
            }
        }
        let Some((_, list)) = &mut self.last else {
            return;
        };
        match list.last_mut() {
            Some((first, more)) if *first + *more + 1 == ordinal => *more += 1,
            _ => list.push((ordinal, 0)),
        }
    }

    /// Key, first record and how many more, sorted.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u64, u32, u32)> {
        let mut lists: Vec<(u32, &[(u32, u32)])> =
            self.lists.iter().map(|(k, l)| (*k, &l[..])).collect();
        lists.extend(self.last.iter().map(|(k, l)| (*k, &l[..])));
        lists.sort_unstable_by_key(|(key, _)| *key);
        let each = |(key, list): (u32, &[(u32, u32)])| {
            let rows: Vec<_> = list
                .iter()
                .map(|&(first, more)| (u64::from(key), first, more))
                .collect();
            rows
        };
        lists.into_iter().flat_map(each)
    }
}
