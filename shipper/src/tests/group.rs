//! Four servers of two sites and a register, in one thread under a seed.
//!
//! Frames are delayed, dropped, doubled, repeated in a later connection, cut off one way or both;
//! servers lose what they had not synced, sometimes what they had, are wiped, stopped and started
//! again; the register's answers are lost and its questions come late; operators take over and let
//! a writer answer alone. Checked at every step: no base lacks what was answered, each member of
//! the register's set has it on its disk, an epoch has one writer, nobody commits what a higher
//! epoch's base lacks, commits are one history. In the end, with faults healed, commits go on.

mod checks;
mod listening;
mod membership;
mod net;
mod node;
mod opening;
mod register;
mod sim;
mod tally;
mod writing;

use std::ops::Range;
use std::panic::{catch_unwind, resume_unwind};

use crate::group_opening::Mistake;
use sim::{Fault, Sim};
use tally::Tally;

/// How many seeds the normal run takes.
const SEEDS: u64 = 300;
/// In how many of them, from one on, a planted mistake has to show.
const MISTAKE_SEEDS: u64 = 600;
/// A campaign has at least so many seeds; `GROUP_SEEDS` says how many.
const CAMPAIGN_SEEDS: u64 = 10_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
}

fn run_seeds(seeds: Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        match catch_unwind(|| Sim::new(seed, None).run()) {
            Ok(one) => tally.add(&one),
            Err(panic) => {
                eprintln!("seed {seed} failed: set ONLY_GROUP_SEED={seed} to replay it");
                resume_unwind(panic);
            }
        }
    }
    tally
}

#[test]
fn what_a_group_answered_survives_and_is_one_history_under_faults() {
    let only = from_environment("ONLY_GROUP_SEED");
    let count = from_environment("GROUP_SEEDS").unwrap_or(SEEDS);
    let tally = run_seeds(only.map_or(0..count, |seed| seed..seed + 1));
    if only.is_none() && count >= SEEDS {
        // The faults bite only if the runs get somewhere.
        let in_a_hundred = |n: u64| n * count / 100;
        assert!(tally.commits > in_a_hundred(2_500), "{tally:?}");
        assert!(tally.epochs > in_a_hundred(400), "{tally:?}");
        assert!(tally.crashes > in_a_hundred(300), "{tally:?}");
        assert!(tally.failovers > in_a_hundred(40), "{tally:?}");
        assert!(tally.sets > in_a_hundred(300), "{tally:?}");
        assert!(tally.wiped > in_a_hundred(20), "{tally:?}");
        assert!(tally.lost > in_a_hundred(10), "{tally:?}");
        assert!(tally.alone > in_a_hundred(3), "{tally:?}");
        assert!(tally.fetched > in_a_hundred(500), "{tally:?}");
        assert!(tally.cuts > in_a_hundred(100), "{tally:?}");
        assert!(tally.waits > in_a_hundred(100), "{tally:?}");
        assert!(tally.stops > in_a_hundred(10), "{tally:?}");
        assert!(tally.reads > in_a_hundred(700), "{tally:?}");
    }
}

#[test]
fn the_same_seed_runs_a_group_the_same_way_twice() {
    for seed in 0..5 {
        assert_eq!(Sim::new(seed, None).run(), Sim::new(seed, None).run());
    }
}

/// The first seed whose run notices that mistake, and nothing without it.
fn first_to_find(fault: Fault, mut seeds: Range<u64>) -> Option<u64> {
    let fails = |seed, fault| catch_unwind(|| Sim::new(seed, fault).run()).is_err();
    seeds.find(|seed| fails(*seed, Some(fault)) && !fails(*seed, None))
}

#[test]
fn planted_mistakes_are_found() {
    for (fault, from) in [
        (Fault::Opening(Mistake::BaseFromOutside), 0),
        (Fault::Opening(Mistake::OpensUnsealed), 0),
        (Fault::Opening(Mistake::ShrinksLocally), 0),
        (Fault::GateBeforeRegister, 0),
        // Shows in one seed of a thousand: begun where it does.
        (Fault::UnnumberedChanges, 1_500),
    ] {
        let found = first_to_find(fault, from..from + MISTAKE_SEEDS);
        assert!(found.is_some(), "{fault:?} was not noticed");
    }
}

/// Needs several faults at once, in the right order: only in a campaign.
#[test]
fn planted_mistakes_that_show_seldom_are_found_in_a_campaign() {
    let count = from_environment("GROUP_SEEDS").unwrap_or(0);
    for mistake in [Mistake::LongestWins, Mistake::TrustsUncertain] {
        let found = first_to_find(Fault::Opening(mistake), 0..count);
        assert!(
            found.is_some() || count < CAMPAIGN_SEEDS,
            "{mistake:?} was not noticed"
        );
    }
}
