//! `kanjo status --watch` before a person's eyes.

use crate::Scene;
use crate::harness::cuts::Fault;
use crate::harness::part::Part;
use crate::harness::terminal::Terminal;
use std::os::unix::process::ExitStatusExt;

use kanjo_format::Site;
use rustix::process::Signal;

#[test]
fn a_watched_status_is_drawn_anew_and_shows_who_processes_until_a_key_ends_it() {
    let name =
        "watching::a_watched_status_is_drawn_anew_and_shows_who_processes_until_a_key_ends_it";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(50);
    let primary = scene.cloud.expect_primary();
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let mut terminal = Terminal::run(&["status", "--cluster-file", file, "--watch"]);
    let before = terminal.look("who processes", |picture| {
        let protected = picture.contains("PROTECTED") && processes(picture, primary);
        protected.then(|| picture.to_owned())
    });
    for server in crate::harness::part::SERVERS {
        assert!(row_of(&before, server).is_some(), "{server}: {before}");
    }
    // The log goes on, and the picture with it.
    let tail = |picture: &str| row_of(picture, primary).map(str::to_owned);
    terminal.look("a longer log", |picture| {
        (tail(picture) != tail(&before)).then_some(())
    });

    scene.cloud.hit(primary, Fault::Kill);
    let now = scene.cloud.expect_other_primary(primary);
    terminal.look(
        "that another server processes, and who is gone",
        |picture| {
            let gone = row_of(picture, primary).is_some_and(|row| row.contains("unreachable"));
            (processes(picture, now) && gone).then_some(())
        },
    );
    scene.cloud.undo(primary, Fault::Kill);
    terminal.look("that it is back", |picture| {
        row_of(picture, primary)
            .is_some_and(|row| row.contains("replica"))
            .then_some(())
    });
    let ended = terminal.interrupt();
    assert_eq!(ended.signal(), Some(Signal::INT.as_raw()), "{ended}");
    load.finish();
    scene.close();
}

#[test]
fn a_site_that_is_gone_is_shown_as_gone_and_nothing_as_protected_by_it() {
    let name = "watching::a_site_that_is_gone_is_shown_as_gone_and_nothing_as_protected_by_it";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    scene.cloud.expect_protected();
    for part in Part::all_of(Site::One) {
        scene.cloud.hit(part, Fault::Kill);
    }
    let file = scene.cloud.cluster_file();
    let file = file.to_str().expect("a plain path");
    let mut terminal = Terminal::run(&["status", "--cluster-file", file, "--watch"]);
    let picture = terminal.look("that the other site is gone", |picture| {
        picture.contains("NOT HEARD").then(|| picture.to_owned())
    });
    assert!(picture.contains("NOBODY PROCESSES"), "{picture}");
    assert!(!picture.contains("PROTECTED"), "{picture}");
    terminal.interrupt();
    for part in Part::all_of(Site::One) {
        scene.cloud.undo(part, Fault::Kill);
    }
    scene.cloud.expect_protected();
    scene.close();
}

/// The first line, which stands at the top of the screen.
fn processes(picture: &str, server: Part) -> bool {
    let first = picture.lines().next().unwrap_or_default();
    first.contains(&format!("node {} in epoch", server.node()))
}

/// What the table of servers says of this one.
fn row_of(picture: &str, server: Part) -> Option<&str> {
    let (site, node) = (
        server.site().number().to_string(),
        server.node().to_string(),
    );
    picture.lines().find(|line| {
        let mut cells = line.split(['│', '┆']).map(str::trim).skip(1);
        cells.next() == Some(&site) && cells.next() == Some(&node)
    })
}
