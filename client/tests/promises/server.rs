//! A small node on a loopback socket: a table of transfers and a list of what to do next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kanjo_client::{AccountBody, ClientConfig, TransferBody, TransferFlags};
use kanjo_format::client::{
    FRAME_HEADER_BYTES, Frame, FrameKind, HelloBody, Outcome, PageBody, ResultRun, WelcomeBody,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use zerocopy::{FromBytes, IntoBytes};

use crate::answers;

pub(crate) const CREATED: u32 = u32::MAX;
pub(crate) const EXISTS: u32 = 46;
pub(crate) const ID_ALREADY_FAILED: u32 = 68;
pub(crate) const LINKED_EVENT_FAILED: u32 = 1;
pub(crate) const CLUSTER: u128 = 0xc1;

/// What a server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Executes and answers.
    Serve,
    /// Executes and closes the connection.
    ServeThenClose,
    /// Closes the connection.
    Close,
    /// Executes and answers as if the deadline had passed.
    ServeUnseen,
    /// Burns the ids and answers as if the deadline had passed.
    FailUnseen,
    /// Never answers.
    Ignore,
    /// Keeps the reply until so many are kept, then sends them, the last first.
    Gather(usize),
    /// Refuses with this outcome and text.
    Refuse(Outcome, String),
    /// Answers with runs that do not cover the events.
    Misanswer,
    /// Answers with so many rows of random bytes, drawn from this number.
    Garble(u32, u64),
}

/// A ledger that several servers can share, like replicas of one log.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) transfers: BTreeMap<u128, TransferBody>,
    pub(crate) failed: BTreeMap<u128, ()>,
    pub(crate) clock: u64,
    /// Most rows of one page.
    pub(crate) page_rows: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            transfers: BTreeMap::new(),
            failed: BTreeMap::new(),
            clock: 0,
            page_rows: 1_000,
        }
    }
}

/// How a server behaves; changed by the test while it runs.
#[derive(Debug)]
pub(crate) struct Conduct {
    pub(crate) cluster: u128,
    pub(crate) primary: bool,
    pub(crate) epoch: u64,
    /// The protocol version of its greeting; 0 as a node of version 1 has it.
    pub(crate) version: u8,
    /// Acts for the next requests; `otherwise` after them.
    pub(crate) next: VecDeque<Act>,
    pub(crate) otherwise: Act,
    /// Greets nobody.
    pub(crate) mute: bool,
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    pub(crate) open: usize,
    pub(crate) open_max: usize,
}

/// A running server; it and its connections end when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) conduct: Arc<Mutex<Conduct>>,
    pub(crate) book: Arc<Mutex<Book>>,
    _task: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(primary: bool, epoch: u64) -> Self {
        Self::with_book(primary, epoch, Arc::default()).await
    }

    pub(crate) async fn with_book(primary: bool, epoch: u64, book: Arc<Mutex<Book>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let conduct = Arc::new(Mutex::new(Conduct {
            cluster: CLUSTER,
            primary,
            epoch,
            version: 2,
            next: VecDeque::new(),
            otherwise: Act::Serve,
            mute: false,
            connections: 0,
            requests: 0,
            open: 0,
            open_max: 0,
        }));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, conduct.clone(), book.clone()));
        Self {
            address,
            conduct,
            book,
            _task: task,
        }
    }

    pub(crate) fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.conduct.lock().unwrap().next.extend(acts);
    }

    pub(crate) fn always(&self, act: Act) {
        self.conduct.lock().unwrap().otherwise = act;
    }

    pub(crate) fn requests(&self) -> usize {
        self.conduct.lock().unwrap().requests
    }

    pub(crate) fn connections(&self) -> usize {
        self.conduct.lock().unwrap().connections
    }

    /// Transfers that were posted.
    pub(crate) fn posted(&self) -> usize {
        self.book.lock().unwrap().transfers.len()
    }
}

/// A configuration for tests: short waits.
pub(crate) fn config<const N: usize>(addresses: [&str; N]) -> ClientConfig {
    let mut config = ClientConfig::new(addresses);
    config.deadline = Duration::from_secs(20);
    config.dial_timeout = Duration::from_millis(300);
    config.backoff_max = Duration::from_millis(20);
    config
}

