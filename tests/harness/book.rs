//! The test's own view of the money: what was asked, what was answered, and whether Kanjo still
//! says the same.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use kanjo_client::{
    AccountBody, AccountFlags, AccountId, Client, ClientConfig, CreateResult, TransferBody,
    TransferId,
};
use kanjo_format::result::CreateTransferResult;

use super::journal::{Answered, Journal};
use super::posting::{
    FREE_ACCOUNTS, LEDGERS, LIMITED_ACCOUNTS, Posting, account_id, accounts_of, scatter,
};
use super::{PATIENCE, Random};

const CREATED: u32 = CreateTransferResult::Created.number();
const EXISTS: u32 = CreateTransferResult::Exists.number();
const EXCEEDS_CREDITS: u32 = CreateTransferResult::ExceedsCredits.number();
const ID_ALREADY_FAILED: u32 = CreateTransferResult::IdAlreadyFailed.number();

#[derive(Debug, Default)]
struct Open {
    /// Transfers whose outcome no client knows.
    unknown: Vec<Posting>,
    /// Ids of transfers that the node said were not done.
    not_done: Vec<u128>,
    asked: u64,
}

#[derive(Debug, Default)]
struct Checked {
    offset: u64,
    posted: HashSet<u128>,
    /// Debits and credits by account.
    balances: BTreeMap<u128, (u128, u128)>,
}

/// What became of transfers with an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// The first attempt had posted them.
    pub(crate) existed: usize,
    /// The retry posted them.
    pub(crate) created: usize,
    /// Rejected, then or now.
    pub(crate) rejected: usize,
}

/// Everything that was asked and answered of one pair.
#[derive(Debug)]
pub(crate) struct Book {
    journal: Journal,
    open: Mutex<Open>,
    checked: Mutex<Checked>,
    id_base: u128,
}

/// Random bits of an id; what is above them grows with time.
const ID_RANDOM_BITS: u32 = 80;

impl Book {
    /// Opens the accounts and funds the limited ones.
    pub(crate) fn open(addresses: &[String], folder: &Path, random: &mut Random) -> Self {
        let book = Self {
            journal: Journal::create(&folder.join("answers")),
            open: Mutex::default(),
            checked: Mutex::default(),
            id_base: u128::from(random.next()) << 64,
        };
        let accounts: Vec<AccountBody> = LEDGERS
            .iter()
            .flat_map(|&ledger| accounts_of(ledger))
            .collect();
        let funding: Vec<Posting> = LEDGERS
            .iter()
            .flat_map(|&ledger| book.funding_of(ledger))
            .collect();
        block_on(async {
            let client = connect(addresses).await;
            let results = client
                .create_accounts_within(&accounts, PATIENCE)
                .await
                .expect("accounts are opened");
            assert!(results.iter().all(|result| result.created()), "{results:?}");
            book.post(&client, &funding).await;
        });
        book
    }

    fn funding_of(&self, ledger: u32) -> Vec<Posting> {
        let limited = FREE_ACCOUNTS + 1..=FREE_ACCOUNTS + LIMITED_ACCOUNTS;
        limited
            .map(|place| {
                self.number(
                    account_id(ledger, 1),
                    account_id(ledger, place),
                    2_000,
                    ledger,
                )
            })
            .collect()
    }

    /// A transfer with an id that no other has.
    fn number(&self, debit: u128, credit: u128, amount: u64, ledger: u32) -> Posting {
        let mut open = self.open.lock().expect("nobody panicked");
        open.asked += 1;
        let tag = open.asked;
        let id = u128::from(tag) << ID_RANDOM_BITS
            | scatter(self.id_base | u128::from(tag)) >> (128 - ID_RANDOM_BITS);
        Posting {
            id,
            debit,
            credit,
            amount,
            ledger,
            tag,
        }
    }

    /// A random transfer; some of them exceed a balance limit.
    pub(crate) fn draw(&self, random: &mut Random) -> Posting {
        let ledger = LEDGERS[random.below(2) as usize];
        let all = (FREE_ACCOUNTS + LIMITED_ACCOUNTS) as u64;
        let debit = random.below(all);
        let credit = (debit + 1 + random.below(all - 1)) % all;
        let [debit, credit] =
            [debit, credit].map(|place| account_id(ledger, u128::from(place) + 1));
        self.number(debit, credit, 1 + random.below(1_000), ledger)
    }

