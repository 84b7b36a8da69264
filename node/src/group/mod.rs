//! A server of a group: what it makes of the registers, and what it asks of them.
//!
//! The register's voter runs on a thread of its own and is reached through a port: a view that
//! wakes the hot thread, questions whose answers come back as events, beats. Nothing here waits.

mod clearing;
mod deciding;
mod fence;
mod membership;
mod opening;
mod protecting;
mod renewing;
mod run;
mod running;
mod standing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kanjo_format::control::Control;
use kanjo_format::{Epoch, Site};
use kanjo_group::register::{Authority, Nominee};
use kanjo_group::{
    Beat, Command, GroupError, Outcome, Question, RegisterPort, Reply, SetMember, ThirdQuestion,
    ThirdReply, Topology, View, Voter,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub(crate) use clearing::{Cleared, Clearing, Insistence, Next, WasRead};
pub(crate) use deciding::{Decision, Told, decide, knows_later};
pub use fence::FenceFile;
use fence::keep_fence;
pub(crate) use membership::{Act, Membership, PeerNow};
use protecting::Protecting;
pub(crate) use run::{GroupOpeningRun, set_member};
use running::Failover;

/// A question without a decision is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// A nomination is acted on within this time.
const NOMINATION_COUNTS: Duration = Duration::from_millis(100);
/// An answer to that which does not come is asked for again after this long.
const ASK_NOMINATION_AGAIN: Duration = Duration::from_secs(2);
/// A certificate is carried, or a concession told, again after this long: the view that it is
/// decided by is renewed by then.
const CARRY_AGAIN: Duration = Duration::from_millis(300);
/// A server that starts in a site which went on alone waits for so long whether the other site is
/// heard: it may have gone on since, by an operator's word.
const HEAR_FIRST: Duration = Duration::from_secs(3);
/// What a register said is taken for how it is for so long.
const HEARD_OF_LATE: Duration = Duration::from_secs(1);
/// A hot thread that says nothing new for so long falls silent.
const BEAT_COUNTS: Duration = Duration::from_millis(500);
/// An operator's word that leads to no opening within this time is answered with the reason.
const DECIDE_MAX: Duration = Duration::from_secs(3);

/// Who asked a register, so that the reply finds its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// An opening, by the number of its run.
    Opening(u64),
    /// Who is about to open an epoch, and is nominated anew for it.
    Nominee,
    /// The membership of the reign of this epoch.
    Membership(Epoch),
    /// An operator's word to answer alone, for the reign of this epoch.
    Protecting(Epoch),
    /// Whoever carries a certificate, or has one kept; only logged.
    Carrier,
}

/// What the hot thread is woken for.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// Something in the view changed.
    View,
    /// A register answered.
    Reply(Asker, Reply),
    /// The third site's witness answered.
    Third(Asker, ThirdReply),
    /// This server's voter ended by itself: the server has to end too.
    VoterEnded(GroupError),
}

/// What happens in a server's group.
pub(crate) struct GroupEvents {
    view: watch::Receiver<View>,
    replies: UnboundedReceiver<GroupEvent>,
    ended: watch::Receiver<Option<GroupError>>,
}

impl GroupEvents {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> GroupEvent {
        tokio::select! {
            Ok(()) = self.view.changed() => GroupEvent::View,
            error = ended(&mut self.ended) => GroupEvent::VoterEnded(error),
            Some(reply) = self.replies.recv() => reply,
        }
    }
}

/// This server's part in its group.
pub(crate) struct Group {
    pub(crate) topology: Arc<Topology>,
    pub(crate) me: SetMember,
    pub(crate) site: Site,
    port: RegisterPort,
    view: watch::Receiver<View>,
    reply_to: UnboundedSender<GroupEvent>,
    /// An operator said, or the configuration says, that the active site is lost.
    pub(crate) told: bool,
    failover: Option<Failover>,
    protecting: Option<Protecting>,
    /// Before this no reign is renewed.
    renew_rest_until: Option<Instant>,
    /// Before this it does not try to go on without the other site by itself.
    alone_rest_until: Option<Instant>,
    /// When the writer, or a majority of the register, of the active site was heard last.
    active_heard: Instant,
    began: Instant,
    /// Since when the own register is asked to nominate this server anew.
    asks_nomination: Option<Instant>,
    /// The number that it gave, and when.
    nominated: Option<(u64, Instant)>,
    pub(crate) runs: u64,
    /// Nothing is opened before this; an attempt that failed is not repeated at once.
    pub(crate) rest_until: Option<Instant>,
    /// Why this server opens nothing, as last decided.
    pub(crate) why: String,
    /// Since when a register is read with this epoch, although a later one was granted here.
    outdated: Option<(Epoch, Instant)>,
    last_carried: Option<Instant>,
    // Held, not read: the voter ends with the node.
    _voter: Voter,
}

