//! Who may write: the register of a site, who keeps it, and how authority moves between sites.
//!
//! ```text
//! register   PURE   the record and the rules by which it changes
//! topology          the cluster file
//! explain    PURE   who may process in which case, for people
//! port              the register as a server sees it: a view, questions, beats
//! third             the witness of a third site: its file, and its questions
//! voter             one of those who keep the record: Raft, sockets, its file
//! ```
#![forbid(unsafe_code)]

mod disk;
mod error;
pub mod explain;
mod identity;
pub mod port;
pub mod register;
mod third;
pub mod topology;
pub mod voter;

pub use error::GroupError;
pub use identity::witness_incarnation;
pub use port::{
    Beat, Question, RegisterPort, Reply, Seen, SiteReport, ThirdQuestion, ThirdReply, View,
    VoterSeen,
};
pub use register::{Command, Outcome, Refusal, Register, SetMember};
pub use third::{ThirdSetup, ThirdWitness};
pub use topology::Topology;
pub use voter::{Setup, Voter};
