//! `kanjo import`: posts transfers from a file, safely as often as it is repeated.
//!
//! The whole file is read and its accounts are looked up before the first transfer is sent, so
//! that a file which cannot be imported changes nothing.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use kanjo_client::{
    AccountBody, AccountId, Client, Resolved, TransferBody, TransferDetailBody, TransferFlags,
};
use kanjo_format::limits::REQUEST_EVENTS_MAX;
use kanjo_format::result::CreateAccountResult;
use serde::Serialize;

use self::source::{Contents, Row, Source};
use super::account::result_name as account_result_name;
use super::cluster::{ClusterArgs, create_accounts};
use super::transfer::result_name;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, table};
use crate::quantities::show_count;
use crate::times::show_duration;

/// Rejected transfers that are named one by one; all are counted.
const REJECTED_NAMED_MAX: usize = 100;
/// Of these, the ones that people see.
const REJECTED_SHOWN_MAX: usize = 10;
const MISSING_SHOWN_MAX: usize = 5;

const EXAMPLES: &str = "\
Examples:
  kanjo import --connect 127.0.0.1:7401,127.0.0.1:7501 transfers.csv
  Open the accounts that are not there yet in ledger 203 with code 10:
    kanjo import --connect 127.0.0.1:7401 transfers.csv --create-accounts 203/10
  The bank transactions that the program carries (28,205 of 1993), with their accounts:
    kanjo import --connect 127.0.0.1:7401 --preset berka

Columns of the CSV file; the first line names them, in any order; fields are separated by commas.
Numbers are decimal, or hexadecimal after 0x:
  id                 128 bits
  debit_account_id   128 bits; the account whose debits grow
  credit_account_id  128 bits; the account whose credits grow
  amount             128 bits, minor units (cents, hellers), no decimal point
  ledger             32 bits
  code               16 bits
  user_data_128, user_data_64, user_data_32   may be absent or empty
  flags              the same; by name, with | between: linked|pending
  pending_id         the same; the pending transfer that it posts or voids
  timeout            the same; seconds after which a pending transfer expires
  timestamp          the same; nanoseconds, with the flag imported
  reverses           the same; the transfer that it reverses
  value_date, business_date   the same; like 2026-01-31

Linked rows are sent in one request, rows that are imported not together with others. Nothing is sent unless every row can be read and every account is there. After an interruption,
run the same command again: a transfer that is posted is not posted twice. The transfers are
posted in the order of the file. The exit code is 1 if any was rejected.";

/// Post transfers from a CSV file, or a preset.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The file [with --preset: default: what the program carries]
    #[arg(required_unless_present = "preset")]
    file: Option<PathBuf>,
    /// Read a known form of file, and open its accounts
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Open accounts that do not exist, with this ledger and code
    #[arg(long, value_name = "LEDGER/CODE", value_parser = parse_opening, conflicts_with = "preset")]
    create_accounts: Option<(u32, u16)>,
    /// Transfers a request
    #[arg(long, value_name = "N", default_value_t = REQUEST_EVENTS_MAX as u16,
        value_parser = clap::value_parser!(u16).range(1..=REQUEST_EVENTS_MAX as i64))]
    batch: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// Transactions of a Czech bank, PKDD'99 Discovery Challenge (Petr Berka)
    Berka,
}

/// What an import did.
#[derive(Default, Serialize)]
struct Summary {
    rows: u64,
    accounts_created: u64,
    seconds: f64,
    /// Transfers by the name of their result.
    results: BTreeMap<String, u64>,
    /// The first ones that were rejected.
    rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    line: u64,
    id: String,
    result: String,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let source = match (args.preset, args.file) {
        (Some(Preset::Berka), file) => Source::berka(file)?,
        (None, Some(file)) => Source::Csv(file),
        (None, None) => return Err(Failure::usage("give a file or a preset")),
    };
    let contents = source.contents()?;
    let timeout = args.cluster.timeout;
    args.cluster.with_client(async |client| {
        let started = Instant::now();
        let mut summary = Summary {
            accounts_created: prepare(&client, &contents, args.create_accounts, timeout).await?,
            ..Summary::default()
        };
        let import = Import {
            client,
            timeout,
            batch: usize::from(args.batch),
            detailed: contents.detailed,
            bar: progress_bar(contents.rows),
        };
        import.post(&source, &mut summary).await?;
        summary.seconds = started.elapsed().as_secs_f64();
        let mut output = Output::new();
        match args.json {
            true => output.json(&summary)?,
            false => show(&summary, &mut output)?,
        }
        output.finish()?;
        match summary.rejected.first() {
            None => Ok(Exit::Done),
            Some(first) => Err(Failure::failed(format!(
                "{} of {} transfers were rejected, the first on line {}: {}",
                show_count(summary.rejected_count()),
                show_count(summary.rows),
                first.line,
                first.result
            ))),
        }
    })
}

