//! The demo as a person meets it who changes their mind: whatever ends it, no process and no
//! directory is left. (That it passes is a step of the gate, with its counts.)

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Of a pair; it must not be through before it is told to end.
const PAIR: (&[&str], usize) = (&["--transfers", "2000000"], 2);
/// Of two sites, which takes a while.
const CLOUDS: (&[&str], usize) = (&["--clouds"], 6);

/// A demo that is under way. Dropping it kills it.
struct Demo(Child);

impl Demo {
    /// Starts one and waits until all of its processes run.
    fn under_way(dir: &Path, (arguments, processes): (&[&str], usize)) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .arg("demo")
            .arg("--dir")
            .arg(dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let demo = Self(child.expect("the demo starts"));
        wait_until("all run", || processes_of(dir) == processes);
        demo
    }

    fn end_by(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), signal).expect("a child can be signalled");
        let mut ended = None;
        wait_until("the demo ends", || {
            ended = self.0.try_wait().expect("a child can be waited for");
            ended.is_some()
        });
        ended.expect("it has ended")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never came that {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Servers and witnesses that run on a configuration in that directory. A process that has ended
/// and was not waited for yet has no command line any more.
fn processes_of(dir: &Path) -> usize {
    let dir = dir.to_str().expect("a plain path");
    let processes = std::fs::read_dir("/proc").expect("processes can be listed");
    let lines = processes.filter_map(|process| {
        // It may end while it is looked at.
        std::fs::read(process.ok()?.path().join("cmdline")).ok()
    });
    lines
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            let runs = ["start", "witness"]
                .iter()
                .any(|command| line.contains(&format!("\0{command}\0--config\0{dir}/")));
            runs && !line.contains("\0leash\0")
        })
        .count()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    folder.expect("a directory can be made under target/tmp")
}

#[test]
fn an_interrupted_demo_leaves_no_process_and_no_directory() {
    for (which, signal) in [
        (PAIR, Signal::INT),
        (PAIR, Signal::TERM),
        (CLOUDS, Signal::INT),
    ] {
        let folder = folder();
        let dir = folder.path().join("made/by-it");
        let status = Demo::under_way(&dir, which).end_by(signal);
        assert_eq!(status.code(), Some(1), "{which:?}, {signal:?}: {status}");
        assert_eq!(
            processes_of(&dir),
            0,
            "{which:?}, {signal:?}: its processes are gone when it is"
        );
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{which:?}, {signal:?}: it removes what it made");
    }
}

#[test]
fn a_killed_demo_takes_its_processes_along() {
    for which in [PAIR, CLOUDS] {
        let folder = folder();
        let dir = folder.path().join("demo");
        Demo::under_way(&dir, which).end_by(Signal::KILL);
        wait_until("its processes end", || processes_of(&dir) == 0);
    }
}

#[test]
fn files_of_somebody_else_are_refused_by_name() {
    let folder = folder();
    std::fs::write(folder.path().join("letter"), "dear").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kanjo"))
        .args(["demo", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("--dir") && said.lines().count() == 1,
        "{said}"
    );
    assert!(folder.path().join("letter").is_file());
}
