//! `kanjo switchover`: a planned switch to the other site.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use kanjo_group::Topology;
use kanjo_node::admin::Command;
use kanjo_node::status::{Status, SwitchStage};
use serde_json::{Value, json};

use super::checks::{Check, checks, shown};
use super::{DecisionArgs, EXIT_CODES, Heard, ask_all, ask_status};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::times::show_duration;

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long the other site's server may take to serve once it has the authority.
const OPENED_WITHIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  Site 1 will be without power at the weekend:
    kanjo switchover --cluster-file cluster.toml --reason 'maintenance in site 1'
  Only look whether it could be done:
    kanjo switchover --cluster-file cluster.toml --reason 'a look' --check-only

What happens, step by step, each with a line when it is done:
  checked      writer, registers, destination, in-sync set, lag, chain, clock, disk; and again by
               the server itself
  drained      nothing new is executed, everything that was executed is committed
  prepared     the other site's register expects the authority
  handed over  the point of no return
  activated    the other site's register has the authority
  opened       the other site's server serves in the next epoch

Up to the hand-over anything that goes wrong ends in the old state, and the command says so.
Nothing that was answered is lost, and clients that repeat their requests find the new primary by
themselves. Ending the command does not end the switch: `kanjo status` shows how it ended.";

/// Let the other site process, as planned, without losing anything.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    decision: DecisionArgs,
    /// Look whether it could be done, and do not do it
    #[arg(long)]
    check_only: bool,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let topology = args.decision.topology()?;
    let heard = ask_all(&topology);
    let (from, primary) = find_primary(&heard)?;
    let found = checks(from, &heard);
    let mut output = Output::new();
    if !args.decision.json {
        output.line(shown(&found))?;
        output.flush()?;
    }
    let fails = found.iter().find(|check| !check.holds);
    if fails.is_some() || args.check_only {
        if args.decision.json {
            output.json(&json!({ "checks": found, "switched": false }))?;
        }
        output.finish()?;
        return fails.map_or(Ok(Exit::Done), |check| Err(refused(check)));
    }
    let mut progress = Progress::new(args.decision.json);
    let message = switch(&args.decision, from, &mut progress, &mut output)?;
    let now = expect_opened(&topology, primary);
    let opened = now.as_ref().map(|(node, epoch, protection)| {
        progress.step(
            &format!("opened by node {node} in epoch {epoch}, {protection}"),
            &mut output,
        )?;
        Ok::<Value, Failure>(json!({ "node": node, "epoch": epoch }))
    });
    let opened = opened.transpose()?;
    progress.bar.finish_and_clear();
    match args.decision.json {
        true => output.json(&json!({
            "checks": found,
            "switched": true,
            "message": message,
            "from": primary.node,
            "opened": opened,
        }))?,
        false => output.line(message)?,
    }
    output.finish()?;
    match opened {
        Some(_) => Ok(Exit::Done),
        None => Err(Failure::new(
            Exit::Unknown,
            "the authority was handed over, but nobody is seen yet who serves",
        )
        .with("`kanjo status --cluster-file FILE` shows what each server does")),
    }
}

fn find_primary(heard: &[Heard]) -> Result<(&Heard, &Status), Failure> {
    let serves = |one: &&Heard| {
        let status = one.status.as_ref().ok();
        status.is_some_and(|status| status.role == "primary" && status.serving)
    };
    let found = heard.iter().find(serves);
    let Some((one, Ok(status))) = found.map(|one| (one, &one.status)) else {
        return Err(Failure::new(
            Exit::Unreached,
            "no server answers that it is the primary and serves",
        )
        .with("a planned switch needs one; if the active site is lost, use `kanjo failover`"));
    };
    Ok((one, status))
}

fn refused(check: &Check) -> Failure {
    let (name, found) = (check.check, &check.found);
    let failure = Failure::failed(format!("not switched, {name}: {found}"));
    match check.to_do {
        Some(to_do) => failure.with(to_do),
        None => failure,
    }
}

