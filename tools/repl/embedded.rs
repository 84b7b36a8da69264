//! A ledger in memory, its log beside it, and a clock that only requests move.

mod log;
mod pages;

use kanjo_engine::{HistoryError, Ledger, OpenBatch};
use kanjo_format::client::{FrameKind, ResultRun};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};
use kanjo_format::{AccountId, Timestamp, TransferId};

use super::json::Misread;
use super::reply::{Ended, Reply};
use super::request::Request;
pub(crate) use log::Log;

/// The clock stops a little before the last timestamp, so that records have room behind it.
pub(crate) const CLOCK_MAX: u64 = (1 << 63) - (1 << 16);
/// Any: nobody chooses ids against this table.
const TABLE_SEED: u64 = 7;

#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) ledger: Ledger,
    pub(crate) log: Log,
    /// Nanoseconds.
    pub(crate) clock: u64,
    /// Most rows that one page of a query is asked for.
    pub(crate) page_rows: u32,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            ledger: Ledger::new(TABLE_SEED),
            log: Log::default(),
            clock: 0,
            page_rows: u32::MAX,
        }
    }
}

impl Embedded {
    /// Answers one request, in a batch of its own.
    pub(crate) fn answer(&mut self, request: &Request) -> Result<Reply, Misread> {
        if let Request::TickNs(passed) = request {
            self.tick(*passed)?;
        }
        if self.ledger.log_time().get() >= CLOCK_MAX {
            let why = "the log's time has come to its end; nothing more can be recorded";
            return Err(Misread::new("", why));
        }
        let open = self.begin_batch();
        let (open, reply) = self.execute(open, request);
        self.end_batch(open);
        Ok(reply)
    }

    fn tick(&mut self, passed: u64) -> Result<(), Misread> {
        let now = self.clock.max(self.ledger.log_time().get());
        match now.checked_add(passed) {
            Some(clock) if clock <= CLOCK_MAX => {
                self.clock = clock;
                Ok(())
            }
            _ => {
                let why = format!("the clock is at {now} and ends at {CLOCK_MAX}");
                Err(Misread::new("tick_ns", why))
            }
        }
    }

    /// Opens a batch at what the clock says.
    pub(crate) fn begin_batch(&mut self) -> OpenBatch {
        self.log.make_room(&mut self.ledger);
        let lsn = self.log.tail().lsn;
        self.ledger.open_batch(lsn, Timestamp::new(self.clock))
    }

    /// Appends a batch, if it has records.
    pub(crate) fn end_batch(&mut self, open: OpenBatch) {
        if open.is_empty() {
            return self.ledger.discard_batch(open);
        }
        let mut payload = Vec::new();
        let closed = self.ledger.close_batch(open, &mut payload);
        self.log.place(&mut self.ledger, &closed, &payload);
    }

    /// Executes a request in a batch, or in the next one where it does not fit; gives back the
    /// batch that is open then.
    pub(crate) fn execute(&mut self, mut open: OpenBatch, request: &Request) -> (OpenBatch, Reply) {
        let (kind, events) = size_of_request(request);
        while !self.ledger.fits_request(&mut open, kind, events) {
            self.end_batch(open);
            open = self.begin_batch();
        }
        let answered = match request {
            Request::TickNs(_) => Ok(Reply::Clock(self.clock)),
            _ if kind.is_write() => self.write(&mut open, request),
            _ if kind.is_paged() => {
                // What is asked for is read from the log, so it has to be there.
                self.end_batch(open);
                let reply = self.read_past(request);
                open = self.begin_batch();
                Ok(reply)
            }
            _ => self.look_up(&open, request),
        };
        (open, answered.expect("a log in memory can be read"))
    }

