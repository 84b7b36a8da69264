//! Checkpoint of a ledger: written from shared pages beside the hot path, restored and checked.
//!
//! Restoring proves the content too: the accounts must give the digest that was written, and
//! debits must equal credits in every ledger.

mod reign;
mod rows;

use std::io::{self, Read, Write};

use kanjo_format::checkpoint::{
    CHECKPOINT_VERSION, CheckpointAccountRow, CheckpointDayRow, CheckpointError, CheckpointHeader,
    CheckpointPendingRow, CheckpointReader, CheckpointTermsRow, CheckpointWriter, LedgerRow,
    SECTION_ROWS_MAX, Section, SectionKind, SectionRow,
};
use kanjo_format::client::Freeze;
use kanjo_format::{AccountNumber, ClusterId, Digest, LedgerId, RecordAt, Tail, Timestamp};

use crate::account::{SharedAccounts, Terms};
use crate::days::{BusinessDays, Day};
use crate::ledger::{Indexing, Ledger, TIMESTAMP_MAX};
use crate::pendings::SharedPendings;
use crate::reign::ReignState;
use crate::totals::{AuditError, LedgerTotals, WideAmount};

/// The ledger as it was at one lsn; it stays so while the ledger goes on.
#[derive(Debug)]
pub struct Snapshot {
    header: CheckpointHeader,
    accounts: SharedAccounts,
    pendings: SharedPendings,
    days: BusinessDays,
    totals: Vec<LedgerTotals>,
    reign: ReignState,
}

/// A ledger read back from a checkpoint. Its index is empty: before it executes, the log up to the
/// checkpoint goes through [`Ledger::index_only`], from lsn 0 on or from where the old part of
/// the index ends (see [`Ledger::cover_index`]).
#[derive(Debug)]
pub struct Restored {
    /// The ledger.
    pub ledger: Ledger,
    /// The cluster that the checkpoint says it is of: compare it with the log's.
    pub cluster: ClusterId,
    /// The tail at the checkpoint: compare it with the log's.
    pub tail: Tail,
}

/// Why a checkpoint cannot be used. It is derived data: remove it, and use an older one or
/// replay the log from the start.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Its bytes are not those of a good checkpoint.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// An account id that is none, or stands there twice.
    #[error("checkpoint: account number {0} has an id that is taken already, or is none")]
    Account(AccountNumber),
    /// An open pending transfer that cannot be.
    #[error("checkpoint: the pending transfer at {0} cannot be open there")]
    Pending(RecordAt),
    /// Terms of an account, or a business date, that cannot be.
    #[error("checkpoint: {what} number {number} cannot be so")]
    Row {
        /// What.
        what: &'static str,
        /// Which one.
        number: u64,
    },
    /// A field of the header or reign that cannot be.
    #[error("checkpoint: {field} is {value}, which it cannot be")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// The accounts do not give the totals that it says.
    #[error("checkpoint: {0}")]
    Totals(#[from] AuditError),
    /// The accounts do not give the digest that it says.
    #[error("checkpoint: its accounts give digest {computed}, it says {written}")]
    Digest {
        /// From the accounts.
        computed: Digest,
        /// As written.
        written: Digest,
    },
}

impl Ledger {
    /// The ledger as it is now, at the log's `tail`. Costs one allocation of each page that was
    /// written since the last one, and later one copy of each page that is written while the snapshot lives. On the primary, memory is ahead
    /// of what is committed: a file of it may be used only once `tail` is committed. Panics while a batch is being
    /// built or if `tail` is not where the ledger is, which only a bug can cause.
    pub fn snapshot(&mut self, cluster: ClusterId, tail: Tail) -> Snapshot {
        assert!(self.is_idle(), "a snapshot stands between batches");
        assert!(!self.broken, "a broken ledger is at no lsn");
        assert_eq!(
            tail.lsn, self.applied,
            "a snapshot is of where the ledger is"
        );
        let totals = self.trial_balance();
        let reign = self.books.reign.clone();
        let header = CheckpointHeader {
            version: CHECKPOINT_VERSION,
            cluster,
            tail,
            log_time: self.log_time,
            posted: self.books.posted,
            failed: self.books.failed,
            digest: self.digest(),
            accounts: self.books.accounts.count(),
            ledgers: totals.len() as u32,
            epochs: reign.epochs.len() as u32,
            unprotected: reign.unprotected.amounts.len() as u32,
            pendings: self.books.pendings.count(),
            terms: self.books.accounts.changed(),
            days: self.books.days.closes().len() as u32,
            transfer_time: Timestamp::new(self.books.transfer_time),
        };
        Snapshot {
            header,
            accounts: self.books.accounts.share(),
            pendings: self.books.pendings.share(),
            days: self.books.days.clone(),
            totals,
            reign,
        }
    }

