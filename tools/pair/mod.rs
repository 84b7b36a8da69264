//! A primary and an auxiliary as real processes on loopback, for `demo` and `bench`.
//!
//! ```text
//! Workspace (directory, removed at the end)
//! ├── node-1/  node-1.toml  node-1.log      site 1, formatted as primary
//! └── node-2/  node-2.toml  node-2.log      site 2, its auxiliary
//! ```
//!
//! Whatever ends the command, the processes end with it and the directory goes.

mod addresses;
mod leash;
mod process;
mod workspace;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kanjo_client::{Client, ClientConfig};
use kanjo_node::Config;
use kanjo_node::admin::{Answer, Command, Condition, PromoteOptions};
use kanjo_node::status::{Promotion, Status};

use addresses::Addresses;
pub(crate) use addresses::free_addresses;
pub(crate) use leash::{Death, LeashArgs, leashed};
pub(crate) use process::{Does, NodeProcess};
pub(crate) use workspace::Workspace;

/// How long anything may take that is only waited for. Far beyond what a slow disk needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that tells nobody when it changes.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Names one of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Of site 1, formatted as primary.
    First,
    /// Of site 2, formatted as its auxiliary.
    Second,
}

impl Which {
    /// The one that this is not.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// 1 or 2.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

/// Two formatted data directories and the processes that run on them.
pub(crate) struct Pair {
    first: Node,
    second: Node,
    segment_bytes: u64,
    patience: Duration,
}

struct Node {
    process: NodeProcess,
    config: Config,
}

impl Pair {
    /// Formats two directories in `folder` and writes their configurations, as `tune` changes
    /// them. Nothing runs yet.
    pub(crate) fn format(
        folder: &Path,
        segment_bytes: u64,
        tune: impl Fn(&mut Config),
    ) -> Result<Self> {
        let addresses = Addresses::draw()?;
        let cluster = draw_cluster()?;
        let make = |which: Which| -> Result<Node> {
            let name = format!("node-{}", which.number());
            let data = folder.join(&name);
            let (node, site) = (which.number(), which.number());
            format_directory(&data, &cluster, (node, site), segment_bytes)?;
            let mut config = addresses.config(which, data);
            tune(&mut config);
            let process = NodeProcess::new(&name, folder, Does::Serve, &config.to_toml())?;
            Ok(Node { process, config })
        };
        Ok(Self {
            first: make(Which::First)?,
            second: make(Which::Second)?,
            segment_bytes,
            patience: PATIENCE,
        })
    }

    /// Changes a node's configuration for its next start.
    pub(crate) fn reconfigure(
        &mut self,
        which: Which,
        change: impl FnOnce(&mut Config),
    ) -> Result<()> {
        let node = self.node_mut(which);
        change(&mut node.config);
        node.process.configure(&node.config.to_toml())
    }

    /// A node's configuration.
    pub(crate) const fn config(&self, which: Which) -> &Config {
        &self.node(which).config
    }

    /// The next start of a node is under this program with these arguments; under none if empty.
    pub(crate) fn run_under(&mut self, which: Which, program: Vec<OsString>) {
        self.process(which).run_under(program);
    }

    /// Changes how long is waited for anything: a node with a long log is busy when it starts.
    pub(crate) const fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
    }

    const fn node(&self, which: Which) -> &Node {
        match which {
            Which::First => &self.first,
            Which::Second => &self.second,
        }
    }

    const fn node_mut(&mut self, which: Which) -> &mut Node {
        match which {
            Which::First => &mut self.first,
            Which::Second => &mut self.second,
        }
    }

    const fn process(&mut self, which: Which) -> &mut NodeProcess {
        &mut self.node_mut(which).process
    }

    fn name(&self, which: Which) -> &str {
        self.node(which).process.name()
    }

    /// Starts one node. Call it from the main thread only: the process dies with the thread
    /// that started it.
    pub(crate) fn start(&mut self, which: Which) -> Result<()> {
        self.process(which).start()
    }