/// Says the word, and shows how far it is until the primary answers.
fn switch(
    decision: &DecisionArgs,
    from: &Heard,
    progress: &mut Progress,
    output: &mut Output,
) -> Result<String, Failure> {
    let command = Command::Switchover(decision.word());
    let (tell, ended) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Whoever waited may have given up.
            let _ = tell.send(decision.have_done(&from.server, &command));
        });
        loop {
            match ended.recv_timeout(LOOK_AGAIN) {
                Ok(outcome) => {
                    let message = outcome?;
                    progress.pass_all(output)?;
                    return Ok(message);
                }
                Err(RecvTimeoutError::Timeout) if progress.silent => {}
                Err(RecvTimeoutError::Timeout) => {
                    // A look that is missed is no failure: the answer comes, or its error.
                    let status = ask_status(&from.server.admin).ok();
                    let stage = status.and_then(|status| status.group?.switching);
                    if let Some(stage) = stage {
                        progress.reach(stage, output)?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(Exit::Unknown, "the question ended unasked"));
                }
            }
        }
    })
}

/// Waits until another server serves: its node, epoch and protection.
fn expect_opened(topology: &Topology, before: &Status) -> Option<(u32, String, String)> {
    let until = Instant::now() + OPENED_WITHIN;
    loop {
        let heard = ask_all(topology);
        let mut statuses = heard.iter().filter_map(|one| one.status.as_ref().ok());
        let serves = statuses.find(|status| status.serving && status.node != before.node);
        if let Some(status) = serves {
            let protection = status.protection.clone();
            return Some((status.node, status.epoch.clone(), protection));
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// What is done once a later stage than this one is seen.
const STEPS: [(SwitchStage, &str); 5] = [
    (SwitchStage::Settling, "checked by the server"),
    (
        SwitchStage::Draining,
        "drained: everything that was executed is committed",
    ),
    (
        SwitchStage::Preparing,
        "prepared: the other site's register expects the authority",
    ),
    (
        SwitchStage::HandingOver,
        "handed over: there is no way back",
    ),
    (
        SwitchStage::Activating,
        "activated: the other site's register has the authority",
    ),
];

/// The steps that were seen: a line each, and on a terminal what is under way.
struct Progress {
    silent: bool,
    began: Instant,
    passed: usize,
    bar: ProgressBar,
}

impl Progress {
    fn new(silent: bool) -> Self {
        let bar = match silent {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            silent,
            began: Instant::now(),
            passed: 0,
            bar,
        }
    }

    /// The switch is at this stage: everything before it is done.
    fn reach(&mut self, stage: SwitchStage, output: &mut Output) -> Result<(), Failure> {
        self.bar.set_message(stage.text());
        while let Some(text) = next_passed(self.passed, stage) {
            self.passed += 1;
            self.step(text, output)?;
        }
        Ok(())
    }

    /// The primary said that it is done.
    fn pass_all(&mut self, output: &mut Output) -> Result<(), Failure> {
        self.reach(SwitchStage::Opening, output)
    }

    fn step(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        let line = format!("{:>9}  {text}", show_duration(self.began.elapsed()));
        self.bar.suspend(|| {
            output.line(line)?;
            output.flush()
        })
    }
}

/// The next step that is done when the switch is at `stage`, after `passed` steps.
fn next_passed(passed: usize, stage: SwitchStage) -> Option<&'static str> {
    let (last, text) = STEPS.get(passed)?;
    (*last < stage).then_some(*text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_at(mut passed: usize, stage: SwitchStage) -> usize {
        while next_passed(passed, stage).is_some() {
            passed += 1;
        }
        passed
    }

    #[test]
    fn a_stage_that_is_seen_shows_all_steps_before_it_and_none_twice() {
        assert_eq!(passed_at(0, SwitchStage::Settling), 0);
        assert_eq!(passed_at(0, SwitchStage::Draining), 1);
        // The preparation was too short to be seen.
        assert_eq!(passed_at(1, SwitchStage::HandingOver), 3);
        assert_eq!(passed_at(3, SwitchStage::HandingOver), 3);
        assert_eq!(passed_at(3, SwitchStage::Opening), STEPS.len());
    }

    #[test]
    fn no_step_that_may_not_have_been_taken_is_shown_as_done() {
        let shown = |stage| -> Vec<&str> {
            let steps = 0..passed_at(0, stage);
            steps.map(|step| STEPS[step].1).collect()
        };
        let told = shown(SwitchStage::HandingOver);
        assert!(!told.iter().any(|text| text.starts_with("handed over")));
        let told = shown(SwitchStage::Activating);
        assert!(told.iter().any(|text| text.starts_with("handed over")));
    }
}