    fn write(&mut self, open: &mut OpenBatch, request: &Request) -> Result<Reply, HistoryError> {
        let (ledger, log) = (&mut self.ledger, &mut self.log);
        let mut runs = Vec::new();
        let name: fn(u32) -> &'static str = match request {
            Request::CreateAccounts(rows) => {
                ledger.create_accounts(open, rows, log, &mut runs)?;
                |number| CreateAccountResult::from_number(number).map_or("", |r| r.name())
            }
            Request::CreateTransfers(rows) => {
                ledger.create_transfers(open, rows, log, &mut runs)?;
                |number| CreateTransferResult::from_number(number).map_or("", |r| r.name())
            }
            Request::CreateTransfersDetailed(rows) => {
                ledger.create_transfers_detailed(open, rows, log, &mut runs)?;
                |number| CreateTransferResult::from_number(number).map_or("", |r| r.name())
            }
            Request::ChangeAccounts(rows) => {
                ledger.change_accounts(open, rows, &mut runs);
                |number| ChangeAccountResult::from_number(number).map_or("", |r| r.name())
            }
            Request::Burn(ids) => {
                let ids: Vec<TransferId> = ids.iter().map(|id| TransferId::new(*id)).collect();
                ledger.burn_ids(open, &ids, log, &mut runs)?;
                |number| BurnResult::from_number(number).map_or("", |r| r.name())
            }
            Request::CloseDay(body) => {
                ledger.close_day(open, body, &mut runs);
                let ended = ended(&runs, |number| {
                    CloseDayResult::from_number(number).map_or("", |r| r.name())
                });
                return Ok(Reply::EndedOne(ended[0]));
            }
            _ => unreachable!("that writes nothing"),
        };
        Ok(Reply::Ended(ended(&runs, name)))
    }

    fn look_up(&mut self, open: &OpenBatch, request: &Request) -> Result<Reply, HistoryError> {
        let (ledger, log) = (&self.ledger, &mut self.log);
        let accounts = |ids: &[u128]| ids.iter().map(|id| AccountId::new(*id)).collect::<Vec<_>>();
        let transfers = |ids: &[u128]| {
            ids.iter()
                .map(|id| TransferId::new(*id))
                .collect::<Vec<_>>()
        };
        let open = Some(open);
        Ok(match request {
            Request::LookupAccounts(ids) => {
                let mut found = Vec::new();
                ledger.lookup_accounts(accounts(ids), &mut found);
                Reply::Accounts(found)
            }
            Request::LookupAccountTerms(ids) => {
                let mut found = Vec::new();
                ledger.lookup_terms(accounts(ids), &mut found);
                Reply::Terms(found)
            }
            Request::LookupTransfers(ids) => {
                let mut found = Vec::new();
                ledger.lookup_transfers(transfers(ids), open, log, &mut found)?;
                Reply::Transfers(found)
            }
            Request::LookupTransferDetails(ids) => {
                let mut found = Vec::new();
                ledger.lookup_transfer_details(transfers(ids), open, log, &mut found)?;
                Reply::Details(found)
            }
            Request::LookupOutcome(ids) => {
                let mut found = Vec::new();
                ledger.lookup_outcomes(transfers(ids), open, log, &mut found)?;
                Reply::Outcomes(found)
            }
            _ => unreachable!("that looks up nothing"),
        })
    }
}

/// What kind of request of the client protocol it is, and how many events it has.
fn size_of_request(request: &Request) -> (FrameKind, usize) {
    match request {
        Request::CreateAccounts(rows) => (FrameKind::CreateAccounts, rows.len()),
        Request::CreateTransfers(rows) => (FrameKind::CreateTransfers, rows.len()),
        Request::CreateTransfersDetailed(rows) => (FrameKind::CreateTransfersDetailed, rows.len()),
        Request::ChangeAccounts(rows) => (FrameKind::ChangeAccounts, rows.len()),
        Request::CloseDay(_) => (FrameKind::CloseDay, 1),
        Request::Burn(ids) => (FrameKind::BurnIds, ids.len()),
        Request::LookupAccounts(_) => (FrameKind::LookupAccounts, 0),
        Request::LookupTransfers(_) => (FrameKind::LookupTransfers, 0),
        Request::LookupAccountTerms(_) => (FrameKind::LookupAccountTerms, 0),
        Request::LookupTransferDetails(_) => (FrameKind::LookupTransferDetails, 0),
        Request::LookupOutcome(_) => (FrameKind::LookupOutcomes, 0),
        Request::GetAccountTransfers(_) => (FrameKind::GetAccountTransfers, 0),
        Request::GetAccountBalances(_) => (FrameKind::GetAccountBalances, 0),
        Request::QueryAccounts(_) => (FrameKind::QueryAccounts, 0),
        Request::QueryTransfers(_) => (FrameKind::QueryTransfers, 0),
        Request::Statement(_) => (FrameKind::GetStatement, 0),
        Request::BalancesAsOf(_) => (FrameKind::GetBalancesAsOf, 0),
        Request::TrialBalance => (FrameKind::GetTrialBalance, 0),
        // They only look at the clock.
        Request::TickNs(_) | Request::Help(_) => (FrameKind::LookupAccounts, 0),
    }
}

/// One result an event.
fn ended(runs: &[ResultRun], name: impl Fn(u32) -> &'static str) -> Vec<Ended> {
    let mut all = Vec::new();
    for run in runs {
        // Of events that were created each is a nanosecond later.
        let apart = u64::from(run.result.get() == u32::MAX);
        for n in 0..u64::from(run.count.get()) {
            all.push(Ended {
                status: name(run.result.get()),
                timestamp: run.timestamp.get() + n * apart,
            });
        }
    }
    all
}
