//! Listens for voters and servers. What a stranger says ends its own connection and nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::limits::{REGISTER_CONNECTIONS_MAX, REGISTER_QUESTIONS_MAX};
use openraft::Snapshot;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use crate::voter::Core;
use crate::voter::hearing::Seat;
use crate::voter::setup::VoterId;
use crate::voter::wire::{
    Answer, Caller, Envelope, Frames, Greeting, Hello, Purpose, Request, send,
};

/// Who connects says hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that says nothing for this long is closed: it must not keep somebody's place.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Who does not read an answer for so long is not waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to find out whether a server whose connection closed has still a process.
const PROBE_TIMEOUT: Duration = Duration::from_millis(15);

/// Accepts connections for as long as the voter lives.
pub(crate) async fn accept(core: Core, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(REGISTER_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let core = core.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(core, stream).await {
                        tracing::debug!(%peer, %error, "register connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for the register");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(core: Core, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut frames = Frames::new(read);
    let hello = timeout(HELLO_TIMEOUT, frames.next()).await;
    let hello = hello.map_err(|_| io::Error::other("no hello in time"))??;
    let hello = hello.ok_or_else(|| io::Error::other("closed before a hello"))?;
    let hello = match Hello::read(hello) {
        Ok(hello) => hello,
        Err(why) => {
            let replaced = false;
            return send(&mut write, &Greeting::Refused { why, replaced }).await;
        }
    };
    if let Err((why, replaced)) = check(&core, &hello) {
        tracing::warn!(
            node = %hello.from.node, site = %hello.from.site, purpose = ?hello.purpose, why,
            "a connection for the register was refused"
        );
        return send(&mut write, &Greeting::Refused { why, replaced }).await;
    }
    let member = core.info.member();
    send(&mut write, &Greeting::Welcome { member }).await?;
    frames.greeted();
    match hello.purpose {
        Purpose::Ask => serve_questions(core, frames, write).await,
        Purpose::Beat => {
            let seat = core.hearing.open(hello.from.node);
            let served = serve_turns(&core, frames, write, hello.from, Some(seat)).await;
            if core.hearing.close(seat) {
                probe(&core, seat, hello.from).await;
            }
            served
        }
        Purpose::Raft => {
            let served = serve_turns(&core, frames, write, hello.from, None).await;
            let leader = core.raft.server_metrics().borrow().current_leader;
            if leader == Some(VoterId::from(hello.from.incarnation)) {
                core.pulse.leader_closed();
            }
            served
        }
        Purpose::Join | Purpose::Third => serve_turns(&core, frames, write, hello.from, None).await,
    }
}

/// Why a caller is refused, and whether for ever.
fn check(core: &Core, hello: &Hello) -> Result<(), (String, bool)> {
    let setup = &core.setup;
    let from = hello.from;
    let refuse = |why: String| Err((why, false));
    if let Err(why) = hello.check(setup.cluster, setup.site) {
        return refuse(why);
    }
    if hello.to.is_some_and(|to| to != setup.incarnation) {
        return refuse(format!(
            "this directory is incarnation {}, another one is meant",
            setup.incarnation
        ));
    }
    if hello.purpose == Purpose::Third {
        return refuse(
            "this voter keeps a site's register and is no third witness: the addresses in the cluster file are mixed up"
                .to_owned(),
        );
    }
    if hello.purpose == Purpose::Ask {
        return match setup.topology.server(from.node) {
            Some(server) if server.site == from.site => Ok(()),
            _ => refuse(format!(
                "the cluster file here has no server {} in site {}",
                from.node, from.site
            )),
        };
    }
    let mut voters = setup.topology.voters_of(setup.site);
    if from.site != setup.site || !voters.any(|(node, _, _)| node == from.node) {
        return refuse(format!(
            "the cluster file here has no voter {} in site {}",
            from.node, from.site
        ));
    }
    if from.node == setup.node {
        return refuse(format!("this is voter {} itself", setup.node));
    }
    let applied = core.store.applied();
    let machine = applied.borrow();
    if machine.was_replaced(from.member()) {
        let now = machine.voters().find(|voter| voter.node == from.node);
        let by = now.map_or_else(
            || "another directory".to_owned(),
            |voter| format!("incarnation {}", voter.incarnation),
        );
        let (node, old) = (from.node, from.incarnation);
        return Err((
            format!("node {node} was replaced: {by} has taken the place of incarnation {old}"),
            true,
        ));
    }
    Ok(())
}

/// One request after the other.
async fn serve_turns(
    core: &Core,
    mut frames: Frames<OwnedReadHalf>,
    mut write: OwnedWriteHalf,
    from: Caller,
    seat: Option<Seat>,
) -> io::Result<()> {
    loop {
        let frame = timeout(SILENCE_MAX, frames.next::<Envelope<Request>>()).await;
        let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let Some(Envelope { id, body }) = frame else {
            return Ok(());
        };
        core.contacts.hear(from.member());
        let body = match (body, seat) {
            (Request::Beat { beat }, Some(seat)) if beat.member == from.member() => {
                core.hearing.hear(seat, beat);
                Answer::Noted
            }
            (request, None) => turn(core, request, from).await?,
            _ => return Err(io::Error::other("only own beats belong here")),
        };
        write_answer(&mut write, Envelope { id, body }).await?;
    }
}

async fn write_answer(write: &mut OwnedWriteHalf, answer: Envelope<Answer>) -> io::Result<()> {
    let written = timeout(WRITE_TIMEOUT, send(write, &answer)).await;
    written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn turn(core: &Core, request: Request, from: Caller) -> io::Result<Answer> {
    let (raft, failed) = (&core.raft, io::Error::other::<String>);
    let caller = VoterId::from(from.incarnation);
    match request {
        Request::Append { rpc } => {
            let leads = rpc.vote.leader_id.node_id == caller;
            // Before it is kept: a slow disk here says nothing about the leader.
            let known = raft.server_metrics().borrow().current_leader;
            if leads && known == Some(caller) {
                core.pulse.hear_leader();
            }
            let answer = raft.append_entries(rpc).await;
            let rpc = answer.map_err(|error| failed(error.to_string()))?;
            if leads && !matches!(rpc, openraft::raft::AppendEntriesResponse::HigherVote(_)) {
                core.pulse.hear_leader();
            }
            Ok(Answer::Append { rpc })
        }
        Request::Vote { rpc } => {
            let answer = raft.vote(rpc).await;
            let rpc = answer.map_err(|error| failed(error.to_string()))?;
            if rpc.vote_granted {
                core.pulse.vote();
            }
            Ok(Answer::Vote { rpc })
        }
        Request::Snapshot {
            vote,
            meta,
            machine,
        } => {
            let snapshot = machine;
            let answer = raft
                .install_full_snapshot(vote, Snapshot { meta, snapshot })
                .await;
            let rpc = answer.map_err(|error| failed(error.to_string()))?;
            core.pulse.hear_leader();
            Ok(Answer::Snapshot { rpc })
        }
        Request::Who => Ok(core.who()),
        Request::Join { voter } if voter.member() == from.member() => Ok(core.take_in(voter).await),
        _ => Err(failed("that does not belong on this connection".to_owned())),
    }
}

/// Questions side by side: one that waits for a majority must not hold up another.
async fn serve_questions(
    core: Core,
    mut frames: Frames<OwnedReadHalf>,
    write: OwnedWriteHalf,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(REGISTER_QUESTIONS_MAX));
    let write = Arc::new(Mutex::new(write));
    loop {
        let frame = timeout(SILENCE_MAX, frames.next::<Envelope<Request>>()).await;
        let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let Some(Envelope { id, body }) = frame else {
            return Ok(());
        };
        let Request::Ask { question } = body else {
            return Err(io::Error::other("only questions belong here"));
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let (core, write) = (core.clone(), Arc::clone(&write));
        tokio::spawn(async move {
            let body = core.answer(question).await;
            // Who is gone hears nothing; reading notices it.
            let _ = write_answer(&mut *write.lock().await, Envelope { id, body }).await;
            drop(place);
        });
    }
}

/// A server's connection closed: if nothing listens at its address its process is no more, which
/// its kernel tells sooner than any grace is over.
async fn probe(core: &Core, seat: Seat, from: Caller) {
    let Some(server) = core.setup.topology.server(from.node) else {
        return;
    };
    let connected = timeout(PROBE_TIMEOUT, TcpStream::connect(&server.register)).await;
    if let Ok(Err(error)) = connected
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        core.hearing.gone(seat);
    }
}
