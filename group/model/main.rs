//! The rules of register and epochs, exhaustively: every order of steps within a bound.
//!
//! Real is [`kanjo_group::Register::apply`], of both sites. Modelled are up to four servers with a log of
//! which a crash keeps what was synced, their durable grants, openings, the writer's gate and set.
//! A command to a register may arrive late, again and again, or never, and so may its answer.
//! Anything that takes two parts may fail to happen, which covers every cut, of one way or both.
//!
//! Not modelled: how a register's voters agree (it is one atomic record here), time, the content
//! of entries, a log that arrives in pieces, wiped and restored disks. Who of a site is nominated
//! matters only where the authority is seized by a third witness's word; elsewhere anybody opens.

mod actions;
mod asking;
mod kept;
mod mistakes;
mod moving;
mod opening;
mod properties;
mod scenes;
mod seizing;
mod state;
mod world;
mod writing;

use std::io::Write;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use stateright::{Checker, HasDiscoveries, Model};

use properties::{KEPT, TRUTH};
use world::{Scene, World};

fn search(scene: Scene) {
    let mistake = None;
    let world = World { scene, mistake };
    let checker = world.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    say(&format!(
        "{} states, {} steps deep: {}",
        checker.unique_state_count(),
        checker.max_depth(),
        scene.name
    ));
    checker.assert_properties();
}

#[test]
fn the_rules_hold_in_every_order() {
    // The last take longest, so they are searched first, on all cores.
    let left = Mutex::new(scenes::searched());
    let next = || left.lock().expect("nobody panics here").pop();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(scene) = next() {
                    search(scene);
                }
            });
        }
    });
}

/// The writer looks whether its nomination still stands, and seizes then; between the two another
/// server is nominated, and opens an epoch where the authority was.
#[test]
fn a_nomination_looked_at_before_it_is_used_is_not_enough_to_seize() {
    let world = World {
        scene: scenes::nominee(),
        mistake: None,
    };
    let found = HasDiscoveries::AnyOf([TRUTH].into());
    let checker = world.checker().finish_when(found).spawn_bfs().join();
    let path = checker.assert_any_discovery(TRUTH).into_actions();
    say(&format!(
        "a standing nomination lets a member of the set lack an answer in {} steps",
        path.len()
    ));
}

#[test]
fn a_broken_rule_loses_what_was_answered() {
    for (mistake, scene) in scenes::mistaken() {
        let world = World {
            scene,
            mistake: Some(mistake),
        };
        let found = HasDiscoveries::AnyOf([KEPT].into());
        let checker = world.checker().finish_when(found).spawn_bfs().join();
        let path = checker.assert_any_discovery(KEPT).into_actions();
        say(&format!(
            "{mistake:?} loses an answer in {} steps ({} states seen)",
            path.len(),
            checker.unique_state_count()
        ));
    }
}

/// Past the capture of a test's output: it is short, and belongs to what the gate shows.
fn say(what: &str) {
    let shown = writeln!(std::io::stdout().lock(), "note: model: {what}");
    shown.expect("standard output is there");
}
