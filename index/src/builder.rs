//! Building a run from the batches of a stretch of log.
//!
//! Batches are read once, in order; what they tell is kept in flat rows, about 60 bytes a
//! transfer, and sorted in the end. What was reserved before the stretch is asked of the runs
//! before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kanjo_format::batch::BatchHeader;
use kanjo_format::columns::{Group, Groups};
use kanjo_format::movement::{Form, Movement, Transfer, each_of_group, record_time};
use kanjo_format::record::{AccountRow, ImportedAccountRow, RecordKind};
use kanjo_format::run::ids::IdEntry;
use kanjo_format::run::lists::{self, Action, ListKey, Role, Sums};
use kanjo_format::run::rows::{BatchRow, LinkKind, LinkRow, ReservedRow};
use kanjo_format::run::{
    HASH_BITS, RUN_BUILD_RECORDS_MAX, RunFooter, RunHasher, RunKey, filter_lines,
};
use kanjo_format::{AccountNumber, LedgerId, Lsn, RecordAt, Timestamp};

use crate::cursor::Places;
use crate::error::RunError;
use crate::run::{Run, RunInfo};
use crate::set::RunSet;
use crate::sort::{IdRow, sort_by_upper_half, sort_ids};
use crate::writer::RunWriter;
use crate::writers::{
    IdsWriter, ListWriter, batches_writer, links_writer, one, reserved_writer, write_accounts,
};

/// Marks the action of a pending transfer that was resolved in the same run.
const RESOLVED: u8 = 0x80;
/// The action of a record that moves nothing.
const NO_ACTION: u8 = 0x7f;

/// Collects what the batches behind a set of runs tell.
#[derive(Debug)]
pub struct RunBuilder {
    before: Arc<RunSet>,
    reserved: ReservedBefore,
    hasher: RunHasher,
    first_lsn: Lsn,
    end_lsn: Lsn,
    batches: Vec<BatchRow>,
    records: u64,
    transfers: u64,
    failed: u64,
    time: Timestamp,
    ids: Vec<IdRow>,
    id_low: u128,
    id_high: u128,
    /// Account number, ordinal, side: `account << 32 | ordinal << 1 | is_credit`.
    postings: Vec<u64>,
    /// What each record does.
    actions: Vec<u8>,
    amounts: Amounts,
    /// What was reserved by the pending transfer that a record posts.
    released: Amounts,
    user_data_128: Vec<(u64, u32)>,
    user_data_64: Vec<(u64, u32)>,
    user_data_32: Vec<(u64, u32)>,
    ledgers: Stretches,
    codes: Stretches,
    links: Vec<LinkRow>,
    opened: Vec<LedgerId>,
}

impl RunBuilder {
    /// A run that begins where `before` ends.
    pub fn new(before: Arc<RunSet>) -> Self {
        let first_lsn = before.end();
        Self {
            reserved: ReservedBefore::default(),
            hasher: RunHasher::new(before.params().seed),
            first_lsn,
            end_lsn: first_lsn,
            batches: Vec::new(),
            records: 0,
            transfers: 0,
            failed: 0,
            time: before.time(),
            ids: Vec::new(),
            id_low: u128::MAX,
            id_high: 0,
            postings: Vec::new(),
            actions: Vec::new(),
            amounts: Amounts::default(),
            released: Amounts::default(),
            user_data_128: Vec::new(),
            user_data_64: Vec::new(),
            user_data_32: Vec::new(),
            ledgers: Stretches::default(),
            codes: Stretches::default(),
            links: Vec::new(),
            opened: Vec::new(),
            before,
        }
    }

    /// Where the run ends as yet.
    pub const fn end(&self) -> Lsn {
        self.end_lsn
    }

    /// Records of the batches that were added.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Whether the run ends here: at the end of a segment, or earlier where it has become so long
    /// that memory would not stay bounded. All who build runs over a log cut it in the same
    /// places, so a run can be compared with one that is built again.
    pub fn is_complete(&self) -> bool {
        let at_segment_end = self
            .end_lsn
            .get()
            .is_multiple_of(self.before.params().segment_bytes);
        self.end_lsn > self.first_lsn && (at_segment_end || self.records >= RUN_BUILD_RECORDS_MAX)
    }

    /// Adds the next batch.
    pub fn add_batch(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), RunError> {
        let lsn = header.lsn();
        if lsn != self.end_lsn {
            return Err(RunError::Place {
                expected: self.end_lsn,
                found: lsn,
            });
        }
        if self.records >= 2 * RUN_BUILD_RECORDS_MAX {
            return Err(RunError::Refused {
                doing: "index a batch",
                why: format!("the run is full at lsn {lsn}"),
            });
        }
        let first = self.records;
        let end = first + u64::from(header.record_count());
        self.actions.resize(end as usize, NO_ACTION);
        if header.record_count() > 0 {
            // Its time follows below.
            let time = self.time;
            self.batches.push(BatchRow { lsn, first, time });
        }
        for group in Groups::new(payload, header.record_count()) {
            let group = group.map_err(|source| RunError::Payload { lsn, source })?;
            self.add_group(header, &group, first)?;
        }
        if let Some(row) = self.batches.last_mut()
            && row.lsn == lsn
        {
            row.time = self.time;
        }
        self.records = end;
        self.end_lsn = header.end(self.before.params().segment_bytes);
        Ok(())
    }

