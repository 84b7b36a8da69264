//! SIGKILL at random moments, with real processes: nothing that was answered is lost, nothing is
//! posted twice, and what was not answered ends in exactly one way.
//!
//! 50 rounds in all. `KANJO_CRASH_ROUNDS=N` makes it N, shared out in the same proportion;
//! `KANJO_SEED=S` replays the schedule of a seed.

#[path = "../harness/mod.rs"]
mod harness;

mod chaos;
mod power;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_node::admin::Condition;

use harness::load::Counts;
use harness::pair::PairOptions;
use harness::{Book, Link, Load, LoadOptions, Pair, Random, report};

/// Rounds of all tests together, unless the environment wants more.
const ROUNDS: u64 = 50;
/// Requests answered before every kill.
const ANSWERS_BEFORE_KILL: u64 = 1_000;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Primary,
    Replica,
    Both,
}

/// What the rounds of one test came to.
#[derive(Debug, Default)]
struct Totals {
    rounds: u64,
    /// Kills after which requests that were in flight had no answer.
    met_in_flight: u64,
    /// Kills at which also the link was cut, with what was in it.
    cuts: u64,
    second_kills: u64,
    promotions: u64,
    requests: u64,
    answered: u64,
    unknown: u64,
    existed: usize,
    created: usize,
}

/// The rounds that fall to a test with this share of a hundred.
fn rounds(share: u64) -> u64 {
    let all = match std::env::var("KANJO_CRASH_ROUNDS") {
        Ok(text) => text.parse().expect("KANJO_CRASH_ROUNDS must be an integer"),
        Err(_) => ROUNDS,
    };
    (all * share).div_ceil(100)
}

#[test]
fn answered_transfers_survive_sigkill_of_the_primary() {
    let name = "answered_transfers_survive_sigkill_of_the_primary";
    run_rounds(name, Victim::Primary, rounds(40));
}

#[test]
fn answered_transfers_survive_sigkill_of_the_replica() {
    let name = "answered_transfers_survive_sigkill_of_the_replica";
    run_rounds(name, Victim::Replica, rounds(30));
}

#[test]
fn answered_transfers_survive_sigkill_of_both() {
    let name = "answered_transfers_survive_sigkill_of_both";
    run_rounds(name, Victim::Both, rounds(30));
}

fn run_rounds(name: &str, victim: Victim, rounds: u64) {
    let begun = Instant::now();
    let mut random = Random::seeded("crash", name);
    let options = PairOptions {
        linked: true,
        ..PairOptions::default()
    };
    let mut pair = Pair::start_with("crash", options);
    let addresses = pair.client_addresses();
    let book = Arc::new(Book::open(&addresses, pair.folder(), &mut random));
    let mut totals = Totals::default();
    for _ in 0..rounds {
        run_round(&mut pair, &book, victim, &mut random, &mut totals);
    }
    let posted = book.check_from_the_start(&addresses);
    let status = pair.expect_equal_digests();
    assert_eq!(
        status.transfers, posted,
        "every posting was answered once, and only those"
    );
    pair.shut_down_and_verify();
    assert!(
        totals.met_in_flight > 0,
        "no kill met a request in flight: {totals:?}"
    );
    let text = format!(
        "{name}: {} kills of {victim:?}, {} of them met requests in flight, {} with the link cut too, {} more while coming back; \
         {} requests of {} transfers answered, {} with unknown outcome ({} had posted, {} posted by the retry), \
         {} promotions, {posted} posted, 0 lost, {:.1} s",
        totals.rounds,
        totals.met_in_flight,
        totals.cuts,
        totals.second_kills,
        totals.requests,
        totals.answered,
        totals.unknown,
        totals.existed,
        totals.created,
        totals.promotions,
        begun.elapsed().as_secs_f64(),
    );
    report::line("rounds", &text);
}

fn run_round(
    pair: &mut Pair,
    book: &Arc<Book>,
    victim: Victim,
    random: &mut Random,
    totals: &mut Totals,
) {
    let addresses = pair.client_addresses();
    let load = Load::start(
        book,
        addresses.clone(),
        LoadOptions::default(),
        random.fork(),
    );
    load.wait_requests(ANSWERS_BEFORE_KILL + random.below(400));
    // A killed process leaves bytes in its sockets, which still arrive: a lost site does not.
    let cut = random.chance(60);
    if cut {
        totals.cuts += 1;
        links(pair).iter().for_each(Link::hold);
    }
    wait_for_a_random_moment(random);
    let replica = 1 - pair.primary;
    match victim {
        Victim::Primary => pair.primary().kill(),
        Victim::Replica => pair.replica().kill(),
        Victim::Both => {
            let first = random.below(2) as usize;
            pair.nodes[first].kill();
            pair.nodes[1 - first].kill();
        }
    }
    if cut {
        links(pair).iter().for_each(Link::cut);
        links(pair).iter().for_each(Link::restore);
    }
    // Nobody can answer now: what is in flight here was in flight at the kill.
    let at_kill = load.counts();
    come_back(pair, victim, random, totals);
    let after = finish_load(load, victim, random);
    assert!(after.requests >= ANSWERS_BEFORE_KILL, "{after:?}");

    totals.rounds += 1;
    totals.met_in_flight += u64::from(at_kill.in_flight > 0 || after.unknown > 0);
    totals.requests += after.requests;
    totals.answered += after.answered;
    totals.unknown += after.unknown;
    if victim == Victim::Replica {
        assert_eq!(
            after.unknown + after.not_done,
            0,
            "the primary lived: it answers in the end: {after:#?}"
        );
        assert_eq!(replica, 1 - pair.primary);
    }
    pair.expect_protected();
    let resolution = book.resolve_unknown(&addresses);
    totals.existed += resolution.existed;
    totals.created += resolution.created;
    let posted = book.check(&addresses);
    let status = pair.primary().expect(Condition::Idle);
    assert_eq!(
        status.transfers, posted,
        "every posting was answered once, and only those"
    );
}

fn links(pair: &Pair) -> &[Link; 2] {
    pair.links.as_ref().expect("a linked pair")
}

/// Less than the time of a few commits.
fn wait_for_a_random_moment(random: &mut Random) {
    let moment = Instant::now() + Duration::from_micros(random.below(4_000));
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

/// Brings the killed ones back, one way or the other; now and then they are killed once more
/// while they come back.
fn come_back(pair: &mut Pair, victim: Victim, random: &mut Random, totals: &mut Totals) {
    if random.chance(25) {
        totals.second_kills += 1;
        let victims: &[usize] = match victim {
            Victim::Primary => &[pair.primary],
            Victim::Replica => &[1 - pair.primary],
            Victim::Both => &[0, 1],
        };
        for &i in victims {
            pair.nodes[i].spawn();
        }
        let moment = Instant::now() + Duration::from_millis(random.below(60));
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        for &i in victims {
            pair.nodes[i].kill();
        }
    }
    let promote = victim == Victim::Primary && random.chance(50);
    if promote {
        totals.promotions += 1;
        pair.promote_alone();
        pair.replica().spawn();
        return;
    }
    let first = random.below(2) as usize;
    for i in [first, 1 - first] {
        if !pair.nodes[i].is_running() {
            pair.nodes[i].spawn();
        }
    }
}

/// Lets the load see that the pair serves again, then ends it.
fn finish_load(load: Load, victim: Victim, random: &mut Random) -> Counts {
    let more = if victim == Victim::Replica { 100 } else { 20 };
    load.wait_answers(more + random.below(100));
    load.finish()
}
