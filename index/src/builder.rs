//! Building a run from the batches of a stretch of log.
//!
//! Batches are read once, in order; what they tell is kept in flat rows, about 60 bytes a
//! transfer, and sorted in the end. What was reserved before the stretch is asked of the runs
//! before it.

mod amounts;
mod reserved;
mod writing;

use std::sync::Arc;

use kanjo_disk::Pace;
use kanjo_format::batch::BatchHeader;
use kanjo_format::columns::{Group, Groups, PayloadError};
use kanjo_format::movement::{Form, Movement, Transfer, each_of_group, record_time};
use kanjo_format::record::{AccountRow, ImportedAccountRow, RecordKind};
use kanjo_format::run::lists::Action;
use kanjo_format::run::rows::{BatchRow, LinkKind, LinkRow};
use kanjo_format::run::{RUN_BUILD_RECORDS_MAX, RunHasher, RunKey};
use kanjo_format::{AccountNumber, Chain, LedgerId, Lsn, RecordAt, Timestamp, TransferId};

use crate::error::RunError;
use crate::set::RunSet;
use crate::sort::IdRow;
use amounts::{Amounts, Stretches};
use reserved::ReservedBefore;

/// Marks the action of a pending transfer that was resolved in the same run.
const RESOLVED: u8 = 0x80;
/// The action of a record that moves nothing.
const NO_ACTION: u8 = 0x7f;

/// Collects what the batches behind a set of runs tell.
#[derive(Debug)]
pub struct RunBuilder {
    pace: Pace<'static>,
    before: Arc<RunSet>,
    reserved: ReservedBefore,
    hasher: RunHasher,
    first_lsn: Lsn,
    end_lsn: Lsn,
    end_chain: Chain,
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
    /// The same, but it is written at this pace.
    #[must_use]
    pub fn at_pace(mut self, pace: Pace<'static>) -> Self {
        self.pace = pace;
        self
    }

    /// A run that begins where `before` ends.
    pub fn new(before: Arc<RunSet>) -> Self {
        let first_lsn = before.end();
        Self {
            pace: Pace::at_once(),
            reserved: ReservedBefore::default(),
            hasher: RunHasher::new(before.params().seed),
            first_lsn,
            end_lsn: first_lsn,
            end_chain: Chain::default(),
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
        self.end_chain = header.chain_after(payload);
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
        let hash = self.hasher.id(TransferId::new(id));
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
}

/// Why going through a group stopped.
enum Stop {
    Payload(PayloadError),
    Run(RunError),
}

impl From<PayloadError> for Stop {
    fn from(source: PayloadError) -> Self {
        Self::Payload(source)
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}
