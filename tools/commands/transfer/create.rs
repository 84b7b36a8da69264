//! `kanjo transfer create`.

use std::time::Duration;

use kanjo_client::{TransferBody, TransferDetailBody, TransferFlags, new_transfer_id};
use kanjo_format::Timestamp;

use super::post::post;
use crate::amounts::parse_amount;
use crate::commands::cluster::ClusterArgs;
use crate::dates::{Date, parse_date};
use crate::exit::{Exit, Failure};
use crate::quantities::{parse_duration, parse_id, parse_u128};
use crate::times::parse_time;

pub(super) const EXAMPLES: &str = "\
Examples:
  12.50 from account 1 to account 77 (a debit of 1, a credit of 77):
    kanjo transfer create --connect 127.0.0.1:7401,127.0.0.1:7501 \\
        --debit 1 --credit 77 --amount 1250 --ledger 203 --code 1
  Once more with the same id: it is not posted twice:
    kanjo transfer create … --id 2170412…
  Reserve it for an hour; then `kanjo transfer post` or `void`, or it expires:
    kanjo transfer create … --pending --expires-after 1h
  Move at most what account 1 has (its debits stay at or below its credits):
    kanjo transfer create … --amount max --balancing-debit
  Booked to a business date that is not closed, counted from a value date:
    kanjo transfer create … --business-date 2026-01-31 --value-date 2026-02-02

When the exit code is 3 nobody knows whether it was posted: repeat it with the same --id, which is
printed, or `kanjo transfer burn` it. An id that was refused for a reason that may pass
(exceeds_credits, say) stays refused for ever: draw a new one. Transfers that succeed or fail
together are sent by a program or by `kanjo import`; one command posts one.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The transfer's id: decimal, or hexadecimal after 0x; up to 128 bits [default: a new one]
    #[arg(long, value_parser = parse_id)]
    id: Option<u128>,
    /// Account whose debits grow
    #[arg(long, value_name = "ACCOUNT", value_parser = parse_id)]
    debit: u128,
    /// Account whose credits grow
    #[arg(long, value_name = "ACCOUNT", value_parser = parse_id)]
    credit: u128,
    /// Minor units (cents, hellers), without a decimal point; `max` with a balancing flag
    #[arg(long, value_parser = parse_amount)]
    amount: u128,
    /// Ledger of both accounts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    ledger: u32,
    /// What kind of transfer it is, in your own numbering
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    code: u16,
    #[command(flatten)]
    form: Form,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", value_parser = parse_u128, default_value = "0")]
    user_data_128: u128,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    user_data_64: u64,
    /// Data of your own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    user_data_32: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is special about a transfer.
#[derive(Debug, clap::Args)]
struct Form {
    /// Only reserve the amount
    #[arg(long)]
    pending: bool,
    /// Release it by itself after so long, in whole seconds: 30s, 5m, 1h [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, requires = "pending")]
    expires_after: Option<u32>,
    /// Move at most what keeps the debit account's debits at or below its credits
    #[arg(long)]
    balancing_debit: bool,
    /// Move at most what keeps the credit account's credits at or below its debits
    #[arg(long)]
    balancing_credit: bool,
    /// Close the debit account; until this transfer is voided or expires
    #[arg(long, requires = "pending")]
    closing_debit: bool,
    /// Close the credit account; until this transfer is voided or expires
    #[arg(long, requires = "pending")]
    closing_credit: bool,
    /// The date that it counts from
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    value_date: Option<Date>,
    /// The date that it is booked to, not closed yet [default: the current one]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    business_date: Option<Date>,
    /// It happened in the past, at --timestamp
    #[arg(long, requires = "timestamp", conflicts_with = "expires_after")]
    imported: bool,
    /// When it happened, in UTC (2019-03-01T09:30:00Z) or nanoseconds
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "imported")]
    timestamp: Option<Timestamp>,
}

impl Form {
    fn flags(&self) -> u16 {
        let flags = [
            (self.pending, TransferFlags::PENDING),
            (self.balancing_debit, TransferFlags::BALANCING_DEBIT),
            (self.balancing_credit, TransferFlags::BALANCING_CREDIT),
            (self.closing_debit, TransferFlags::CLOSING_DEBIT),
            (self.closing_credit, TransferFlags::CLOSING_CREDIT),
            (self.imported, TransferFlags::IMPORTED),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        set.fold(0, |flags, (_, flag)| flags | flag)
    }
}

impl Args {
    fn transfer(&self) -> TransferDetailBody {
        let form = &self.form;
        let transfer = TransferBody {
            id: self.id.unwrap_or_else(|| new_transfer_id().get()).into(),
            debit_account_id: self.debit.into(),
            credit_account_id: self.credit.into(),
            amount: self.amount.into(),
            user_data_128: self.user_data_128.into(),
            user_data_64: self.user_data_64.into(),
            user_data_32: self.user_data_32.into(),
            timeout: form.expires_after.unwrap_or(0).into(),
            ledger: self.ledger.into(),
            code: self.code.into(),
            flags: form.flags().into(),
            timestamp: form.timestamp.map_or(0, Timestamp::get).into(),
            ..TransferBody::default()
        };
        TransferDetailBody {
            transfer,
            value_date: form.value_date.map_or(0, Date::number).into(),
            business_date: form.business_date.map_or(0, Date::number).into(),
            ..TransferDetailBody::default()
        }
    }
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    post(&args.cluster, args.transfer(), args.json)
}

/// Whole seconds, not zero.
fn parse_timeout(text: &str) -> Result<u32, String> {
    let time = parse_duration(text)?;
    let whole = time == Duration::from_secs(time.as_secs());
    let seconds = u32::try_from(time.as_secs()).ok();
    seconds
        .filter(|seconds| whole && *seconds > 0)
        .ok_or_else(|| "is not a number of whole seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_in_whole_seconds() {
        assert_eq!(parse_timeout("1h"), Ok(3_600));
        assert_eq!(parse_timeout("2000ms"), Ok(2));
        for wrong in ["0s", "1500ms", "1", "10ms"] {
            assert!(parse_timeout(wrong).is_err(), "{wrong}");
        }
    }
}
