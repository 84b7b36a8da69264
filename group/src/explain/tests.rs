//! One test a rule, named after what it promises.

use super::*;
use crate::topology::{Server, Timing, Witness};

/// Servers 1, 2, … in both sites, and witnesses 11 and 12 where the voters would be even.
fn topology(first: u32, second: u32) -> Topology {
    let mut topology = Topology {
        servers: Vec::new(),
        witnesses: Vec::new(),
        third_witness: None,
        timing: Timing::default(),
    };
    let address = |node: u32, port: u32| format!("10.0.0.{node}:{port}");
    for (site, count) in [(Site::One, first), (Site::Two, second)] {
        for _ in 0..count {
            let node = topology.servers.len() as u32 + 1;
            topology.servers.push(Server {
                node: NodeId::new(node),
                site,
                client: address(node, 1),
                replication: address(node, 2),
                admin: address(node, 3),
                register: address(node, 4),
                http: None,
            });
        }
        if count.is_multiple_of(2) {
            let node = 10 + u32::from(site.number());
            topology.witnesses.push(Witness {
                node: NodeId::new(node),
                site,
                register: address(node, 4),
            });
        }
    }
    topology.check().unwrap();
    topology
}

/// Two servers and a witness in each site: 1, 2, 11 and 3, 4, 12; server 1 is the primary.
fn usual() -> Explanation {
    explain(&topology(2, 2), Site::One, false)
}

fn with_third_witness() -> Explanation {
    explain(&topology(2, 2), Site::One, true)
}

fn node(number: u32) -> NodeId {
    NodeId::new(number)
}

fn lost(numbers: &[u32]) -> Fault {
    let nodes = numbers.iter().map(|&number| node(number)).collect();
    Fault::Lost { nodes }
}

fn case<'a>(explanation: &'a Explanation, fault: &Fault) -> &'a Case {
    let mut cases = explanation.cases.iter();
    let found = cases.find(|case| case.fault == *fault);
    found.unwrap_or_else(|| panic!("no case of {fault:?}"))
}

/// Verdict and who processes then.
fn outcome(explanation: &Explanation, fault: &Fault) -> (Verdict, Option<u32>) {
    let case = case(explanation, fault);
    (case.verdict, case.processes.map(NodeId::get))
}

#[test]
fn a_lost_primary_is_replaced_by_its_sites_majority() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[1])), (Verdict::OtherServer, Some(2)));
    let case = case(&all, &lost(&[1]));
    assert_eq!(case.what, "server 1 (primary) lost");
    assert_eq!(case.in_sync_set, [node(3), node(4)]);
    let why = "site 1's majority (server 2, witness 11) chooses server 2";
    assert!(case.why.starts_with(why), "{}", case.why);
    assert!(case.why.contains("nothing answered is missing"));
}

#[test]
fn a_primary_that_its_site_cannot_reach_is_replaced_and_commits_nothing_more() {
    let all = usual();
    let cut = Fault::CutFromOwnSite { node: node(1) };
    assert_eq!(outcome(&all, &cut), (Verdict::OtherServer, Some(2)));
    let why = &case(&all, &cut).why;
    assert!(why.contains("alive or not, commits nothing"), "{why}");
}

#[test]
fn a_primary_that_alone_lost_the_other_site_is_replaced() {
    for all in [usual(), with_third_witness()] {
        let cut = Fault::CutFromOtherSite { node: node(1) };
        assert_eq!(outcome(&all, &cut), (Verdict::OtherServer, Some(2)));
        let case = case(&all, &cut);
        assert!(case.why.contains("lost the other site"), "{}", case.why);
    }
}

#[test]
fn a_lost_standby_or_witness_stops_nothing() {
    let all = usual();
    for fault in [lost(&[2]), lost(&[11]), lost(&[12])] {
        assert_eq!(outcome(&all, &fault), (Verdict::GoesOn, Some(1)));
        assert_eq!(case(&all, &fault).in_sync_set, [node(3), node(4)]);
    }
}

#[test]
fn a_witness_never_processes() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[1, 2])), (Verdict::Stops, None));
    let why = &case(&all, &lost(&[1, 2])).why;
    assert!(why.contains("witness 11 alone is no majority"), "{why}");
    assert!(why.contains("never processes"), "{why}");
    for explanation in [all, explain(&topology(4, 4), Site::Two, true)] {
        for case in explanation.cases {
            assert!(case.processes.is_none_or(|node| node.get() < 10));
        }
    }
}

#[test]
fn a_primary_without_its_sites_majority_goes_on_while_the_set_acks() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[2, 11])), (Verdict::GoesOn, Some(1)));
    let case = case(&all, &lost(&[2, 11]));
    assert!(case.why.contains("while site 2 acks"), "{}", case.why);
    assert!(case.why.contains("nobody could replace server 1"));
    assert!(case.must_not_be_lost_next.contains(&node(1)));
}

