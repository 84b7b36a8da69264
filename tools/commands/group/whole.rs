//! `kanjo status --cluster-file`: both sites on one screen, once or again and again.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use kanjo_format::{Site, Timestamp};
use kanjo_group::{SiteReport, Topology};
use kanjo_node::status::{FOLLOWS, GroupStatus, Status};
use serde_json::json;

use super::super::status::{catching_up, lag};
use super::last_switch::{last_switch, show_switch};
use super::{Heard, ask_all, load};
use crate::exit::{Exit, Failure};
use crate::output::{Output, table};
use crate::times::{show_duration, show_second};

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(1);
/// Who has not heard the third witness, or a register, for so long takes it for silent.
const SILENT_MS: u64 = 2_000;
const NOBODY: &str = "NOBODY PROCESSES";
const SEVERAL: &str = "SEVERAL SERVERS ANSWER. If they still do a moment later, two sites go on without each other and what one of them answers will be lost: stop one at once";
/// Where the table of servers shows how far a server is behind, as the writer says.
const LAG_COLUMN: usize = 8;

/// Shows all servers and both registers; with `watch` until it is stopped.
pub(in crate::commands) fn run(file: &Path, watch: bool, as_json: bool) -> Result<Exit, Failure> {
    let topology = load(file)?;
    loop {
        let heard = ask_all(&topology);
        let mut output = Output::new();
        if as_json {
            output.json_line(&as_value(&heard))?;
        } else {
            if watch && std::io::stdout().is_terminal() {
                output.clear_screen()?;
            }
            show(&topology, &heard, &mut output)?;
        }
        output.flush()?;
        output.finish()?;
        if !watch {
            return match serving(&heard).count() {
                0 => Err(Failure::new(
                    Exit::Unreached,
                    "no server serves: nothing is answered",
                )),
                1 => Ok(Exit::Done),
                _ => Err(Failure::failed(SEVERAL)),
            };
        }
        std::io::stdout().flush()?;
        std::thread::sleep(AGAIN);
    }
}

/// Who answers new transfers: one, or something has gone wrong.
fn serving(heard: &[Heard]) -> impl Iterator<Item = &Status> {
    heard.iter().filter_map(status).filter(|s| s.serving)
}

fn status(one: &Heard) -> Option<&Status> {
    one.status.as_ref().ok().map(|status| &**status)
}

fn as_value(heard: &[Heard]) -> serde_json::Value {
    let servers: Vec<_> = heard
        .iter()
        .map(|one| match &one.status {
            Ok(status) => {
                json!({ "node": one.server.node, "site": one.server.site, "status": status })
            }
            Err(why) => json!({ "node": one.server.node, "site": one.server.site, "error": why }),
        })
        .collect();
    json!({ "servers": servers })
}

fn show(topology: &Topology, heard: &[Heard], output: &mut Output) -> Result<(), Failure> {
    let groups: Vec<&GroupStatus> = heard
        .iter()
        .filter_map(|one| status(one)?.group.as_ref())
        .collect();
    output.line(headline(heard))?;
    output.line(servers(heard))?;
    output.line(registers(topology, &groups))?;
    if let Some(third) = third_witness(topology, &groups) {
        output.line(third)?;
    }
    let waiting = waiting_writer(heard);
    for one in heard {
        if let Err(why) = &one.status {
            output.line(format!("node {}: {why}", one.server.node))?;
        } else if let Some(status) = status(one).filter(|s| has_reason(s, waiting)) {
            output.line(format!("node {}: {}", status.node, status.why_not_serving))?;
        }
    }
    if let Some(stage) = groups.iter().find_map(|group| group.switching) {
        output.line(format!("planned switch: {}", stage.text()))?;
    }
    let statuses: Vec<&Status> = heard.iter().filter_map(status).collect();
    if let Some(switch) = last_switch(&statuses) {
        output.line(format!("last switch: {}", show_switch(&switch)))?;
    }
    let fence = groups.iter().filter_map(|g| g.last_fence.as_ref());
    if let Some(fence) = fence.max_by_key(|fence| fence.opened) {
        let at = show_second(Timestamp::new(fence.at_ms.saturating_mul(1_000_000)));
        output.line(format!("last fence: {fence}, {at}"))?;
    }
    Ok(())
}

/// Who alone is to process and does not: the headline has its reason.
fn waiting_writer(heard: &[Heard]) -> Option<&Status> {
    let mut others = heard
        .iter()
        .filter_map(status)
        .filter(|s| s.role != "replica");
    let one = others.next()?;
    let waits = others.next().is_none() && one.role == "primary" && !one.serving;
    waits.then_some(one)
}