    pub(crate) fn draw_many(&self, count: usize, random: &mut Random) -> Vec<Posting> {
        (0..count).map(|_| self.draw(random)).collect()
    }

    /// Writes answers down; they count from now on.
    pub(crate) fn answered(&self, postings: &[Posting], results: &[CreateResult], repeated: bool) {
        assert_eq!(postings.len(), results.len(), "one result a transfer");
        let answers = postings.iter().zip(results).map(|(posting, result)| {
            let (result, timestamp) = (result.result, result.timestamp);
            let usual = result == CREATED || result == EXCEEDS_CREDITS;
            let late = result == EXISTS || result == ID_ALREADY_FAILED;
            assert!(
                usual || repeated && late,
                "{posting:?} was answered {result}"
            );
            Answered {
                posting: *posting,
                result,
                timestamp,
                repeated,
            }
        });
        self.journal.write(&answers.collect::<Vec<_>>());
    }

    /// Keeps transfers whose outcome is unknown.
    pub(crate) fn unknown(&self, postings: &[Posting]) {
        self.open
            .lock()
            .expect("nobody panicked")
            .unknown
            .extend(postings);
    }

    /// Keeps the ids of transfers of which the node, or the client, said that nothing was done.
    pub(crate) fn not_done(&self, postings: &[Posting]) {
        let ids = postings.iter().map(|posting| posting.id);
        self.open
            .lock()
            .expect("nobody panicked")
            .not_done
            .extend(ids);
    }

    pub(crate) fn unknown_count(&self) -> usize {
        self.open.lock().expect("nobody panicked").unknown.len()
    }

    pub(crate) fn unknown_postings(&self) -> Vec<Posting> {
        self.open.lock().expect("nobody panicked").unknown.clone()
    }

    /// Posts transfers; they must get an answer, at the first attempt.
    pub(crate) async fn post(&self, client: &Client, postings: &[Posting]) {
        let bodies: Vec<TransferBody> = postings.iter().map(Posting::body).collect();
        let results = client
            .create_transfers_within(&bodies, PATIENCE)
            .await
            .expect("transfers are answered");
        self.answered(postings, &results, false);
    }

    /// Posts this many random transfers, each request of `a_request`.
    pub(crate) fn post_random(
        &self,
        addresses: &[String],
        count: usize,
        a_request: usize,
        random: &mut Random,
    ) {
        block_on(async {
            let client = connect(addresses).await;
            for _ in 0..count.div_ceil(a_request) {
                self.post(&client, &self.draw_many(a_request, random)).await;
            }
        });
    }

    /// Asks again for every transfer with an unknown outcome, with the same id, until each has
    /// an answer.
    pub(crate) fn resolve_unknown(&self, addresses: &[String]) -> Resolution {
        let unknown = std::mem::take(&mut self.open.lock().expect("nobody panicked").unknown);
        let mut resolution = Resolution::default();
        if unknown.is_empty() {
            return resolution;
        }
        block_on(async {
            let client = connect(addresses).await;
            for postings in unknown.chunks(256) {
                let bodies: Vec<TransferBody> = postings.iter().map(Posting::body).collect();
                let resolved = client.create_transfers_resolved(&bodies, PATIENCE).await;
                let resolved = resolved.expect("a retry with the same ids ends in an answer");
                let results: Vec<CreateResult> = resolved.iter().map(|one| one.result).collect();
                self.answered(postings, &results, true);
                for result in results {
                    match result.result {
                        EXISTS => resolution.existed += 1,
                        CREATED => resolution.created += 1,
                        _ => resolution.rejected += 1,
                    }
                }
            }
        });
        resolution
    }

    /// Checks the answers since the last check, and every balance. All outcomes must be known.
    /// Gives how many transfers are posted in all.
    pub(crate) fn check(&self, addresses: &[String]) -> u64 {
        assert_eq!(
            self.unknown_count(),
            0,
            "balances can only be told when every outcome is known"
        );
        let mut checked = self.checked.lock().expect("no check failed before");
        let (answers, end) = self.journal.read_from(checked.offset);
        checked.offset = end;
        block_on(async {
            let client = connect(addresses).await;
            check_answers(&client, &answers).await;
            self.check_not_done(&client).await;
            for answer in &answers {
                checked.count(answer);
            }
            check_balances(&client, &checked.balances).await;
        });
        checked.posted.len() as u64
    }

