//! The index over old log: immutable sorted runs, built from sealed segments, merged in tiers.
//!
//! Synchronous disk code that starts no thread. It knows what movements are (as `format` tells
//! them) and nothing of how the log is stored: whoever builds a run hands it the batches. All of
//! it is derived: what is lost or unusable is built again from the log.
//!
//! ```text
//! log   |--- segment 0 ---|--- 1 ---|--- 2 ---| … not sealed yet: generations in memory
//! set   |-------- run, tier 1 ------|- tier 0 -|
//! ```
//!
//! A [`RunSet`] is what a reader holds: runs that cover the log from 0 to [`RunSet::end`] without
//! a gap. It never changes; building and merging make a new one.
#![forbid(unsafe_code)]

mod book;
mod builder;
mod cursor;
mod error;
mod file;
mod merge;
mod run;
mod set;
mod sort;
mod streams;
mod verify;
mod writer;
mod writers;

pub use book::Book;
pub use builder::RunBuilder;
pub use cursor::{Direction, Posting, Postings};
pub use error::RunError;
pub use kanjo_format::run::RunKey;
pub use kanjo_format::run::lists::{Action, Role, Sums};
pub use kanjo_format::run::rows::LinkKind;
pub use merge::merge;
pub use run::{Run, RunInfo};
pub use set::{Base, Counts, Dropped, Link, Merge, RunSet, SetParams};
pub use verify::same_content;

#[cfg(test)]
mod tests;
