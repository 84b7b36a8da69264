//! What the tests with real processes share: pairs of `kanjo start`, two clouds in network
//! namespaces, load, the journal of answers, the book that checks them, a link that can be cut,
//! and damage to files.
//!
//! ```text
//! Load ──client──▶ Pair { Node, Node }      Journal: every answer, written before it counts
//!   │ answers         │ kill, stop, cont    Book:    reads the journal back, asks Kanjo
//!   ▼                 ▼
//! Journal          admin port (Await, Status, Promote)
//! ```
//!
//! Ports are chosen by the kernel, each pair on a loopback address of its own. Every process is
//! killed when its `Node` is dropped. Nothing sleeps where an event can be awaited.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses its own part of this module"
)]

pub(crate) mod book;
pub(crate) mod brief;
pub(crate) mod clouds;
pub(crate) mod cuts;
pub(crate) mod damage;
pub(crate) mod disk;
pub(crate) mod exposition;
pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod netns;
pub(crate) mod node;
pub(crate) mod pages;
pub(crate) mod pair;
pub(crate) mod part;
pub(crate) mod posting;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod registers;
pub(crate) mod report;
pub(crate) mod sockets;
pub(crate) mod stranger;
pub(crate) mod terminal;

pub(crate) use book::Book;
pub(crate) use link::Link;
pub(crate) use load::{Load, LoadOptions};
pub(crate) use node::Node;
pub(crate) use pair::Pair;
pub(crate) use random::Random;

use std::time::Duration;

/// How long anything may take that has to happen; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at something that tells nobody when it changes.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(3);
