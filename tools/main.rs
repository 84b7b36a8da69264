//! The `kanjo` command line.
fn main() {}
