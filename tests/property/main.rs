//! The engine against a model of the ledger that shares nothing with it.
#![forbid(unsafe_code)]

mod model;