pub(crate) fn transfer(id: u128) -> TransferBody {
    TransferBody {
        id: id.into(),
        debit_account_id: 1.into(),
        credit_account_id: 2.into(),
        amount: 100.into(),
        ledger: 1.into(),
        code: 1.into(),
        ..TransferBody::default()
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn accept(listener: TcpListener, conduct: Arc<Mutex<Conduct>>, book: Arc<Mutex<Book>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (conduct, book) = (conduct.clone(), book.clone());
        connections.spawn(async move {
            conduct.lock().unwrap().connections += 1;
            // The client closing the connection is how most of these end.
            let _ = serve(stream, conduct, book).await;
        });
    }
}

async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await? as usize;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn reply(kind: FrameKind, outcome: Outcome, request: u64, count: usize, body: &[u8]) -> Vec<u8> {
    let frame = Frame {
        kind,
        outcome,
        request,
        deadline_ms: 0,
        count: count as u32,
        body,
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

async fn serve(
    mut stream: TcpStream,
    conduct: Arc<Mutex<Conduct>>,
    book: Arc<Mutex<Book>>,
) -> std::io::Result<()> {
    let hello = read_frame(&mut stream).await?;
    assert_eq!(Frame::decode(&hello).unwrap().kind, FrameKind::Hello);
    HelloBody::read_from_bytes(&hello[FRAME_HEADER_BYTES..]).unwrap();
    if conduct.lock().unwrap().mute {
        std::future::pending::<()>().await;
    }
    let welcome = {
        let conduct = conduct.lock().unwrap();
        WelcomeBody {
            cluster: conduct.cluster.into(),
            epoch: conduct.epoch.into(),
            node: 1.into(),
            primary: conduct.primary.into(),
            version: conduct.version,
            reserved: [0; 2],
        }
    };
    let (done, body) = (Outcome::Done, welcome.as_bytes());
    let welcome = reply(FrameKind::Welcome, done, 0, 1, body);
    stream.write_all(&welcome).await?;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        let bytes = read_frame(&mut stream).await?;
        let frame = Frame::decode(&bytes).unwrap();
        frame.check_request().unwrap();
        let act = {
            let mut conduct = conduct.lock().unwrap();
            conduct.requests += 1;
            conduct.open += 1;
            conduct.open_max = conduct.open_max.max(conduct.open);
            let otherwise = conduct.otherwise.clone();
            conduct.next.pop_front().unwrap_or(otherwise)
        };
        let (kind, request) = (frame.kind, frame.request);
        let refuse = |outcome, text: &str| reply(kind, outcome, request, 0, text.as_bytes());
        let answer = match act {
            Act::Serve => execute(&frame, &book, false),
            Act::ServeThenClose => {
                execute(&frame, &book, false);
                return Ok(());
            }
            Act::Close => return Ok(()),
            Act::ServeUnseen | Act::FailUnseen => {
                execute(&frame, &book, matches!(act, Act::FailUnseen));
                refuse(Outcome::Indeterminate, "")
            }
            Act::Ignore => continue,
            Act::Gather(count) => {
                kept.push(execute(&frame, &book, false));
                if kept.len() < count {
                    continue;
                }
                kept.drain(..).rev().flatten().collect()
            }
            Act::Refuse(outcome, text) => refuse(outcome, &text),
            Act::Garble(rows, seed) => garble(kind, request, rows, seed),
            Act::Misanswer => reply(kind, done, request, 0, &[]),
        };
        conduct.lock().unwrap().open = 0;
        stream.write_all(&answer).await?;
    }
}

/// Right in size and checksum, and nothing else.
fn garble(kind: FrameKind, request: u64, rows: u32, seed: u64) -> Vec<u8> {
    let front_bytes = match kind.is_paged() {
        true => size_of::<PageBody>(),
        false => 0,
    };
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Small numbers are those that mean something.
        if state.is_multiple_of(3) {
            0
        } else {
            state as u8
        }
    };
    let bytes = front_bytes + rows as usize * kind.reply_row_bytes();
    let body: Vec<u8> = (0..bytes).map(|_| random()).collect();
    reply(kind, Outcome::Done, request, rows as usize, &body)
}

fn execute(frame: &Frame<'_>, book: &Mutex<Book>, burn: bool) -> Vec<u8> {
    let mut book = book.lock().unwrap();
    let (kind, request) = (frame.kind, frame.request);
    let send = |count, body: &[u8]| reply(kind, Outcome::Done, request, count, body);
    match kind {
        FrameKind::CreateTransfers => {
            let rows = <[TransferBody]>::ref_from_bytes(frame.body).unwrap();
            let runs = runs(post_chains(rows, &mut book, burn).into_iter());
            send(runs.len(), runs.as_bytes())
        }
        FrameKind::CreateAccounts => {
            let first = book.clock + 1;
            book.clock += u64::from(frame.count);
            let run = ResultRun {
                count: frame.count.into(),
                result: CREATED.into(),
                timestamp: first.into(),
            };
            send(1, run.as_bytes())
        }
        FrameKind::LookupTransfers => {
            let ids = frame.body.chunks_exact(16);
            let rows: Vec<TransferBody> = ids
                .filter_map(|id| {
                    let id = u128::from_le_bytes(id.try_into().unwrap());
                    book.transfers.get(&id).copied()
                })
                .collect();
            send(rows.len(), rows.as_bytes())
        }
        FrameKind::LookupAccounts => {
            let rows: Vec<AccountBody> = frame
                .body
                .chunks_exact(16)
                .map(|id| AccountBody {
                    id: u128::from_le_bytes(id.try_into().unwrap()).into(),
                    ..AccountBody::default()
                })
                .collect();
            send(rows.len(), rows.as_bytes())
        }
        FrameKind::Hello | FrameKind::Welcome => panic!("a second greeting"),
        _ => {
            let (count, body) = answers::answer(frame, &mut book);
            send(count, &body)
        }
    }
}

/// As documented: a chain whose event failed fails as a whole, and an event that exists failed.
fn post_chains(rows: &[TransferBody], book: &mut Book, burn: bool) -> Vec<(u32, u64)> {
    let mut results = Vec::new();
    for chain in rows.split_inclusive(|row| row.flags.get() & TransferFlags::LINKED == 0) {
        let mut ended = Vec::new();
        for row in chain {
            ended.push(post(row, book, burn));
            if ended.last().is_some_and(|(result, _)| *result != CREATED) && chain.len() > 1 {
                let last = ended.len() - 1;
                for undone in &chain[..last] {
                    book.transfers.remove(&undone.id.get());
                }
                ended[..last].fill((LINKED_EVENT_FAILED, 0));
                ended.resize(chain.len(), (LINKED_EVENT_FAILED, 0));
                break;
            }
        }
        results.extend(ended);
    }
    results
}

pub(crate) fn post(row: &TransferBody, book: &mut Book, burn: bool) -> (u32, u64) {
    let id = row.id.get();
    if let Some(existing) = book.transfers.get(&id) {
        return (EXISTS, existing.timestamp.get());
    }
    if burn || book.failed.contains_key(&id) {
        book.failed.insert(id, ());
        return (ID_ALREADY_FAILED, 0);
    }
    book.clock += 1;
    let mut row = *row;
    row.timestamp = book.clock.into();
    book.transfers.insert(id, row);
    (CREATED, book.clock)
}

pub(crate) fn runs(results: impl Iterator<Item = (u32, u64)>) -> Vec<ResultRun> {
    let mut runs: Vec<ResultRun> = Vec::new();
    for (result, timestamp) in results {
        if let Some(last) = runs.last_mut() {
            let (count, first) = (last.count.get(), last.timestamp.get());
            let follows = match result {
                CREATED => first + u64::from(count),
                _ => first,
            };
            if last.result.get() == result && timestamp == follows {
                last.count = (count + 1).into();
                continue;
            }
        }
        runs.push(ResultRun {
            count: 1.into(),
            result: result.into(),
            timestamp: timestamp.into(),
        });
    }
    runs
}
