//! What a demo tells while it goes on.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::machine::{FileSystem, SyncProbe};

/// Steps with their times and a progress bar; nothing where only JSON is wanted.
pub(super) struct Telling {
    pub(super) started: Instant,
    pub(super) bar: ProgressBar,
    silent: bool,
}

impl Telling {
    /// Begins at that time. The bar counts to `length` with this template, on a terminal only.
    pub(super) fn new(started: Instant, silent: bool, length: u64, template: &str) -> Self {
        let target = match !silent && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let style = ProgressStyle::with_template(template);
        Self {
            started,
            bar: bar.with_style(style.expect("the template is a constant that parses")),
            silent,
        }
    }

    /// Tells the user what happened.
    pub(super) fn say(&self, text: impl AsRef<str>) {
        if !self.silent {
            let seconds = self.started.elapsed().as_secs_f64();
            self.bar.suspend(|| {
                // Whoever reads this may stop reading; the demo goes on.
                let _ = writeln!(std::io::stdout(), "{seconds:6.1} s  {}", text.as_ref());
            });
        }
    }

    /// Looks at the disk and tells what it is.
    pub(super) fn probe(&self, dir: &Path) -> Result<(FileSystem, SyncProbe)> {
        let file_system = FileSystem::of(dir)?;
        let sync = SyncProbe::measure(dir)?;
        self.say(format!(
            "data in {} on {}; a sync of 4 KiB takes {:.0} µs (p50), {:.0} µs (p99)",
            dir.display(),
            file_system.describe(),
            sync.p50_us,
            sync.p99_us
        ));
        Ok((file_system, sync))
    }
}
