//! What every scene begins and ends with.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::harness::clouds::{Cloud, CloudOptions};
use crate::harness::netns::Net;
use crate::harness::pair::expect_verified;
use crate::harness::part::SERVERS;
use crate::harness::{Book, Load, LoadOptions, PATIENCE, Random, report};

/// Scenes at once: each has seven processes, and times are part of what is tested.
const SCENES: usize = 2;

/// A load that leaves two cores room for the heartbeats of fourteen processes.
pub(crate) const PACED: LoadOptions = LoadOptions {
    workers: 8,
    deadline: PATIENCE,
    resolve: false,
    pause: Duration::from_millis(8),
};

/// The right to run; others wait for it.
#[derive(Debug)]
pub(crate) struct Turn(());

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Turn {
    /// Waits for a place; `None`, with a line that says so, where there are no namespaces.
    pub(crate) fn take(test: &str) -> Option<Self> {
        if let Err(why) = Net::available() {
            report::skipped(test, &why);
            return None;
        }
        let running = RUNNING.lock().expect("nobody panics here");
        let mut running = ENDED
            .wait_while(running, |running| *running >= SCENES)
            .expect("nobody panics here");
        *running += 1;
        Some(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().expect("nobody panics here") -= 1;
        ENDED.notify_one();
    }
}

/// Two clouds that serve, the book, and the seed's numbers.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cloud: Cloud,
    pub(crate) book: Arc<Book>,
    pub(crate) random: Random,
    pub(crate) addresses: Vec<String>,
    _turn: Turn,
}

impl Scene {
    /// Everything runs and is whole; `None` where there are no namespaces.
    pub(crate) fn open(test: &str) -> Option<Self> {
        Self::open_with(test, CloudOptions::default())
    }

    pub(crate) fn open_with(test: &str, options: CloudOptions) -> Option<Self> {
        let turn = Turn::take(test)?;
        let mut random = Random::seeded("clouds", test);
        let name: String = test
            .chars()
            .filter(char::is_ascii_lowercase)
            .take(12)
            .collect();
        let cloud = Cloud::start(&name, options);
        let addresses = cloud.client_addresses();
        let book = Arc::new(Book::open(&addresses, cloud.folder(), &mut random));
        Some(Self {
            cloud,
            book,
            random,
            addresses,
            _turn: turn,
        })
    }

    /// A load on all addresses; a worker repeats what it does not know, with the same ids.
    pub(crate) fn load(&mut self) -> Load {
        let options = LoadOptions {
            // A silent writer is doubted when a request has waited so long.
            deadline: Duration::from_millis(500),
            resolve: true,
            ..PACED
        };
        self.load_with(options)
    }

    pub(crate) fn load_with(&mut self, options: LoadOptions) -> Load {
        Load::start(
            &self.book,
            self.addresses.clone(),
            options,
            self.random.fork(),
        )
    }

    /// Everything is whole again, every outcome is known, everything answered is there once, all
    /// four servers agree.
    pub(crate) fn settle(&mut self) {
        self.cloud.expect_protected();
        self.book.resolve_unknown(&self.addresses);
        let posted = self.book.check_from_the_start(&self.addresses);
        let status = self.cloud.expect_equal_digests();
        assert_eq!(
            status.transfers, posted,
            "every posting was answered once, and only those"
        );
    }

    /// The same; then all stop, and every byte that they left verifies.
    pub(crate) fn close(mut self) {
        self.settle();
        self.cloud.shut_down();
        for server in SERVERS {
            expect_verified(&self.cloud.data_dir(server));
        }
    }
}

/// Waits until answers have stopped coming, for a short while; gives how many there were.
pub(crate) fn expect_quiet(load: &Load) -> u64 {
    while load.answers_within(1, Duration::from_millis(100)) {}
    load.counts().answered
}