#[test]
fn without_a_majority_nobody_replaces_a_lost_primary() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[1, 11])), (Verdict::Stops, None));
    let case = case(&all, &lost(&[1, 11]));
    let why = "server 2 alone is no majority of site 1 (1 of 3)";
    assert!(case.why.contains(why), "{}", case.why);
    let to_do = "bring one of them back; or `kanjo failover` at site 2";
    assert_eq!(case.to_do, to_do);
}

#[test]
fn a_majority_that_could_act_between_two_losses_makes_a_difference() {
    let all = usual();
    let turn = |fault: &Fault| case(&all, fault).one_after_the_other.clone();
    let acted = "if server 1 is lost first, with time to act: server 2 goes on";
    assert_eq!(turn(&lost(&[1, 11])), acted);
    assert_eq!(turn(&lost(&[1, 2])), "");
    let left_out = "if the server is lost first, with time to act: server 1 goes on";
    assert_eq!(turn(&lost(&[3, 12])), left_out);
    // Which of two standbys is chosen depends on their logs.
    let three = explain(&topology(3, 2), Site::One, false);
    let case = case(&three, &lost(&[1, 2]));
    assert!(case.one_after_the_other.ends_with("it may go on"));
}

#[test]
fn a_lost_member_is_left_out_by_the_auxiliary_sites_majority() {
    let all = usual();
    for (gone, left) in [(3, 4), (4, 3)] {
        for fault in [lost(&[gone]), Fault::CutFromOtherSite { node: node(gone) }] {
            assert_eq!(outcome(&all, &fault), (Verdict::GoesOn, Some(1)));
            let case = case(&all, &fault);
            assert_eq!(case.in_sync_set, [node(left)]);
            assert!(case.must_not_be_lost_next.contains(&node(left)));
        }
    }
}

#[test]
fn a_member_that_nobody_can_leave_out_stalls_the_primary() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[3, 12])), (Verdict::Stalls, None));
    let why = &case(&all, &lost(&[3, 12])).why;
    assert!(why.contains("nobody can leave it out"), "{why}");
}

#[test]
fn the_last_member_is_never_left_out() {
    let all = usual();
    assert_eq!(outcome(&all, &lost(&[3, 4])), (Verdict::Stalls, None));
    assert_eq!(case(&all, &lost(&[3, 4])).one_after_the_other, "");
}

#[test]
fn a_lost_auxiliary_site_stalls_until_it_is_back_or_proven_to_be_off() {
    let all = usual();
    let fault = Fault::SiteLost { site: Site::Two };
    assert_eq!(outcome(&all, &fault), (Verdict::Stalls, None));
    let to_do = &case(&all, &fault).to_do;
    assert!(to_do.contains("back") && to_do.contains("proof"), "{to_do}");
    assert!(!to_do.contains("failover"), "nobody is there: {to_do}");
}

#[test]
fn a_cut_link_stalls_the_active_site_and_the_other_one_may_be_failed_over_to() {
    let all = usual();
    assert_eq!(outcome(&all, &Fault::LinkCut), (Verdict::Stalls, None));
    let to_do = &case(&all, &Fault::LinkCut).to_do;
    for part in ["mend the link", "`kanjo failover` at site 2", "authority"] {
        assert!(to_do.contains(part), "{to_do}");
    }
}

#[test]
fn a_lost_active_site_is_failed_over_by_an_operator_or_by_configuration() {
    let all = usual();
    let fault = Fault::SiteLost { site: Site::One };
    assert_eq!(outcome(&all, &fault), (Verdict::Stops, None));
    let to_do = &case(&all, &fault).to_do;
    assert!(to_do.starts_with("`kanjo failover` at site 2"), "{to_do}");
    assert!(to_do.contains("auto_failover = true"), "{to_do}");
}

#[test]
fn a_one_way_cut_is_as_a_loss() {
    for explanation in [
        usual(),
        with_third_witness(),
        explain(&topology(3, 4), Site::Two, false),
    ] {
        for case_lost in &explanation.cases {
            let Fault::Lost { nodes } = &case_lost.fault else {
                continue;
            };
            let [node] = nodes[..] else { continue };
            for fault in [Fault::Deaf { node }, Fault::Mute { node }] {
                let one_way = case(&explanation, &fault);
                assert_eq!(one_way.verdict, case_lost.verdict);
                assert_eq!(one_way.processes, case_lost.processes);
            }
        }
    }
}

#[test]
fn four_servers_and_a_witness_survive_any_two_losses_and_three_servers_one() {
    for active in [Site::One, Site::Two] {
        let all = explain(&topology(4, 4), active, false);
        let three = explain(&topology(3, 3), active, false);
        let serves = |explanation: &Explanation, most: usize| {
            explanation.cases.iter().all(|case| match &case.fault {
                Fault::Lost { nodes } if nodes.len() <= most => case.verdict.serves(),
                _ => true,
            })
        };
        assert!(serves(&all, 2) && !serves(&all, 3));
        assert!(serves(&three, 1) && !serves(&three, 2));
    }
}

