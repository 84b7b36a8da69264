//! Runs cases, each from a seed of its own, on all processors.
//!
//! `KANJO_CASES` says how many (the gate's share unless set), `KANJO_SEED` at which seed to begin.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult as R,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::drive::{Pair, Seen, run};
use crate::generate::steps;

/// As many as the gate has time for.
const GATE_CASES: u64 = 600;
const FIRST_SEED: u64 = 1;
/// Strategies of strategies are deep, and a build without optimization keeps all on the stack.
const STACK_BYTES: usize = 64 << 20;

#[test]
fn the_engine_says_what_the_model_says() {
    let cases = number_from("KANJO_CASES", GATE_CASES);
    let first = number_from("KANJO_SEED", FIRST_SEED);
    let next = AtomicU64::new(first);
    let all_seen = Mutex::new(Seen::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + cases {
                    return None;
                }
                let ended = run_case(seed).map(|seen| add(&all_seen, seen));
                if let Err(failure) = ended {
                    // The others stop at their next case.
                    next.store(first + cases, Ordering::Relaxed);
                    return Some(failure);
                }
            }
        };
        let spawn = |_| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread
                .spawn_scoped(scope, work)
                .expect("a thread can be started")
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .filter_map(|one| one.expect("a failure is no panic"))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let seen = all_seen.into_inner().expect("no thread panicked");
    let never = never_seen(&seen);
    let events: u64 = seen.values().sum();
    if std::env::var_os("KANJO_COUNTS").is_some() {
        println!("{seen:#?}");
    }
    // Not by `println`, which is shown only where a test fails.
    let shown = writeln!(
        std::io::stderr(),
        "cases: {cases} (seeds {first} to {}, {events} events), never ended so: {never:?}",
        first + cases - 1
    );
    shown.expect("standard error takes a line");
    if cases >= GATE_CASES {
        assert!(never.is_empty(), "the cases do not reach {never:?}");
    }
}

fn add(all: &Mutex<Seen>, seen: Seen) {
    let mut all = all.lock().expect("no thread panicked");
    for (result, count) in seen {
        *all.entry(result).or_default() += count;
    }
}

/// Documented results that no event of any case had.
fn never_seen(seen: &Seen) -> Vec<(&'static str, &'static str)> {
    // One is not given any more, one stands only in outcomes.
    let unused = [R::AmountMustNotBeZero.name(), R::Burned.name()];
    let transfers = R::ALL.iter().map(|r| r.name());
    let transfers = transfers.filter(|name| !unused.contains(name));
    let wanted = CreateAccountResult::ALL
        .iter()
        .map(|r| ("create_accounts", r.name()))
        .chain(transfers.map(|name| ("create_transfers", name)))
        .chain(
            ChangeAccountResult::ALL
                .iter()
                .map(|r| ("change_accounts", r.name())),
        )
        .chain(CloseDayResult::ALL.iter().map(|r| ("close_day", r.name())))
        .chain(BurnResult::ALL.iter().map(|r| ("burn", r.name())));
    wanted.filter(|result| !seen.contains_key(result)).collect()
}

fn number_from(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// Runs the case of a seed; of a failure, the smallest case that fails too.
fn run_case(seed: u64) -> Result<Seen, String> {
    let seen = RefCell::new(Seen::new());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let case = (steps(), any::<Index>());
    let ended = runner.run(&case, |(steps, cut)| {
        let mut pair = Pair::default();
        let cut = cut.index(steps.len() + 1);
        let ended = run(&steps, cut, &mut pair);
        seen.replace(std::mem::take(&mut pair.seen));
        ended.map_err(|different| {
            let lines = pair.lines.join("\n");
            TestCaseError::fail(format!("{different}\nasked:\n{lines}"))
        })
    });
    match ended {
        Ok(()) => Ok(seen.into_inner()),
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
        Err(TestError::Fail(reason, (steps, cut))) => Err(format!(
            "{}\n\nseed {seed}, checkpoint {cut:?}, {} steps; again with:\n\
             KANJO_SEED={seed} KANJO_CASES=1 cargo test --test property the_engine_says",
            reason.message(),
            steps.len(),
        )),
    }
}
