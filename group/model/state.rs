//! What there is: servers with a disk and a memory, two registers, letters under way.

use std::fmt;

use kanjo_format::{ClusterId, Epoch, Incarnation, NodeId, OpeningId, Site};
use kanjo_group::register::{Command, HandOver, Move, Register, SetMember, Third, ThirdMark};

use crate::kept::{Kept, Shared};
use crate::world::Bounds;

/// Servers that may take part: two of each site.
pub(crate) const SERVERS: usize = 4;
const NAMES: [&str; SERVERS] = ["A1", "A2", "B1", "B2"];

/// A register is numbered like the site that keeps it, from 0.
pub(crate) const fn site_of(server: usize) -> usize {
    server / 2
}

pub(crate) const fn site(number: usize) -> Site {
    match number {
        0 => Site::One,
        _ => Site::Two,
    }
}

pub(crate) fn member(server: usize) -> SetMember {
    SetMember {
        node: NodeId::new(server as u32),
        incarnation: Incarnation::new(1),
    }
}

/// Some of the servers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Servers(u8);

impl Servers {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(server: usize) -> Self {
        Self(1 << server)
    }

    pub(crate) fn named(set: &[SetMember]) -> Self {
        let servers = set.iter().map(|member| member.node.get() as usize);
        servers.fold(Self::NONE, |all, server| all.with(server))
    }

    pub(crate) fn of_site(number: usize) -> Self {
        Self(0b11 << (2 * number))
    }

    pub(crate) const fn with(self, server: usize) -> Self {
        Self(self.0 | 1 << server)
    }

    pub(crate) const fn without(self, server: usize) -> Self {
        Self(self.0 & !(1 << server))
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn has(self, server: usize) -> bool {
        self.0 & 1 << server != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..SERVERS).filter(move |server| self.has(*server))
    }

    /// As a register names them.
    pub(crate) fn members(self) -> Vec<SetMember> {
        self.iter().map(member).collect()
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(|server| NAMES[server]).collect();
        write!(f, "{{{}}}", names.join(" "))
    }
}

/// A set that a register holds, and how many came before it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InForce {
    pub(crate) members: Servers,
    pub(crate) changes: u64,
}

impl InForce {
    pub(crate) fn in_register(register: &Register) -> Self {
        Self {
            members: Servers::named(&register.set),
            changes: register.changes,
        }
    }
}

/// One batch of a log; two of them are the same exactly if they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) epoch: Epoch,
    /// The opening whose writer appended it.
    pub(crate) opening: u8,
    /// 0 begins the epoch, others are clients'.
    pub(crate) number: u8,
}

/// A promise to refuse lower epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    pub(crate) epoch: Epoch,
    /// Openings are counted over the whole cluster; one server makes each.
    pub(crate) opening: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// In memory; what a crash falls back to is `kept`.
    pub(crate) granted: Grant,
    pub(crate) kept: Grant,
    pub(crate) log: Vec<Entry>,
    /// So many entries are on disk for certain. When exactly the others get there is not an
    /// action of its own: a crash keeps any number of them.
    pub(crate) synced: usize,
    pub(crate) part: Part,
    pub(crate) ask: Option<Ask>,
}

/// What a server does at present; a crash makes it a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Follower,
    Opening(Opening),
    Writer(Writer),
}

/// Opens the epoch that it has granted to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    /// The register that it claims at.
    pub(crate) at: usize,
    /// The epoch that it was read at, which the claim expects.
    pub(crate) expected: Epoch,
    /// The epoch would be of a new site term.
    pub(crate) takes_over: bool,
    /// The nomination of its own site under which it opens, once it has looked.
    pub(crate) nomination: Option<u64>,
    /// The mark of the reign that was read.
    pub(crate) follows: Option<ThirdMark>,
    /// What the third witness said.
    pub(crate) third: Option<ThirdMark>,
    /// The set, once the claim is known to be done.
    pub(crate) set: Option<InForce>,
    /// Tails of those whose grant was heard: epoch of the last entry, and length.
    pub(crate) tails: [Option<(Epoch, usize)>; SERVERS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    /// The register that holds the authority, as far as it knows.
    pub(crate) at: usize,
    /// The set that it knows to be in force.
    pub(crate) set: InForce,
    /// Whom every commit waits for.
    pub(crate) gate: Servers,
    /// What each follower has on disk; the ack may still be under way.
    pub(crate) acked: [usize; SERVERS],
    pub(crate) committed: usize,
    /// The end of the entry that began the epoch: nothing commits below it alone.
    pub(crate) floor: usize,
    /// As in its opening.
    pub(crate) nomination: u64,
    pub(crate) third: Option<ThirdMark>,
    /// A move of the authority that it has planned.
    pub(crate) plan: Option<Kept<Move>>,
    /// The point of no return lies behind it.
    pub(crate) activating: bool,
}

