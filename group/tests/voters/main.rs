//! Real voters: sockets on loopback, files, threads. Waits are bounded and end with the event.

mod harness;
mod nominations;
mod register;
mod replaced;
mod third;
