//! `kanjo log dump`: prints the records of a log, for people or one JSON object a line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kanjo_format::columns::{Group, Groups, PayloadError};
use kanjo_format::movement::{self, Form, Movement, Transfer};
use kanjo_format::record::{
    AccountChangeRow, AccountRow, DayRow, FailedRow, ImportedAccountRow, RecordKind, ReignRow, Row,
};
use kanjo_format::{AccountNumber, BatchHeader, Lsn, RecordAt, Timestamp};
use kanjo_wal::LogFiles;
use serde::Serialize;

use crate::commands::transfer::result_name;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::Output;
use crate::times::show_time;

const EXAMPLES: &str = "\
Examples:
  kanjo log dump --dir /srv/kanjo --limit 20
  kanjo log dump --dir /srv/kanjo --from 268435456
  Every transfer with its amount:
    kanjo log dump --dir /srv/kanjo --json |
      jq -r 'select(.kind == \"transfer_posted\") | [.id, .amount] | @tsv'

A transfer names its accounts by the dense numbers that they got when they were opened (#0, #1 …);
the id stands beside it where the account's opening is part of what is dumped. What stands above
the committed lsn may still be cut. In JSON numbers of 128 bits are strings.";

/// Print the records of the log, batch by batch.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DATA")]
    dir: PathBuf,
    /// Begin with the first batch at or behind this position
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    from: u64,
    /// End after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A batch as JSON shows it.
#[derive(Serialize)]
struct ShownBatch {
    kind: &'static str,
    lsn: u64,
    epoch: String,
    records: u32,
    payload_bytes: usize,
    timestamp: u64,
    time: String,
    confirmed_lsn: u64,
    prev_chain: String,
    segment_end: bool,
}

/// A record as JSON shows it.
#[derive(Serialize)]
struct ShownRecord {
    lsn: u64,
    index: usize,
    epoch: String,
    timestamp: u64,
    time: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    EpochStart(Reign),
    SetChange(Reign),
    AccountOpened {
        id: String,
        number: u32,
        ledger: u32,
        code: u16,
        flags: u16,
        user_data_128: String,
        user_data_64: u64,
        user_data_32: u32,
    },
    AccountChanged {
        account: u32,
        account_id: Option<String>,
        overdraft_limit: Option<String>,
        freeze: u8,
    },
    TransferPosted(ShownTransfer),
    TransferPending(ShownTransfer),
    PendingPosted(ShownTransfer),
    PendingVoided(ShownTransfer),
    TransferReversed(ShownTransfer),
    PendingExpired {
        pending: Place,
        debit_account: u32,
        credit_account: u32,
    },
    TransferFailed {
        id: String,
        result: String,
    },
    DayClosed {
        closed: u32,
        next: u32,
    },
}

/// A transfer of any form as JSON shows it.
#[derive(Serialize)]
struct ShownTransfer {
    id: String,
    debit_account: u32,
    debit_account_id: Option<String>,
    credit_account: u32,
    credit_account_id: Option<String>,
    amount: String,
    code: u16,
    flags: u16,
    user_data_128: String,
    user_data_64: u64,
    user_data_32: u32,
    /// The transfer that it posts, voids or reverses.
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<Place>,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: u32,
    #[serde(skip_serializing_if = "is_zero")]
    value_date: u32,
    #[serde(skip_serializing_if = "is_zero")]
    business_date: u32,
    /// Where it differs from the record's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    imported_timestamp: Option<u64>,
}

/// Where another record stands.
#[derive(Clone, Copy, Serialize)]
struct Place {
    lsn: u64,
    index: usize,
}

impl From<RecordAt> for Place {
    fn from(at: RecordAt) -> Self {
        Self {
            lsn: at.lsn().get(),
            index: at.index(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Reign {
    opening: String,
    base_epoch: String,
    base_lsn: u64,
    base_chain: String,
    protection: String,
    unfenced: bool,
    members: Vec<String>,
    reason: String,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let files = LogFiles::list(&args.dir)?;
    let mut dump = Dump {
        output: Output::new(),
        json: args.json,
        left: args.limit.unwrap_or(u64::MAX),
        accounts: BTreeMap::new(),
    };
    let mut failure = None;
    let walked = files.batches(
        Lsn::new(args.from),
        &mut |_, header, payload| match dump.left > 0 {
            true => match dump.batch(header, payload) {
                Ok(()) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            },
            false => false,
        },
    );
    // What was good before the damage is shown before the damage is.
    dump.output.finish()?;
    match failure {
        Some(failure) => Err(failure),
        None => Ok(walked.map(|()| Exit::Done)?),
    }
}

struct Dump {
    output: Output,
    json: bool,
    /// Records that may yet be printed.
    left: u64,
    /// Ids of the accounts whose openings were seen, by number.
    accounts: BTreeMap<u32, u128>,
}

impl Dump {
    fn batch(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), Failure> {
        let batch = shown_batch(header);
        match self.json {
            true => self.output.json_line(&batch)?,
            false => self.output.line(batch_line(&batch))?,
        }
        for group in Groups::new(payload, header.record_count()) {
            let group = group.map_err(|error| {
                Failure::failed(format!("batch at lsn {}: {error}", header.lsn()))
            })?;
            self.group(header, &group)?;
        }
        Ok(())
    }

    fn group(&mut self, header: &BatchHeader, group: &Group<'_>) -> Result<(), Failure> {
        match group.kind {
            RecordKind::EpochStart => {
                self.rows(header, group, |_, row| What::EpochStart(reign(row)))
            }
            RecordKind::SetChange => self.rows(header, group, |_, row| What::SetChange(reign(row))),
            RecordKind::AccountOpened => self.rows(header, group, Self::account),
            RecordKind::AccountImported => {
                self.rows(header, group, |dump, row: &ImportedAccountRow| {
                    dump.account(&row.account)
                })
            }
            RecordKind::AccountChanged => self.rows(header, group, Self::account_change),
            RecordKind::DayClosed => self.rows(header, group, |_, row: &DayRow| What::DayClosed {
                closed: row.closed.get(),
                next: row.next.get(),
            }),
            RecordKind::TransferPosted
            | RecordKind::TransferFailed
            | RecordKind::TransferPending
            | RecordKind::PendingPosted
            | RecordKind::PendingVoided
            | RecordKind::PendingExpired
            | RecordKind::TransferDetailed => self.movements(header, group),
        }
    }

    fn movements(&mut self, header: &BatchHeader, group: &Group<'_>) -> Result<(), Failure> {
        let mut all = Vec::with_capacity(group.count);
        movement::each_of_group(header, group, |at, movement| {
            all.push((at, movement));
            Ok::<_, PayloadError>(())
        })
        .map_err(|error| Failure::failed(format!("batch at lsn {}: {error}", header.lsn())))?;
        for (at, movement) in all {
            if self.left == 0 {
                break;
            }
            let recorded = movement::record_time(header, at.index());
            let what = self.movement(&movement, recorded);
            self.record(header, at.index(), what)?;
        }
        Ok(())
    }

    fn rows<R: Row>(
        &mut self,
        header: &BatchHeader,
        group: &Group<'_>,
        what: impl Fn(&mut Self, &R) -> What,
    ) -> Result<(), Failure> {
        let mut rows: Vec<R> = Vec::new();
        group.read_rows(&mut rows);
        for (index, row) in (group.first_index..).zip(&rows) {
            if self.left == 0 {
                break;
            }
            let what = what(self, row);
            self.record(header, index, what)?;
        }
        Ok(())
    }

    fn record(&mut self, header: &BatchHeader, index: usize, what: What) -> Result<(), Failure> {
        self.left -= 1;
        let timestamp = header.timestamp().get().saturating_add(index as u64);
        let record = ShownRecord {
            lsn: header.lsn().get(),
            index,
            epoch: header.epoch().to_string(),
            timestamp,
            time: show_time(Timestamp::new(timestamp)),
            what,
        };
        match self.json {
            true => self.output.json_line(&record)?,
            false => self.output.line(record_line(&record))?,
        }
        Ok(())
    }

    fn account(&mut self, row: &AccountRow) -> What {
        self.accounts.insert(row.number.get(), row.id.get());
        What::AccountOpened {
            id: row.id.to_string(),
            number: row.number.get(),
            ledger: row.ledger.get(),
            code: row.code.get(),
            flags: row.flags.get(),
            user_data_128: row.user_data_128.to_string(),
            user_data_64: row.user_data_64.get(),
            user_data_32: row.user_data_32.get(),
        }
    }

    fn account_change(&mut self, row: &AccountChangeRow) -> What {
        What::AccountChanged {
            account: row.account.get(),
            account_id: self.id_of(AccountNumber::new(row.account.get())),
            overdraft_limit: (row.has_overdraft_limit == 1)
                .then(|| row.overdraft_limit.to_string()),
            freeze: row.freeze,
        }
    }

    fn movement(&self, movement: &Movement, recorded: Timestamp) -> What {
        match movement {
            Movement::Transfer(transfer) => {
                let shown = self.transfer(transfer, recorded);
                match transfer.form {
                    Form::Posts => What::TransferPosted(shown),
                    Form::Reserves => What::TransferPending(shown),
                    Form::PostsPending(_) => What::PendingPosted(shown),
                    Form::VoidsPending(_) => What::PendingVoided(shown),
                    Form::Reverses(_) => What::TransferReversed(shown),
                }
            }
            Movement::Expired(expired) => What::PendingExpired {
                pending: expired.pending.into(),
                debit_account: expired.debit.get(),
                credit_account: expired.credit.get(),
            },
            Movement::Failed(row) => failed(row),
        }
    }

    fn transfer(&self, transfer: &Transfer, recorded: Timestamp) -> ShownTransfer {
        ShownTransfer {
            id: transfer.id.to_string(),
            debit_account: transfer.debit.get(),
            debit_account_id: self.id_of(transfer.debit),
            credit_account: transfer.credit.get(),
            credit_account_id: self.id_of(transfer.credit),
            amount: transfer.amount.to_string(),
            code: transfer.code,
            flags: transfer.flags,
            user_data_128: transfer.user_data_128.to_string(),
            user_data_64: transfer.user_data_64,
            user_data_32: transfer.user_data_32,
            related: transfer.form.related().map(Place::from),
            timeout: transfer.timeout,
            value_date: transfer.value_date,
            business_date: transfer.business_date,
            imported_timestamp: (transfer.timestamp != recorded)
                .then_some(transfer.timestamp.get()),
        }
    }

    fn id_of(&self, number: AccountNumber) -> Option<String> {
        self.accounts.get(&number.get()).map(u128::to_string)
    }
}

fn failed(row: &FailedRow) -> What {
    What::TransferFailed {
        id: row.id.to_string(),
        result: result_name(row.result.get()),
    }
}

fn shown_batch(header: &BatchHeader) -> ShownBatch {
    ShownBatch {
        kind: "batch",
        lsn: header.lsn().get(),
        epoch: header.epoch().to_string(),
        records: header.record_count(),
        payload_bytes: header.payload_bytes(),
        timestamp: header.timestamp().get(),
        time: show_time(header.timestamp()),
        confirmed_lsn: header.confirmed().get(),
        prev_chain: header.prev_chain().to_string(),
        segment_end: header.is_segment_end(),
    }
}

fn reign(row: &ReignRow) -> Reign {
    let base = row.base();
    let member = |(node, incarnation)| format!("node {node} incarnation {incarnation}");
    Reign {
        opening: row.opening().to_string(),
        base_epoch: base.epoch.to_string(),
        base_lsn: base.lsn.get(),
        base_chain: base.chain.to_string(),
        protection: row.protection().map_or_else(
            || format!("unknown ({})", row.protection),
            |known| known.name().to_owned(),
        ),
        unfenced: row.unfenced != 0,
        members: row.members().map(member).collect(),
        reason: row.reason(),
    }
}

fn batch_line(batch: &ShownBatch) -> String {
    let chain = batch.prev_chain.get(..16).unwrap_or(&batch.prev_chain);
    let end = if batch.segment_end {
        ", ends its segment"
    } else {
        ""
    };
    format!(
        "batch at lsn {} epoch {}: {} records, {} bytes, {}, confirmed {}, behind chain {chain}{end}",
        batch.lsn, batch.epoch, batch.records, batch.payload_bytes, batch.time, batch.confirmed_lsn
    )
}

fn record_line(record: &ShownRecord) -> String {
    let what = match &record.what {
        What::EpochStart(reign) => format!("epoch start {}", reign_text(reign)),
        What::SetChange(reign) => format!("set change {}", reign_text(reign)),
        What::AccountOpened {
            id,
            number,
            ledger,
            code,
            flags,
            user_data_128,
            user_data_64,
            user_data_32,
        } => format!(
            "account {id} (#{number}) opened ledger {ledger} code {code} flags {flags} \
             user data {user_data_128}/{user_data_64}/{user_data_32}"
        ),
        What::AccountChanged {
            account,
            account_id,
            overdraft_limit,
            freeze,
        } => format!(
            "account {} overdraft limit {} freeze {freeze}",
            account_text(*account, account_id),
            overdraft_limit.as_deref().unwrap_or("none")
        ),
        What::TransferPosted(transfer) => transfer_text("posted", transfer),
        What::TransferPending(transfer) => transfer_text("pending", transfer),
        What::PendingPosted(transfer) => transfer_text("posts a pending one:", transfer),
        What::PendingVoided(transfer) => transfer_text("voids a pending one:", transfer),
        What::TransferReversed(transfer) => transfer_text("reverses another one:", transfer),
        What::PendingExpired { pending, .. } => {
            format!("pending transfer {} expired", place_text(*pending))
        }
        What::DayClosed { closed, next } => {
            format!("business date {closed} closed, {next} is current")
        }
        What::TransferFailed { id, result } => format!("transfer {id} failed for ever: {result}"),
    };
    format!("  {:>4}  {}  {what}", record.index, record.time)
}

fn transfer_text(verb: &str, transfer: &ShownTransfer) -> String {
    let mut text = format!(
        "transfer {} {verb} amount {} debit {} credit {} code {} flags {} user data {}/{}/{}",
        transfer.id,
        transfer.amount,
        account_text(transfer.debit_account, &transfer.debit_account_id),
        account_text(transfer.credit_account, &transfer.credit_account_id),
        transfer.code,
        transfer.flags,
        transfer.user_data_128,
        transfer.user_data_64,
        transfer.user_data_32
    );
    if let Some(place) = transfer.related {
        text += &format!(" of {}", place_text(place));
    }
    let more = [
        ("timeout", transfer.timeout),
        ("value date", transfer.value_date),
        ("business date", transfer.business_date),
    ];
    for (name, value) in more.into_iter().filter(|(_, value)| *value != 0) {
        text += &format!(" {name} {value}");
    }
    if let Some(timestamp) = transfer.imported_timestamp {
        text += &format!(" imported of {}", show_time(Timestamp::new(timestamp)));
    }
    text
}

fn place_text(place: Place) -> String {
    format!("lsn {} record {}", place.lsn, place.index)
}

fn account_text(number: u32, id: &Option<String>) -> String {
    match id {
        Some(id) => format!("{id} (#{number})"),
        None => format!("#{number}"),
    }
}

fn reign_text(reign: &Reign) -> String {
    let members = match reign.members.as_slice() {
        [] => "nobody".to_owned(),
        members => members.join(", "),
    };
    let unfenced = if reign.unfenced { " UNFENCED" } else { "" };
    let reason = match reign.reason.as_str() {
        "" => String::new(),
        reason => format!(" reason {reason:?}"),
    };
    format!(
        "{}{unfenced} by {} on base (epoch {}, lsn {}), waits for {members}{reason}",
        reign.protection, reign.opening, reign.base_epoch, reign.base_lsn
    )
}
