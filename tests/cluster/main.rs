//! A primary and an auxiliary as real processes: a cap alone, promotion, rejoin, seeding, stalls, full disks,
//! damaged files, strangers on the ports.

#[path = "../harness/mod.rs"]
mod harness;

mod cap;
mod catching_up;
mod damage;
mod disk;
mod drill;
mod http;
mod index;
mod lifecycle;
mod promotion;
mod queries;
mod rejoin;
mod repl;
mod seeding;
mod spells;
mod stall;
mod strangers;

use std::sync::Arc;

use harness::pair::{PairOptions, SEGMENT_BYTES};
use harness::{Book, Load, LoadOptions, Pair, Random};

/// A pair that serves, its book, and the seed's numbers.
struct Scene {
    pair: Pair,
    book: Arc<Book>,
    random: Random,
    addresses: Vec<String>,
}

impl Scene {
    fn open(test: &str) -> Self {
        Self::open_with(test, PairOptions::default())
    }

    fn open_with(test: &str, options: PairOptions) -> Self {
        let mut random = Random::seeded("cluster", test);
        let pair = Pair::start_with("cluster", options);
        let addresses = pair.client_addresses();
        let book = Arc::new(Book::open(&addresses, pair.folder(), &mut random));
        Self {
            pair,
            book,
            random,
            addresses,
        }
    }

    fn load(&mut self, options: LoadOptions) -> Load {
        Load::start(
            &self.book,
            self.addresses.clone(),
            options,
            self.random.fork(),
        )
    }

    /// Posts random transfers one request after the other, each answered.
    fn post(&mut self, count: usize, a_request: usize) {
        self.book
            .post_random(&self.addresses, count, a_request, &mut self.random);
    }

    /// Posts until the log holds this many segments more, in requests large and small.
    fn grow_log(&mut self, segments: u64) {
        let aim = self.pair.primary().status().tail_lsn + segments * SEGMENT_BYTES;
        while self.pair.primary().status().tail_lsn < aim {
            self.post(12_000, 4_000);
            self.post(30, 1);
        }
    }

    /// Every outcome becomes known; everything answered is there, once; both nodes agree; every
    /// byte on both disks verifies.
    fn close(mut self) {
        self.settle();
        self.pair.shut_down_and_verify();
    }

    /// The same, and the pair goes on.
    fn settle(&mut self) {
        self.pair.expect_protected();
        self.book.resolve_unknown(&self.addresses);
        let posted = self.book.check_from_the_start(&self.addresses);
        let status = self.pair.expect_equal_digests();
        assert_eq!(
            status.transfers, posted,
            "every posting was answered once, and only those"
        );
    }
}
