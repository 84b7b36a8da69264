//! What the client promises, against small servers that keep or break their part on purpose.

mod follow;
mod outcomes;
mod requests;
mod server;