    /// Starts both and waits until every commit is protected.
    pub(crate) async fn start_protected(&mut self) -> Result<Status> {
        self.start(Which::Second)?;
        self.start(Which::First)?;
        self.expect(Which::First, Condition::Protected).await?;
        self.expect(Which::First, Condition::Serving).await
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self, which: Which) -> Result<()> {
        self.process(which).kill()
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) async fn stop(&mut self, which: Which) -> Result<()> {
        let until = Instant::now() + self.patience;
        let node = match self.node(which).process.is_under() {
            true => Some(self.status(which).await?.pid),
            false => None,
        };
        self.process(which).terminate(node)?;
        while !self.process(which).has_ended()? {
            if Instant::now() > until {
                bail!("{} does not stop", self.name(which));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Asks a node's admin port; waits for the port while the process lives.
    pub(crate) async fn ask(&mut self, which: Which, command: Command) -> Result<Answer> {
        let patience = self.patience;
        let node = self.node_mut(which);
        let address = node.config.admin_listen.clone();
        node.process.ask(&address, &command, patience).await
    }

    /// How a node is now.
    pub(crate) async fn status(&mut self, which: Which) -> Result<Status> {
        match self.ask(which, Command::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => bail!("{} answered {other:?}", self.name(which)),
        }
    }

    /// Waits until a condition holds; that it never does is an error.
    pub(crate) async fn expect(&mut self, which: Which, condition: Condition) -> Result<Status> {
        let timeout_ms = self.patience.as_millis() as u64 / 2;
        let command = Command::Await {
            condition,
            timeout_ms,
        };
        match self.ask(which, command).await? {
            Answer::Status(status) => Ok(*status),
            Answer::TimedOut(status) => bail!(
                "{} was not {condition:?} within {timeout_ms} ms; it is {} in epoch {}, {}{}",
                self.name(which),
                status.role,
                status.epoch,
                status.protection,
                status
                    .peer
                    .last_error
                    .map(|error| format!("; peer: {error}"))
                    .unwrap_or_default()
            ),
            other => bail!("{} answered {other:?}", self.name(which)),
        }
    }

    /// Promotes a node over its admin port.
    pub(crate) async fn promote(
        &mut self,
        which: Which,
        options: PromoteOptions,
    ) -> Result<Promotion> {
        match self.ask(which, Command::Promote(options)).await? {
            Answer::Promotion(promotion) => Ok(*promotion),
            Answer::Refused { message } => bail!("the promotion was refused: {message}"),
            other => bail!("{} answered {other:?}", self.name(which)),
        }
    }

    /// Waits until both nodes stand at one lsn with everything committed and applied; gives how
    /// both are then, whether or not they are equal.
    pub(crate) async fn settle(&mut self) -> Result<[Status; 2]> {
        let until = Instant::now() + self.patience;
        loop {
            let first = self.expect(Which::First, Condition::Idle).await?;
            let second = self.expect(Which::Second, Condition::Idle).await?;
            if first.applied_lsn == second.applied_lsn {
                return Ok([first, second]);
            }
            if Instant::now() > until {
                bail!(
                    "the nodes never stood at one lsn: {} and {}",
                    first.applied_lsn,
                    second.applied_lsn
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Connects to whichever node is primary.
    pub(crate) async fn connect(&self) -> Result<Client> {
        self.connect_with(|_| {}).await
    }

    /// The same for a client that is told something else than the defaults.
    pub(crate) async fn connect_with(
        &self,
        tune: impl FnOnce(&mut ClientConfig),
    ) -> Result<Client> {
        let addresses = [&self.first, &self.second].map(|node| node.config.client_listen.clone());
        let mut config = ClientConfig::new(addresses);
        config.connect_deadline = PATIENCE;
        config.backoff_max = Duration::from_millis(20);
        tune(&mut config);
        Client::connect(config).await.context("connecting")
    }

    /// Process ids of the nodes that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let nodes = [&self.first, &self.second];
        let pids = nodes.into_iter().filter_map(|node| node.process.pid());
        pids.collect()
    }

    /// Size of a segment of its logs.
    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// A node's data directory.
    pub(crate) fn data_dir(&self, which: Which) -> &Path {
        &self.node(which).config.data_dir
    }

    /// The ends of both logs, for the report of a failure.
    pub(crate) fn last_words(&self) -> String {
        [&self.first, &self.second]
            .map(|node| node.process.last_words())
            .join("\n")
    }
}

/// The id of a new cluster.
pub(crate) fn draw_cluster() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("{:032x}", u128::from_le_bytes(random)))
}

/// Runs `kanjo format` for a node of that number in that site, as an operator would.
pub(crate) fn format_directory(
    data: &Path,
    cluster: &str,
    (node, site): (u32, u32),
    segment_bytes: u64,
) -> Result<()> {
    let (node, site) = (node.to_string(), site.to_string());
    let segment = segment_bytes.to_string();
    let mut arguments: Vec<OsString> = vec!["format".into(), "--dir".into(), data.into()];
    let options = [
        ("--cluster", cluster),
        ("--node", &node),
        ("--site", &site),
        ("--segment-bytes", &segment),
    ];
    for (name, value) in options {
        arguments.extend([name.into(), value.into()]);
    }
    let output = std::process::Command::new(this_binary()?)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .context("running kanjo format")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("kanjo format {}: {}", data.display(), said.trim());
    }
    Ok(())
}

/// The nodes run the very program that this is.
fn this_binary() -> Result<PathBuf> {
    std::env::current_exe().context("finding this program's file")
}

/// Runs a command's future until it is done or the user wants it to end: SIGINT, SIGTERM or
/// SIGHUP. Whatever the future holds is dropped, and with it processes and directories.
pub(crate) fn run_to_end<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => bail!("interrupted; nothing is left behind"),
            _ = terminate.recv() => bail!("terminated; nothing is left behind"),
            _ = hang_up.recv() => bail!("hung up; nothing is left behind"),
            outcome = future => outcome,
        }
    });
    // A thread may still wait for an answer of a process that was killed.
    runtime.shutdown_background();
    outcome
}
