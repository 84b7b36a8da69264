//! A status in a few lines, for a person who looks for the reason of a failure.

use std::fmt::Write;

use kanjo_group::SiteReport;
use kanjo_node::status::{PeerStatus, Status};

/// Where a server and its group stand.
pub(crate) fn brief(status: &Status) -> String {
    let mut text = format!(
        "{} epoch {} {} serving {} ({}) tail {} durable {} committed {} applied {} in_sync {}\n",
        status.role,
        status.epoch,
        status.protection,
        status.serving,
        status.why_not_serving,
        status.tail_lsn,
        status.durable_lsn,
        status.committed_lsn,
        status.applied_lsn,
        status.in_sync,
    );
    for peer in &status.peers {
        text += &peer_line(peer);
    }
    let Some(group) = &status.group else {
        return text + "  no group\n";
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "  group: {} ({}) attached {}, the other site {} ms ago, fence {}",
        group.protection,
        group.why,
        group.attached,
        group.other_age_ms,
        match &group.last_fence {
            Some(fence) => fence.to_string(),
            None => "none".to_owned(),
        }
    );
    for report in group.own.iter().chain(&group.other) {
        text += &report_lines(report);
    }
    text
}

fn peer_line(peer: &PeerStatus) -> String {
    format!(
        "  peer {:?} connected {:?} member {} acked {} lag {} ({})\n",
        peer.node,
        peer.connected,
        peer.member,
        peer.acked_lsn,
        peer.lag_bytes,
        peer.last_error.as_deref().unwrap_or("no error")
    )
}

fn report_lines(report: &SiteReport) -> String {
    let register = &report.register;
    let members = register.set.iter().map(|member| member.node.get());
    let voters = report.voters.iter().map(|voter| {
        let answers = if voter.answers { "answers" } else { "silent" };
        format!("{} {answers}", voter.node)
    });
    let servers = report.servers.iter().map(|seen| {
        let (beat, silent) = (&seen.beat, seen.silent_ms);
        let fit = if beat.fit { "" } else { " unfit" };
        let cut = if seen.connected { "" } else { " cut" };
        format!("{} {}{fit}{cut} {silent} ms", beat.member.node, beat.role)
    });
    format!(
        "  site {}: version {} authority {} epoch {} active {} set {:?} {} nominee {:?} leader {:?} elections {}\n    voters {:?} servers {:?}\n",
        register.site,
        register.version,
        register.authority,
        register.reign.epoch,
        register.active,
        members.collect::<Vec<_>>(),
        register.protection.name(),
        register
            .nominee
            .map(|nominee| (nominee.node.get(), nominee.number)),
        report.leader.map(|leader| leader.get()),
        report.elections,
        voters.collect::<Vec<_>>(),
        servers.collect::<Vec<_>>(),
    )
}