    fn add_group(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        first: u64,
    ) -> Result<(), RunError> {
        match group.kind {
            RecordKind::AccountOpened => {
                let mut rows: Vec<AccountRow> = Vec::new();
                group.read_rows(&mut rows);
                self.open_accounts(header, group, rows.iter())
            }
            RecordKind::AccountImported => {
                let mut rows: Vec<ImportedAccountRow> = Vec::new();
                group.read_rows(&mut rows);
                self.open_accounts(header, group, rows.iter().map(|row| &row.account))
            }
            _ => {
                let lsn = header.lsn();
                let told = each_of_group(header, group, |at, movement| {
                    let ordinal = first + at.index() as u64;
                    self.add(
                        at,
                        ordinal as u32,
                        record_time(header, at.index()),
                        &movement,
                    )?;
                    Ok::<_, Stop>(())
                });
                told.map_err(|stop| match stop {
                    Stop::Payload(source) => RunError::Payload { lsn, source },
                    Stop::Run(error) => error,
                })
            }
        }
    }

    fn open_accounts<'a>(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        rows: impl Iterator<Item = &'a AccountRow>,
    ) -> Result<(), RunError> {
        for (n, row) in rows.enumerate() {
            let next = self.before.ledgers().len() + self.opened.len();
            if row.number().get() as usize != next {
                return Err(RunError::Record {
                    at: RecordAt::new(header.lsn(), group.first_index + n),
                    what: format!(
                        "account {} was opened where {next} comes next",
                        row.number()
                    ),
                });
            }
            self.opened.push(row.ledger());
        }
        Ok(())
    }

    fn add(
        &mut self,
        at: RecordAt,
        ordinal: u32,
        recorded: Timestamp,
        movement: &Movement,
    ) -> Result<(), RunError> {
        match movement {
            Movement::Transfer(transfer) => self.add_transfer(at, ordinal, transfer),
            Movement::Expired(expired) => {
                let amount = self.settle(at, expired.pending)?;
                self.link(expired.pending, LinkKind::Expired, ordinal);
                self.post(
                    ordinal,
                    Action::Expires,
                    expired.debit,
                    expired.credit,
                    amount,
                );
                self.time = self.time.max(recorded);
                Ok(())
            }
            Movement::Failed(row) => {
                self.failed += 1;
                self.add_id(row.id.get(), ordinal);
                Ok(())
            }
        }
    }

    fn add_transfer(
        &mut self,
        at: RecordAt,
        ordinal: u32,
        transfer: &Transfer,
    ) -> Result<(), RunError> {
        self.transfers += 1;
        self.time = self.time.max(transfer.timestamp);
        self.add_id(transfer.id.get(), ordinal);
        let action = match transfer.form {
            Form::Posts => Action::Posts,
            Form::Reserves => Action::Reserves,
            Form::PostsPending(pending) => {
                let reserved = self.settle(at, pending)?;
                self.released.set(ordinal, reserved);
                self.link(pending, LinkKind::Posted, ordinal);
                Action::PostsPending
            }
            Form::VoidsPending(pending) => {
                self.mark_resolved(pending);
                self.link(pending, LinkKind::Voided, ordinal);
                Action::VoidsPending
            }
            Form::Reverses(original) => {
                self.link(original, LinkKind::Reversed, ordinal);
                Action::Reverses
            }
        };
        self.post(
            ordinal,
            action,
            transfer.debit,
            transfer.credit,
            transfer.amount,
        );
        if transfer.user_data_128 != 0 {
            let key = self
                .hasher
                .list(RunKey::UserData128(transfer.user_data_128));
            self.user_data_128.push((key.value, ordinal));
        }
        if transfer.user_data_64 != 0 {
            self.user_data_64.push((transfer.user_data_64, ordinal));
        }
        if transfer.user_data_32 != 0 {
            self.user_data_32
                .push((transfer.user_data_32.into(), ordinal));
        }
        let ledger = self
            .ledger_of(transfer.debit)
            .ok_or_else(|| RunError::Record {
                at,
                what: format!("account {} was never opened", transfer.debit),
            })?;
        self.ledgers.add(ledger.get(), ordinal);
        self.codes.add(transfer.code.into(), ordinal);
        Ok(())
    }

    fn add_id(&mut self, id: u128, ordinal: u32) {
        self.id_low = self.id_low.min(id);
        self.id_high = self.id_high.max(id);
        let hash = self.hasher.id(kanjo_format::TransferId::new(id));
        self.ids.push(IdRow { hash, ordinal });
    }

    fn post(
        &mut self,
        ordinal: u32,
        action: Action,
        debit: AccountNumber,
        credit: AccountNumber,
        amount: u128,
    ) {
        self.actions[ordinal as usize] = action as u8;
        self.amounts.set(ordinal, amount);
        let low = u64::from(ordinal) << 1;
        self.postings.push(u64::from(debit.get()) << 32 | low);
        self.postings.push(u64::from(credit.get()) << 32 | low | 1);
    }

    fn link(&mut self, of: RecordAt, kind: LinkKind, ordinal: u32) {
        let ordinal = ordinal.into();
        self.links.push(LinkRow { of, kind, ordinal });
    }

    /// What the pending transfer at `pending` reserved, which is over now.
    fn settle(&mut self, at: RecordAt, pending: RecordAt) -> Result<u128, RunError> {
        if pending.lsn() >= self.first_lsn {
            if let Some(ordinal) = self.mark_resolved(pending) {
                return Ok(self.amounts.get(ordinal));
            }
        } else if let Some(amount) = self.reserved.amount(&self.before, pending)? {
            return Ok(amount);
        }
        Err(RunError::Record {
            at,
            what: format!("it settles {pending}, which is no open pending transfer"),
        })
    }

    /// Its ordinal, if it is a pending transfer of this run.
    fn mark_resolved(&mut self, pending: RecordAt) -> Option<u32> {
        let row = self
            .batches
            .binary_search_by_key(&pending.lsn(), |row| row.lsn)
            .ok()?;
        let ordinal = self.batches[row].first as usize + pending.index();
        let action = self.actions.get_mut(ordinal)?;
        if *action & !RESOLVED != Action::Reserves as u8 {
            return None;
        }
        *action |= RESOLVED;
        Some(ordinal as u32)
    }

    fn ledger_of(&self, account: AccountNumber) -> Option<LedgerId> {
        let number = account.get() as usize;
        let before = self.before.ledgers();
        match before.get(number) {
            Some(ledger) => Some(*ledger),
            None => self.opened.get(number - before.len()).copied(),
        }
    }

    /// Writes the run into the set's folder and syncs it. The set gets it by [`RunSet::with`].
    pub fn finish(mut self) -> Result<RunInfo, RunError> {
        if self.end_lsn == self.first_lsn {
            return Err(RunError::Refused {
                doing: "finish a run",
                why: "it has no batch".into(),
            });
        }
        let params = self.before.params();
        let mut out = RunWriter::create(&params.dir, params.cluster, self.first_lsn, self.end_lsn)?;
        let mut batches = batches_writer();
        for row in &self.batches {
            batches.push(&mut out, *row)?;
        }
        batches.finish(&mut out)?;
        self.write_lists(&mut out)?;
        self.write_ids(&mut out)?;
        self.links.sort_unstable();
        let mut links = links_writer();
        for row in &self.links {
            links.push(&mut out, *row)?;
        }
        links.finish(&mut out)?;
        self.write_reserved(&mut out)?;
        write_accounts(&mut out, self.before.ledgers().len() as u32, &self.opened)?;
        let footer = self.footer();
        let path = out.finish(footer)?;
        Run::open(path).map(|run| run.info())
    }

    fn write_ids(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        sort_ids(&mut self.ids, HASH_BITS);
        let mut ids = IdsWriter::new(self.ids.len() as u64);
        for row in std::mem::take(&mut self.ids) {
            let ordinal = row.ordinal.into();
            ids.push(
                out,
                IdEntry {
                    hash: row.hash,
                    ordinal,
                },
            )?;
        }
        ids.finish(out)
    }

    fn write_lists(&mut self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut lists = ListWriter::default();
        sort_by_upper_half(&mut self.postings);
        for posting in std::mem::take(&mut self.postings) {
            let (value, ordinal) = (posting >> 32, (posting as u32) >> 1);
            let key = ListKey {
                kind: lists::ACCOUNT,
                value,
            };
            let role = self.role(ordinal, posting & 1 == 1);
            let (amount, released) = (self.amounts.get(ordinal), self.released.get(ordinal));
            let change = |sums: &mut Sums| sums.add(role, amount, released);
            lists.add(out, key, one(ordinal.into(), role), change)?;
        }
        for (kind, rows) in [
            (lists::USER_DATA_128, &mut self.user_data_128),
            (lists::USER_DATA_64, &mut self.user_data_64),
            (lists::USER_DATA_32, &mut self.user_data_32),
        ] {
            rows.sort_unstable();
            for (value, ordinal) in std::mem::take(rows) {
                let item = one(ordinal.into(), Role::default());
                lists.add(out, ListKey { kind, value }, item, |_| ())?;
            }
        }
        for (kind, stretches) in [(lists::LEDGER, &self.ledgers), (lists::CODE, &self.codes)] {
            for (value, ordinal, more) in stretches.in_order() {
                let mut item = one(ordinal.into(), Role::default());
                item.more = more.into();
                lists.add(out, ListKey { kind, value }, item, |_| ())?;
            }
        }
        lists.finish(out)
    }

    fn role(&self, ordinal: u32, is_credit: bool) -> Role {
        let action = match self.actions[ordinal as usize] & !RESOLVED {
            0 => Action::Posts,
            1 => Action::Reserves,
            2 => Action::PostsPending,
            3 => Action::VoidsPending,
            4 => Action::Reverses,
            _ => Action::Expires,
        };
        match is_credit {
            false => Role::debit(action),
            true => Role::credit(action),
        }
    }

    fn write_reserved(&self, out: &mut RunWriter) -> Result<(), RunError> {
        let mut reserved = reserved_writer();
        for (ordinal, action) in (0..).zip(&self.actions) {
            if *action == Action::Reserves as u8 {
                let amount = self.amounts.get(ordinal);
                let ordinal = ordinal.into();
                reserved.push(out, ReservedRow { ordinal, amount })?;
            }
        }
        reserved.finish(out)
    }

    fn footer(&self) -> RunFooter {
        let params = self.before.params();
        let place = |row: Option<&LinkRow>, none| row.map_or(none, |row| row.of.packed());
        let ids = self.transfers + self.failed;
        RunFooter {
            tier: 0,
            cluster: params.cluster,
            first_lsn: self.first_lsn,
            end_lsn: self.end_lsn,
            seed: params.seed,
            records: self.records,
            transfers: self.transfers,
            failed: self.failed,
            ids,
            id_low: self.id_low,
            id_high: self.id_high,
            time: self.time,
            first_account: self.before.ledgers().len() as u32,
            accounts: self.opened.len() as u32,
            filter_lines: filter_lines(ids),
            link_low: place(self.links.first(), u64::MAX),
            link_high: place(self.links.last(), 0),
            sections: Default::default(),
        }
    }
}

