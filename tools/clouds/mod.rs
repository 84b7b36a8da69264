//! Two sites of two servers and a witness as real processes on loopback, for `demo` and `bench`.
//!
//! ```text
//! Workspace (directory, removed at the end)
//! ├── node-1/  node-2/  witness-11/        site 1, active at first
//! ├── node-3/  node-4/  witness-12/        site 2
//! ├── witness-21/                          a third site, where asked for
//! ├── node-1.toml  node-1.log  …           one pair a part
//! └── cluster.toml                         or cluster-1.toml and cluster-2.toml
//! ```
//!
//! Without root no packet between two processes can be dropped. Where the link between the sites
//! shall be cut, each site has its own copy of the cluster file, in which the addresses that it
//! dials in the *other* site are those of relays, which can be cut in each direction. Elsewhere
//! the file is the same for all, as on real machines.
//!
//! Whatever ends the command, the processes end with it and the directory goes.

mod addresses;
mod link;
mod part;
mod picture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kanjo_client::{Client, ClientConfig};
use kanjo_format::{NodeId, Site};
use kanjo_group::Topology;
use kanjo_group::topology::Timing;
use kanjo_node::AutoFailover;
use kanjo_node::admin::{self, Answer, Command, OperatorWord};
use rustix::process::Signal;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::pair::{Does, NodeProcess, PATIENCE, draw_cluster, format_directory};
use link::Link;
use part::{PARTS, THIRD_WITNESS, WITNESSES};
pub(crate) use part::{Part, SERVERS, parts_of, witness_of};
pub(crate) use picture::Picture;

/// A server that lives answers within this; one that does not is left out of the picture.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at all servers, which have other things to do as well.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How the sites reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// Directly.
    Loopback,
    /// Through relays, which can be cut.
    Relays,
}

/// What the third site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Third {
    /// There is none.
    Nothing,
    /// A witness, which both sites reach; each goes on without the other one by its word.
    Witness,
}

/// Formatted directories and the processes that run on them.
pub(crate) struct Clouds {
    parts: BTreeMap<Part, Running>,
    topology: Topology,
    link: Option<Link>,
    folder: PathBuf,
    patience: Duration,
}

struct Running {
    process: NodeProcess,
    /// Stopped by SIGSTOP: it cannot be asked.
    frozen: bool,
}

/// A part's configuration file.
#[derive(Serialize)]
struct PartConfig<'a> {
    data_dir: PathBuf,
    cluster_file: &'a Path,
    node: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_failover: Option<AutoFailover>,
}

/// Every process, in the order in which all are started.
fn all_parts(third: Third) -> Vec<Part> {
    let third = (third == Third::Witness).then_some(THIRD_WITNESS);
    third.into_iter().chain(PARTS).collect()
}

