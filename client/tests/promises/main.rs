//! What the client promises, against small servers that keep or break their part on purpose.

mod answers;
mod follow;
mod ledger;
mod outcomes;
mod requests;
mod server;
