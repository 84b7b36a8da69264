//! What a node says of itself to operators and scripts.

use kanjo_engine::ReignState;
use kanjo_group::SiteReport;
use kanjo_group::register::{FenceCertificate, Third};
use serde::{Deserialize, Serialize};

/// Everything that `kanjo status` shows. Positions are lsns, times microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// Number of the node.
    pub node: u32,
    /// Its cloud, 1 or 2.
    pub site: u8,
    /// Its data directory's identity.
    pub incarnation: String,
    /// `primary`, `replica` or `resolving`.
    pub role: String,
    /// The epoch that the node is in, `site_term.local_term`.
    pub epoch: String,
    /// `PROTECTED`, `ONE SITE ONLY`, `DEGRADED` or `WAITING`; as replica, what the log last said.
    pub protection: String,
    /// Whether new transfers are answered now.
    pub serving: bool,
    /// Why not, in words.
    pub why_not_serving: String,
    /// Process id.
    pub pid: u32,
    /// Microseconds since the process started.
    pub uptime_us: u64,
    /// This machine's wall clock when it answered, microseconds since 1970.
    #[serde(default)]
    pub clock_us: u64,
    /// The configured `clock_bound_ms`.
    #[serde(default)]
    pub clock_bound_ms: u64,
    /// Where the log ends.
    pub tail_lsn: u64,
    /// Epoch of the last batch.
    pub tail_epoch: String,
    /// Chain value at the tail.
    pub tail_chain: String,
    /// On this disk through here.
    pub durable_lsn: u64,
    /// Committed through here.
    pub committed_lsn: u64,
    /// In the ledger through here.
    pub applied_lsn: u64,
    /// Digest of all accounts at `applied_lsn`.
    pub digest: String,
    /// As replica: the durable in-set mark. In a group: whether the register that holds the
    /// authority names this server, by what was heard of it of late.
    pub in_sync: bool,
    /// The log's end is uncertain after a crash.
    pub uncertain: bool,
    /// The other node; of several the first.
    pub peer: PeerStatus,
    /// Every other node, in the order of the configuration.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// In a group of servers: what this one knows of both sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupStatus>,
    /// As primary that answers alone, or nobody: the servers that catch up, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catching_up: Vec<CatchingUp>,
    /// Transfers answered while nobody else had them.
    pub unprotected: Unprotected,
    /// The last times during which this server answered alone, as far as it saw them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spells: Vec<Spell>,
    /// While this server answers alone, transfers of more minor units are held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_transfer_max: Option<u64>,
    /// Accounts open.
    pub accounts: u64,
    /// Transfers posted.
    pub transfers: u64,
    /// Totals per ledger.
    pub trial_balance: Vec<LedgerStatus>,
    /// Bytes that this process appended to its log, padding included.
    pub appended_bytes: u64,
    /// Of these, headers and payloads without padding.
    pub payload_bytes: u64,
    /// Bytes of batches that this process sent to its peer.
    pub shipped_bytes: u64,
    /// Bytes that this process sent to its peer in all.
    pub sent_bytes: u64,
    /// Bytes that this process received from its peer in all.
    pub received_bytes: u64,
    /// Client connections open.
    pub connections: u64,
    /// Requests not yet answered.
    pub requests_outstanding: u64,
    /// Free bytes on the data directory's file system.
    pub free_disk_bytes: u64,
    /// Free bytes that it needs to process: the configured floor, and one segment made ahead.
    #[serde(default)]
    pub needed_disk_bytes: u64,
    /// Last checkpoint.
    pub checkpoint_lsn: u64,
    /// Segments that were recompressed.
    pub sealed_segments: u64,
    /// Bytes of the files that they became.
    pub sealed_bytes: u64,
    /// Bytes of the segments that this process prepared: zeros, written before any batch.
    pub prepared_bytes: u64,
    /// Bytes of the checkpoints that this process wrote.
    pub checkpoint_bytes: u64,
    /// Below this position ids and accounts are looked up in the index on disk.
    pub indexed_lsn: u64,
    /// Files of the index.
    pub index_runs: u64,
    /// Bytes of them.
    pub index_bytes: u64,
    /// Transfer ids that are still looked up in memory.
    pub young_ids: u64,
    /// Pending transfers that are not resolved.
    pub pending: u64,
    /// The current business date as YYYYMMDD; 0 without a calendar.
    pub business_date: u32,
}

/// What [`Status::why_not_serving`] says of a replica that is as it should be.
pub const FOLLOWS: &str = "it follows a primary";

