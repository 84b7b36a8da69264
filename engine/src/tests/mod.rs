//! Tests of the whole ledger, against a desk that stands in for the node and its log.

mod checkpoints;
mod desk;
mod expiries;
mod extensions;
mod garbage;
mod imports;
mod linked;
mod mixes;
mod model;
mod models;
mod order;
mod reigns;
mod replays;
mod two_phase;
