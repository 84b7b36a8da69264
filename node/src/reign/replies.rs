//! Replies that wait: a write for its commit, a read also for an exchange with every member.

use std::collections::VecDeque;

use kanjo_format::Lsn;
use kanjo_format::client::{Outcome, ResultRun};
use kanjo_shipper::CommitGate;
use kanjo_shipper::gate::ReadToken;
use tokio::time::Instant;
use zerocopy::IntoBytes;

use crate::front::{Front, Ticket};

/// One executed request.
pub(crate) struct Reply {
    /// Whom to answer.
    pub(crate) ticket: Ticket,
    /// Rows in the body.
    pub(crate) count: u32,
    /// Its results.
    pub(crate) body: Results,
}

/// The body of an answer. A single run of results, which most answers are, takes no memory of its
/// own.
pub(crate) enum Results {
    Run(ResultRun),
    Rows(Vec<u8>),
}

impl Results {
    /// Of a request that writes.
    pub(crate) fn of_runs(runs: &[ResultRun]) -> Self {
        match runs {
            [run] => Self::Run(*run),
            runs => Self::Rows(runs.as_bytes().to_vec()),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Run(run) => run.as_bytes(),
            Self::Rows(rows) => rows,
        }
    }
}

struct Waiting {
    reply: Reply,
    lsn: Lsn,
    read: Option<ReadToken>,
}

/// All executed requests that are not answered yet, in the order of execution.
#[derive(Default)]
pub(crate) struct Replies {
    writes: VecDeque<Waiting>,
    reads: VecDeque<Waiting>,
    /// Bytes of all bodies among the reads.
    read_bytes: usize,
}

impl Replies {
    /// A reply that is true once everything below `lsn` is committed.
    pub(crate) fn hold_write(&mut self, reply: Reply, lsn: Lsn) {
        self.writes.push_back(Waiting {
            reply,
            lsn,
            read: None,
        });
    }

    /// A reply that also needs the exchange of `token`.
    pub(crate) fn hold_read(&mut self, reply: Reply, lsn: Lsn, token: ReadToken) {
        self.read_bytes += reply.body.bytes().len();
        self.reads.push_back(Waiting {
            reply,
            lsn,
            read: Some(token),
        });
    }

    /// Answers what may be answered now.
    pub(crate) fn release(&mut self, gate: &CommitGate, front: &Front) {
        let (committed, readable) = (gate.committed(), gate.readable());
        let mut read_bytes = self.read_bytes;
        for queue in [&mut self.writes, &mut self.reads] {
            while let Some(first) = queue.front() {
                if first.lsn > committed || first.read.is_some_and(|token| token > readable) {
                    break;
                }
                if let Some(Waiting { reply, read, .. }) = queue.pop_front() {
                    read_bytes -= read.map_or(0, |_| reply.body.bytes().len());
                    let body = reply.body.bytes();
                    front.answer(reply.ticket, Outcome::Done, reply.count, body);
                }
            }
        }
        self.read_bytes = read_bytes;
    }

    fn count_reads(&mut self) {
        let bytes = |read: &Waiting| read.reply.body.bytes().len();
        self.read_bytes = self.reads.iter().map(bytes).sum();
    }

    /// Bytes of the bodies of reads that wait for their exchange.
    pub(crate) const fn held_read_bytes(&self) -> usize {
        self.read_bytes
    }

    /// Answers `Indeterminate` to what waited until its deadline. It may still commit.
    pub(crate) fn expire(&mut self, now: Instant, front: &Front) {
        for queue in [&mut self.writes, &mut self.reads] {
            queue.retain(|waiting| {
                let expired = waiting.reply.ticket.deadline <= now;
                if expired {
                    front.answer(waiting.reply.ticket, Outcome::Indeterminate, 0, b"");
                }
                !expired
            });
        }
        self.count_reads();
    }

    /// Answers everything with `outcome`; what becomes of it is for others to say.
    pub(crate) fn give_up(&mut self, outcome: Outcome, text: &str, front: &Front) {
        for waiting in self.writes.drain(..).chain(self.reads.drain(..)) {
            front.answer(waiting.reply.ticket, outcome, 0, text.as_bytes());
        }
        self.read_bytes = 0;
    }

    /// How many writes wait for more than `committed`.
    pub(crate) fn uncommitted(&self, committed: Lsn) -> usize {
        let writes = &self.writes;
        writes.len() - writes.partition_point(|write| write.lsn <= committed)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        (self.writes.len() + self.reads.len()) as u64
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.reads.is_empty()
    }
}
