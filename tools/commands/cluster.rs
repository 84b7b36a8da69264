//! How the commands that hold a client find their cluster.

use std::future::Future;
use std::time::Duration;

use kanjo_client::{AccountBody, Client, ClientConfig, ClientError, ClusterId, CreateResult};
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Failure};
use crate::quantities::parse_some_time;

const REPEAT_PAUSE: Duration = Duration::from_millis(100);

/// Where the cluster is, for every command that talks to it as a client.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Client addresses (client_listen) of the nodes, HOST:PORT, with commas between; which one is
    /// primary is found out
    #[arg(long, value_name = "ADDR", value_delimiter = ',', required = true)]
    connect: Vec<String>,
    /// The cluster that is meant: 32 hexadecimal digits [default: whichever answers]
    #[arg(long, value_name = "HEX", value_parser = super::format::parse_cluster)]
    cluster: Option<ClusterId>,
    /// How long to try at most, repeats included: 500ms, 30s, 5m, 1h
    #[arg(long, value_parser = parse_some_time, default_value = "30s")]
    pub(super) timeout: Duration,
}

impl ClusterArgs {
    /// Connects to the primary and does `work` with it.
    pub(super) fn with_client<F, W>(&self, work: W) -> Result<Exit, Failure>
    where
        F: Future<Output = Result<Exit, Failure>>,
        W: FnOnce(Client) -> F,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        runtime.block_on(async {
            let mut config = ClientConfig::new(self.connect.iter().cloned());
            config.cluster = self.cluster;
            config.connect_deadline = self.timeout;
            let client = Client::connect(config).await.map_err(unconnected)?;
            work(client).await
        })
    }
}

/// Asks and, where an outcome stays unknown or a node cannot take it, asks again. Only for what
/// changes nothing the second time.
pub(super) async fn until_answered<T, F>(
    timeout: Duration,
    ask: impl Fn() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let deadline = Instant::now() + timeout;
    loop {
        match ask().await {
            Err(error) if error.worth_repeating() && Instant::now() + REPEAT_PAUSE < deadline => {
                sleep(REPEAT_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Opens accounts for certain. An account that an earlier attempt opened answers `exists`.
pub(super) async fn create_accounts(
    client: &Client,
    accounts: &[AccountBody],
    timeout: Duration,
) -> Result<Vec<CreateResult>, ClientError> {
    until_answered(timeout, || client.create_accounts(accounts)).await
}

/// Nothing was sent yet, so nothing is unknown.
pub(crate) fn unconnected(error: ClientError) -> Failure {
    let known = Failure::from(error.clone());
    match error {
        ClientError::Deadline { text } => {
            let text = format!("no node could be reached: {text}");
            Failure::new(Exit::Unreached, text)
                .with("are these client_listen addresses of running nodes?")
        }
        _ => known,
    }
}