impl Group {
    pub(crate) fn new(
        voter: Voter,
        topology: Arc<Topology>,
        me: SetMember,
        site: Site,
    ) -> (Self, GroupEvents) {
        let port = voter.port();
        let view = port.view();
        let (reply_to, replies) = unbounded_channel();
        let events = GroupEvents {
            view: view.clone(),
            replies,
            ended: voter.ended(),
        };
        let group = Self {
            topology,
            me,
            site,
            port,
            view,
            reply_to,
            told: false,
            failover: None,
            protecting: None,
            alone_rest_until: None,
            renew_rest_until: None,
            active_heard: Instant::now(),
            began: Instant::now(),
            asks_nomination: None,
            nominated: None,
            runs: 0,
            rest_until: None,
            why: "it follows a primary".to_owned(),
            outdated: None,
            last_carried: None,
            _voter: voter,
        };
        (group, events)
    }

    /// What is known of both sites.
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// What this server should do about the registers while it writes nothing.
    pub(crate) fn decide(&mut self) -> Decision {
        let told = self.is_told();
        let view = self.view.borrow();
        let own = view.own.as_ref().map(|own| &own.register.authority);
        let seized = |a: &Authority| {
            matches!(
                a,
                Authority::Held {
                    seized: Some(_),
                    ..
                }
            )
        };
        let hears = view.other.is_some() || self.began.elapsed() >= HEAR_FIRST;
        if !hears && own.is_some_and(seized) {
            return Decision::Follow("it has just started");
        }
        let decision = decide(&view, self.me, self.site, told, Instant::now());
        if let Decision::Follow(why) = decision
            && self.why != why
        {
            self.why = why.to_owned();
        }
        decision
    }

    /// Whether what was read of a register is of before an epoch that this server has granted to
    /// somebody else, or was fenced by: it was claimed first. It is read anew within a moment; an
    /// opening on what is outdated, of a server that stood still for instance, would only make the
    /// new writer open once more.
    pub(crate) fn is_of_before(&mut self, control: &Control, read: Epoch) -> bool {
        if !knows_later(control, read) {
            self.outdated = None;
            return false;
        }
        let now = Instant::now();
        let (of, since) = *self.outdated.get_or_insert((read, now));
        if of != read {
            self.outdated = Some((read, now));
        }
        of != read || since.elapsed() < HEARD_OF_LATE
    }

    /// Whether the register that holds the authority names this server's directory in the in-sync
    /// set, as far as that is known of late: what is old proves nothing.
    pub(crate) fn is_in_set(&self) -> bool {
        let view = self.view.borrow();
        let own = view.own.as_ref().filter(|own| own.leader.is_some());
        let fresh = |at: &Instant| at.elapsed() < HEARD_OF_LATE;
        let other = view.other.as_ref().filter(|(_, at)| fresh(at));
        let registers = own.into_iter().chain(other.map(|(report, _)| report));
        let mut registers = registers.map(|report| &report.register);
        let holder = registers.find(|register| register.holds_authority());
        holder.is_some_and(|register| register.set.contains(&self.me))
    }

