//! `kanjo demo --clouds`: two sites of two servers and a witness, a witness in a third site, load
//! all the time, and one part after the other that fails.

mod ending;
mod events;
mod load;
mod report;
mod scene;

use std::time::Instant;

use anyhow::Result;

use super::DemoArgs;
use super::telling::Telling;
use crate::clouds::{Between, Clouds, Third};
use crate::pair::Workspace;
use report::Report;
use scene::Scene;

/// Small enough that every server seals some.
const SEGMENT_BYTES: u64 = 4 << 20;
/// A bar over the steps.
const TEMPLATE: &str = "  {bar:32} {pos}/{len}  {msg}";
/// Start, ten events, the last look.
const STEPS: u64 = 12;

/// Plays it from the first start to the last look.
pub(super) async fn play(args: &DemoArgs, started: Instant) -> Result<Report> {
    let workspace = Workspace::claim(&args.dir, args.keep)?;
    let telling = Telling::new(started, args.json, STEPS, TEMPLATE);
    // Declared after the directory: the processes end before it is removed.
    let clouds = Clouds::format(
        workspace.path(),
        SEGMENT_BYTES,
        (Between::Relays, Third::Witness),
    )?;
    let mut scene = Scene::new(args, telling, clouds);
    let played = scene.play(workspace.path()).await;
    scene.close(args.keep.then(|| workspace.path()), played.is_err());
    played
}
