//! Faults and operators' commands in any order, one after the other, while a load runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_node::admin::{Answer, Command, Condition};

use crate::harness::pair::PairOptions;
use crate::harness::{Book, Link, Load, LoadOptions, Pair, Random, report};

/// Events of the test, unless the environment wants more.
const EVENTS: u64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillPrimary,
    KillReplica,
    KillBoth,
    TerminatePrimary,
    TerminateReplica,
    StopPrimary,
    StopReplica,
    CutLink,
    HoldLink,
    PromoteOverTheLiving,
    PromoteOverTheDead,
    /// The auxiliary answers and gives up its mark.
    AloneFenced,
    /// The auxiliary is dead: only an operator's word.
    AloneUnfenced,
}

const FAULTS: [Fault; 13] = [
    Fault::KillPrimary,
    Fault::KillReplica,
    Fault::KillBoth,
    Fault::TerminatePrimary,
    Fault::TerminateReplica,
    Fault::StopPrimary,
    Fault::StopReplica,
    Fault::CutLink,
    Fault::HoldLink,
    Fault::PromoteOverTheLiving,
    Fault::PromoteOverTheDead,
    Fault::AloneFenced,
    Fault::AloneUnfenced,
];

#[test]
fn faults_and_operators_in_any_order_lose_nothing() {
    let name = "chaos::faults_and_operators_in_any_order_lose_nothing";
    let events = match std::env::var("KANJO_CHAOS_EVENTS") {
        Ok(text) => text.parse().expect("KANJO_CHAOS_EVENTS must be an integer"),
        Err(_) => EVENTS,
    };
    let begun = Instant::now();
    let mut random = Random::seeded("crash", name);
    let options = PairOptions {
        linked: true,
        configure: Some(|_, config| {
            config.heartbeat_ms = 20;
            config.peer_timeout_ms = 150;
            config.checkpoint_every_bytes = 1 << 20;
        }),
        ..PairOptions::default()
    };
    let mut pair = Pair::start_with("chaos", options);
    let addresses = pair.client_addresses();
    let book = Arc::new(Book::open(&addresses, pair.folder(), &mut random));
    let mut answered = 0;
    let mut load = None;
    for event in 0..events {
        let running = load.get_or_insert_with(|| {
            Load::start(
                &book,
                addresses.clone(),
                LoadOptions::default(),
                random.fork(),
            )
        });
        running.wait_answers(1 + random.below(300));
        let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
        let last = event + 1 == events;
        // Shown only when the test fails.
        println!("event {event}: {fault:?} at {:?}", begun.elapsed());
        befall(&mut pair, fault, &mut random);
        if last || random.chance(60) {
            pair.expect_protected();
            println!("protected at {:?}", begun.elapsed());
        }
        if last || random.chance(20) {
            running.wait_answers(50);
            answered += load.take().expect("it runs").finish().answered;
            pair.expect_protected();
            book.resolve_unknown(&addresses);
            book.check(&addresses);
            pair.expect_equal_digests();
        }
    }
    let posted = book.check_from_the_start(&addresses);
    let status = pair.expect_equal_digests();
    assert_eq!(
        status.transfers, posted,
        "every posting was answered once, and only those"
    );
    pair.shut_down_and_verify();
    let seconds = begun.elapsed().as_secs_f64();
    report::line(
        "rounds",
        &format!(
            "{name}: {events} events, {answered} transfers answered, {posted} posted, 0 lost, {seconds:.1} s"
        ),
    );
}

fn befall(pair: &mut Pair, fault: Fault, random: &mut Random) {
    match fault {
        Fault::KillPrimary => {
            pair.primary().kill();
            pair.primary().spawn();
        }
        Fault::KillReplica => {
            pair.replica().kill();
            pair.replica().spawn();
        }
        Fault::KillBoth => {
            let first = random.below(2) as usize;
            pair.nodes[first].kill();
            pair.nodes[1 - first].kill();
            for i in [random.below(2) as usize, 0, 1] {
                if !pair.nodes[i].is_running() {
                    pair.nodes[i].spawn();
                }
            }
        }
        Fault::TerminatePrimary => {
            pair.primary().shut_down();
            pair.primary().spawn();
        }
        Fault::TerminateReplica => {
            pair.replica().shut_down();
            pair.replica().spawn();
        }
        Fault::StopPrimary | Fault::StopReplica => {
            let i = if fault == Fault::StopPrimary {
                pair.primary
            } else {
                1 - pair.primary
            };
            pair.nodes[i].stop();
            a_moment(random);
            pair.nodes[i].cont();
        }
        Fault::CutLink => {
            links(pair).iter().for_each(Link::cut);
            a_moment(random);
            links(pair).iter().for_each(Link::restore);
        }
        Fault::HoldLink => {
            links(pair).iter().for_each(Link::hold);
            a_moment(random);
            links(pair).iter().for_each(Link::restore);
        }
        Fault::PromoteOverTheLiving => {
            pair.expect_protected();
            pair.promote_alone();
        }
        Fault::PromoteOverTheDead => {
            pair.expect_protected();
            // Bytes on their way are lost with the site.
            links(pair).iter().for_each(Link::hold);
            a_moment(random);
            pair.primary().kill();
            links(pair).iter().for_each(Link::cut);
            links(pair).iter().for_each(Link::restore);
            pair.promote_alone();
            pair.replica().spawn();
        }
        Fault::AloneFenced => {
            pair.primary().expect(Condition::Protected);
            go_alone(pair, "a drill", false);
        }
        Fault::AloneUnfenced => {
            pair.replica().kill();
            // From here on the replica's mark means nothing: until the pair is protected again
            // nobody may promote it.
            pair.primary()
                .expect_that("reigns", |status| status.role == "primary");
            go_alone(pair, "the auxiliary is dead", true);
            pair.primary().expect(Condition::Serving);
            pair.replica().spawn();
            pair.expect_protected();
        }
    }
}

/// It may still be alone from the time before, and says so.
fn go_alone(pair: &mut Pair, reason: &str, unfenced: bool) {
    let reason = reason.to_owned();
    match pair.primary().ask(&Command::Alone { reason, unfenced }) {
        Answer::Done { .. } => {}
        Answer::Refused { message } if message.contains("already") => {}
        // An auxiliary that is busy coming back cannot give up its mark.
        Answer::Refused { message } => assert!(
            !unfenced && message.contains("does not answer"),
            "{message}"
        ),
        other => panic!("{other:#?}"),
    }
}

/// Up to twice the time after which silence is noticed.
fn a_moment(random: &mut Random) {
    std::thread::sleep(Duration::from_millis(random.below(300)));
}

fn links(pair: &Pair) -> &[Link; 2] {
    pair.links.as_ref().expect("a linked pair")
}
