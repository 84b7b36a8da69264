//! Who writes and how commits are protected, as the log's own records tell it.

use std::collections::BTreeMap;

use kanjo_format::limits::{REASON_BYTES_MAX, SET_MEMBERS_MAX};
use kanjo_format::record::{Protection, RecordKind, ReignRow};
use kanjo_format::{Epoch, Incarnation, LedgerId, Lsn, NodeId, OpeningId, Tail};

use crate::totals::WideAmount;

/// One epoch of the log: it begins where its base ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: Epoch,
    /// The tail that it was opened on.
    pub base: Tail,
}

/// Transfers that were posted while the primary served alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unprotected {
    /// Where the time alone began.
    pub since: Lsn,
    /// How many.
    pub count: u64,
    /// How much, by ledger.
    pub amounts: BTreeMap<LedgerId, WideAmount>,
}

/// The reign at the ledger's lsn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReignState {
    /// All epochs ever opened, oldest first.
    pub epochs: Vec<EpochEntry>,
    /// The opening of the current epoch; all zero before the first.
    pub opening: OpeningId,
    /// How commits are protected.
    pub protection: Protection,
    /// The in-sync set.
    pub members: Vec<(NodeId, Incarnation)>,
    /// Where the current protection began.
    pub since: Lsn,
    /// The operator's reason for it; empty if there is none.
    pub reason: String,
    /// Whether the primary went on alone without reaching the auxiliary's mark.
    pub unfenced: bool,
    /// What was posted alone since the last protected reign ended; kept until the next such
    /// time begins, so that it can still be reported once an auxiliary has caught up.
    pub unprotected: Unprotected,
    /// Whether commits were protected after what `unprotected` counts.
    pub(crate) settled: bool,
}

/// Why a reign record does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReignError {
    /// A protection that this version does not know.
    #[error("protection {0} is unknown: use a newer kanjo")]
    Protection(u8),
    /// More members or reason bytes than the record holds.
    #[error("it says {members} members and {reason_bytes} bytes of reason, over the limits")]
    Lengths {
        /// Members promised.
        members: u8,
        /// Bytes promised.
        reason_bytes: u8,
    },
    /// A reason that is no text.
    #[error("its reason is not UTF-8")]
    Reason,
    /// An epoch that does not follow, or a change within another epoch.
    #[error("it is of epoch {found}, the ledger is in {current}")]
    Epoch {
        /// The record's.
        found: Epoch,
        /// The ledger's.
        current: Epoch,
    },
    /// A base that is not below the epoch's first batch.
    #[error("its base {base} is not before epoch {epoch} at lsn {lsn}")]
    Base {
        /// The base.
        base: Lsn,
        /// The epoch.
        epoch: Epoch,
        /// Where the record stands.
        lsn: Lsn,
    },
}

impl Default for ReignState {
    fn default() -> Self {
        Self {
            epochs: Vec::new(),
            opening: OpeningId::default(),
            protection: Protection::Waiting,
            members: Vec::new(),
            since: Lsn::ZERO,
            reason: String::new(),
            unfenced: false,
            unprotected: Unprotected::default(),
            settled: true,
        }
    }
}

impl ReignState {
    /// The current epoch; [`Epoch::NONE`] before the first.
    pub fn epoch(&self) -> Epoch {
        self.epochs.last().map_or(Epoch::NONE, |e| e.epoch)
    }

    /// Whether commits were protected after what [`Self::unprotected`] counts.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.protection == Protection::Alone
    }

    pub(crate) fn count_unprotected(&mut self, ledger: LedgerId, amount: u128) {
        self.unprotected.count += 1;
        self.unprotected
            .amounts
            .entry(ledger)
            .or_default()
            .add(amount);
    }

    /// Takes one reign record of a batch of `epoch` at `lsn`; changes nothing if it does not fit.
    pub(crate) fn apply(
        &mut self,
        kind: RecordKind,
        epoch: Epoch,
        lsn: Lsn,
        row: &ReignRow,
    ) -> Result<(), ReignError> {
        let protection = row
            .protection()
            .ok_or(ReignError::Protection(row.protection))?;
        if usize::from(row.member_count) > SET_MEMBERS_MAX
            || usize::from(row.reason_bytes) > REASON_BYTES_MAX
        {
            return Err(ReignError::Lengths {
                members: row.member_count,
                reason_bytes: row.reason_bytes,
            });
        }
        let reason = std::str::from_utf8(&row.reason[..usize::from(row.reason_bytes)])
            .map_err(|_| ReignError::Reason)?;
        let opens = kind == RecordKind::EpochStart;
        let current = self.epoch();
        if (opens && epoch <= current) || (!opens && epoch != current) {
            return Err(ReignError::Epoch {
                found: epoch,
                current,
            });
        }
        let base = row.base();
        if opens && (base.lsn > lsn || base.epoch >= epoch || base.epoch < current) {
            return Err(ReignError::Base {
                base: base.lsn,
                epoch,
                lsn,
            });
        }
        if opens {
            self.epochs.push(EpochEntry { epoch, base });
        }
        self.protect(protection, lsn);
        self.opening = row.opening();
        self.members = row.members().collect();
        self.reason = reason.to_owned();
        self.unfenced = row.unfenced != 0;
        Ok(())
    }

    fn protect(&mut self, protection: Protection, lsn: Lsn) {
        match protection {
            // Only a protected reign ends a time alone: one that a restart interrupts goes on.
            Protection::Alone if self.settled => {
                self.unprotected = Unprotected {
                    since: lsn,
                    ..Unprotected::default()
                };
                self.settled = false;
            }
            Protection::Protected => self.settled = true,
            Protection::Alone | Protection::Waiting => {}
        }
        if protection != self.protection {
            self.since = lsn;
        }
        self.protection = protection;
    }
}
