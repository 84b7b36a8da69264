//! `kanjo format`: makes an empty directory a node's data directory.

use std::path::PathBuf;

use clap::ValueEnum;
use kanjo_format::control::{Control, Role};
use kanjo_format::limits::{
    PAGE_BYTES, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
use kanjo_format::{ClusterId, Incarnation, NodeId, Site};
use kanjo_wal::DataDir;
use serde_json::json;

use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::output::{Output, facts};
use crate::quantities::{parse_size, show_size};

const EXAMPLES: &str = "\
Examples:
  The first node of a new cluster; it prints the cluster's id:
    kanjo format --dir /srv/kanjo --new-cluster --node 1 --site 1
  The other node, which begins as auxiliary:
    kanjo format --dir /srv/kanjo --cluster 5f0c…e1 --node 2 --site 2
  A node whose disk was lost, in the site that is auxiliary now; it is seeded by the primary:
    kanjo format --dir /srv/kanjo --cluster 5f0c…e1 --node 1 --site 1 --role auxiliary";

/// Make an empty directory a node's data directory.
///
/// Every directory gets an identity of its own (its incarnation), so that a wiped disk never
/// passes for what it was. All nodes of a cluster share the cluster id and the segment size.
/// Format exactly one primary: a second one would begin another history under the same id.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(group = clap::ArgGroup::new("which").required(true).args(["cluster", "new_cluster"]))]
pub(crate) struct Args {
    /// The directory; it is made if it is not there, and refused if it is not empty
    #[arg(long)]
    dir: PathBuf,
    /// The cluster that this node belongs to: 32 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = parse_cluster)]
    cluster: Option<ClusterId>,
    /// Draw the id of a new cluster, and print it
    #[arg(long)]
    new_cluster: bool,
    /// The node's number, different on every node of the cluster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    node: u32,
    /// The cloud that it stands in: 1 or 2
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    site: u8,
    /// What it begins as [default: primary in site 1, auxiliary in site 2]
    #[arg(long, value_enum)]
    role: Option<BeginAs>,
    /// Size of every file of the log, the same on all nodes: 2MiB to 1GiB
    #[arg(long, value_name = "SIZE", alias = "segment-bytes", value_parser = parse_segment_size,
        default_value = "64MiB")]
    segment_size: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BeginAs {
    /// Opens the first epoch and takes transfers
    Primary,
    /// Follows the primary
    #[value(alias = "replica")]
    Auxiliary,
}

const _: () = assert!(SEGMENT_BYTES_DEFAULT == 64 << 20);

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = match args.cluster {
        Some(cluster) => cluster,
        None => ClusterId::new(draw()?),
    };
    let site = Site::from_number(args.site).ok_or_else(|| Failure::usage("a site is 1 or 2"))?;
    let role = match (args.role, site) {
        (Some(BeginAs::Primary), _) | (None, Site::One) => Role::Primary,
        (Some(BeginAs::Auxiliary), _) | (None, Site::Two) => Role::Replica,
    };
    let control = fresh(
        cluster,
        NodeId::new(args.node),
        site,
        role,
        args.segment_size,
    )?;
    DataDir::format(&args.dir, &control)?;
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "dir": args.dir,
            "cluster": cluster.to_string(),
            "node": args.node,
            "site": args.site,
            "role": role.name(),
            "incarnation": control.incarnation.to_string(),
            "segment_bytes": args.segment_size,
        }))?;
    } else {
        output.line(facts(&[
            ("formatted", args.dir.display().to_string()),
            ("cluster", cluster.to_string()),
            ("node", format!("{} in site {site}", args.node)),
            ("begins as", begins_as(role).to_owned()),
            ("incarnation", control.incarnation.to_string()),
            ("segments", show_size(args.segment_size)),
        ]))?;
        if args.new_cluster {
            let next = "format the other node with --cluster";
            output.line(format!("\n{next} {cluster}"))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

/// What the control file of a directory says in which nothing has happened.
fn fresh(
    cluster: ClusterId,
    node: NodeId,
    site: Site,
    role: Role,
    segment_bytes: u64,
) -> Result<Control, Failure> {
    Ok(Control::fresh(
        cluster,
        (node, Incarnation::new(draw()?)),
        site,
        role,
        segment_bytes,
    ))
}

const fn begins_as(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary (in a group its registers say)",
        Role::Replica => "auxiliary",
    }
}

/// A random number that is not zero, which stands for "none".
pub(super) fn draw() -> Result<u128, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed(format!("the system gives no random bytes: {error}")))?;
    Ok(u128::from_le_bytes(random).max(1))
}

pub(crate) fn parse_cluster(text: &str) -> Result<ClusterId, String> {
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a cluster id has 32 hexadecimal digits; --new-cluster draws one".to_owned());
    }
    let cluster: ClusterId = text.parse().map_err(|_| "is no number".to_owned())?;
    match cluster.get() {
        0 => Err("zero is no cluster".to_owned()),
        _ => Ok(cluster),
    }
}

/// A size that a segment may have, for instance `64MiB`.
pub(crate) fn parse_segment_size(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    let (least, most) = (show_size(SEGMENT_BYTES_MIN), show_size(SEGMENT_BYTES_MAX));
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
        return Err(format!("is not within {least} to {most}"));
    }
    if !bytes.is_multiple_of(PAGE_BYTES) {
        return Err(format!("is not a multiple of {PAGE_BYTES} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_exactly_32_digits_and_a_segment_whole_pages() {
        assert!(parse_cluster(&"0f".repeat(16)).is_ok());
        for wrong in ["", "1", &"0".repeat(32), &"g".repeat(32), &"1".repeat(33)] {
            assert!(parse_cluster(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_segment_size("2MiB"), Ok(2 << 20));
        for wrong in ["1MiB", "2GiB", "3000000", "64"] {
            assert!(parse_segment_size(wrong).is_err(), "{wrong}");
        }
    }
}