    /// Reads a checkpoint. `seed` is as in [`Ledger::new`].
    pub fn restore(input: &mut dyn Read, seed: u64) -> Result<Restored, RestoreError> {
        let mut reader = CheckpointReader::start(input)?;
        let header = *reader.header();
        let mut ledger = Self::new(seed);
        let mut written = Vec::new();
        while let Some(section) = reader.next_section()? {
            match section.kind {
                SectionKind::Ledgers => written.extend(section.rows::<LedgerRow>().iter().copied()),
                SectionKind::Accounts => ledger.restore_accounts(&section)?,
                SectionKind::Pendings => ledger.restore_pendings(&section)?,
                SectionKind::Terms => ledger.restore_terms(&section)?,
                SectionKind::Days => ledger.restore_days(&section)?,
                _ => reign::restore(&mut ledger.books.reign, &section)?,
            }
        }
        ledger.log_time = header.log_time;
        ledger.applied = header.tail.lsn;
        ledger.books.posted = header.posted;
        ledger.books.failed = header.failed;
        ledger.transfer_time_guessed = header.version == 1;
        ledger.books.transfer_time = match ledger.transfer_time_guessed {
            // Whatever the last transfer's time is, it is not later.
            true => header.log_time.get(),
            false => header.transfer_time.get(),
        };
        ledger.indexing = Indexing {
            until: header.tail.lsn,
            expected_posted: header.posted,
            expected_failed: header.failed,
            ..Indexing::default()
        };
        ledger.check_restored(&header, &written)?;
        Ok(Restored {
            ledger,
            cluster: header.cluster,
            tail: header.tail,
        })
    }

    fn restore_accounts(&mut self, section: &Section<'_>) -> Result<(), RestoreError> {
        for row in section.rows::<CheckpointAccountRow>() {
            let number = AccountNumber::new(self.books.accounts.count());
            let id = row.id.get();
            let account = rows::account_of(row);
            let slot = self.books.totals.slot(account.ledger());
            self.books.totals.at_mut(slot).add_balances(&account);
            let taken = self.books.take_account(&account, slot);
            if taken.is_none() || id == 0 || id == u128::MAX {
                return Err(RestoreError::Account(number));
            }
        }
        Ok(())
    }

    fn restore_pendings(&mut self, section: &Section<'_>) -> Result<(), RestoreError> {
        for row in section.rows::<CheckpointPendingRow>() {
            let at = RecordAt::from_packed(row.at.get());
            let bad = RestoreError::Pending(at.unwrap_or(RecordAt::MAX));
            let pending = rows::pending_of(row).ok_or(bad)?;
            let accounts = &self.books.accounts;
            let transfer = &pending.transfer;
            let are_there =
                accounts.core(transfer.debit).is_some() && accounts.core(transfer.credit).is_some();
            if !are_there || self.books.pendings.get(pending.at).is_some() {
                return Err(RestoreError::Pending(pending.at));
            }
            self.books.digest.open_pending(&pending);
            self.books.pendings.insert(pending);
        }
        Ok(())
    }

    fn restore_terms(&mut self, section: &Section<'_>) -> Result<(), RestoreError> {
        for row in section.rows::<CheckpointTermsRow>() {
            let number = AccountNumber::new(row.account.get());
            let bad = RestoreError::Row {
                what: "terms of account",
                number: number.get().into(),
            };
            let limit = match row.has_overdraft_limit {
                0 => None,
                1 => Some(row.overdraft_limit.get()),
                _ => return Err(bad),
            };
            let (changed, accounts) = (row.changed.get(), &self.books.accounts);
            let known = u32::from(row.freeze) & !Freeze::ALL == 0;
            let fits = accounts.core(number).is_some() && changed != 0 && known;
            if !fits || accounts.terms(number).changed != 0 {
                return Err(bad);
            }
            let terms = Terms::new(limit, row.freeze, changed);
            self.books.change_terms(number, terms);
        }
        Ok(())
    }

