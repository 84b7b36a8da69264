//! Checkpoint of a ledger: written from shared pages beside the hot path, restored and checked.
//!
//! Restoring proves the content too: the accounts must give the digest that was written, and
//! debits must equal credits in every ledger.

use std::io::{self, Read, Write};

use kanjo_format::checkpoint::{
    CheckpointAccountRow, CheckpointError, CheckpointHeader, CheckpointReader, CheckpointWriter,
    EpochRow, LedgerRow, ReignSectionRow, SECTION_ROWS_MAX, Section, SectionKind, UnprotectedRow,
};
use kanjo_format::limits::{REASON_BYTES_MAX, SET_MEMBERS_MAX};
use kanjo_format::record::{MemberRow, Protection};
use kanjo_format::{
    AccountNumber, Chain, ClusterId, Digest, Epoch, Incarnation, LedgerId, Lsn, NodeId, OpeningId,
    Tail,
};

use crate::account::{Account, SharedAccounts};
use crate::ledger::{Indexing, Ledger, TIMESTAMP_MAX};
use crate::reign::{EpochEntry, ReignState, Unprotected};
use crate::totals::{AuditError, LedgerTotals, WideAmount};

/// The ledger as it was at one lsn; it stays so while the ledger goes on.
#[derive(Debug)]
pub struct Snapshot {
    header: CheckpointHeader,
    accounts: SharedAccounts,
    totals: Vec<LedgerTotals>,
    reign: ReignState,
}

/// A ledger read back from a checkpoint. Its index is empty: before it executes, the log from
/// lsn 0 to the checkpoint goes through [`Ledger::index_only`].
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
        };
        Snapshot {
            header,
            accounts: self.books.accounts.share(),
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
                _ => restore_reign(&mut ledger.books.reign, &section)?,
            }
        }
        ledger.log_time = header.log_time;
        ledger.applied = header.tail.lsn;
        ledger.books.posted = header.posted;
        ledger.books.failed = header.failed;
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
            let account = account_of(row);
            let slot = self.books.totals.slot(account.ledger());
            let totals = self.books.totals.at_mut(slot);
            totals.debits.add(account.debits_posted);
            totals.credits.add(account.credits_posted);
            let taken = self.books.take_account(&account, slot);
            if taken.is_none() || id == 0 || id == u128::MAX {
                return Err(RestoreError::Account(number));
            }
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
        Ok(())
    }
}

fn check_totals(summed: &LedgerTotals, row: &LedgerRow) -> Result<(), RestoreError> {
    let volume = WideAmount::from_parts(row.volume_high.get(), row.volume_low.get());
    let kept = LedgerTotals {
        ledger: LedgerId::new(row.ledger.get()),
        debits: volume,
        credits: volume,
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
        writer.rows(&[reign_row(&self.reign)])?;
        writer.rows(&epoch_rows(&self.reign))?;
        writer.rows(&self.totals.iter().map(ledger_row).collect::<Vec<_>>())?;
        writer.rows(&unprotected_rows(&self.reign.unprotected))?;
        let mut accounts = self.accounts.iter().peekable();
        let mut rows = Vec::with_capacity(SECTION_ROWS_MAX);
        while accounts.peek().is_some() {
            rows.clear();
            let some = accounts.by_ref().take(SECTION_ROWS_MAX);
            rows.extend(some.map(|account| account_row(&account)));
            writer.rows(&rows)?;
        }
        writer.finish()
    }
}

fn account_row(account: &Account) -> CheckpointAccountRow {
    CheckpointAccountRow {
        id: account.id.into(),
        debits_pending: account.debits_pending.into(),
        debits_posted: account.debits_posted.into(),
        credits_pending: account.credits_pending.into(),
        credits_posted: account.credits_posted.into(),
        user_data_128: account.user_data_128.into(),
        user_data_64: account.user_data_64.into(),
        timestamp: account.timestamp.into(),
        ledger: account.ledger.into(),
        user_data_32: account.user_data_32.into(),
        code: account.code.into(),
        flags: account.flags.into(),
        zero: 0.into(),
    }
}

fn account_of(row: &CheckpointAccountRow) -> Account {
    Account {
        debits_pending: row.debits_pending.get(),
        debits_posted: row.debits_posted.get(),
        credits_pending: row.credits_pending.get(),
        credits_posted: row.credits_posted.get(),
        id: row.id.get(),
        user_data_128: row.user_data_128.get(),
        user_data_64: row.user_data_64.get(),
        timestamp: row.timestamp.get(),
        ledger: row.ledger.get(),
        user_data_32: row.user_data_32.get(),
        code: row.code.get(),
        flags: row.flags.get(),
    }
}

fn ledger_row(totals: &LedgerTotals) -> LedgerRow {
    LedgerRow {
        ledger: totals.ledger.get().into(),
        zero: 0.into(),
        accounts: totals.accounts.into(),
        transfers: totals.transfers.into(),
        volume_low: totals.debits.low().into(),
        volume_high: totals.debits.high().into(),
    }
}

fn epoch_rows(reign: &ReignState) -> Vec<EpochRow> {
    let row = |entry: &EpochEntry| EpochRow {
        epoch: entry.epoch.get().into(),
        base_epoch: entry.base.epoch.get().into(),
        base_lsn: entry.base.lsn.get().into(),
        base_chain: *entry.base.chain.bytes(),
    };
    reign.epochs.iter().map(row).collect()
}

fn unprotected_rows(unprotected: &Unprotected) -> Vec<UnprotectedRow> {
    let row = |(ledger, amount): (&LedgerId, &WideAmount)| UnprotectedRow {
        ledger: ledger.get().into(),
        zero: 0.into(),
        amount_low: amount.low().into(),
        amount_high: amount.high().into(),
    };
    unprotected.amounts.iter().map(row).collect()
}

fn reign_row(reign: &ReignState) -> ReignSectionRow {
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
fn restore_reign(reign: &mut ReignState, section: &Section<'_>) -> Result<(), RestoreError> {
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
        SectionKind::Ledgers | SectionKind::Accounts | SectionKind::End => {}
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
