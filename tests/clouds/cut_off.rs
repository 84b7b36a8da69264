//! When processing switches to the auxiliary site, communication between the old server and the
//! auxiliary is cut: the old epoch is refused durably, its connections are closed from both
//! ends, and a fence certificate is written, shown, and checkable offline.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kanjo_client::{Client, ClientConfig, TransferBody};
use kanjo_format::Site;
use kanjo_group::register::FenceCertificate;
use kanjo_node::FenceFile;

use crate::Scene;
use crate::harness::damage::files;
use crate::harness::part::{Part, REPLICATION_PORT, SERVERS};
use crate::harness::posting::Posting;
use crate::harness::program::{kanjo, said};
use crate::harness::registers::epoch_of;
use crate::harness::sockets::connections;
use crate::harness::{PATIENCE, report};

#[test]
fn an_old_writer_behind_a_full_cut_never_answers_again_and_finds_its_place() {
    let name = "cut_off::an_old_writer_behind_a_full_cut_never_answers_again_and_finds_its_place";
    behind_a_cut(name, true, |scene| scene.cloud.cut_sites());
}

#[test]
fn an_old_writer_that_nobody_hears_never_answers_again_and_finds_its_place() {
    let name = "cut_off::an_old_writer_that_nobody_hears_never_answers_again_and_finds_its_place";
    behind_a_cut(name, true, |scene| scene.cloud.cut_sites_one_way(Site::One));
}

#[test]
fn an_old_writer_that_hears_nobody_never_answers_again_and_finds_its_place() {
    let name = "cut_off::an_old_writer_that_hears_nobody_never_answers_again_and_finds_its_place";
    // What it sends arrives: the other site may have all of it.
    behind_a_cut(name, false, |scene| {
        scene.cloud.cut_sites_one_way(Site::Two)
    });
}

/// The old writer lives, and clients reach it. The other site takes over; then the cut heals. Where
/// nothing of it arrives it is left with a tail `of_its_own`.
fn behind_a_cut(name: &str, of_its_own: bool, cut: fn(&Scene)) {
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    let old = scene.cloud.expect_primary();
    let client = block_on_direct(old);
    let before = scene.cloud.status(old).expect("the writer lives");
    cut(&scene);
    // It does not know yet that nobody acks, and appends.
    let appended = post_in_vain(&mut scene, &client, 5);
    let begun = Instant::now();
    let message = scene.cloud.fail_over(Site::Two, "site 1 is cut off");
    let confirmed = begun.elapsed();
    let new = scene.cloud.expect_primary_in(Site::Two);
    load.wait_requests(50);
    report::line(
        "note",
        &format!(
            "{message}; answers {} ms after the word",
            begun.elapsed().as_millis()
        ),
    );
    assert!(confirmed < PATIENCE);

    let fence = scene.cloud.look("the fence is shown", PATIENCE, |cloud| {
        let shown = cloud.status(new)?.group?;
        let kept = shown.own.map(|own| own.register.fences).unwrap_or_default();
        let mut fences = shown.last_fence.into_iter().chain(kept);
        fences.find(|fence| fence.fenced.to_string() == before.epoch)
    });
    let refusing = fence.grants.iter().map(|grant| grant.member.node.get());
    let refusing: Vec<u32> = refusing.collect();
    assert!(
        refusing.contains(&new.node()) || refusing.contains(&new.neighbour().node()),
        "members of the set granted it: {fence:#?}"
    );
    expect_no_connection(&mut scene, old);
    // It lives and hears clients; nobody gets an answer from it.
    post_in_vain(&mut scene, &client, 10);
    let status = scene.cloud.status(old).expect("the old writer lives");
    assert!(
        status.committed_lsn <= fence.base.lsn.get(),
        "committed in the old epoch above its end: {status:#?}"
    );
    let has_own_tail = status.tail_lsn > fence.base.lsn.get();
    assert!(
        has_own_tail || !of_its_own,
        "it was to have a tail of its own: {status:#?}"
    );

    scene.cloud.heal();
    scene.cloud.expect(old, "follows the new writer", |status| {
        let epoch = epoch_of(status);
        status.role == "replica" && epoch.0 > epoch_of(&before).0
    });
    load.wait_requests(50);
    load.finish();
    drop(client);
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    if has_own_tail {
        let told = quarantine_report(&scene, old);
        let transfers = format!("epoch {} transfer ", before.epoch);
        let names_some = told.contains(&transfers) || told.contains("None: ");
        assert!(names_some, "{told}");
        // If what it sent arrived, its own tail may be what came after these.
        let names_one = || appended.iter().any(|p| told.contains(&p.id.to_string()));
        assert!(
            !of_its_own || names_one(),
            "nothing of {appended:?} is in the report:\n{told}"
        );
    }
    scene.settle();
    scene.cloud.shut_down();
    verify_offline(&scene, &fence);
}

