//! `kanjo transfer post`, `void` and `reverse`: what names another transfer.

use kanjo_client::{TransferBody, TransferDetailBody, TransferFlags, new_transfer_id};

use super::post::post;
use crate::amounts::parse_amount;
use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::quantities::parse_id;

pub(super) const POST_EXAMPLES: &str = "\
Examples:
  All of what the pending transfer 695247 reserved:
    kanjo transfer post --connect 127.0.0.1:7401,127.0.0.1:7501 695247
  Only 10.00 of it; the rest is released:
    kanjo transfer post --connect 127.0.0.1:7401,127.0.0.1:7501 695247 --amount 1000

A pending transfer is resolved once: posted, voided, or expired. Posting makes a transfer of its
own, with an id of its own, which makes a repetition safe.";

pub(super) const VOID_EXAMPLES: &str = "\
Examples:
  Release what the pending transfer 695247 reserved:
    kanjo transfer void --connect 127.0.0.1:7401,127.0.0.1:7501 695247

A pending transfer is resolved once: posted, voided, or expired. An account that it closed is open
again.";

pub(super) const REVERSE_EXAMPLES: &str = "\
Examples:
  Move back all of what transfer 695247 moved:
    kanjo transfer reverse --connect 127.0.0.1:7401,127.0.0.1:7501 695247
  Move back 10.00 of it:
    kanjo transfer reverse --connect 127.0.0.1:7401,127.0.0.1:7501 695247 --amount 1000

A reversal debits the account that its original credited, cannot exceed it, and happens once. It is
a transfer of its own that names its original; a reversal can itself be reversed.";

/// Which transfer, and the id of what resolves it.
#[derive(Debug, clap::Args)]
pub(crate) struct Resolution {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The transfer that is meant
    #[arg(value_name = "ID", value_parser = parse_id)]
    of: u128,
    /// Id of the transfer that does it; up to 128 bits [default: a new one]
    #[arg(long, value_parser = parse_id)]
    id: Option<u128>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The same with an amount.
#[derive(Debug, clap::Args)]
pub(crate) struct AmountOf {
    #[command(flatten)]
    resolution: Resolution,
    /// At most as much as the other transfer's, in minor units, or `max` for all of it
    #[arg(long, value_parser = parse_amount, default_value = "max")]
    amount: u128,
}

impl Resolution {
    /// What is zero is as in the other transfer.
    fn transfer(&self, pending_id: u128, flags: u16, amount: u128) -> TransferBody {
        TransferBody {
            id: self.id.unwrap_or_else(|| new_transfer_id().get()).into(),
            pending_id: pending_id.into(),
            amount: amount.into(),
            flags: flags.into(),
            ..TransferBody::default()
        }
    }

    fn send(&self, transfer: TransferBody, reverses: u128) -> Result<Exit, Failure> {
        let detail = TransferDetailBody {
            transfer,
            reverses: reverses.into(),
            ..TransferDetailBody::default()
        };
        post(&self.cluster, detail, self.json)
    }
}

pub(super) fn post_pending(args: AmountOf) -> Result<Exit, Failure> {
    let of = &args.resolution;
    let flags = TransferFlags::POST_PENDING_TRANSFER;
    of.send(of.transfer(of.of, flags, args.amount), 0)
}

pub(super) fn void_pending(args: Resolution) -> Result<Exit, Failure> {
    let flags = TransferFlags::VOID_PENDING_TRANSFER;
    args.send(args.transfer(args.of, flags, 0), 0)
}

pub(super) fn reverse(args: AmountOf) -> Result<Exit, Failure> {
    let of = &args.resolution;
    of.send(of.transfer(0, 0, args.amount), of.of)
}
