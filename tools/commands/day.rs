//! `kanjo day`: the bank's own dates, and their end.

use clap::Subcommand;
use kanjo_client::CloseDayResult;
use kanjo_format::Timestamp;
use serde_json::json;

use super::cluster::{ClusterArgs, until_answered};
use crate::dates::{Date, parse_date, show_date};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::times::show_time;

const SHOW_EXAMPLES: &str = "\
Examples:
  kanjo day show --connect 127.0.0.1:7401,127.0.0.1:7501
  kanjo day show --connect 127.0.0.1:7401 --json | jq -r .business_date";

const CLOSE_EXAMPLES: &str = "\
Examples:
  The first time, on a book without business dates:
    kanjo day close --connect 127.0.0.1:7401,127.0.0.1:7501 --date none --next 2026-01-30
  The end of Friday, with Monday behind it:
    kanjo day close --connect 127.0.0.1:7401,127.0.0.1:7501 --date 2026-01-30 --next 2026-02-02

The date is closed by one record, at one position of the log for everybody: whatever stands before
it may belong to the date, nothing behind it does. A transfer belongs to the date that is current
when it is posted, or to a later one that it names. Closing the same date again, with the same next
one, changes nothing and is no failure.";

/// Show or close the business date.
#[derive(Debug, Subcommand)]
pub(crate) enum DayCommand {
    /// Show the business date that is current
    #[command(after_long_help = format!("{SHOW_EXAMPLES}\n\n{EXIT_CODES}"))]
    Show(ShowArgs),
    /// Close the business date and make another one current
    #[command(after_long_help = format!("{CLOSE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Close(CloseArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The date to close, which must be the current one; `none` to begin with business dates
    #[arg(long, value_name = "DATE|none", value_parser = parse_closing)]
    date: Closing,
    /// The date that is current from then on
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    next: Date,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The date to close, or none.
#[derive(Clone, Copy, Debug)]
struct Closing(Option<Date>);

fn parse_closing(text: &str) -> Result<Closing, String> {
    match text {
        "none" => Ok(Closing(None)),
        text => parse_date(text).map(|date| Closing(Some(date))),
    }
}

pub(crate) fn run(command: DayCommand) -> Result<Exit, Failure> {
    match command {
        DayCommand::Show(args) => show(args),
        DayCommand::Close(args) => close(args),
    }
}

fn show(args: ShowArgs) -> Result<Exit, Failure> {
    args.cluster.with_client(async |client| {
        let here = client
            .with_deadline(args.cluster.timeout)
            .position()
            .await?;
        let date = here.business_date().map(show_date);
        let mut output = Output::new();
        match args.json {
            true => output.json(&json!({
                "business_date": date,
                "lsn": here.lsn().get(),
                "timestamp": here.timestamp().get(),
            }))?,
            false => output.line(facts(&[
                ("business date", date.unwrap_or_else(|| "none".to_owned())),
                ("as of lsn", here.lsn().to_string()),
                ("log time", show_time(here.timestamp())),
            ]))?,
        }
        output.finish()?;
        Ok(Exit::Done)
    })
}

fn close(args: CloseArgs) -> Result<Exit, Failure> {
    let (date, next) = (args.date.0.map_or(0, Date::number), args.next.number());
    args.cluster.with_client(async |client| {
        let timeout = args.cluster.timeout;
        let closed = until_answered(timeout, || client.close_day(date, next)).await?;
        let done = matches!(
            closed.result,
            CloseDayResult::Closed | CloseDayResult::AlreadyClosed
        );
        let shown = match date {
            0 => "none".to_owned(),
            date => show_date(date),
        };
        let mut output = Output::new();
        if args.json {
            output.json(&json!({
                "date": Some(&shown).filter(|_| date != 0),
                "next": args.next.to_string(),
                "result": closed.result.name(),
                "timestamp": closed.timestamp,
            }))?;
        } else if done {
            let time = show_time(Timestamp::new(closed.timestamp));
            let (result, next) = (closed.result, args.next);
            output.line(match date {
                0 => format!("business dates begin with {next}, {time}"),
                _ => format!("business date {shown}: {result} {time}, {next} is current"),
            })?;
        }
        output.finish()?;
        match done {
            true => Ok(Exit::Done),
            false => Err(Failure::failed(format!(
                "business date {shown}: {}",
                closed.result
            ))),
        }
    })
}
