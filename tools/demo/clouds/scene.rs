//! The demo of two clouds, step by step.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kanjo_client::{AccountBody, Client, ClientConfig};
use kanjo_format::Site;

use super::ending::Ending;
use super::events::{Event, Kind};
use super::load::{Heard, Load, heard};
use super::report::{Figures, Report};
use crate::clouds::{Clouds, Part, Picture, parts_of, witness_of};
use crate::demo::DemoArgs;
use crate::demo::load::{Drawer, accounts};
use crate::demo::post::RESOLVING_MAX;
use crate::demo::telling::Telling;

/// Connections that the requests go over.
const CONNECTIONS: usize = 4;
/// A client that asks again where it hears nothing for so long.
const DEADLINE: Duration = Duration::from_secs(1);
/// A server that does not greet within this is stopped or cut off.
const DIAL_TIMEOUT: Duration = Duration::from_millis(200);
/// Pause of a client between two searches for the primary, at most.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);
/// Answers between two events, so that the one is not mistaken for the other.
const CALM: usize = 1_000;
/// How long the link stays cut after the active site went on: longer than the other one waits
/// before it takes over a lost site.
const CUT: Duration = Duration::from_millis(2_000);
/// What was on both sites' disks before the cut may be answered for so long after it.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// What can be cut.
const LINK: &str = "site 1 - site 2";

/// Everything that the steps share.
pub(super) struct Scene<'a> {
    args: &'a DemoArgs,
    telling: Telling,
    clouds: Clouds,
    events: Vec<Event>,
    /// Answers of the other site while the active one went on without it.
    answered_by_both: usize,
}

impl<'a> Scene<'a> {
    pub(super) const fn new(args: &'a DemoArgs, telling: Telling, clouds: Clouds) -> Self {
        let events = Vec::new();
        Self {
            args,
            telling,
            clouds,
            events,
            answered_by_both: 0,
        }
    }

    /// Ends the bar; says where the files are if they are kept, and the logs' ends if it failed.
    pub(super) fn close(&self, kept: Option<&Path>, failed: bool) {
        self.telling.bar.finish_and_clear();
        if let Some(path) = kept {
            eprintln!("kept: {}", path.display());
        }
        if failed {
            eprintln!("{}", self.clouds.last_words());
        }
    }

    pub(super) async fn play(&mut self, dir: &Path) -> Result<Report> {
        let (file_system, sync) = self.telling.probe(dir)?;
        self.step("starting two sites");
        let picture = self.clouds.start_whole().await?;
        let cluster = picture
            .statuses()
            .next()
            .map(|status| status.cluster.clone());
        let primary = picture.primary().context("it is whole")?;
        self.telling.say(format!(
            "cluster {}: nodes 1 and 2 and witness 11 in site 1, nodes 3 and 4 and witness 12 in \
             site 2, witness 21 in a third site. {primary} processes, every commit is on the disks of both \
             servers of the other site",
            cluster.unwrap_or_default()
        ));
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(self.clouds.connect_with(patient_client).await?);
        }
        let mut drawer = Drawer::new(self.args.seed);
        let accounts = accounts();
        let funded = fund(&clients[0], &accounts, &mut drawer).await?;
        let outstanding = self.args.outstanding().into();
        let load = Load::start(&clients, outstanding, drawer, funded);
        load.more(CALM).await?;

        self.lose_primary(&load).await?;
        self.lose_witness(&load).await?;
        self.lose_link(&load).await?;
        self.switch(&load).await?;
        self.lose_site(&load).await?;

