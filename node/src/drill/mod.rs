//! The drill: a recovery of this node's ledger on a copy, while replication goes on.
//!
//! ```text
//! hot thread   notes lsn, chain, digest ─▶            … follows, applies …      ─▶ report, answer
//! kanjo-drill                            restore ─▶ replay ─▶ compare ─▶ add up ─┘
//! ```
//!
//! It holds a second ledger, so there is one at a time, and none where memory would not do. It
//! changes nothing, on disk or in the live ledger. It is given up when the node is no replica
//! any more: a promotion needs the machine.

mod copy;
mod estimate;
mod memory;
mod progress;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::admin::Answer;
use crate::error::NodeError;
use crate::hot::Hot;
use crate::node::{Node, Part};
use crate::status::{DrillProgress, DrillReport, DrillStatus};
use crate::threads::{JobDone, yield_to_others};
use copy::{Candidate, Work};
pub(crate) use estimate::DiskTimes;
use progress::Progress;

/// So many checkpoints are opened at most; a node keeps one, or two while it writes another.
const CHECKPOINTS_MAX: usize = 4;

/// The drill under way, and what the last one found.
#[derive(Default)]
pub(crate) struct Drills {
    running: Option<Running>,
    last: Option<Box<DrillReport>>,
}

struct Running {
    progress: Arc<Progress>,
    began: Instant,
    answer: oneshot::Sender<Answer>,
    thread: JoinHandle<()>,
}

impl Drills {
    fn begin(
        &mut self,
        work: Work,
        answer: oneshot::Sender<Answer>,
        tell: UnboundedSender<JobDone>,
    ) {
        let progress = Arc::clone(&work.progress);
        let started = std::thread::Builder::new()
            .name("kanjo-drill".into())
            .spawn(move || {
                yield_to_others();
                let drilled = work.carry_out().map(Box::new);
                // The hot thread may have ended.
                let _ = tell.send(JobDone::Drilled(drilled));
            });
        match started {
            Ok(thread) => {
                self.running = Some(Running {
                    progress,
                    began: Instant::now(),
                    answer,
                    thread,
                });
            }
            Err(error) => refuse(answer, format!("no thread for a drill: {error}")),
        }
    }

    /// How far the drill is.
    pub(crate) fn status(&self) -> DrillStatus {
        let running = self.running.as_ref().map(|running| DrillProgress {
            phase: running.progress.phase().name().to_owned(),
            done_bytes: running.progress.done_bytes(),
            total_bytes: running.progress.total_bytes(),
            records: running.progress.records(),
            elapsed_us: u64::try_from(running.began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        DrillStatus {
            running,
            last: self.last.as_deref().cloned(),
        }
    }

    /// Ends the drill under way before long, without a report.
    pub(crate) fn give_up(&self) {
        if let Some(running) = &self.running {
            running.progress.stop();
        }
    }
}

impl Drop for Drills {
    fn drop(&mut self) {
        self.give_up();
        if let Some(running) = self.running.take() {
            // A panic of the thread has been reported by its own message.
            let _ = running.thread.join();
        }
    }
}

impl Node {
    /// Begins a drill, or says why not. The answer is the report.
    pub(crate) fn drill(&mut self, full: bool, answer: oneshot::Sender<Answer>) {
        let refusal = match &self.part {
            Part::Replica => None,
            Part::Primary(_) => Some(
                "this node is the primary, which clients wait for: run the drill on an auxiliary, with --connect and that node's admin_listen",
            ),
            Part::Opening(_) | Part::GroupOpening(_) | Part::Halted(_) => Some(
                "this node was primary and has not opened its next epoch: run the drill on an auxiliary, with --connect and that node's admin_listen",
            ),
        };
        let refusal = refusal.map(str::to_owned).or_else(|| {
            let status = self.hot.drills.status().running?;
            Some(format!(
                "a drill is under way ({}, {} records so far): one at a time, since each holds a second ledger; `kanjo drill --last` shows how far it is",
                status.phase, status.records
            ))
        });
        let refusal = refusal.or_else(no_room);
        match refusal {
            Some(message) => refuse(answer, message),
            None => self.hot.begin_drill(full, answer),
        }
    }
}

/// Why there is no memory for a second ledger. An auxiliary that the kernel ends for want of
/// memory stalls the primary.
fn no_room() -> Option<String> {
    let own = memory::own_bytes()?;
    let available = memory::available_bytes()?;
    (available < own).then(|| {
        format!(
            "a drill holds a second ledger: this process has {} MiB of its own, and only {} MiB are available on this machine; make room, or drill on another auxiliary",
            own >> 20,
            available >> 20
        )
    })
}

impl Hot {
    fn begin_drill(&mut self, full: bool, answer: oneshot::Sender<Answer>) {
        match self.drill_work(full) {
            Ok(work) => {
                tracing::info!(position = %work.position, full, "a drill begins: recovery on a copy");
                self.drills.begin(work, answer, self.jobs.teller());
            }
            Err(error) => refuse(answer, format!("a drill cannot begin: {error}")),
        }
    }

    /// Where the drill goes, and everything that it needs for it.
    fn drill_work(&self, full: bool) -> Result<Work, NodeError> {
        let position = self.store.applied();
        let mut checkpoints = Vec::new();
        if !full {
            checkpoints = self.store.dir.checkpoints()?;
            checkpoints.retain(|(lsn, _)| *lsn <= position.lsn);
            checkpoints.sort();
        }
        let checkpoints = checkpoints
            .into_iter()
            .rev()
            .take(CHECKPOINTS_MAX)
            .map(|(lsn, path)| Candidate {
                lsn,
                file: kanjo_disk::open(&path),
                path,
            })
            // Removed since it was listed: there is a newer one.
            .filter(|one| !matches!(&one.file, Err(e) if e.kind() == io::ErrorKind::NotFound));
        Ok(Work {
            source: self.store.source(),
            checkpoints: checkpoints.collect(),
            position,
            live: self.store.ledger.digest(),
            progress: Arc::default(),
        })
    }

    /// Takes what a drill found, completes it with what is so at its end, and answers.
    pub(crate) fn on_drilled(&mut self, drilled: Option<Box<DrillReport>>) {
        let Some(running) = self.drills.running.take() else {
            return;
        };
        // A panic of the thread has been reported by its own message.
        let _ = running.thread.join();
        let answer = match drilled {
            None => {
                let message = "the drill was given up, since this node was asked to be primary; it found nothing and changed nothing";
                tracing::warn!("{message}");
                Answer::Refused {
                    message: message.to_owned(),
                }
            }
            Some(mut report) => {
                self.complete_drill(&mut report);
                log(&report);
                self.drills.last = Some(report.clone());
                Answer::Drill(report)
            }
        };
        // The asker may have gone away.
        let _ = running.answer.send(answer);
    }
}

fn refuse(answer: oneshot::Sender<Answer>, message: String) {
    // The asker may have gone away.
    let _ = answer.send(Answer::Refused { message });
}

fn log(report: &DrillReport) {
    if report.good {
        tracing::info!(
            lsn = report.lsn,
            digest = report.digest,
            records = report.records,
            recovery_ms = report.recovery_us / 1000,
            lag_bytes = report.lag_bytes,
            "the drill ends: the copy has the live ledger's digest"
        );
    }
    for problem in &report.problems {
        tracing::error!(
            lsn = report.lsn,
            problem,
            "THE DRILL FAILED: a recovery of this node would not give its ledger; nothing was changed"
        );
    }
}
