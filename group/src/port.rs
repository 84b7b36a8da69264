//! The register as a server sees it: a view that is kept fresh, questions that are answered, and
//! what a server tells about itself. Nothing here says how a register is kept.

use std::time::{Duration, Instant};

use kanjo_format::{Epoch, Incarnation, Lsn, NodeId, Site, Tail};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::register::{Command, Outcome, Refusal, Register, SetMember, Third, ThirdMark};

/// What a server tells the voters of its site, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub member: SetMember,
    /// Where its durable log ends.
    pub tail: Tail,
    /// What it knows to be committed.
    pub committed: Lsn,
    /// What its ledger has applied.
    pub applied: Lsn,
    /// `primary`, `replica` or `resolving`.
    pub role: String,
    /// The epoch that it writes in, as primary.
    pub writes: Option<Epoch>,
    /// Whether it answers new transfers.
    pub serving: bool,
    /// Why not, in words.
    pub why_not_serving: String,
    /// Whether it may be nominated: its directory is sound and no operator has to decide first.
    pub fit: bool,
    /// Milliseconds since a voter of the other site answered; `None` if none ever did. The voter
    /// of this server fills it in.
    #[serde(default)]
    pub other_silent_ms: Option<u64>,
    /// Milliseconds for which they had answered by then without a gap; filled in likewise.
    #[serde(default)]
    pub other_heard_for_ms: u64,
}

/// A server as a voter of its site last heard it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it said.
    pub beat: Beat,
    /// Milliseconds since then.
    pub silent_ms: u64,
    /// Whether its connection to that voter stands.
    pub connected: bool,
}

/// A voter as the register's leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterSeen {
    /// Which.
    pub node: NodeId,
    /// Its directory.
    pub incarnation: Incarnation,
    /// Whether it is a witness.
    pub witness: bool,
    /// Whether it answered the leader of late; of the leader itself always.
    pub answers: bool,
}

/// A site, as one of its voters tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteReport {
    /// The register.
    pub register: Register,
    /// Which voter leads it; `None` while there is no majority.
    pub leader: Option<NodeId>,
    /// Its voters.
    pub voters: Vec<VoterSeen>,
    /// Its servers, as the teller heard them.
    pub servers: Vec<Seen>,
    /// How often the leader changed, as the teller saw it.
    pub elections: u64,
}

/// What is known of both sites.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The own site: the register as applied here, which may be older than the majority's.
    pub own: Option<SiteReport>,
    /// The other site as it last answered, and when.
    pub other: Option<(SiteReport, Instant)>,
    /// The third site's witness as it last answered, and when.
    pub third: Option<(Third, Instant)>,
}

/// What may be asked of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case")]
pub enum Question {
    /// Change it.
    Apply {
        /// The change.
        command: Box<Command>,
    },
    /// Read it behind everything that was applied before the question.
    Read,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// The command was decided.
    Outcome {
        /// How.
        outcome: Outcome,
    },
    /// The register, read by its majority.
    Report {
        /// The site.
        report: Box<SiteReport>,
    },
    /// Nobody could be asked, or there is no majority: nothing was changed.
    Unreachable {
        /// Why.
        why: String,
    },
    /// It may have been applied or not: ask the same again.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What may be asked of the third site's witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "kebab-case")]
pub enum ThirdQuestion {
    /// How it stands.
    Read,
    /// The word that follows this mark, for the asker's site.
    Decide {
        /// What the reign before noted.
        follows: ThirdMark,
        /// The asker's site.
        site: Site,
    },
}

/// What came back from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum ThirdReply {
    /// So it stands; the word that was asked for was given, now or before.
    Stands {
        /// The record.
        third: Third,
    },
    /// The word that was asked for is not to be had.
    Refused {
        /// Why.
        why: Refusal,
    },
    /// There is no answer. A word may have been given: the same question is answered the same.
    Silent {
        /// Why.
        why: String,
    },
}

/// A question on its way, with the way back.
#[derive(Debug)]
pub(crate) enum Asked {
    Register {
        site: Site,
        question: Question,
        answer: oneshot::Sender<Reply>,
    },
    Third {
        question: ThirdQuestion,
        answer: oneshot::Sender<ThirdReply>,
    },
}

/// What a server told of itself, and until when that counts.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) beat: Beat,
    pub(crate) until: Option<Instant>,
}

/// A server's hold on both registers. Cheap to clone; works from any thread and runtime.
#[derive(Clone, Debug)]
pub struct RegisterPort {
    pub(crate) asked: mpsc::UnboundedSender<Asked>,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) beat: watch::Sender<Option<Told>>,
}

impl RegisterPort {
    /// What is known of both sites; changes wake who waits for it.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Asks a site's register, through any of its voters. The answer comes within a few seconds;
    /// if the voter of this process has ended, as an error of the channel.
    pub fn ask(&self, site: Site, question: Question) -> oneshot::Receiver<Reply> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked::Register {
            site,
            question,
            answer,
        };
        // An ended voter drops the question, which the asker hears.
        let _ = self.asked.send(asked);
        answered
    }

    /// Asks the third site's witness. The answer comes within a second.
    pub fn ask_third(&self, question: ThirdQuestion) -> oneshot::Receiver<ThirdReply> {
        let (answer, answered) = oneshot::channel();
        // As above.
        let _ = self.asked.send(Asked::Third { question, answer });
        answered
    }

    /// Tells the voters of the own site about this server, from now on.
    pub fn tell(&self, beat: Beat) {
        self.beat.send_replace(Some(Told { beat, until: None }));
    }

    /// The same for a time: a server that does not say so again falls silent, although its
    /// process lives.
    pub fn tell_for(&self, beat: Beat, time: Duration) {
        let until = Some(Instant::now() + time);
        self.beat.send_replace(Some(Told { beat, until }));
    }
}