/// Whether a server's reason not to answer is told in a line of its own.
fn has_reason(one: &Status, headline_of: Option<&Status>) -> bool {
    let told = headline_of.is_some_and(|writer| writer.node == one.node);
    !one.serving && one.why_not_serving != FOLLOWS && !told
}

/// Whether a site could go on without the other one, and which of them has been let.
fn third_witness(topology: &Topology, groups: &[&GroupStatus]) -> Option<String> {
    let named = topology.third_witness.as_ref()?;
    let told = groups
        .iter()
        .filter_map(|g| Some((g.third.as_ref()?, g.third_age_ms?)));
    let Some((third, _)) = told
        .min_by_key(|(_, age)| *age)
        .filter(|(_, age)| *age < SILENT_MS)
    else {
        return Some(format!(
            "third witness: node {} IS NOT HEARD: no site could go on without the other one",
            named.node
        ));
    };
    let holders = groups.iter().filter_map(|group| holder(group));
    let reign = holders.max_by_key(|r| r.register.reign.epoch)?;
    let knows = match reign.register.reign.third {
        Some(mark) if mark == third.mark => "knows the current epoch".to_owned(),
        Some(mark) => match third.decides.filter(|site| third.has_given(mark, *site)) {
            Some(site) => format!("has let site {site} go on without the other one, and only that"),
            None => "does not know the current epoch: the primary opens another one".to_owned(),
        },
        None => {
            "was silent when the current epoch was opened: the primary opens another one".to_owned()
        }
    };
    Some(format!("third witness: node {}, {knows}", named.node))
}

fn headline(heard: &[Heard]) -> String {
    if serving(heard).count() > 1 {
        let who = serving(heard).map(|s| format!("node {} in epoch {}", s.node, s.epoch));
        let who: Vec<String> = who.collect();
        return format!("{}: {SEVERAL}", who.join(" and "));
    }
    let Some(status) = serving(heard).next() else {
        return waiting_writer(heard).map_or_else(|| NOBODY.to_owned(), nobody_processes);
    };
    let protection = status.group.as_ref().map(|group| group.protection.as_str());
    let protection = protection.unwrap_or("UNKNOWN");
    let protection = match catching_up(status) {
        Some(who) => format!("{protection}, {who}"),
        None => protection.to_owned(),
    };
    format!(
        "site {} processes: node {} in epoch {}, {protection}",
        status.site, status.node, status.epoch
    )
}

/// What the server that is to process waits for. How commits are protected tells nothing where there are
/// none, unless it is why.
fn nobody_processes(writer: &Status) -> String {
    let mut told = NOBODY.to_owned();
    if writer.protection != "PROTECTED" {
        told = format!("{told}: {}", writer.protection);
    }
    if let Some(who) = catching_up(writer) {
        told = format!("{told}, {who}");
    }
    format!("{told}; node {}: {}", writer.node, writer.why_not_serving)
}

fn servers(heard: &[Heard]) -> comfy_table::Table {
    let columns = [
        "site",
        "node",
        "role",
        "epoch",
        "serves",
        "in set",
        "tail lsn",
        "committed",
        "lag",
        "round trip",
    ];
    let mut rows = table(&columns, &[6, 7, LAG_COLUMN, 9]);
    let writer = heard
        .iter()
        .filter_map(status)
        .find(|s| s.role == "primary");
    for one in heard {
        let site = one.server.site.to_string();
        let node = one.server.node.to_string();
        let number = Some(one.server.node.get());
        let peer = writer.and_then(|w| w.peers.iter().find(|p| p.node == number));
        let behind = peer.map_or_else(String::new, lag);
        let Some(status) = status(one) else {
            let mut row = vec![site, node, "unreachable".to_owned()];
            row.resize(LAG_COLUMN, String::new());
            row.push(behind);
            rows.add_row(row);
            continue;
        };
        rows.add_row([
            site,
            node,
            status.role.clone(),
            status.epoch.clone(),
            if status.serving { "yes" } else { "" }.to_owned(),
            in_set(status, writer),
            status.tail_lsn.to_string(),
            status.committed_lsn.to_string(),
            behind,
            peer.and_then(|peer| peer.round_trip_us)
                .map_or_else(String::new, |micros| {
                    show_duration(Duration::from_micros(micros))
                }),
        ]);
    }
    rows
}

/// Whether the register that the writer goes by names it, as the writer says.
fn in_set(status: &Status, writer: Option<&Status>) -> String {
    let reports = writer.and_then(|w| w.group.as_ref());
    let holder = reports.and_then(holder);
    let named = holder.is_some_and(|report| {
        let mut set = report.register.set.iter();
        set.any(|m| m.node.get() == status.node && m.incarnation.to_string() == status.incarnation)
    });
    if named { "yes" } else { "" }.to_owned()
}

