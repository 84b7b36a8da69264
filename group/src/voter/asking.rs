//! Questions to either register, and their answers by the voter that leads it.

use std::time::Duration;

use kanjo_format::limits::REGISTER_COMMAND_BYTES_MAX;
use kanjo_format::{NodeId, Site};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use crate::port::{Asked, Question, Reply, SiteReport, ThirdQuestion, ThirdReply};
use crate::register::{Command, Outcome, Refusal};
use crate::voter::link::{CallError, Target};
use crate::voter::wire::{Answer, Purpose, Request};
use crate::voter::{Core, Shared};

/// Nobody is asked any more after this.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1_600);
/// A voter that has not answered by then is left to it, and the next one asked the same: twice the
/// same is answered the same. Longer than a voter waits for an election before it names none.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(600);
/// The leader gives a change so long to be decided, a read to be confirmed.
const DECISION_TIMEOUT: Duration = Duration::from_millis(1_400);
/// A voter without a leader waits so long for one before it says so.
const ELECTION_WAIT: Duration = Duration::from_millis(300);
/// Between two rounds through the voters of a site.
const ROUND_PAUSE: Duration = Duration::from_millis(25);
/// The other site is read this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The third site's witness answers within this time, or is silent.
const THIRD_TIMEOUT: Duration = Duration::from_millis(900);
/// It is read this often.
const LOOK_AT_THIRD_EVERY: Duration = Duration::from_millis(500);

impl Shared {
    /// Answers as one voter: what was asked if it leads, else who does.
    pub(crate) async fn answer(&self, question: Question) -> Answer {
        self.settle().await;
        if !self.leads() {
            return self.not_leader();
        }
        match question {
            Question::Apply { command } => self.apply(*command).await,
            Question::Read => self.read().await,
        }
    }

    /// Waits while an election is under way.
    async fn settle(&self) {
        let mut metrics = self.raft.metrics();
        let settled = async { while self.leader().is_none() && metrics.changed().await.is_ok() {} };
        // Not settled in time is an answer, too.
        let _ = timeout(ELECTION_WAIT, settled).await;
    }

    fn not_leader(&self) -> Answer {
        Answer::NotLeader {
            leader: self.leader().filter(|leader| *leader != self.setup.node),
            report: Box::new(self.report()),
        }
    }

    async fn apply(&self, command: Command) -> Answer {
        let length = serde_json::to_vec(&command).map_or(usize::MAX, |bytes| bytes.len());
        if length > REGISTER_COMMAND_BYTES_MAX {
            let why = format!("it has {length} bytes, {REGISTER_COMMAND_BYTES_MAX} are allowed");
            let reply = self.refused(Refusal::NotForHere(why));
            return Answer::Reply { reply };
        }
        let reply = match timeout(DECISION_TIMEOUT, self.raft.client_write(command)).await {
            Ok(Ok(response)) => match response.data {
                Some(outcome) => Reply::Outcome { outcome },
                None => unknown("the change came to nothing that can be told"),
            },
            // Also where another voter leads by now: an entry that was cut off here may be on a
            // voter that leads later.
            Ok(Err(error)) => unknown(&error.to_string()),
            Err(_) => unknown("it was not decided in time"),
        };
        Answer::Reply { reply }
    }

    fn refused(&self, why: Refusal) -> Reply {
        let register = Box::new(self.store.applied().borrow().register.clone());
        let outcome = Outcome::Refused { why, register };
        Reply::Outcome { outcome }
    }

    async fn read(&self) -> Answer {
        match timeout(DECISION_TIMEOUT, self.raft.ensure_linearizable()).await {
            Ok(Ok(_)) => {
                let mut report = Box::new(self.report());
                // A majority has just said so.
                report.leader = Some(self.setup.node);
                let reply = Reply::Report { report };
                Answer::Reply { reply }
            }
            Ok(Err(_)) | Err(_) => self.not_leader(),
        }
    }

    /// Asks the voters of a site until one that leads has answered, or the time is up. The report
    /// is what a voter told that could not answer.
    async fn ask(&self, site: Site, question: &Question) -> (Reply, Option<SiteReport>) {
        let deadline = Instant::now() + QUESTION_TIMEOUT;
        let mut told = None;
        // A change may have come about at a voter that was not heard.
        let mut maybe = None;
        let mut hint = self.led_lately(site);
        loop {
            let (mut tried, mut why) = (Vec::new(), Vec::<String>::new());
            while let Some((node, address)) = self.next_voter(site, hint.take(), &tried) {
                tried.push(node);
                let asked = self.ask_voter(site, node, address, question.clone());
                match timeout(ANSWER_TIMEOUT, asked).await {
                    Ok(Ok(Answer::Reply { reply })) => return (reply, None),
                    Ok(Ok(Answer::NotLeader { leader, report })) => {
                        if leader.is_none() {
                            why.push(format!("voter {node} hears no leader with a majority"));
                        }
                        told = Some(*report);
                        hint = leader;
                    }
                    Ok(Ok(other)) => why.push(format!("voter {node} answered {other:?}")),
                    Ok(Err(CallError::NotSent(because))) => why.push(because),
                    Ok(Err(CallError::Lost(because))) => {
                        maybe = Some(because.clone());
                        why.push(because);
                    }
                    Err(_) => {
                        let silent = format!("voter {node} does not answer");
                        maybe = Some(silent.clone());
                        why.push(silent);
                    }
                }
                if Instant::now() >= deadline && tried.len() > 1 {
                    break;
                }
            }
            if timeout_at(deadline, tokio::time::sleep(ROUND_PAUSE))
                .await
                .is_err()
            {
                return match (maybe, question) {
                    (Some(because), Question::Apply { .. }) => (unknown(&because), told),
                    _ => {
                        let why = why.join("; ");
                        (Reply::Unreachable { why }, told)
                    }
                };
            }
        }
    }