/// What a node knows of another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its replication address.
    pub address: String,
    /// As primary: whether batches flow. As replica: of the primary that it follows, or followed
    /// last, whether that is connected; of others absent, because nobody asks them.
    #[serde(default)]
    pub connected: Option<bool>,
    /// Its number, once known.
    pub node: Option<u32>,
    /// Its cloud, once known; in a group from the start, like its number.
    #[serde(default)]
    pub site: Option<u8>,
    /// As primary: whether every commit waits for it.
    #[serde(default)]
    pub member: bool,
    /// What it said is on its disk.
    pub acked_lsn: u64,
    /// Bytes it has yet to ack.
    pub lag_bytes: u64,
    /// As primary: how old the oldest thing is that it has not acked; 0 if it has everything. What
    /// was in the log when the reign began counts from then on.
    #[serde(default)]
    pub lag_us: Option<u64>,
    /// Round trip of the last heartbeat.
    pub round_trip_us: Option<u64>,
    /// The last thing that went wrong with it.
    pub last_error: Option<String>,
}

/// A server that fetches what it lacks. Nothing is protected by it before it has everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchingUp {
    /// Its number.
    pub node: u32,
    /// Bytes of log that it has yet to ack.
    pub lag_bytes: u64,
}

/// What a server of a group knows of both sites.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Why this server writes nothing, or that it does.
    pub why: String,
    /// The own site, as its register stands here.
    pub own: Option<SiteReport>,
    /// The other site, as it last answered.
    pub other: Option<SiteReport>,
    /// Milliseconds since then.
    pub other_age_ms: u64,
    /// How commits are protected, by the register that holds the authority.
    pub protection: String,
    /// Whether an auxiliary site has everything that is answered.
    pub attached: bool,
    /// The third site's witness, as it last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub third: Option<Third>,
    /// Milliseconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub third_age_ms: Option<u64>,
    /// The fence that the newest epoch began with.
    pub last_fence: Option<FenceCertificate>,
    /// As primary: how far a planned switch is.
    #[serde(default)]
    pub switching: Option<SwitchStage>,
    /// The change of the writer that the fence tells of.
    #[serde(default)]
    pub last_switch: Option<LastSwitch>,
}

/// How far a planned switch is. Whatever fails before [`Self::HandingOver`] ends in the old state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchStage {
    /// It was checked; a change of the in-sync set is brought to its end first.
    Settling,
    /// Nothing new is executed; what was executed commits.
    Draining,
    /// The register of the destination is asked to expect the authority.
    Preparing,
    /// The register that has the authority is asked to give it away. If it has done so there is no
    /// way back.
    HandingOver,
    /// The register of the destination is given the authority.
    Activating,
    /// The other site's server opens the next epoch.
    Opening,
}

impl SwitchStage {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Settling => "checked, waits for a change of the in-sync set",
            Self::Draining => "draining: nothing new is executed until all is committed",
            Self::Preparing => "preparing: the other site's server will take over",
            Self::HandingOver => "handing over: from here on there may be no way back",
            Self::Activating => "handed over: activating, there is no way back",
            Self::Opening => "activated: the other site's server opens the next epoch",
        }
    }
}

/// The last change of the writer. What one server knows of it; another one may know more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSwitch {
    /// The epoch that ended.
    pub from: String,
    /// The epoch that was opened.
    pub to: String,
    /// By which server.
    pub node: u32,
    /// Milliseconds since 1970, by that server's clock.
    pub at_ms: u64,
    /// Whether an operator planned it, as its fence certificate says; absent if it was opened by a
    /// version that did not write that down.
    pub planned: Option<bool>,
    /// For how long nobody could be answered, as far as this server knows: if it opened the epoch,
    /// since it last heard the former writer; if it handed over, since it executed nothing any more.
    pub unanswered_us: Option<u64>,
}

/// Transfers that were answered without an auxiliary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unprotected {
    /// How many.
    pub count: u64,
    /// Their sum in minor units per ledger.
    pub amounts: Vec<(u32, String)>,
}

impl From<&ReignState> for Unprotected {
    fn from(reign: &ReignState) -> Self {
        let amounts = reign.unprotected.amounts.iter();
        Self {
            count: reign.unprotected.count,
            amounts: amounts
                .map(|(ledger, amount)| (ledger.get(), amount.to_string()))
                .collect(),
        }
    }
}

/// A time during which a server answered alone, as far as that server, or one that took over, saw
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spell {
    /// Epoch in which it began.
    pub epoch: String,
    /// Position of the record with which it began.
    pub since_lsn: u64,
    /// When, in nanoseconds of log time, if it was seen.
    pub since_ns: Option<u64>,
    /// Whether it is over.
    pub over: bool,
    /// Position of the record from which commits were protected again, if it was seen.
    pub until_lsn: Option<u64>,
    /// When, if it was seen.
    pub until_ns: Option<u64>,
    /// Who decided it, where that is known.
    pub operator: Option<String>,
    /// Why; empty if that is not known.
    pub reason: String,
    /// What was answered in it; of one that goes on what it was when it was asked for.
    pub unprotected: Unprotected,
}

/// Totals of one ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The ledger.
    pub ledger: u32,
    /// All posted debits, minor units, decimal.
    pub debits: String,
    /// All posted credits, minor units, decimal.
    pub credits: String,
    /// Debits minus credits; 0, or the book is broken.
    pub difference: String,
}

