//! Requests to a cluster.
//!
//! The client lives on a thread of its own, so that its connection is served while a person thinks.

use std::sync::mpsc as blocking;
use std::time::Duration;

use kanjo_client::{Client, ClientConfig, ClientError, ClusterId};
use tokio::sync::mpsc;

use super::reply::Reply;
use super::request::Request;
use crate::exit::{Exit, Failure};

type Answer = Result<Reply, Failure>;
type Question = (Request, blocking::SyncSender<Answer>);

/// The way to the client's thread. Ends it when dropped.
#[derive(Debug)]
pub(crate) struct Remote {
    questions: mpsc::Sender<Question>,
}

impl Remote {
    /// Finds the primary.
    pub(crate) fn connect(
        addresses: Vec<String>,
        cluster: Option<ClusterId>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut config = ClientConfig::new(addresses);
        config.cluster = cluster;
        config.connect_deadline = timeout;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        let client = runtime.block_on(Client::connect(config))?;
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        let serve = async move {
            while let Some((request, answer)) = asked.recv().await {
                let reply = tokio::time::timeout(timeout, ask(&client, request)).await;
                let reply = match reply {
                    Ok(reply) => reply.map_err(Failure::from),
                    Err(_) => Err(Failure::new(Exit::Unknown, "no answer in time")),
                };
                // Nobody waits where the session has ended.
                let _ = answer.send(reply);
            }
        };
        let thread = std::thread::Builder::new().name("kanjo-repl".to_owned());
        thread
            .spawn(move || runtime.block_on(serve))
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { questions })
    }

    pub(crate) fn answer(&self, request: Request) -> Answer {
        let gone = || Failure::failed("the client's thread has ended");
        let (answer, answered) = blocking::sync_channel(1);
        let asked = self.questions.blocking_send((request, answer));
        asked.map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

async fn ask(client: &Client, request: Request) -> Result<Reply, ClientError> {
    let _ = (client, request);
    todo!("the client's requests")
}