/// Sees to it that every account is there. Gives how many were opened.
async fn prepare(
    client: &Client,
    contents: &Contents,
    opening: Option<(u32, u16)>,
    timeout: Duration,
) -> Result<u64, Failure> {
    let is_id = |id: &u128| *id != 0 && *id != u128::MAX;
    // What is no id at all gets its result from the ledger.
    let ids: Vec<AccountId> = contents
        .accounts
        .iter()
        .copied()
        .filter(is_id)
        .map(AccountId::new)
        .collect();
    let found = client.lookup_accounts_within(&ids, timeout).await?;
    let found: BTreeSet<u128> = found.iter().map(|account| account.id.get()).collect();
    let missing: Vec<u128> = ids
        .iter()
        .map(|id| id.get())
        .filter(|id| !found.contains(id))
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let openings = match (&contents.openings, opening) {
        (Some(openings), _) => openings
            .iter()
            .filter(|account| !found.contains(&account.id.get()))
            .copied()
            .collect(),
        (None, Some((ledger, code))) => missing
            .iter()
            .map(|id| AccountBody {
                id: (*id).into(),
                ledger: ledger.into(),
                code: code.into(),
                ..AccountBody::default()
            })
            .collect::<Vec<_>>(),
        (None, None) => return Err(not_there(&missing)),
    };
    let mut created = 0;
    for request in openings.chunks(REQUEST_EVENTS_MAX) {
        let results = create_accounts(client, request, timeout).await?;
        for (account, result) in request.iter().zip(results) {
            // Opened by somebody else meanwhile, perhaps otherwise: it is there.
            let refused = CreateAccountResult::from_number(result.result)
                .is_none_or(|known| !known.name().starts_with("exists"));
            if result.created() {
                created += 1;
            } else if refused {
                let name = account_result_name(result.result);
                let text = format!("account {} cannot be opened: {name}", account.id);
                return Err(Failure::failed(text).with("no transfer was sent"));
            }
        }
    }
    Ok(created)
}

fn not_there(missing: &[u128]) -> Failure {
    let shown = missing.iter().take(MISSING_SHOWN_MAX).map(u128::to_string);
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if missing.len() > MISSING_SHOWN_MAX {
        shown.push_str(", …");
    }
    let count = show_count(missing.len());
    Failure::failed(format!("{count} accounts do not exist: {shown}"))
        .with("no transfer was sent; open them, or let --create-accounts LEDGER/CODE do it")
}

struct Import {
    client: Client,
    timeout: Duration,
    batch: usize,
    /// All of a source goes the same way, so that a repetition asks the same of the ledger.
    detailed: bool,
    bar: ProgressBar,
}

