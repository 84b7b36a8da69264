//! Tests of the whole ledger, against a desk that stands in for the node and its log.

mod checkpoints;
mod desk;
mod garbage;
mod mixes;
mod model;
mod models;
mod order;
mod reigns;
mod replays;