fn holder(group: &GroupStatus) -> Option<&SiteReport> {
    let reports = group.own.iter().chain(&group.other);
    reports.into_iter().find(|r| r.register.holds_authority())
}

/// The newest report of a site's register, or how long ago it was heard last: milliseconds.
fn newest<'g>(groups: &[&'g GroupStatus], site: Site) -> Result<&'g SiteReport, Option<u64>> {
    let own = groups.iter().filter_map(|g| Some((g.own.as_ref()?, 0)));
    let other = groups.iter();
    let other = other.filter_map(|g| Some((g.other.as_ref()?, g.other_age_ms)));
    let of_site = own.chain(other).filter(|(r, _)| r.register.site == site);
    let told: Vec<(&SiteReport, u64)> = of_site.collect();
    let fresh = told.iter().filter(|(_, age)| *age < SILENT_MS);
    let newest = fresh.max_by_key(|(r, _)| (r.leader.is_some(), r.register.version));
    let silent = told.iter().map(|(_, age)| *age).min();
    newest.map(|(report, _)| *report).ok_or(silent)
}

fn registers(topology: &Topology, groups: &[&GroupStatus]) -> comfy_table::Table {
    let columns = [
        "site",
        "register",
        "leader",
        "voters",
        "processes",
        "elections",
    ];
    let mut rows = table(&columns, &[5]);
    for site in [Site::One, Site::Two] {
        let report = match newest(groups, site) {
            Ok(report) => report,
            Err(silent) => {
                let silent = silent.map(|ms| show_duration(Duration::from_millis(ms)));
                let silent = silent.map_or_else(String::new, |time| format!(" for {time}"));
                rows.add_row(vec![site.to_string(), format!("NOT HEARD{silent}")]);
                continue;
            }
        };
        let all = topology.voters_of(site).count();
        let answering = report.voters.iter().filter(|voter| voter.answers).count();
        rows.add_row([
            site.to_string(),
            report.register.authority.to_string(),
            report
                .leader
                .map_or_else(|| "no majority".to_owned(), |n| format!("node {n}")),
            format!("{answering} of {all}"),
            report
                .register
                .nominee
                .map_or_else(|| "nobody yet".to_owned(), |n| format!("node {}", n.node)),
            report.elections.to_string(),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use kanjo_group::topology::Server;

    use super::*;

    fn heard(node: u32, role: &str, protection: &str, why: &str) -> Heard {
        let status = Status {
            node,
            role: role.to_owned(),
            protection: protection.to_owned(),
            serving: why.is_empty(),
            why_not_serving: why.to_owned(),
            ..Status::default()
        };
        Heard {
            server: Server {
                node: kanjo_format::NodeId::new(node),
                site: Site::One,
                client: String::new(),
                replication: String::new(),
                admin: String::new(),
                register: String::new(),
                http: None,
            },
            status: Ok(Box::new(status)),
            clock: None,
        }
    }

    #[test]
    fn where_nobody_processes_the_first_line_says_what_the_writer_waits_for() {
        let why = "the other server of this site cannot be reached";
        let first = |protection| {
            headline(&[
                heard(1, "primary", protection, why),
                heard(2, "replica", "", FOLLOWS),
            ])
        };
        assert_eq!(
            first("ONE SITE ONLY"),
            format!("NOBODY PROCESSES: ONE SITE ONLY; node 1: {why}")
        );
        assert_eq!(
            first("PROTECTED"),
            format!("NOBODY PROCESSES; node 1: {why}")
        );
    }

    #[test]
    fn a_reason_is_told_once_and_an_old_writers_is_not_taken_for_that_of_the_next() {
        let old = || heard(1, "primary", "PROTECTED", "nobody acks");
        let told = |all: &[Heard]| {
            let waiting = waiting_writer(all);
            let of = |one: &Heard| status(one).is_some_and(|s| has_reason(s, waiting));
            all.iter().map(of).collect::<Vec<bool>>()
        };
        assert_eq!(told(&[old()]), [false], "the headline has it");
        let opening = [old(), heard(3, "resolving", "WAITING", "it opens an epoch")];
        assert_eq!(headline(&opening), NOBODY);
        assert_eq!(told(&opening), [true, true]);
        let taken_over = [old(), heard(3, "primary", "PROTECTED", "")];
        assert!(headline(&taken_over).contains("node 3"));
        assert_eq!(told(&taken_over), [true, false]);
    }
}
