//! Runs against a model that keeps everything in plain lists.

mod damage;
mod log;
mod model;
mod properties;

use std::path::Path;
use std::sync::Arc;

use crate::{Merge, RunBuilder, RunSet, SetParams, merge};
use log::{CLUSTER, SEGMENT_BYTES, TestBatch};

fn params(dir: &Path) -> SetParams {
    SetParams {
        dir: dir.to_path_buf(),
        cluster: CLUSTER,
        segment_bytes: SEGMENT_BYTES,
        seed: 99,
        filter_bytes_max: 1 << 20,
    }
}

/// The set with one more run of these batches.
fn build(set: &RunSet, batches: &[TestBatch]) -> RunSet {
    let mut builder = RunBuilder::new(Arc::new(set.clone()));
    for batch in batches {
        builder.add_batch(&batch.header, &batch.payload).unwrap();
    }
    set.with(&builder.finish().unwrap()).unwrap()
}

/// The set with some of its runs merged, and their files removed.
fn merged(set: &RunSet, due: &Merge) -> RunSet {
    let info = merge(due, kanjo_disk::Pace::at_once()).unwrap();
    let next = set.with_merged(&info).unwrap();
    next.remove(due.runs.iter().map(|run| run.path())).unwrap();
    next
}
