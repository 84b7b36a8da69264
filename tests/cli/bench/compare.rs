//! The comparison with PostgreSQL, where its programs are installed.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::{Run, check_fields, open_folder};
use crate::{refused, text};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Of each side; PostgreSQL's have its name before them.
const FIELDS: [&str; 6] = [
    "transfers_per_s",
    "p50_us",
    "p99_us",
    "disk_bytes_per_transfer",
    "wire_bytes_per_transfer",
    "rss_bytes",
];

/// Why nothing can be compared here.
fn missing() -> Option<&'static str> {
    let programs = ["initdb", "postgres", "pg_basebackup"];
    if !folders().any(|folder| programs.iter().all(|name| folder.join(name).is_file())) {
        return Some("PostgreSQL's programs are not installed");
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_kanjo"));
    // Root has the servers run as somebody else, who starts them through this program.
    if geteuid().is_root() && !binary.ancestors().all(is_open) {
        return Some("user postgres cannot reach the program under test");
    }
    None
}

/// Where PostgreSQL's programs may be.
fn folders() -> impl Iterator<Item = PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let packaged = packaged.flatten().map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    packaged.chain(path)
}

fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

/// Says past the test harness, which keeps what passing tests print to itself, that a test
/// cannot run here.
fn skip(test: &str, why: &str) {
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout().lock(), "skipped: {test}: {why}");
}

#[test]
fn postgresql_does_the_same_work_in_the_same_run() {
    if let Some(why) = missing() {
        skip("bench compare", why);
        if why.ends_with("installed") {
            let (code, line) = refused(&["bench", "compare", "--postgres"]);
            assert!(
                code == 1 && line.contains("apt-get install postgresql"),
                "{line}"
            );
        }
        return;
    }
    let work = ["--accounts", "50", "--seconds", "0.5", "--rounds", "2"];
    let cases = [
        "--connections",
        "1,3",
        "--batches",
        "20",
        "--batch-connections",
        "2",
    ];
    let run = Run::of(&[&["compare", "--postgres"], &work[..], &cases].concat());
    let cases = run.result["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 3);
    for case in cases {
        check_fields(case, &FIELDS);
        check_fields(
            case,
            &FIELDS
                .map(|name| format!("postgres_{name}"))
                .each_ref()
                .map(String::as_str),
        );
        check_fields(case, &["ratio_transfers_per_s", "ratio_p50", "ratio_p99"]);
    }
    assert_eq!(
        run.result["connections"], 3,
        "the bars are of the most connections"
    );
    let settings = run.result["postgres_settings"]
        .as_array()
        .expect("settings");
    assert!(
        settings.contains(&"synchronous_commit=on".into()),
        "{settings:?}"
    );
    for side in ["kanjo_transfers_checked", "postgres_transfers_checked"] {
        assert!(
            run.result[side].as_u64() > Some(100),
            "{side}: {}",
            run.result
        );
    }
}

/// A comparison under way. Dropping it ends it.
struct Comparison(Child);

impl Comparison {
    fn start(dir: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_kanjo"))
            .args(["bench", "compare", "--postgres", "--dir", text(dir)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Command lines of processes that work in a directory, or did when they were started.
fn processes_in(dir: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("processes can be listed");
    let lines = processes.filter_map(|process| {
        let path = process.ok()?.path();
        // It may end while it is looked at. PostgreSQL's own helpers stand in their data directory.
        let line = std::fs::read(path.join("cmdline")).ok()?;
        let stands = std::fs::read_link(path.join("cwd")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let own = path.file_name()?.to_str()? == std::process::id().to_string();
        (!own && (line.contains(text(dir)) || stands.starts_with(dir))).then_some(line)
    });
    lines.collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never came that {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn an_interrupted_comparison_leaves_no_server_and_no_directory() {
    if let Some(why) = missing() {
        return skip("bench compare, interrupted", why);
    }
    // While initdb works, while pg_basebackup works, and while both servers run.
    for stage in [
        "postgres-primary/base",
        "postgres-standby/backup_label",
        "postgres-standby.log",
    ] {
        let folder = open_folder();
        let dir = folder.path().join("made-by-it");
        let mut run = Comparison::start(&dir);
        wait_until(stage, || {
            std::fs::metadata(dir.join("data").join(stage)).is_ok_and(|found| found.nlink() > 0)
        });
        let pid = Pid::from_child(&run.0);
        kill_process(pid, Signal::INT).expect("a child can be signalled");
        let status = run.0.wait().expect("a child can be waited for");
        assert_eq!(status.code(), Some(1), "{stage}: {status}");
        wait_until("the servers end", || processes_in(&dir).is_empty());
        assert!(!dir.exists(), "{stage}: it removes what it made");
    }
}
