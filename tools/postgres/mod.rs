//! A PostgreSQL primary and its synchronous standby as real processes on loopback, for
//! `bench compare`. Only ever servers that were started here, with directories of their own.
//!
//! ```text
//! folder of the run
//! ├── postgres-primary/  postgres-primary.log    made by initdb
//! └── postgres-standby/  postgres-standby.log    made by pg_basebackup
//! ```

mod programs;
mod server;

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::pair::{LOOK_AGAIN, PATIENCE, free_addresses};

pub(crate) use programs::Programs;
use server::Server;

/// Tables and functions.
const SCHEMA: &str = include_str!("schema.sql");
/// The superuser inside both servers.
const SUPERUSER: &str = "kanjo";
const DATABASE: &str = "postgres";
/// Settings of both servers: durable, and nothing that a person who knows it would leave slow.
/// No checkpoint falls into a measurement.
pub(crate) const SETTINGS: [(&str, &str); 15] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
    ("shared_buffers", "2GB"),
    ("wal_buffers", "64MB"),
    ("max_wal_size", "16GB"),
    ("min_wal_size", "1GB"),
    ("checkpoint_timeout", "1h"),
    ("max_connections", "400"),
    ("work_mem", "64MB"),
    ("jit", "off"),
    ("hot_standby", "on"),
    ("unix_socket_directories", ""),
    ("log_min_messages", "warning"),
];
/// Of the primary alone.
pub(crate) const PRIMARY_SETTINGS: [(&str, &str); 1] = [("synchronous_standby_names", "*")];
/// Who may connect: whoever knows the password of this run, over loopback.
const ACCESS: &str = "\
host all         all 127.0.0.0/8 scram-sha-256
host replication all 127.0.0.0/8 scram-sha-256
";

/// Names one of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Takes writes.
    Primary,
    /// Has every commit on its disk before it is answered.
    Standby,
}

/// Both servers, running.
pub(crate) struct PostgresPair {
    primary: Server,
    standby: Server,
    password: String,
}

impl PostgresPair {
    /// Makes both directories in `folder`, starts both servers and creates the schema, once
    /// every commit waits for the standby. Call it from the main thread only: the processes die
    /// with the thread that started them.
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let [primary, standby] = free_addresses()?;
        let mut pair = Self {
            primary: Server::new(programs, folder, "postgres-primary", primary)?,
            standby: Server::new(programs, folder, "postgres-standby", standby)?,
            password: draw_password()?,
        };
        pair.make_primary(programs, folder).await?;
        let settings = [&SETTINGS[..], &PRIMARY_SETTINGS].concat();
        pair.primary.start(programs, &settings)?;
        let client = pair.connect(Side::Primary).await?;
        pair.make_standby(programs).await?;
        pair.standby.start(programs, &SETTINGS)?;
        pair.await_synchronous(&client).await?;
        let created = client.batch_execute(SCHEMA).await;
        created.context("creating PostgreSQL's schema")?;
        Ok(pair)
    }

    async fn make_primary(&self, programs: &Programs, folder: &Path) -> Result<()> {
        let password = folder.join("postgres-password");
        std::fs::write(&password, "")?;
        server::give(programs, &password, 0o600)?;
        std::fs::write(&password, &self.password)?;
        let data = self.primary.data();
        let made = server::run(programs, "initdb", data, |command| {
            let options = ["--locale=C", "--encoding=UTF8", "--no-instructions"];
            command.args(options).arg("--auth=scram-sha-256");
            command.args(["--username", SUPERUSER]);
            command.arg("--pwfile").arg(&password);
            command.arg("--pgdata").arg(data);
        });
        made.await?;
        std::fs::remove_file(&password)?;
        let access = data.join("pg_hba.conf");
        std::fs::write(&access, ACCESS).with_context(|| format!("writing {}", access.display()))
    }

    async fn make_standby(&self, programs: &Programs) -> Result<()> {
        let address = self.primary.address();
        let data = self.standby.data();
        let made = server::run(programs, "pg_basebackup", data, |command| {
            command.args(["--write-recovery-conf", "--wal-method=stream"]);
            command.args(["--checkpoint=fast", "--no-password"]);
            command.args(["--host", &address.ip().to_string()]);
            command.args(["--port", &address.port().to_string()]);
            command.args(["--username", SUPERUSER]);
            command.arg("--pgdata").arg(data);
            // As environment, other users of the machine do not see it.
            command.env("PGPASSWORD", &self.password);
        });
        made.await
    }

    /// Waits until every commit waits for the standby.
    async fn await_synchronous(&mut self, client: &Client) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while client.query_one(query, &[]).await?.get::<_, i64>(0) != 1 {
            if self.standby.has_ended()? || Instant::now() > until {
                bail!(
                    "PostgreSQL's standby does not follow: {}",
                    self.standby.last_words()
                );
            }
            // Nothing tells when it begins to.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn server(&mut self, side: Side) -> &mut Server {
        match side {
            Side::Primary => &mut self.primary,
            Side::Standby => &mut self.standby,
        }
    }

    /// A connection of its own; waits for the port while the process lives.
    pub(crate) async fn connect(&mut self, side: Side) -> Result<Client> {
        let until = Instant::now() + PATIENCE;
        let password = self.password.clone();
        let server = self.server(side);
        let mut config = tokio_postgres::Config::new();
        config
            .host(server.address().ip().to_string())
            .port(server.address().port())
            .user(SUPERUSER)
            .password(password)
            .dbname(DATABASE);
        loop {
            let error = match config.connect(NoTls).await {
                Ok((client, connection)) => {
                    // Ends when the client is dropped; what fails, the client is told.
                    tokio::spawn(connection);
                    return Ok(client);
                }
                Err(error) => error,
            };
            if server.has_ended()? || Instant::now() > until {
                let words = server.last_words();
                return Err(error).context(format!("PostgreSQL does not answer: {words}"));
            }
            // Nothing tells when a port begins to listen.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Process ids of both servers; each has processes of its own below it.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let servers = [&self.primary, &self.standby];
        servers.into_iter().filter_map(Server::pid).collect()
    }
}

/// A password that nobody has to remember.
fn draw_password() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let mut text = String::new();
    for byte in random {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}