impl Clouds {
    /// Formats directories in `folder` and writes cluster file and configurations. Nothing runs
    /// yet.
    pub(crate) fn format(
        folder: &Path,
        segment_bytes: u64,
        (between, third): (Between, Third),
    ) -> Result<Self> {
        let topology = addresses::draw(third)?;
        let cluster = draw_cluster()?;
        let write = |name: &str, topology: &Topology| -> Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, topology.to_toml())
                .with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        let (link, files) = match between {
            Between::Loopback => {
                let file = write("cluster.toml", &topology)?;
                (None, [file.clone(), file])
            }
            Between::Relays => {
                let (link, [first, second]) = Link::between(&topology)?;
                let files = [
                    write("cluster-1.toml", &first)?,
                    write("cluster-2.toml", &second)?,
                ];
                (Some(link), files)
            }
        };
        let mut parts = BTreeMap::new();
        for part in all_parts(third) {
            let data_dir = folder.join(part.name());
            let (node, site) = (part.node(), part.site().number());
            if !part.is_witness() {
                format_directory(&data_dir, &cluster, (node, site.into()), segment_bytes)?;
            }
            let config = PartConfig {
                data_dir,
                cluster_file: &files[usize::from(site) - 1],
                node,
                cluster: part.is_witness().then_some(&cluster),
                auto_failover: (third == Third::Witness && !part.is_witness())
                    .then_some(AutoFailover::Both),
            };
            let does = match part.is_witness() {
                true => Does::Vote,
                false => Does::Serve,
            };
            let config = toml::to_string(&config).context("writing a configuration")?;
            let process = NodeProcess::new(&part.name(), folder, does, &config)?;
            let frozen = false;
            parts.insert(part, Running { process, frozen });
        }
        Ok(Self {
            parts,
            topology,
            link,
            folder: folder.to_owned(),
            patience: PATIENCE,
        })
    }

    /// Changes how long is waited for anything: a server with a long log is busy when it starts.
    pub(crate) const fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Times by which the parts go.
    pub(crate) const fn timing(&self) -> Timing {
        self.topology.timing
    }

    /// A server's data directory.
    pub(crate) fn data_dir(&self, server: Part) -> PathBuf {
        self.folder.join(server.name())
    }

    const fn third(&self) -> Third {
        match self.topology.third_witness {
            Some(_) => Third::Witness,
            None => Third::Nothing,
        }
    }

    fn part(&mut self, part: Part) -> Result<&mut Running> {
        self.parts.get_mut(&part).context("no such part")
    }

    /// Starts one part. Call it from the main thread only: the process dies with the thread that
    /// started it.
    pub(crate) fn start(&mut self, part: Part) -> Result<()> {
        self.part(part)?.process.start()
    }

    /// Starts all and waits until they are [`Picture::is_whole`].
    pub(crate) async fn start_whole(&mut self) -> Result<Picture> {
        for part in all_parts(self.third()) {
            self.start(part)?;
        }
        self.whole().await
    }

    /// SIGKILL, without waiting for the end: it takes a while where there is much memory.
    pub(crate) fn shoot(&mut self, part: Part) -> Result<()> {
        self.part(part)?.process.signal(Signal::KILL)
    }

    /// Waits for the end of what was shot.
    pub(crate) fn bury(&mut self, part: Part) -> Result<()> {
        let running = self.part(part)?;
        running.frozen = false;
        running.process.kill()
    }

    /// SIGSTOP: it falls silent with all its connections open.
    pub(crate) fn freeze(&mut self, part: Part) -> Result<()> {
        let running = self.part(part)?;
        running.process.signal(Signal::STOP)?;
        running.frozen = true;
        Ok(())
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(crate) fn thaw(&mut self, part: Part) -> Result<()> {
        let running = self.part(part)?;
        running.process.signal(Signal::CONT)?;
        running.frozen = false;
        Ok(())
    }

    /// From now on nothing comes from that site to the other one.
    pub(crate) fn cut(&self, from: Site) -> Result<()> {
        let link = self.link.as_ref().context("there are no relays to cut")?;
        link.cut(from);
        Ok(())
    }

    /// Heals the link between the sites.
    pub(crate) fn heal(&self) -> Result<()> {
        let link = self.link.as_ref().context("there are no relays to heal")?;
        link.heal();
        Ok(())
    }

    /// Asks all servers that run how they are.
    pub(crate) async fn look(&mut self) -> Result<Picture> {
        let mut asked = JoinSet::new();
        for server in SERVERS {
            let address = self.admin(server)?.to_owned();
            let running = self.part(server)?;
            running.process.check_alive()?;
            if running.frozen || running.process.pid().is_none() {
                continue;
            }
            asked.spawn_blocking(move || {
                (
                    server,
                    admin::ask(&address, &Command::Status, STATUS_PATIENCE),
                )
            });
        }
        for witness in WITNESSES {
            self.part(witness)?.process.check_alive()?;
        }
        let mut statuses = BTreeMap::new();
        while let Some(answered) = asked.join_next().await {
            // Who does not listen yet, or is too busy, is not in the picture.
            if let (server, Ok(Answer::Status(status))) = answered.context("asking")? {
                statuses.insert(server, *status);
            }
        }
        Ok(Picture(statuses))
    }

    /// Looks again and again until the picture is as wanted; that it never is, is an error.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Picture) -> bool,
    ) -> Result<Picture> {
        let until = Instant::now() + self.patience;
        loop {
            let picture = self.look().await?;
            if holds(&picture) {
                return Ok(picture);
            }
            if Instant::now() > until {
                let seconds = self.patience.as_secs();
                bail!("it did not come within {seconds} s that {what}:\n{picture}");
            }
            // Nothing tells when several servers are together as they should be.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until all parts do what they should.
    pub(crate) async fn whole(&mut self) -> Result<Picture> {
        let what = "all parts do what they should";
        self.until(what, Picture::is_whole).await
    }

    /// Waits until all four servers stand at the end of one log, whether or not they are equal.
    pub(crate) async fn settle(&mut self) -> Result<Picture> {
        let what = "all four servers stand at one lsn";
        self.until(what, Picture::is_settled).await
    }

    /// The server that answers, once there is one.
    pub(crate) async fn primary(&mut self) -> Result<Part> {
        let seen = self.until("a server answers", |picture| picture.primary().is_some());
        seen.await?.primary().context("just seen")
    }

    /// Who processes for a site, once somebody does.
    pub(crate) async fn nominee(&mut self, site: Site) -> Result<Part> {
        let what = format!("somebody processes for site {site}");
        let seen = self.until(&what, |picture| picture.nominee(site).is_some());
        seen.await?.nominee(site).context("just seen")
    }

    /// The active site is lost, an operator says: this server's site takes over.
    pub(crate) async fn fail_over(&mut self, nominee: Part, reason: &str) -> Result<String> {
        self.have_done(nominee, Command::Failover(word(reason).into()))
            .await
    }

    /// The primary hands over to the other site, as planned.
    pub(crate) async fn switch_over(&mut self, primary: Part, reason: &str) -> Result<String> {
        self.have_done(primary, Command::Switchover(word(reason)))
            .await
    }

    async fn have_done(&mut self, server: Part, command: Command) -> Result<String> {
        let (address, patience) = (self.admin(server)?.to_owned(), self.patience);
        let process = &mut self.part(server)?.process;
        match process.ask(&address, &command, patience).await? {
            Answer::Done { message } => Ok(message),
            Answer::Refused { message } => bail!("{server} refused: {message}"),
            other => bail!("{server} answered {other:?}"),
        }
    }

    fn admin(&self, server: Part) -> Result<&str> {
        let server = self.topology.server(NodeId::new(server.node()));
        Ok(&server.context("a server of the cluster file")?.admin)
    }

    /// Connects to whichever server is primary, with the one list of all client addresses.
    pub(crate) async fn connect_with(
        &self,
        tune: impl FnOnce(&mut ClientConfig),
    ) -> Result<Client> {
        let mut config = ClientConfig::new(self.topology.client_addresses());
        config.connect_deadline = PATIENCE;
        tune(&mut config);
        Client::connect(config).await.context("connecting")
    }

    /// The ends of all logs, for the report of a failure.
    pub(crate) fn last_words(&self) -> String {
        let all = self.parts.values();
        let words: Vec<String> = all.map(|running| running.process.last_words()).collect();
        words.join("\n")
    }
}

fn word(reason: &str) -> OperatorWord {
    OperatorWord {
        operator: "kanjo".to_owned(),
        reason: reason.to_owned(),
    }
}
