//! Two clouds as real processes, each in a network namespace of its own, while a load runs: what
//! the two groups promise, with parts that are killed, stopped and cut off, one way and both.
//!
//! One file a promise. `KANJO_SEED=S` replays the numbers of a seed.

#[path = "../harness/mod.rs"]
mod harness;

mod after;
mod alone;
mod cut_off;
mod degraded;
mod endpoints;
mod flapping;
mod held_disk;
mod lost_site;
mod members;
mod one_of_three;
mod pair;
mod planned;
mod same;
mod scene;
mod stopped;
mod third;
mod two_of_three;
mod watching;

use scene::{Scene, Turn};