/// What a promotion did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Whether anything changed; a second promotion changes nothing.
    pub changed: bool,
    /// The epoch opened.
    pub epoch: String,
    /// The tail that it was opened on.
    pub tail_epoch: String,
    /// Position of that tail.
    pub tail_lsn: u64,
    /// Chain value there.
    pub tail_chain: String,
    /// Records replayed.
    pub records_replayed: u64,
    /// Log bytes replayed.
    pub bytes_replayed: u64,
    /// Megabytes of log replayed a second.
    pub replay_mb_per_s: f64,
    /// Digest of all accounts after it.
    pub digest: String,
    /// Totals per ledger.
    pub trial_balance: Vec<LedgerStatus>,
    /// Microseconds from the command to the epoch being open.
    pub duration_us: u64,
    /// Whether it serves alone.
    pub alone: bool,
    /// Transfers answered without an auxiliary so far.
    pub unprotected: Unprotected,
    /// What could be missing; empty if nothing that was answered can be.
    pub may_be_missing: Vec<String>,
}

/// How far a drill is, and what the last one of this process found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrillStatus {
    /// The one under way.
    pub running: Option<DrillProgress>,
    /// The last one that came to its end.
    pub last: Option<DrillReport>,
}

/// How far a drill is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillProgress {
    /// `restore`, `index`, `replay` or `audit`, one after the other.
    pub phase: String,
    /// Bytes of the checkpoint or of the log that this phase has done.
    pub done_bytes: u64,
    /// Of so many; 0 where nobody knows.
    pub total_bytes: u64,
    /// Records replayed so far.
    pub records: u64,
    /// Microseconds since it began.
    pub elapsed_us: u64,
}

/// What a drill found. Times are microseconds, positions lsns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// Whether everything verified and the digests are equal.
    pub good: bool,
    /// What is wrong, each with its place; empty if good.
    pub problems: Vec<String>,
    /// Checkpoints that a recovery could not use, and why; it replayed from before them.
    pub unusable_checkpoints: Vec<String>,
    /// Number of the node.
    pub node: u32,
    /// Its cloud, 1 or 2.
    pub site: u8,
    /// The position: committed and applied when the drill began.
    pub lsn: u64,
    /// Epoch of the last batch before it.
    pub epoch: String,
    /// Chain value there.
    pub chain: String,
    /// Digest of the copy; empty if the drill did not get so far.
    pub digest: String,
    /// Digest of the live ledger at the position, noted when the drill began.
    pub live_digest: String,
    /// Whether the copy came to the position with the same digest.
    pub digest_equal: bool,
    /// Totals per ledger of the copy.
    pub trial_balance: Vec<LedgerStatus>,
    /// Accounts in the copy.
    pub accounts: u64,
    /// Transfers posted in it.
    pub transfers: u64,
    /// Checkpoint that it began with; 0 for none.
    pub checkpoint_lsn: u64,
    /// From the drill's begin to the end of the replay: restore, index and replay.
    pub recovery_us: u64,
    /// Reading the checkpoint.
    pub restore_us: u64,
    /// Reading ids between the end of the index and the checkpoint.
    pub index_us: u64,
    /// Applying the log from the checkpoint to the position.
    pub replay_us: u64,
    /// Adding up all accounts of the copy, which a recovery does not do.
    pub audit_us: u64,
    /// The whole drill.
    pub took_us: u64,
    /// Batches replayed.
    pub batches: u64,
    /// Records replayed.
    pub records: u64,
    /// Log replayed, padding included.
    pub log_bytes: u64,
    /// Payload replayed.
    pub payload_bytes: u64,
    /// Records replayed a second.
    pub records_per_s: f64,
    /// Megabytes of payload replayed a second.
    pub replay_mb_per_s: f64,
    /// Where the node's log ended when the drill did.
    pub tail_lsn: u64,
    /// Log that came meanwhile: from the position to that tail.
    pub lag_bytes: u64,
    /// Of it, what was not in the live ledger yet: all that a promotion of the running node replays.
    pub unapplied_bytes: u64,
    /// Memory of its own that the process had with the copy; absent where the kernel does not tell.
    pub process_memory_bytes: Option<u64>,
    /// How much more that was than before. What an earlier drill gave back and the process kept is
    /// not in it.
    pub memory_bytes: Option<u64>,
    /// What a promotion of the running node would take in it: the parts below together; absent if
    /// one of them was not measured.
    pub running_promotion_us: Option<u64>,
    /// The same of a stopped node: the recovery, and the parts below but for the replay.
    pub stopped_promotion_us: Option<u64>,
    /// What a promotion does beside the recovery, as far as parts of it were measured.
    pub on_top: Vec<MeasuredPart>,
    /// What it does that nothing here measures.
    pub not_measured: Vec<String>,
}

/// A part of a promotion whose time follows from a measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredPart {
    /// What.
    pub part: String,
    /// How long.
    pub us: u64,
    /// What was measured.
    pub measured: String,
}
