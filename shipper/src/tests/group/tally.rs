//! What a run got to.

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) commits: u64,
    pub(super) epochs: u64,
    pub(super) failovers: u64,
    pub(super) crashes: u64,
    pub(super) wiped: u64,
    pub(super) lost: u64,
    pub(super) alone: u64,
    pub(super) sets: u64,
    pub(super) fetched: u64,
    pub(super) cuts: u64,
    pub(super) waits: u64,
    pub(super) stops: u64,
    pub(super) reads: u64,
    pub(super) heal_steps: u64,
    pub(super) heal_most: u64,
    /// The end of the random numbers: the same for the same run.
    pub(super) last: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.epochs += other.epochs;
        self.failovers += other.failovers;
        self.crashes += other.crashes;
        self.wiped += other.wiped;
        self.lost += other.lost;
        self.alone += other.alone;
        self.sets += other.sets;
        self.fetched += other.fetched;
        self.cuts += other.cuts;
        self.waits += other.waits;
        self.stops += other.stops;
        self.reads += other.reads;
        self.heal_steps += other.heal_steps;
        self.heal_most = self.heal_most.max(other.heal_steps);
    }
}