    fn restore_days(&mut self, section: &Section<'_>) -> Result<(), RestoreError> {
        for row in section.rows::<CheckpointDayRow>() {
            let days = &self.books.days;
            let bad = RestoreError::Row {
                what: "business date",
                number: row.closed.get().into(),
            };
            let (closed, next) = (row.closed.get(), row.next.get());
            let at = RecordAt::from_packed(row.at.get());
            let at = at.filter(|at| days.closes().last().is_none_or(|last| last.at < *at));
            let Some(at) = at.filter(|_| days.fits(closed, next)) else {
                return Err(bad);
            };
            self.books.close_day(Day {
                closed,
                next,
                at,
                timestamp: row.timestamp.get(),
            });
        }
        Ok(())
    }

    /// The sums are proven against each other and against what was written.
    fn check_restored(
        &mut self,
        header: &CheckpointHeader,
        written: &[LedgerRow],
    ) -> Result<(), RestoreError> {
        let bad = |field, value| RestoreError::Field { field, value };
        let lsn = header.tail.lsn.get();
        if lsn >= 1 << 61 || !lsn.is_multiple_of(kanjo_format::limits::PAGE_BYTES) {
            return Err(bad("lsn", lsn));
        }
        if header.log_time.get() > TIMESTAMP_MAX {
            return Err(bad("log time", header.log_time.get()));
        }
        let mut transfers = 0_u64;
        for row in written {
            let slot = self.books.totals.slot(LedgerId::new(row.ledger.get()));
            self.books.totals.at_mut(slot).transfers = row.transfers.get();
            transfers = transfers.saturating_add(row.transfers.get());
        }
        if transfers != header.posted {
            return Err(bad("sum of the ledgers' transfers", transfers));
        }
        let summed = self.trial_balance();
        if summed.len() != written.len() {
            return Err(bad("number of ledgers", written.len() as u64));
        }
        for (summed, row) in summed.iter().zip(written) {
            check_totals(summed, row)?;
        }
        let (computed, written) = (self.digest(), header.digest);
        if computed != written {
            return Err(RestoreError::Digest { computed, written });
        }
        Ok(self.books.check_pendings()?)
    }
}

fn check_totals(summed: &LedgerTotals, row: &LedgerRow) -> Result<(), RestoreError> {
    let volume = WideAmount::from_parts(row.volume_high.get(), row.volume_low.get());
    let kept = LedgerTotals {
        ledger: LedgerId::new(row.ledger.get()),
        debits: volume,
        credits: volume,
        debits_pending: summed.debits_pending,
        credits_pending: summed.debits_pending,
        accounts: row.accounts.get(),
        transfers: row.transfers.get(),
    };
    if *summed != kept {
        return Err(AuditError::Totals {
            ledger: kept.ledger,
            summed: Box::new(*summed),
            kept: Box::new(kept),
        }
        .into());
    }
    Ok(())
}

impl Snapshot {
    /// Where it was taken.
    pub fn tail(&self) -> Tail {
        self.header.tail
    }

    /// The ledger's digest there.
    pub fn digest(&self) -> Digest {
        self.header.digest
    }

    /// Writes the checkpoint; the caller makes it durable. May run on another thread.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = CheckpointWriter::start(out, &self.header)?;
        writer.rows(&[reign::reign_row(&self.reign)])?;
        writer.rows(&reign::epoch_rows(&self.reign))?;
        writer.rows(&self.totals.iter().map(rows::ledger).collect::<Vec<_>>())?;
        writer.rows(&reign::unprotected_rows(&self.reign.unprotected))?;
        write_all(&mut writer, self.accounts.iter().map(|a| rows::account(&a)))?;
        let pendings = self.pendings.sorted().into_iter().map(rows::pending);
        write_all(&mut writer, pendings)?;
        let accounts = self.accounts.iter().enumerate();
        let changed = accounts.filter(|(_, account)| account.terms.changed != 0);
        let terms = changed.map(|(n, account)| rows::terms(n as u32, &account.terms));
        write_all(&mut writer, terms)?;
        write_all(&mut writer, self.days.closes().iter().map(rows::day))?;
        writer.finish()
    }
}

/// Writes rows of one kind without holding all of them.
fn write_all<R: SectionRow>(
    writer: &mut CheckpointWriter<'_>,
    rows: impl Iterator<Item = R>,
) -> io::Result<()> {
    let mut rows = rows.peekable();
    let mut some = Vec::with_capacity(SECTION_ROWS_MAX);
    while rows.peek().is_some() {
        some.clear();
        some.extend(rows.by_ref().take(SECTION_ROWS_MAX));
        writer.rows(&some)?;
    }
    Ok(())
}