/// Why going through a group stopped.
enum Stop {
    Payload(kanjo_format::columns::PayloadError),
    Run(RunError),
}

impl From<kanjo_format::columns::PayloadError> for Stop {
    fn from(source: kanjo_format::columns::PayloadError) -> Self {
        Self::Payload(source)
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

/// What was reserved before the run. Pending transfers are mostly settled about in their order,
/// so the block that was read last is kept.
#[derive(Debug, Default)]
struct ReservedBefore {
    run: Option<Arc<Run>>,
    places: Places,
    rows: Vec<ReservedRow>,
    loaded: Option<usize>,
}

impl ReservedBefore {
    fn amount(&mut self, before: &RunSet, at: RecordAt) -> Result<Option<u128>, RunError> {
        let Some(run) = before.run_at(at) else {
            return Ok(None);
        };
        if self.run.as_ref().is_none_or(|last| !Arc::ptr_eq(last, run)) {
            *self = Self {
                run: Some(Arc::clone(run)),
                ..Self::default()
            };
        }
        let ordinal = self.places.ordinal_of(run, at)?;
        let Some(n) = run.reserved_block(ordinal) else {
            return Ok(None);
        };
        if self.loaded != Some(n) {
            self.loaded = None;
            run.reserved_rows(n, &mut self.rows)?;
            self.loaded = Some(n);
        }
        let found = self.rows.binary_search_by_key(&ordinal, |row| row.ordinal);
        Ok(found.ok().map(|found| self.rows[found].amount))
    }
}

/// An amount for each record: nearly all fit into 64 bits.
#[derive(Debug, Default)]
struct Amounts {
    small: Vec<u64>,
    large: BTreeMap<u32, u128>,
}

impl Amounts {
    fn set(&mut self, ordinal: u32, amount: u128) {
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
    fn get(&self, ordinal: u32) -> u128 {
        match self.small.get(ordinal as usize) {
            None => 0,
            Some(&u64::MAX) => self.large[&ordinal],
            Some(&small) => small.into(),
        }
    }
}

/// Lists of few keys, kept as stretches of records as they come.
#[derive(Debug, Default)]
struct Stretches {
    lists: BTreeMap<u32, Vec<(u32, u32)>>,
    /// The list that got the last record.
    last: Option<(u32, Vec<(u32, u32)>)>,
}

impl Stretches {
    #[inline]
    fn add(&mut self, key: u32, ordinal: u32) {
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
    fn in_order(&self) -> impl Iterator<Item = (u64, u32, u32)> {
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
