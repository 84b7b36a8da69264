//! `kanjo transfer`: posts and shows transfers by hand.

use clap::Subcommand;
use kanjo_client::{TransferBody, TransferId, new_transfer_id};
use kanjo_format::Timestamp;
use kanjo_format::result::CreateTransferResult;
use serde::Serialize;
use serde_json::json;

use super::cluster::ClusterArgs;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, table};
use crate::quantities::{parse_id, parse_u128, show_count};
use crate::times::show_time;

const CREATE_EXAMPLES: &str = "\
Examples:
  12.50 from account 1 to account 77 (a debit of 1, a credit of 77):
    kanjo transfer create --connect 127.0.0.1:7401,127.0.0.1:7501 \\
        --debit 1 --credit 77 --amount 1250 --ledger 203 --code 1
  Once more with the same id: it is not posted twice:
    kanjo transfer create … --id 2170412…

When the exit code is 3 nobody knows whether it was posted: repeat it with the same --id, which is
printed. An id that was refused for a reason that may pass (exceeds_credits, say) stays refused
for ever: draw a new one.";

const SHOW_EXAMPLES: &str = "\
Examples:
  kanjo transfer show --connect 127.0.0.1:7401,127.0.0.1:7501 695247
  kanjo transfer show --connect 127.0.0.1:7401 695247 --json | jq -r .[0].amount";

/// Post or show transfers.
#[derive(Debug, Subcommand)]
pub(crate) enum TransferCommand {
    /// Post a transfer
    #[command(after_long_help = format!("{CREATE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Create(Box<CreateArgs>),
    /// Show transfers
    #[command(after_long_help = format!("{SHOW_EXAMPLES}\n\n{EXIT_CODES}"))]
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
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
    /// Minor units (cents, hellers), without a decimal point
    #[arg(long, value_parser = parse_u128)]
    amount: u128,
    /// Ledger of both accounts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    ledger: u32,
    /// What kind of transfer it is, in your own numbering
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    code: u16,
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

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Ids of the transfers
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<u128>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A transfer as JSON shows it.
#[derive(Serialize)]
struct ShownTransfer {
    id: String,
    debit_account_id: String,
    credit_account_id: String,
    amount: String,
    ledger: u32,
    code: u16,
    user_data_128: String,
    user_data_64: u64,
    user_data_32: u32,
    timestamp: u64,
    posted: String,
}

pub(crate) fn run(command: TransferCommand) -> Result<Exit, Failure> {
    match command {
        TransferCommand::Create(args) => create(*args),
        TransferCommand::Show(args) => show(args),
    }
}

fn create(args: CreateArgs) -> Result<Exit, Failure> {
    let id = args.id.unwrap_or_else(|| new_transfer_id().get());
    let transfer = TransferBody {
        id: id.into(),
        debit_account_id: args.debit.into(),
        credit_account_id: args.credit.into(),
        amount: args.amount.into(),
        user_data_128: args.user_data_128.into(),
        user_data_64: args.user_data_64.into(),
        user_data_32: args.user_data_32.into(),
        ledger: args.ledger.into(),
        code: args.code.into(),
        ..TransferBody::default()
    };
    args.cluster.with_client(async |client| {
        let timeout = args.cluster.timeout;
        let resolved = client
            .create_transfers_resolved(&[transfer], timeout)
            .await
            .map_err(|error| Failure::from(error).with(&format!("the transfer is --id {id}")))?;
        let (result, time, posted) = resolved.first().map_or((0, 0, false), |one| {
            (one.result.result, one.result.timestamp, one.posted())
        });
        let name = result_name(result);
        let mut output = Output::new();
        if args.json {
            let id = id.to_string();
            output.json(&json!({ "id": id, "result": name, "timestamp": time }))?;
        } else if posted {
            let time = show_time(Timestamp::new(time));
            output.line(format!("transfer {id}: {name} {time}"))?;
        }
        output.finish()?;
        match posted {
            true => Ok(Exit::Done),
            false => Err(Failure::failed(format!("transfer {id}: {name}"))),
        }
    })
}

fn show(args: ShowArgs) -> Result<Exit, Failure> {
    let ids: Vec<TransferId> = args.ids.iter().copied().map(TransferId::new).collect();
    args.cluster.with_client(async |client| {
        let timeout = args.cluster.timeout;
        let found = client.lookup_transfers_within(&ids, timeout).await?;
        let mut output = Output::new();
        if args.json {
            output.json(&found.iter().map(shown).collect::<Vec<_>>())?;
        } else if !found.is_empty() {
            output.line(transfers_table(&found))?;
        }
        output.finish()?;
        let is_missing = |id: &&u128| !found.iter().any(|one| one.id.get() == **id);
        match args.ids.iter().find(is_missing) {
            None => Ok(Exit::Done),
            Some(id) => Err(Failure::failed(format!("there is no transfer {id}"))),
        }
    })
}

/// The documented name of a result of posting a transfer.
pub(super) fn result_name(number: u32) -> String {
    match CreateTransferResult::from_number(number) {
        Some(result) => result.name().to_owned(),
        None => format!("result {number}, which this program does not know"),
    }
}

fn transfers_table(transfers: &[TransferBody]) -> comfy_table::Table {
    let header = [
        "transfer",
        "debit",
        "credit",
        "amount",
        "ledger",
        "code",
        "user data 128/64/32",
        "posted",
    ];
    let mut table = table(&header, &[0, 1, 2, 3, 4, 5]);
    for one in transfers {
        let data = (one.user_data_128, one.user_data_64, one.user_data_32);
        table.add_row([
            one.id.get().to_string(),
            one.debit_account_id.get().to_string(),
            one.credit_account_id.get().to_string(),
            show_count(one.amount.get()),
            one.ledger.get().to_string(),
            one.code.get().to_string(),
            format!("{}/{}/{}", data.0, data.1, data.2),
            show_time(Timestamp::new(one.timestamp.get())),
        ]);
    }
    table
}

fn shown(transfer: &TransferBody) -> ShownTransfer {
    ShownTransfer {
        id: transfer.id.get().to_string(),
        debit_account_id: transfer.debit_account_id.get().to_string(),
        credit_account_id: transfer.credit_account_id.get().to_string(),
        amount: transfer.amount.get().to_string(),
        ledger: transfer.ledger.get(),
        code: transfer.code.get(),
        user_data_128: transfer.user_data_128.get().to_string(),
        user_data_64: transfer.user_data_64.get(),
        user_data_32: transfer.user_data_32.get(),
        timestamp: transfer.timestamp.get(),
        posted: show_time(Timestamp::new(transfer.timestamp.get())),
    }
}
