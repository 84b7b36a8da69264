//! The old part of the index on running nodes: derived, on disk, and never needed for an answer
//! to be right.

use std::fs;

use crate::Scene;
use crate::harness::book::{block_on, client_config};
use crate::harness::damage::{files, flip_bit};
use crate::harness::pair::SEGMENT_BYTES;
use crate::harness::posting::Posting;
use kanjo_client::{Client, CreateResult, TransferBody};
use kanjo_format::client::{AccountFilterBody, AccountFilterFlags};
use kanjo_format::result::CreateTransferResult;

const ID_ALREADY_FAILED: u32 = CreateTransferResult::IdAlreadyFailed.number();
/// Segments that the index covers before a test goes on.
const INDEXED: u64 = 3;

impl Scene {
    /// Some transfers, then so much log that they stand in sealed, indexed segments of both nodes.
    fn posted_and_indexed(&mut self) -> Vec<Posting> {
        let old = self.book.draw_many(3_000, &mut self.random);
        let results = self.ask(&old);
        self.book.answered(&old, &results, false);
        self.grow_log(INDEXED + 1);
        for node in &mut self.pair.nodes {
            node.expect_that("indexed what it sealed", |status| {
                status.indexed_lsn >= INDEXED * SEGMENT_BYTES && status.young_ids < status.transfers
            });
        }
        old
    }

    fn ask(&self, postings: &[Posting]) -> Vec<CreateResult> {
        let bodies: Vec<TransferBody> = postings.iter().map(Posting::body).collect();
        block_on(async {
            let client = Client::connect(client_config(&self.addresses)).await;
            let client = client.expect("a primary is found");
            let results = client.create_transfers(&bodies).await;
            results.expect("transfers are answered")
        })
    }

    /// Asked again, each is what it was: nothing is posted twice, what failed stays failed.
    fn expect_known(&self, old: &[Posting]) {
        for (posting, again) in old.iter().zip(self.ask(old)) {
            let known = again.transfer_exists() || again.result == ID_ALREADY_FAILED;
            assert!(
                known,
                "{posting:?} of an indexed segment is answered {again:?}"
            );
        }
    }
}

#[test]
fn ids_of_sealed_segments_are_known_over_restart_and_promotion() {
    let mut scene =
        Scene::open("index::ids_of_sealed_segments_are_known_over_restart_and_promotion");
    let old = scene.posted_and_indexed();
    scene.expect_known(&old);
    scene.pair.primary().kill();
    scene.pair.primary().start();
    scene.pair.expect_protected();
    scene.expect_known(&old);
    scene.pair.primary().kill();
    scene.pair.promote_alone();
    scene.expect_known(&old);
    scene.pair.replica().start();
    scene.close();
}

#[test]
fn an_index_that_is_lost_or_damaged_is_built_again_while_the_node_serves() {
    let mut scene =
        Scene::open("index::an_index_that_is_lost_or_damaged_is_built_again_while_the_node_serves");
    let old = scene.posted_and_indexed();
    let shown = |scene: &mut Scene| {
        let [a, b] = &mut scene.pair.nodes;
        [a.status().indexed_lsn, b.status().indexed_lsn]
    };
    let before = shown(&mut scene);
    let primary = scene.pair.primary;
    scene.pair.nodes[primary].shut_down();
    let runs = files(scene.pair.nodes[primary].data_dir(), "index", ".run");
    assert!(!runs.is_empty(), "there are runs");
    for run in &runs {
        fs::remove_file(run).expect("a run is removed");
    }
    scene.pair.nodes[primary].start();
    scene.pair.expect_protected();
    scene.expect_known(&old);
    // On the replica one is damaged where it is looked at when it is opened: at its end.
    let replica = 1 - primary;
    scene.pair.nodes[replica].shut_down();
    let runs = files(scene.pair.nodes[replica].data_dir(), "index", ".run");
    let bytes = fs::metadata(&runs[0]).expect("a run is there").len();
    flip_bit(&runs[0], bytes - 9, 3);
    scene.pair.nodes[replica].start();
    scene.pair.expect_protected();
    scene.expect_known(&old);
    for (node, before) in scene.pair.nodes.iter_mut().zip(before) {
        node.expect_that("indexed anew", |status| status.indexed_lsn >= before);
    }
    scene.close();
}

/// A damaged block is only met by what needs it: a read fails by itself while transfers go on, and
/// the next start builds the run again.
#[test]
fn a_damaged_block_of_the_index_costs_a_read_and_no_commit() {
    let mut scene = Scene::open("index::a_damaged_block_of_the_index_costs_a_read_and_no_commit");
    let old = scene.posted_and_indexed();
    let primary = scene.pair.primary;
    let transfers_of = |scene: &Scene| {
        let filter = AccountFilterBody {
            account_id: old[0].debit.into(),
            limit: u32::MAX.into(),
            flags: AccountFilterFlags::DEBITS.into(),
            ..AccountFilterBody::default()
        };
        block_on(async {
            let client = Client::connect(client_config(&scene.addresses)).await;
            let client = client.expect("a primary is found");
            client.get_account_transfers(&filter).await
        })
    };
    let before = transfers_of(&scene).expect("nothing is damaged yet");
    scene.pair.nodes[primary].shut_down();
    for run in files(scene.pair.nodes[primary].data_dir(), "index", ".run") {
        let bytes = fs::metadata(&run).expect("a run is there").len();
        // Every block, but neither header nor what is behind the blocks.
        for at in (200..bytes * 9 / 10).step_by(2_000) {
            flip_bit(&run, at, 1);
        }
    }
    scene.pair.nodes[primary].start();
    scene.pair.expect_protected();
    let failed = transfers_of(&scene).expect_err("a block does not verify");
    assert!(failed.to_string().contains("checksum"), "{failed}");
    scene.post(100, 10);
    scene.pair.nodes[primary].shut_down();
    scene.pair.nodes[primary].start();
    scene.pair.expect_protected();
    let after = transfers_of(&scene).expect("what was damaged is built again");
    assert!(after.starts_with(&before), "nothing of the past is missing");
    scene.expect_known(&old);
    scene.close();
}

/// Batches of one page fill a segment to its last byte, so that no batch ends it: its ids leave
/// memory all the same.
#[test]
fn ids_leave_memory_where_batches_fill_a_segment_to_the_end() {
    let mut scene = Scene::open("index::ids_leave_memory_where_batches_fill_a_segment_to_the_end");
    scene.post(1_200, 1);
    for node in &mut scene.pair.nodes {
        node.expect_that("forgot the ids that its runs hold", |status| {
            status.indexed_lsn >= 2 * SEGMENT_BYTES && status.young_ids < status.transfers / 2
        });
    }
    scene.close();
}