/// A command without an end that is known here; it is asked again until there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) letter: Letter,
    /// An answer under way.
    pub(crate) answer: Option<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Refused,
    Done {
        set: InForce,
        certificate: Option<Kept<HandOver>>,
    },
}

/// A command on its way to a register. It arrives never, once or often, at any time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) command: Kept<Command>,
}

impl Letter {
    pub(crate) const fn rank(&self) -> (u64, usize, usize) {
        (self.command.key(), self.from, self.to)
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (NAMES[self.from], self.to + 1);
        write!(f, "{from} to register {to}: ")?;
        match &*self.command {
            Command::Claim { expected, reign } => {
                write!(f, "claim {} after {expected}", reign.epoch)
            }
            Command::ChangeSet { expected, set, .. } => {
                let (expected, set) = (Servers::named(expected), Servers::named(set));
                write!(f, "change {expected:?} to {set:?}")
            }
            Command::Prepare { plan } => write!(f, "prepare {plan}", plan = plan.number),
            Command::HandOver { plan } => write!(f, "hand over {plan}", plan = plan.number),
            Command::Activate(given) => write!(f, "activate {plan}", plan = given.plan.number),
            Command::Seize { reign, .. } => write!(f, "seize for {}", reign.epoch),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) servers: [Shared<Server>; SERVERS],
    pub(crate) registers: [Kept<Register>; 2],
    /// Every command that was ever sent, in order of rank.
    pub(crate) letters: Shared<Vec<Letter>>,
    /// Sites of which an operator has made sure that they are off.
    pub(crate) off: [bool; 2],
    pub(crate) third: Third,
    /// The longest log of which all was answered.
    pub(crate) answered: Vec<Entry>,
    /// Somebody answered what does not go together with `answered`.
    pub(crate) disagreed: bool,
    /// Openings so far; the last one's number.
    pub(crate) openings: u8,
    /// Moves that were planned so far.
    pub(crate) moves: u8,
    /// Clients' entries so far.
    pub(crate) entries: u8,
    /// What may still happen.
    pub(crate) left: Bounds,
}

impl State {
    /// Freshly formatted.
    pub(crate) fn fresh(left: Bounds) -> Self {
        let server = Shared::new(Server {
            granted: Grant::default(),
            kept: Grant::default(),
            log: Vec::new(),
            synced: 0,
            part: Part::Follower,
            ask: None,
        });
        let cluster = ClusterId::new(1);
        Self {
            servers: std::array::from_fn(|_| server.clone()),
            registers: [0, 1].map(|number| Kept::new(Register::new(cluster, site(number)))),
            letters: Shared::new(Vec::new()),
            off: [false; 2],
            third: Third::new(cluster, Incarnation::new(1)),
            answered: Vec::new(),
            disagreed: false,
            openings: 0,
            moves: 0,
            entries: 0,
            left,
        }
    }

    pub(crate) fn opening_id(&self, server: usize) -> OpeningId {
        let SetMember { node, incarnation } = member(server);
        OpeningId {
            node,
            incarnation,
            random: self.servers[server].granted.opening.into(),
        }
    }

    /// A server asks a register; what it asked before is not waited for any more.
    pub(crate) fn send(&mut self, from: usize, to: usize, command: Command) {
        let command = Kept::new(command);
        let letter = Letter { from, to, command };
        self.post(letter.clone());
        let answer = None;
        self.servers[from].ask = Some(Ask { letter, answer });
    }

    pub(crate) fn post(&mut self, letter: Letter) {
        let place = self.letters.partition_point(|l| l.rank() < letter.rank());
        if self.letters.get(place) != Some(&letter) {
            self.letters.insert(place, letter);
        }
    }
}

impl Server {
    pub(crate) fn tail(&self) -> (Epoch, usize) {
        let epoch = self.log.last().map_or(Epoch::NONE, |entry| entry.epoch);
        (epoch, self.log.len())
    }

    /// Back to what a server without a task is; its disk and its promise stay.
    pub(crate) fn step_down(&mut self) {
        self.part = Part::Follower;
        self.ask = None;
    }
}
