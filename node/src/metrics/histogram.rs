//! How long something took, counted in buckets: recording is two additions to atomics, so that
//! whoever reads is never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Upper bounds of the buckets in nanoseconds; what took longer than the last is in one more.
#[rustfmt::skip]
const BOUNDS_NS: [u64; 36] = [
    US, 2 * US, 3 * US, 5 * US, 7 * US, 10 * US, 20 * US, 30 * US, 50 * US, 70 * US,
    100 * US, 200 * US, 300 * US, 500 * US, 700 * US,
    MS, 2 * MS, 3 * MS, 5 * MS, 7 * MS, 10 * MS, 20 * MS, 30 * MS, 50 * MS, 70 * MS,
    100 * MS, 200 * MS, 300 * MS, 500 * MS, 700 * MS,
    S, 2 * S, 3 * S, 5 * S, 7 * S, 10 * S,
];
const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// A histogram of times.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What a histogram held when it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Upper bound in seconds and count of each bucket, not cumulative.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) count: u64,
    pub(crate) sum_seconds: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one that took so long.
    pub(crate) fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// The present counts. The count is that of the buckets read here, so that they agree even
    /// while somebody records; the sum may be of one more.
    pub(crate) fn read(&self) -> Reading {
        let bounds = BOUNDS_NS.iter().map(|ns| *ns as f64 / S as f64);
        let counts = self.buckets.iter().map(|n| n.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Reading {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum_seconds: self.sum_ns.load(Ordering::Relaxed) as f64 / S as f64,
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_that_ends_at_or_above_it() {
        let histogram = Histogram::default();
        for ns in [0, 1_000, 1_001, 3_000_000, 10_000_000_000, u64::MAX / 2] {
            histogram.record(Duration::from_nanos(ns));
        }
        let reading = histogram.read();
        let of = |bound: f64| {
            let bucket = reading.buckets.iter().find(|(b, _)| *b == bound);
            bucket.expect("there is such a bound").1
        };
        assert_eq!(of(1e-6), 2, "a bound belongs to its bucket");
        assert_eq!(of(2e-6), 1);
        assert_eq!(of(3e-3), 1);
        assert_eq!(of(10.0), 1);
        assert_eq!(of(f64::INFINITY), 1);
        assert_eq!(reading.count, 6);
        assert_eq!(reading.buckets.len(), BUCKETS);
        assert!(reading.buckets.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_sum_is_in_seconds() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1_500));
        histogram.record(Duration::from_millis(250));
        assert_eq!(histogram.read().sum_seconds, 1.75);
    }
}
