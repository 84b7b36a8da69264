//! Raft's messages over kept connections.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kanjo_format::Site;
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};

use crate::topology::Topology;
use crate::voter::link::{CallError, Link, Links, Target};
use crate::voter::setup::{Types, Vote, VoterId, VoterInfo};
use crate::voter::wire::{Answer, Purpose, Request};

type RpcError = RPCError<VoterId, VoterInfo, RaftError<VoterId>>;

/// Finds the voters of the own site.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) site: Site,
    pub(crate) topology: Arc<Topology>,
    pub(crate) links: Arc<Links>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _target: VoterId, voter: &VoterInfo) -> Peer {
        // The cluster file is newer than what was written down when the voter joined.
        let mut voters = self.topology.voters_of(self.site);
        let listed = voters.find(|(node, _, _)| *node == voter.node);
        let address = listed.map_or_else(|| voter.address.clone(), |(_, at, _)| at.to_owned());
        let link = self.links.to(Target {
            site: self.site,
            node: voter.node,
            address,
            purpose: Purpose::Raft,
            incarnation: Some(voter.incarnation),
        });
        let retry = Duration::from_millis(self.topology.timing.heartbeat_ms);
        Peer { link, retry }
    }
}

/// One other voter, as Raft talks to it.
#[derive(Debug)]
pub(crate) struct Peer {
    link: Link,
    retry: Duration,
}

impl Peer {
    /// Every failure lets Raft wait a little: it would try again at once otherwise, for ever.
    async fn call(&self, request: Request) -> Result<Answer, Unreachable> {
        let answer = self.link.call(request).await;
        answer.map_err(|error| Unreachable::new(&error))
    }
}

fn misfit(answer: &Answer) -> Unreachable {
    let why = match answer {
        Answer::Declined { why } => why.clone(),
        other => format!("an answer to something else: {other:?}"),
    };
    Unreachable::new(&CallError::Lost(why))
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<VoterId>, RpcError> {
        match self.call(Request::Append { rpc }).await? {
            Answer::Append { rpc } => Ok(rpc),
            other => Err(misfit(&other).into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<VoterId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<VoterId>, RpcError> {
        match self.call(Request::Vote { rpc }).await? {
            Answer::Vote { rpc } => Ok(rpc),
            other => Err(misfit(&other).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<VoterId>, StreamingError<Types, Fatal<VoterId>>> {
        let Snapshot { meta, snapshot } = snapshot;
        let machine = snapshot;
        let request = Request::Snapshot {
            vote,
            meta,
            machine,
        };
        let late = || {
            let why = "the snapshot was not answered in time".to_owned();
            Unreachable::new(&CallError::Lost(why))
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = tokio::time::timeout(option.hard_ttl(), self.call(request)) => {
                match answer.map_err(|_| late())?? {
                    Answer::Snapshot { rpc } => Ok(rpc),
                    other => Err(misfit(&other).into()),
                }
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.retry))
    }
}