struct Direct {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// A client that knows only this server.
fn block_on_direct(server: Part) -> Direct {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let config = ClientConfig::new([server.client()]);
    let client = runtime
        .block_on(Client::connect(config))
        .expect("the writer greets");
    Direct { runtime, client }
}

/// Posts at the old writer what it must not answer. Gives what was asked.
fn post_in_vain(scene: &mut Scene, direct: &Direct, count: usize) -> Vec<Posting> {
    let mut asked = Vec::new();
    for _ in 0..count {
        let postings = scene.book.draw_many(1, &mut scene.random);
        let bodies: Vec<TransferBody> = postings.iter().map(Posting::body).collect();
        let posted = direct.runtime.block_on(
            direct
                .client
                .create_transfers_within(&bodies, Duration::from_millis(100)),
        );
        match posted {
            Ok(results) => panic!("answered by a writer that is cut off: {results:?}"),
            Err(error) if error.outcome_unknown() => {
                scene.book.unknown(&postings);
                asked.extend(postings);
            }
            Err(_) => scene.book.not_done(&postings),
        }
    }
    asked
}

/// No connection for the log stands between the old writer and the site that took over, at
/// either end.
fn expect_no_connection(scene: &mut Scene, old: Part) {
    let what = "the old writer's connections are closed at both ends";
    scene.cloud.look(what, PATIENCE, |cloud| {
        let mut ends = Part::servers_of(Site::Two)
            .into_iter()
            .flat_map(|far| [(old, far), (far, old)]);
        let closed = ends.all(|(part, with)| {
            let pid = cloud.process(part).pid();
            connections(pid, with.address(), REPLICATION_PORT).is_empty()
        });
        closed.then_some(())
    });
}

/// What only the old writer had lies beside its log; what its report says of it.
fn quarantine_report(scene: &Scene, old: Part) -> String {
    let dir = scene.cloud.data_dir(old);
    let mut reports = files(&dir, "quarantine", ".txt");
    reports.retain(|path| {
        let name = path.file_name().expect("a file has a name");
        name.to_string_lossy().starts_with("divergent-")
    });
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a readable report");
    reports.iter().map(read).collect()
}

/// Everything is stopped: the certificate is checked against each directory.
fn verify_offline(scene: &Scene, fence: &FenceCertificate) {
    let mut found = 0;
    let files = SERVERS.map(|server| scene.cloud.data_dir(server));
    for dir in &files {
        for file in FenceFile::all(dir).expect("a directory can be read") {
            if file.certificate != *fence {
                continue;
            }
            found += 1;
            for other in &files {
                verify(&file.path, other);
            }
        }
    }
    assert!(found > 0, "the certificate is on nobody's disk");
}

fn verify(certificate: &Path, dir: &Path) {
    let path = certificate.to_str().expect("a plain path");
    let dir = dir.to_str().expect("a plain path");
    let output = kanjo(&["fence", "verify", path, "--dir", dir]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn an_old_writer_that_slept_through_the_switch_answers_nobody_when_it_wakes() {
    let name = "cut_off::an_old_writer_that_slept_through_the_switch_answers_nobody_when_it_wakes";
    let Some(mut scene) = Scene::open(name) else {
        return;
    };
    let load = scene.load();
    load.wait_requests(100);
    for part in Part::all_of(Site::One) {
        scene.cloud.process(part).stop();
    }
    scene.cloud.fail_over(Site::Two, "site 1 is silent");
    load.wait_requests(100);
    // Requests that wait in its sockets are read first when it wakes.
    for part in Part::all_of(Site::One) {
        scene.cloud.process(part).cont();
    }
    assert_eq!(scene.cloud.expect_protected().site(), Site::Two);
    load.wait_requests(50);
    load.finish();
    scene.close();
}
