//! What befalls the two clouds, and the time until somebody answers again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::prober::Prober;
use crate::bench::rounds::Figures;
use crate::clouds::{Clouds, Part, parts_of};

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scene {
    /// SIGKILL of the primary, until the first answer of another server
    Kill,
    /// SIGSTOP of the primary, until the first answer of another server
    Silent,
    /// A planned switch to the other site: the longest time without an answer
    Switch,
    /// SIGKILL of all parts of the active site: from the operator's word to the first answer
    Site,
}

impl Scene {
    /// Plays it; what was killed runs again at its end, and may still be catching up.
    pub(super) async fn play(self, clouds: &mut Clouds, prober: &mut Prober) -> Result<Figures> {
        match self {
            Self::Kill => kill(clouds, prober).await,
            Self::Silent => silent(clouds, prober).await,
            Self::Switch => switch(clouds, prober).await,
            Self::Site => site(clouds, prober).await,
        }
    }
}

async fn kill(clouds: &mut Clouds, prober: &Prober) -> Result<Figures> {
    let killed = clouds.primary().await?;
    let killing = async {
        amid_request().await;
        let begun = Instant::now();
        clouds.shoot(killed)?;
        Ok(begun)
    };
    let (begun, answered) = tokio::try_join!(killing, prober.first_by(|by| by != killed))?;
    clouds.bury(killed)?;
    let back = bring_back(clouds, &[killed]).await?;
    Ok(Figures::from([
        ("kill_ms", millis(answered - begun)),
        ("kill_back_s", back.as_secs_f64()),
    ]))
}

async fn silent(clouds: &mut Clouds, prober: &Prober) -> Result<Figures> {
    let stopped = clouds.primary().await?;
    let stopping = async {
        amid_request().await;
        let begun = Instant::now();
        clouds.freeze(stopped)?;
        Ok(begun)
    };
    let (begun, answered) = tokio::try_join!(stopping, prober.first_by(|by| by != stopped))?;
    let again = Instant::now();
    clouds.thaw(stopped)?;
    clouds.whole().await?;
    Ok(Figures::from([
        ("silent_ms", millis(answered - begun)),
        ("silent_back_s", again.elapsed().as_secs_f64()),
    ]))
}

async fn switch(clouds: &mut Clouds, prober: &Prober) -> Result<Figures> {
    let from = clouds.primary().await?;
    let done = Cell::new(false);
    let switching = async {
        let begun = Instant::now();
        clouds.switch_over(from, "bench: a planned switch").await?;
        let took = begun.elapsed();
        let primary = clouds.whole().await?.primary();
        ensure!(
            primary.is_some_and(|primary| primary.site() != from.site()),
            "{primary:?} processes after the switch from {from}"
        );
        done.set(true);
        Ok((took, begun.elapsed()))
    };
    let ((took, back), gap) = tokio::try_join!(switching, prober.longest_gap(&done))?;
    Ok(Figures::from([
        ("switch_ms", millis(gap)),
        ("switch_done_ms", millis(took)),
        ("switch_back_s", back.as_secs_f64()),
    ]))
}

async fn site(clouds: &mut Clouds, prober: &Prober) -> Result<Figures> {
    let lost = clouds.primary().await?.site();
    let nominee = clouds.nominee(lost.other()).await?;
    let losing = async {
        amid_request().await;
        let begun = Instant::now();
        for part in parts_of(lost) {
            clouds.shoot(part)?;
        }
        let told = Instant::now();
        clouds.fail_over(nominee, "bench: the site is lost").await?;
        Ok((begun, told))
    };
    let answering = prober.first_by(|by| by.site() != lost);
    let ((begun, told), answered) = tokio::try_join!(losing, answering)?;
    for part in parts_of(lost) {
        clouds.bury(part)?;
    }
    let back = bring_back(clouds, &parts_of(lost)).await?;
    Ok(Figures::from([
        ("site_ms", millis(answered - told)),
        ("site_since_kill_ms", millis(answered - begun)),
        ("site_back_s", back.as_secs_f64()),
    ]))
}

/// Lets the client send its request, so that it is met by what comes now.
async fn amid_request() {
    tokio::task::yield_now().await;
}

/// Starts parts again; how long until everything does its share.
async fn bring_back(clouds: &mut Clouds, parts: &[Part]) -> Result<Duration> {
    let begun = Instant::now();
    for &part in parts {
        clouds.start(part)?;
    }
    clouds.whole().await?;
    Ok(begun.elapsed())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
