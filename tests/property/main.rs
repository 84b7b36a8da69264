//! The engine against a model of the ledger that shares nothing with it.
#![forbid(unsafe_code)]

mod answer;
mod campaign;
mod drive;
mod generate;
mod line;
mod model;
mod tables;
mod ways;

/// Requests and replies as `kanjo repl` knows them, and its ledger in memory.
#[allow(dead_code)]
#[path = "../../tools/repl"]
mod repl {
    pub(crate) mod embedded;
    pub(crate) mod json;
    pub(crate) mod operations;
    pub(crate) mod reply;
    pub(crate) mod request;
    pub(crate) mod shown;
}

/// How the tables of `tests/conformance` are read and run.
#[path = "../conformance"]
mod conformance {
    pub(crate) mod number;
    pub(crate) mod run;
    pub(crate) mod table;
}