        self.step("looking at everything once more");
        let answers = load.stop().await?;
        let ended = Instant::now();
        let ending = Ending::of(&mut self.clouds, &clients[0], &accounts, &answers).await?;
        ending.tell(&self.telling);
        Ok(Report::of(Figures {
            rows: Event::rows(&self.events, &answers, ended),
            ending,
            answered_by_both: self.answered_by_both,
            outstanding,
            sync,
            file_system,
            seconds: self.telling.started.elapsed().as_secs_f64(),
        }))
    }

    /// The server that processes is killed; the other one of its site takes over.
    async fn lose_primary(&mut self, load: &Load) -> Result<()> {
        self.step("killing the primary");
        let killed = self.clouds.primary().await?;
        let moment = Moment::amid_requests(load).await?;
        self.clouds.shoot(killed)?;
        let by_another = |one: &Heard| one.by.is_some_and(|server| server != killed);
        let first = load.first("an answer of another server", |one| {
            moment.is_before(one) && by_another(one)
        });
        let first = first.await?;
        self.clouds.bury(killed)?;
        let took = (first.at - moment.begun, until_answered(&first));
        self.note(Kind::PrimaryKilled, killed, moment, took);
        load.more(CALM).await?;
        self.bring_back(load, &[killed], Kind::PrimaryBack).await
    }

    /// A quorum device is killed: nothing happens, and it is seen.
    async fn lose_witness(&mut self, load: &Load) -> Result<()> {
        self.step("killing a witness");
        let site = self.clouds.primary().await?.site();
        let witness = witness_of(site);
        let moment = Moment::amid_requests(load).await?;
        self.clouds.shoot(witness)?;
        self.clouds.bury(witness)?;
        let what = format!("site {site} misses its witness and has a majority");
        let missed = |picture: &Picture| picture.votes_without(witness);
        self.clouds.until(&what, missed).await?;
        let detail = format!("until the other two of site {site} missed it");
        let took = (moment.begun.elapsed(), detail);
        self.note(Kind::WitnessKilled, witness, moment, took);
        load.more(CALM).await?;
        self.bring_back(load, &[witness], Kind::WitnessBack).await
    }

    /// The sites do not hear each other: the active one goes on, since the third witness gives it
    /// the word, and the other one answers nothing.
    async fn lose_link(&mut self, load: &Load) -> Result<()> {
        self.step("cutting the link between the sites");
        let active = self.clouds.primary().await?.site();
        let moment = Moment::amid_requests(load).await?;
        for site in [Site::One, Site::Two] {
            self.clouds.cut(site)?;
        }
        let apart = moment.begun + ON_ITS_WAY;
        let goes_on = |one: &Heard| one.at > apart && is_in(one, active);
        let first = load
            .first("an answer without the other site", goes_on)
            .await?;
        let by = until_answered(&first);
        let detail = format!("{by} by the third witness's word, without the other site");
        let took = (first.at - moment.begun, detail);
        self.note(Kind::LinkCut, LINK, moment, took);
        // Long enough for the other site to take over, if it could.
        tokio::time::sleep(CUT).await;
        let healed = Moment::now(load);
        self.clouds.heal()?;
        self.answered_by_both = load.count(apart, healed.begun, |one| !is_in(one, active));
        self.clouds.whole().await?;
        let took = (
            healed.begun.elapsed(),
            "until every commit waited for the other site again".to_owned(),
        );
        self.note(Kind::LinkHealed, LINK, healed, took);
        load.more(CALM).await
    }

    /// The other site processes from now on, as planned.
    async fn switch(&mut self, load: &Load) -> Result<()> {
        self.step("switching to the other site");
        let from = self.clouds.primary().await?;
        let to = from.site().other();
        let moment = Moment::amid_requests(load).await?;
        let said = self.clouds.switch_over(from, "demo: a planned switch");
        said.await.context("the planned switch")?;
        let took = (
            moment.begun.elapsed(),
            "until the command was done".to_owned(),
        );
        let there = |one: &Heard| moment.is_before(one) && is_in(one, to);
        load.first("an answer of the other site", there).await?;
        let what = format!("site {} to site {to}", from.site());
        self.note(Kind::Switched, what, moment, took);
        self.whole_again(load).await
    }

    /// All parts of the active site die at once; an operator lets the other one take over.
    async fn lose_site(&mut self, load: &Load) -> Result<()> {
        self.step("losing a whole site");
        let lost = self.clouds.primary().await?.site();
        let nominee = self.clouds.nominee(lost.other()).await?;
        let moment = Moment::amid_requests(load).await?;
        for part in parts_of(lost) {
            self.clouds.shoot(part)?;
        }
        let told = Instant::now();
        let said = self.clouds.fail_over(nominee, "demo: the site is lost");
        said.await.context("the failover")?;
        let there = |one: &Heard| moment.is_before(one) && is_in(one, lost.other());
        let first = load.first("an answer of the other site", there).await?;
        for part in parts_of(lost) {
            self.clouds.bury(part)?;
        }
        let detail = format!("from the command {}", until_answered(&first));
        let took = (first.at - told, detail);
        self.note(Kind::SiteLost, format!("site {lost}"), moment, took);
        load.more(CALM).await?;
        self.bring_back(load, &parts_of(lost), Kind::SiteBack).await
    }

    /// Starts parts again; they find their place by themselves.
    async fn bring_back(&mut self, load: &Load, parts: &[Part], kind: Kind) -> Result<()> {
        self.step("bringing back what was killed");
        let moment = Moment::amid_requests(load).await?;
        for &part in parts {
            self.clouds.start(part)?;
        }
        self.clouds.whole().await?;
        let detail = "until everything did its share again".to_owned();
        let took = (moment.begun.elapsed(), detail);
        let what = match parts {
            [one] => one.to_string(),
            all => format!("site {}", all[0].site()),
        };
        self.note(kind, what, moment, took);
        load.more(CALM).await
    }

    async fn whole_again(&mut self, load: &Load) -> Result<()> {
        self.clouds.whole().await?;
        load.more(CALM).await
    }

    fn step(&self, message: &'static str) {
        self.telling.bar.inc(1);
        self.telling.bar.set_message(message);
    }

    /// Keeps and tells what happened in a moment, and how long it took until what.
    fn note(
        &mut self,
        kind: Kind,
        what: impl ToString,
        moment: Moment,
        (took, detail): (Duration, String),
    ) {
        let event = Event {
            kind,
            what: what.to_string(),
            begun: moment.begun,
            took,
            detail,
            in_flight: moment.in_flight,
        };
        self.telling.say(event.to_string());
        self.events.push(event);
    }
}