#[test]
fn a_site_of_one_server_is_lost_with_it() {
    let all = explain(&topology(1, 1), Site::One, false);
    let site = |site| Fault::SiteLost { site };
    for (server, fault) in [(1, site(Site::One)), (2, site(Site::Two))] {
        let (alone, whole) = (case(&all, &lost(&[server])), case(&all, &fault));
        assert_eq!(alone.verdict, whole.verdict);
        assert_eq!((&alone.why, &alone.to_do), (&whole.why, &whole.to_do));
    }
    let said = &all.facts[3];
    assert!(said.contains("server 1 or server 2"), "{said}");
}

#[test]
fn with_a_third_witness_one_site_goes_on_by_itself_and_only_one() {
    let all = with_third_witness();
    let site = |site| Fault::SiteLost { site };
    let alone = (Verdict::AloneByThirdWitness, Some(1));
    assert_eq!(outcome(&all, &site(Site::Two)), alone);
    assert_eq!(outcome(&all, &Fault::LinkCut), alone);
    assert_eq!(outcome(&all, &lost(&[3, 12])), alone);
    assert_eq!(case(&all, &Fault::LinkCut).in_sync_set, [node(2)]);
    let over = (Verdict::OtherSiteByThirdWitness, Some(3));
    assert_eq!(outcome(&all, &site(Site::One)), over);
    assert_eq!(outcome(&all, &lost(&[1, 11])), over);
    assert_eq!(case(&all, &lost(&[1, 11])).in_sync_set, [node(4)]);
    let why = &case(&all, &Fault::LinkCut).why;
    assert!(why.contains("if that asks first"), "{why}");
    let all_serve = |one: &&Case| !matches!(one.fault, Fault::ThirdWitnessLost);
    let others = all.cases.iter().filter(all_serve);
    for case in others {
        let third_lost = matches!(
            case.fault,
            Fault::ThirdWitnessAndSiteLost { .. } | Fault::ThirdWitnessLostAndLinkCut
        );
        assert_ne!(case.verdict.serves(), third_lost, "{case:#?}");
    }
}

#[test]
fn a_lost_third_witness_stops_nothing_but_every_move_of_authority() {
    let all = with_third_witness();
    let outcome_of = |fault| outcome(&all, &fault);
    assert_eq!(
        outcome_of(Fault::ThirdWitnessLost),
        (Verdict::GoesOn, Some(1))
    );
    for site in [Site::One, Site::Two] {
        let fault = Fault::ThirdWitnessAndSiteLost { site };
        let case = case(&all, &fault);
        assert!(!case.verdict.serves());
        assert!(case.to_do.contains("an operator's too"), "{}", case.to_do);
    }
}

#[test]
fn both_sites_have_the_same_rules() {
    // Mirrored: what is said of one site as the active one is said of the other.
    for third in [false, true] {
        let first = explain(&topology(2, 2), Site::One, third);
        let second = explain(&topology(2, 2), Site::Two, third);
        let verdicts = |all: &Explanation| -> Vec<Verdict> {
            all.cases.iter().map(|case| case.verdict).collect()
        };
        assert_eq!(verdicts(&first), verdicts(&second));
        assert_eq!(second.primary, node(3));
    }
}

#[test]
fn what_serves_waits_for_somebody_elses_disk_unless_it_says_degraded() {
    for (first, second) in [(1, 1), (2, 2), (3, 2), (2, 4), (4, 4), (1, 3)] {
        for active in [Site::One, Site::Two] {
            for third in [false, true] {
                for case in explain(&topology(first, second), active, third).cases {
                    let alone = case.verdict.serves() && case.in_sync_set.is_empty();
                    assert_eq!(alone, case.why.contains("DEGRADED"), "{case:#?}");
                    let itself = case
                        .processes
                        .is_some_and(|p| case.in_sync_set.contains(&p));
                    assert!(!itself, "{case:#?}");
                }
            }
        }
    }
}

#[test]
fn equal_cases_stand_in_one_line_and_every_case_in_one() {
    let all = usual();
    let counted: usize = all.lines.iter().map(|line| line.cases).sum();
    assert_eq!(counted, all.cases.len());
    let what: Vec<&str> = all.lines.iter().map(|line| line.what.as_str()).collect();
    for line in [
        "server 1 (primary) lost, or cut off from its own site",
        "server 2 lost, or cut off from either site; witness 11 lost, or cut off from its own site",
        "server 3 or server 4 lost, or cut off from the other site",
        "witness 12 and server 3 or server 4 lost",
        "server 3 and server 4 lost; site 2 lost",
        "the link between the sites cut, in one direction or both",
    ] {
        assert!(what.contains(&line), "{line}: {what:#?}");
    }
    let four = explain(&topology(4, 4), Site::One, false);
    let what: Vec<&str> = four.lines.iter().map(|line| line.what.as_str()).collect();
    let any = "any two of server 2, server 3, server 4 and witness 11 lost";
    assert!(what.contains(&any), "{what:#?}");
    assert!(four.lines.len() < 25, "{what:#?}");
}