    /// Asks the third site's witness, once.
    async fn ask_third(&self, question: ThirdQuestion) -> ThirdReply {
        let silent = |why: String| ThirdReply::Silent { why };
        let Some(third) = &self.setup.topology.third_witness else {
            return silent("the cluster file names no third witness".to_owned());
        };
        let link = self.links.to(Target {
            site: self.setup.site,
            node: third.node,
            address: third.register.clone(),
            purpose: Purpose::Third,
            incarnation: None,
        });
        match timeout(THIRD_TIMEOUT, link.call(Request::Third { question })).await {
            Ok(Ok(Answer::Third { reply })) => reply,
            Ok(Ok(other)) => silent(format!("the third witness answered {other:?}")),
            Ok(Err(error)) => silent(error.to_string()),
            Err(_) => silent(format!(
                "the third witness (node {}) does not answer",
                third.node
            )),
        }
    }

    /// Who led that site when it was last heard, if it is the other one.
    fn led_lately(&self, site: Site) -> Option<NodeId> {
        let view = self.view.borrow();
        let other = view.other.as_ref().filter(|_| site != self.setup.site);
        other.and_then(|(report, _)| report.leader)
    }

    /// Whom to ask next: who is said to lead, else whoever was not asked yet in this round.
    fn next_voter(
        &self,
        site: Site,
        hint: Option<NodeId>,
        tried: &[NodeId],
    ) -> Option<(NodeId, &str)> {
        let voters = || {
            let all = self.setup.topology.voters_of(site);
            all.map(|(node, address, _)| (node, address))
                .filter(|(node, _)| !tried.contains(node))
        };
        let own = (site == self.setup.site && !tried.contains(&self.setup.node))
            .then_some(self.setup.node);
        voters()
            .find(|(node, _)| Some(*node) == hint.or(own))
            .or_else(|| voters().next())
    }

    async fn ask_voter(
        &self,
        site: Site,
        node: NodeId,
        address: &str,
        question: Question,
    ) -> Result<Answer, CallError> {
        if node == self.setup.node {
            return Ok(self.answer(question).await);
        }
        let link = self.links.to(Target {
            site,
            node,
            address: address.to_owned(),
            purpose: Purpose::Ask,
            incarnation: None,
        });
        link.call(Request::Ask { question }).await
    }
}

fn unknown(why: &str) -> Reply {
    let why = format!("{why}; ask the same again");
    Reply::Unknown { why }
}

/// Answers what the server of this process asks, all at the same time.
pub(crate) async fn serve(core: Core, mut asked: mpsc::UnboundedReceiver<Asked>) {
    while let Some(asked) = asked.recv().await {
        let core = core.clone();
        tokio::spawn(async move {
            // Who asked may have given up.
            match asked {
                Asked::Register {
                    site,
                    question,
                    answer,
                } => {
                    let (reply, _) = core.ask(site, &question).await;
                    if site != core.setup.site {
                        core.look_over.notify_one();
                    }
                    let _ = answer.send(reply);
                }
                Asked::Third { question, answer } => {
                    let _ = answer.send(core.ask_third(question).await);
                }
            }
        });
    }
}

/// Keeps what is known of the third site's witness fresh.
pub(crate) async fn look_at_third(core: Core) {
    let mut ticks = tokio::time::interval(LOOK_AT_THIRD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let ThirdReply::Stands { third } = core.ask_third(ThirdQuestion::Read).await {
            let now = std::time::Instant::now();
            core.view
                .send_modify(|view| view.third = Some((third, now)));
        }
    }
}

/// Keeps the view of the other site fresh.
pub(crate) async fn look_over(core: Core) {
    let other = core.setup.site.other();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.look_over.notified() => {}
        }
        let report = match core.ask(other, &Question::Read).await {
            (Reply::Report { report }, _) => *report,
            // Nobody leads there: what one voter knows is better than nothing, unless it is
            // older than what is known.
            (_, Some(told)) => {
                let view = core.view.borrow();
                let known = view.other.as_ref();
                if known.is_some_and(|(known, _)| told.register.version < known.register.version) {
                    continue;
                }
                let leader = None;
                SiteReport { leader, ..told }
            }
            _ => continue,
        };
        let now = std::time::Instant::now();
        core.view
            .send_modify(|view| view.other = Some((report, now)));
    }
}