/// When something happens.
#[derive(Clone, Copy)]
struct Moment {
    begun: Instant,
    /// Requests without an answer then.
    in_flight: usize,
}

impl Moment {
    fn now(load: &Load) -> Self {
        let (begun, in_flight) = (Instant::now(), load.in_flight());
        Self { begun, in_flight }
    }

    /// Once many requests are without an answer, so that what comes now meets them.
    async fn amid_requests(load: &Load) -> Result<Self> {
        load.amid_requests().await?;
        Ok(Self::now(load))
    }

    fn is_before(&self, answer: &Heard) -> bool {
        answer.at > self.begun
    }
}

fn is_in(answer: &Heard, site: Site) -> bool {
    answer.by.is_some_and(|server| server.site() == site)
}

fn until_answered(answer: &Heard) -> String {
    match answer.by {
        Some(server) => format!("until {server} answered"),
        None => "until somebody answered".to_owned(),
    }
}

fn patient_client(config: &mut ClientConfig) {
    config.deadline = DEADLINE;
    config.dial_timeout = DIAL_TIMEOUT;
    config.backoff_max = SEARCH_PAUSE;
}

/// Opens the accounts and gives them their money.
async fn fund(
    client: &Client,
    accounts: &[AccountBody],
    drawer: &mut Drawer,
) -> Result<Vec<Heard>> {
    let results = client.create_accounts(accounts).await?;
    ensure!(
        results.iter().all(|result| result.created()),
        "not all accounts of the load were opened"
    );
    let funding = drawer.funding();
    let resolved = client.create_transfers_resolved(&funding, RESOLVING_MAX);
    let resolved = resolved.await.context("funding")?;
    let both = funding.into_iter().zip(resolved);
    both.map(|(transfer, resolved)| heard(client, transfer, resolved))
        .collect()
}