impl Import {
    async fn post(&self, source: &Source, summary: &mut Summary) -> Result<(), Failure> {
        let mut rows = source.rows()?.fuse().peekable();
        loop {
            let batch = next_batch(&mut rows, self.batch)
                .map_err(|failure| self.interrupted(failure, summary))?;
            if batch.is_empty() {
                break;
            }
            let resolved = self.send(&batch).await;
            let resolved = resolved.map_err(|failure| self.interrupted(failure, summary))?;
            for ((line, detail), one) in batch.iter().zip(&resolved) {
                let transfer = &detail.transfer;
                summary.count(*line, transfer, one.result.result, one.posted());
            }
            self.bar.inc(batch.len() as u64);
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    async fn send(&self, batch: &[(u64, TransferDetailBody)]) -> Result<Vec<Resolved>, Failure> {
        let (client, timeout) = (&self.client, self.timeout);
        if self.detailed {
            let all: Vec<TransferDetailBody> = batch.iter().map(|(_, one)| *one).collect();
            return Ok(client
                .create_transfers_detailed_resolved(&all, timeout)
                .await?);
        }
        let all: Vec<TransferBody> = batch.iter().map(|(_, one)| one.transfer).collect();
        Ok(client.create_transfers_resolved(&all, timeout).await?)
    }

    fn interrupted(&self, failure: Failure, summary: &Summary) -> Failure {
        self.bar.abandon();
        let done = show_count(summary.rows);
        failure.with(&format!(
            "{done} rows were answered before; run the same command again, no transfer is posted twice"
        ))
    }
}

/// The next rows of one request: at least `least` where there are so many, and then up to the end
/// of their chain. Imported rows and others are kept apart.
fn next_batch(
    rows: &mut Peekable<impl Iterator<Item = Row>>,
    least: usize,
) -> Result<Vec<(u64, TransferDetailBody)>, Failure> {
    let has = |one: &TransferDetailBody, flag| one.transfer.flags.get() & flag != 0;
    let mut batch: Vec<(u64, TransferDetailBody)> = Vec::new();
    while let Some(next) = rows.peek() {
        if let (Some((_, last)), Ok((_, next))) = (batch.last(), next)
            && !has(last, TransferFlags::LINKED)
        {
            let imports = |one| has(one, TransferFlags::IMPORTED);
            if batch.len() >= least || imports(last) != imports(next) {
                break;
            }
        }
        // A chain longer than a request is refused by the client.
        if batch.len() > REQUEST_EVENTS_MAX {
            break;
        }
        batch.extend(rows.next().transpose()?);
    }
    Ok(batch)
}

impl Summary {
    fn count(&mut self, line: u64, transfer: &TransferBody, result: u32, posted: bool) {
        let name = result_name(result);
        self.rows += 1;
        if !posted && self.rejected.len() < REJECTED_NAMED_MAX {
            self.rejected.push(Rejected {
                line,
                id: transfer.id.to_string(),
                result: name.clone(),
            });
        }
        *self.results.entry(name).or_default() += 1;
    }

    fn rejected_count(&self) -> u64 {
        let posted = ["created", "exists"].map(|name| self.results.get(name).copied());
        self.rows - posted.into_iter().flatten().sum::<u64>()
    }
}

fn show(summary: &Summary, output: &mut Output) -> Result<(), Failure> {
    let mut results = table(&["result", "transfers"], &[1]);
    for (name, count) in &summary.results {
        results.add_row([name.clone(), show_count(count)]);
    }
    results.add_row(["all".to_owned(), show_count(summary.rows)]);
    output.line(results)?;
    let took = show_duration(Duration::from_secs_f64(summary.seconds));
    let created = show_count(summary.accounts_created);
    output.line(format!("{created} accounts opened; {took}"))?;
    if !summary.rejected.is_empty() {
        let mut rejected = table(&["line", "transfer", "result"], &[0, 1]);
        for one in summary.rejected.iter().take(REJECTED_SHOWN_MAX) {
            rejected.add_row([one.line.to_string(), one.id.clone(), one.result.clone()]);
        }
        output.line(format!("\nthe first that were rejected:\n{rejected}"))?;
    }
    Ok(())
}

/// On a terminal; elsewhere nothing is drawn.
fn progress_bar(rows: u64) -> ProgressBar {
    let template = "{bar:40} {human_pos}/{human_len} transfers  {per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(rows).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn parse_opening(text: &str) -> Result<(u32, u16), String> {
    let (ledger, code) = text
        .split_once('/')
        .ok_or("is not LEDGER/CODE, for instance 203/10")?;
    let ledger = ledger.parse().ok().filter(|ledger| *ledger != 0);
    let code = code.parse().ok().filter(|code| *code != 0);
    let ledger = ledger.ok_or("the ledger is a number from 1 to 4294967295")?;
    Ok((ledger, code.ok_or("the code is a number from 1 to 65535")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_a_ledger_and_a_code() {
        assert_eq!(parse_opening("203/10"), Ok((203, 10)));
        for wrong in ["203", "0/1", "1/0", "203/65536", "a/1", "/"] {
            assert!(parse_opening(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_ends_behind_a_chain_and_where_importing_begins() {
        let (linked, imported) = (TransferFlags::LINKED, TransferFlags::IMPORTED);
        let flags = [0, linked, linked, 0, 0, imported, imported];
        let row = |(line, flags): (usize, &u16)| {
            let transfer = TransferBody {
                flags: (*flags).into(),
                ..TransferBody::default()
            };
            let detail = TransferDetailBody {
                transfer,
                ..TransferDetailBody::default()
            };
            Ok((line as u64, detail))
        };
        let mut rows = flags.iter().enumerate().map(row).peekable();
        let mut lengths = Vec::new();
        loop {
            let batch = next_batch(&mut rows, 2).unwrap();
            if batch.is_empty() {
                break;
            }
            lengths.push(batch.len());
        }
        assert_eq!(lengths, [4, 1, 2]);
    }

    #[test]
    fn what_was_rejected_is_counted_beside_what_stands() {
        let mut summary = Summary::default();
        let transfer = TransferBody::default();
        summary.count(2, &transfer, u32::MAX, true);
        summary.count(3, &transfer, 46, true);
        summary.count(4, &transfer, 54, false);
        assert_eq!((summary.rows, summary.rejected_count()), (3, 1));
        assert_eq!(summary.rejected[0].result, "exceeds_credits");
    }
}