    /// Checks every answer that was ever written, from the file's start.
    pub(crate) fn check_from_the_start(&self, addresses: &[String]) -> u64 {
        *self.checked.lock().expect("no check failed before") = Checked::default();
        self.check(addresses)
    }

    async fn check_not_done(&self, client: &Client) {
        let ids = self.open.lock().expect("nobody panicked").not_done.clone();
        let found = lookup(client, &ids).await;
        assert!(
            found.is_empty(),
            "posted, although the answer was that nothing was done: {found:#?}"
        );
    }

    /// Which of these ids stand in the ledger.
    pub(crate) fn posted_among(addresses: &[String], ids: &[u128]) -> Vec<u128> {
        block_on(async {
            let client = connect(addresses).await;
            lookup(&client, ids)
                .await
                .iter()
                .map(|row| row.id.get())
                .collect()
        })
    }
}

impl Checked {
    fn count(&mut self, answer: &Answered) {
        if !is_posted(answer.result) {
            return;
        }
        let Posting {
            id,
            debit,
            credit,
            amount,
            ..
        } = answer.posting;
        assert!(
            self.posted.insert(id),
            "transfer {id} was answered as posted twice"
        );
        self.balances.entry(debit).or_default().0 += u128::from(amount);
        self.balances.entry(credit).or_default().1 += u128::from(amount);
    }
}

fn is_posted(result: u32) -> bool {
    result == CREATED || result == EXISTS
}

async fn lookup(client: &Client, ids: &[u128]) -> Vec<TransferBody> {
    let ids: Vec<TransferId> = ids.iter().map(|&id| TransferId::new(id)).collect();
    client
        .lookup_transfers_within(&ids, PATIENCE)
        .await
        .expect("transfers can be looked up")
}

async fn check_answers(client: &Client, answers: &[Answered]) {
    let (posted, rejected): (Vec<Answered>, Vec<Answered>) =
        answers.iter().partition(|answer| is_posted(answer.result));
    let ids: Vec<u128> = posted.iter().map(|answer| answer.posting.id).collect();
    let rows = lookup(client, &ids).await;
    let found: HashSet<u128> = rows.iter().map(|row| row.id.get()).collect();
    let lost: Vec<&Answered> = posted
        .iter()
        .filter(|answer| !found.contains(&answer.posting.id))
        .collect();
    assert!(
        lost.is_empty(),
        "{} answered transfers are lost, the first: {:?}",
        lost.len(),
        lost[0]
    );
    assert_eq!(rows.len(), posted.len(), "one row an id");
    for (row, answer) in rows.iter().zip(&posted) {
        let expected = TransferBody {
            timestamp: answer.timestamp.into(),
            ..answer.posting.body()
        };
        assert_eq!(*row, expected, "an answered transfer was changed");
    }
    let ids: Vec<u128> = rejected.iter().map(|answer| answer.posting.id).collect();
    let rows = lookup(client, &ids).await;
    assert!(
        rows.is_empty(),
        "posted, although the answer was a rejection: {rows:#?}"
    );
}

async fn check_balances(client: &Client, balances: &BTreeMap<u128, (u128, u128)>) {
    let ids: Vec<AccountId> = balances.keys().map(|&id| AccountId::new(id)).collect();
    let rows = client
        .lookup_accounts_within(&ids, PATIENCE)
        .await
        .expect("accounts can be looked up");
    assert_eq!(rows.len(), balances.len(), "every account is there");
    for (row, (&id, &(debits, credits))) in rows.iter().zip(balances) {
        assert_eq!(row.id.get(), id);
        let told = (row.debits_posted.get(), row.credits_posted.get());
        assert_eq!(
            told,
            (debits, credits),
            "debits and credits of account {id}, against the answers"
        );
        let limited = row.flags.get() & AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS != 0;
        assert!(
            !limited || debits <= credits,
            "account {id} is over its limit"
        );
    }
}

/// A client of these addresses; a primary must turn up in time.
pub(crate) async fn connect(addresses: &[String]) -> Client {
    Client::connect(client_config(addresses))
        .await
        .expect("a primary is found")
}

pub(crate) fn client_config(addresses: &[String]) -> ClientConfig {
    let mut config = ClientConfig::new(addresses.iter().cloned());
    config.deadline = Duration::from_secs(20);
    config.connect_deadline = PATIENCE;
    config
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be built").block_on(future)
}
