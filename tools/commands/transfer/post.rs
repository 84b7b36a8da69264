//! Posting one transfer for certain, and saying how it ended.

use kanjo_client::TransferDetailBody;
use kanjo_format::Timestamp;
use serde_json::json;

use super::result_name;
use crate::commands::cluster::ClusterArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::times::show_time;

/// Sends it as a detailed transfer only if something about it is: a node of an older version
/// then still takes all others.
pub(super) fn post(
    cluster: &ClusterArgs,
    detail: TransferDetailBody,
    json: bool,
) -> Result<Exit, Failure> {
    let id = detail.transfer.id;
    let plain = TransferDetailBody {
        transfer: detail.transfer,
        ..TransferDetailBody::default()
    };
    cluster.with_client(async |client| {
        let timeout = cluster.timeout;
        let resolved = match detail == plain {
            true => {
                client
                    .create_transfers_resolved(&[detail.transfer], timeout)
                    .await
            }
            false => {
                client
                    .create_transfers_detailed_resolved(&[detail], timeout)
                    .await
            }
        };
        let resolved = resolved
            .map_err(|error| Failure::from(error).with(&format!("the transfer is --id {id}")))?;
        let (result, time, posted) = resolved.first().map_or((0, 0, false), |one| {
            (one.result.result, one.result.timestamp, one.posted())
        });
        let name = result_name(result);
        let mut output = Output::new();
        if json {
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