    /// How often the register's leader changed and a server was nominated, as seen here.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let view = self.view.borrow();
        let own = view.own.as_ref();
        own.map_or((0, 0), |own| {
            let nominee = own.register.nominee;
            (own.elections, nominee.map_or(0, |nominee| nominee.number))
        })
    }

    /// The highest number of a holding that either register is known to know.
    pub(crate) fn highest_holding(&self) -> u64 {
        let view = self.view.borrow();
        let own = view.own.as_ref().map(|report| report.register.holding());
        let other = view.other.as_ref();
        let other = other.map(|(report, _)| report.register.holding());
        own.max(other).unwrap_or_default()
    }

    /// Whether this server is to process for its site, as far as is known here.
    pub(crate) fn is_nominee(&self) -> bool {
        self.nominee().is_some()
    }

    /// The nomination under which this server may begin to open an epoch: one that the own register's
    /// majority has just made. Asks for it if there is none. What this server's voter knows may be
    /// old, and an epoch that is promised by the wrong one cuts off the right one.
    pub(crate) fn nomination(&mut self) -> Option<u64> {
        if let Some((number, at)) = self.nominated.take()
            && at.elapsed() < NOMINATION_COUNTS
        {
            return Some(number);
        }
        let lately = |at: Instant| at.elapsed() < ASK_NOMINATION_AGAIN;
        if self.asks_nomination.is_none_or(|at| !lately(at)) {
            let replaces = self.nominee()?.number;
            self.ask_nomination(replaces);
        }
        None
    }

    fn ask_nomination(&mut self, replaces: u64) {
        self.asks_nomination = Some(Instant::now());
        let SetMember { node, incarnation } = self.me;
        let command = Command::Nominate {
            replaces,
            node,
            incarnation,
        };
        self.ask(Asker::Nominee, self.site, command);
    }

    /// The own register answered that. Gives whether this server may begin.
    pub(crate) fn nomination_replied(&mut self, reply: Reply) -> bool {
        self.asks_nomination = None;
        let now = Instant::now();
        let (done, nominee) = match reply {
            Reply::Outcome { outcome } => match outcome {
                Outcome::Done(register) => (true, register.nominee),
                Outcome::Refused { register, .. } => (false, register.nominee),
            },
            _ => (false, None),
        };
        match nominee.filter(|nominee| nominee.member() == self.me) {
            Some(nominee) if done => self.nominated = Some((nominee.number, now)),
            // Its voter was behind, and it is this server's turn all the same.
            Some(nominee) => self.ask_nomination(nominee.number),
            None => self.rest_until = Some(now + ASK_AGAIN),
        }
        self.nominated.is_some()
    }

    /// Under which nomination this server is to process, as far as is known here.
    pub(crate) fn nominee(&self) -> Option<Nominee> {
        let view = self.view.borrow();
        let nominee = view.own.as_ref().and_then(|own| own.register.nominee);
        nominee.filter(|nominee| nominee.member() == self.me)
    }

    /// What was said of the active site.
    fn is_told(&self) -> Told {
        let failover = self.failover.as_ref();
        match failover.map(|failover| failover.told) {
            Some(told) => told,
            None if self.told => Told::Lost,
            None => Told::No,
        }
    }

    /// Tells the site's voters how this server is.
    pub(crate) fn tell(&self, beat: Beat) {
        self.port.tell_for(beat, BEAT_COUNTS);
    }

    /// Has a register changed; the reply comes as an event.
    pub(crate) fn ask(&self, asker: Asker, site: Site, command: Command) {
        self.ask_after(asker, site, apply(command), Duration::ZERO);
    }

    /// The same after a moment, because the last answer decided nothing.
    pub(crate) fn ask_again(&self, asker: Asker, site: Site, command: Command) {
        self.ask_after(asker, site, apply(command), ASK_AGAIN);
    }

    /// Asks a register, after a while; the reply comes as an event.
    fn ask_after(&self, asker: Asker, site: Site, question: Question, pause: Duration) {
        let (port, reply_to) = (self.port.clone(), self.reply_to.clone());
        tokio::task::spawn_local(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let answered = port.ask(site, question).await;
            let reply = answered.unwrap_or_else(|_| Reply::Unknown {
                why: "this server's voter has ended".to_owned(),
            });
            // The node may have ended meanwhile.
            let _ = reply_to.send(GroupEvent::Reply(asker, reply));
        });
    }

    /// Asks the third site's witness; the answer comes as an event.
    pub(crate) fn ask_third(&self, asker: Asker, question: ThirdQuestion) {
        let (port, reply_to) = (self.port.clone(), self.reply_to.clone());
        tokio::task::spawn_local(async move {
            let answered = port.ask_third(question).await;
            let reply = answered.unwrap_or_else(|_| ThirdReply::Silent {
                why: "this server's voter has ended".to_owned(),
            });
            // As above.
            let _ = reply_to.send(GroupEvent::Third(asker, reply));
        });
    }

    /// What an opening has to make sure of before it claims what was read.
    pub(crate) fn clearing(&self, read: WasRead, replaces: u64) -> Clearing {
        let third = self.topology.third_witness.is_some();
        let insistence = self.failover.as_ref().and_then(Failover::insistence);
        Clearing::new((self.me, self.site), (read, third), insistence, replaces)
    }

    /// Carries a certificate, or a concession, to a register; not more often than the view is
    /// renewed.
    pub(crate) fn carry(&mut self, site: Site, command: Command) {
        if self
            .last_carried
            .is_none_or(|at| at.elapsed() >= CARRY_AGAIN)
        {
            self.last_carried = Some(Instant::now());
            self.ask(Asker::Carrier, site, command);
        }
    }

    /// Whether the other site's register answered within that time.
    pub(crate) fn other_heard_within(&self, time: Duration) -> bool {
        let view = self.view.borrow();
        let heard = view.other.as_ref();
        heard.is_some_and(|(_, at)| at.elapsed() < time)
    }

    /// Whether the own site's register holds the authority over a writer of the other site, as far
    /// as is known here.
    pub(crate) fn is_auxiliary(&self) -> bool {
        let view = self.view.borrow();
        let own = view.own.as_ref().map(|report| &report.register);
        own.is_some_and(|own| own.holds_authority() && own.active != self.site)
    }

    /// Whether both registers are led by a majority, as far as is known here.
    pub(crate) fn both_lead(&self) -> bool {
        let view = self.view.borrow();
        let own = view.own.as_ref().is_some_and(|own| own.leader.is_some());
        drop(view);
        own && self.other_has_majority()
    }

    /// Whether the other site's register answers and has a majority.
    pub(crate) fn other_has_majority(&self) -> bool {
        let view = self.view.borrow();
        let heard = view.other.as_ref();
        heard.is_some_and(|(report, at)| report.leader.is_some() && at.elapsed() < HEARD_OF_LATE)
    }
}

fn apply(command: Command) -> Question {
    let command = Box::new(command);
    Question::Apply { command }
}

/// Waits until a voter ends by itself, and says why; one that is told to stop does not.
async fn ended(voter: &mut watch::Receiver<Option<GroupError>>) -> GroupError {
    match voter.wait_for(Option::is_some).await.map(|why| why.clone()) {
        Ok(Some(error)) => error,
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
