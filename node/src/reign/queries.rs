//! Queries on the primary: handed to the thread that answers them, held as reads, and feeds that
//! wait for something new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kanjo_engine::query::Asked;
use kanjo_format::Lsn;
use kanjo_format::client::{FeedBody, FrameKind, Outcome, PageBody, QueryFilterBody};
use kanjo_format::limits::{HELD_PAGE_BYTES_MAX, QUERIES_MAX};
use kanjo_shipper::gate::ReadToken;
use tokio::time::Instant;
use zerocopy::{FromBytes, IntoBytes};

use super::Primary;
use super::replies::{Reply, Results};
use crate::error::NodeError;
use crate::front::{Front, Request, Ticket};
use crate::query::{Answered, Found, Job, Work};

/// A feed is answered this long before its request's deadline, with nothing if there is nothing.
const FEED_MARGIN: Duration = Duration::from_millis(100);

/// What the replies of a query say of the place that it shows.
#[derive(Clone, Copy)]
struct Shown {
    lsn: Lsn,
    timestamp: u64,
    business_date: u32,
}

/// A query that the thread works on.
struct UnderWay {
    request: Request,
    shown: Shown,
    token: ReadToken,
    abandoned: Arc<AtomicBool>,
    /// Of a feed, until when it may wait for something new.
    waits_until: Option<Instant>,
}

/// A feed that found nothing new.
struct Parked {
    request: Request,
    until: Instant,
    /// It looks again once more than this is committed.
    seen: Lsn,
}

/// All queries of a reign that are not answered yet.
#[derive(Default)]
pub(crate) struct Queries {
    under_way: BTreeMap<u64, UnderWay>,
    parked: Vec<Parked>,
}

impl Queries {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.parked.is_empty()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len() + self.parked.len()
    }

    /// Answers everything with `outcome`.
    pub(crate) fn give_up(&mut self, outcome: Outcome, text: &str, front: &Front) {
        for (_, query) in std::mem::take(&mut self.under_way) {
            query.abandoned.store(true, Ordering::Relaxed);
            front.answer(query.request.ticket, outcome, 0, text.as_bytes());
        }
        for feed in self.parked.drain(..) {
            front.answer(feed.request.ticket, outcome, 0, text.as_bytes());
        }
    }

    /// Answers `Indeterminate` to what is not there by its deadline.
    fn expire(&mut self, now: Instant, front: &Front) {
        let is_late = |ticket: &Ticket| ticket.deadline <= now;
        self.under_way.retain(|_, query| {
            let late = is_late(&query.request.ticket);
            if late {
                query.abandoned.store(true, Ordering::Relaxed);
                front.answer(query.request.ticket, Outcome::Indeterminate, 0, b"");
            }
            !late
        });
        self.parked.retain(|feed| {
            let late = is_late(&feed.request.ticket);
            if late {
                front.answer(feed.request.ticket, Outcome::Indeterminate, 0, b"");
            }
            !late
        });
    }
}

impl Primary<'_> {
    /// Begins queries that came while a batch was built, now that it is placed. They see
    /// everything that was executed before them, and wait for its commit and for an exchange that
    /// begins now.
    pub(super) fn begin_queries(&mut self, requests: Vec<Request>) -> Result<(), NodeError> {
        if requests.is_empty() {
            return Ok(());
        }
        let token = self.reign.gate.read_arrived();
        for request in requests {
            let waits_until = feed_patience(&request);
            self.begin_query(request, token, waits_until);
        }
        self.want_exchange(token)
    }

    fn begin_query(&mut self, request: Request, token: ReadToken, waits_until: Option<Instant>) {
        let held = self.reign.replies.held_read_bytes();
        if self.reign.queries.len() >= QUERIES_MAX || held >= HELD_PAGE_BYTES_MAX {
            let text = "too many queries are under way on this node";
            let front = &self.hot.front;
            return front.answer(request.ticket, Outcome::Overloaded, 0, text.as_bytes());
        }
        let store = &mut self.hot.store;
        assert!(store.ledger.is_idle(), "a query is of one place of the log");
        let tail = store.log.tail().lsn;
        let is_feed = request.kind == FrameKind::ReadFeed;
        let shown = Shown {
            // A feed tells of what is committed, and waits for nothing else.
            lsn: if is_feed {
                self.reign.gate.committed()
            } else {
                tail
            },
            // What the ledger holds beyond that is not committed yet, and a feed does not wait for it.
            timestamp: if is_feed {
                0
            } else {
                store.ledger.log_time().get()
            },
            business_date: if is_feed {
                0
            } else {
                store.ledger.business_days().current()
            },
        };
        let work = match store.ledger.ask(request.kind, &request.rows) {
            Asked::Query(query) => Work::Query(query),
            Asked::TrialBalance(book) => Work::TrialBalance(book),
            Asked::Accounts(rows, next) => {
                return self.hold_page(&request, shown, token, next, rows.len(), rows.as_bytes());
            }
            Asked::Nothing => return self.hold_page(&request, shown, token, 0, 0, &[]),
        };
        if needs_ledgers(&request) {
            while !self.hot.account_ledgers.catch_up(&self.hot.store.ledger) {}
        }
        let abandoned = Arc::new(AtomicBool::new(false));
        self.hot.query_count += 1;
        let id = self.hot.query_count;
        self.hot.queries.submit(Job {
            id,
            work,
            end: shown.lsn,
            history: self.hot.history(),
            ledgers: self.hot.account_ledgers.clone(),
            runs: Arc::clone(self.hot.store.indexing.set()),
            abandoned: Arc::clone(&abandoned),
        });
        let query = UnderWay {
            request,
            shown,
            token,
            abandoned,
            waits_until,
        };
        self.reign.queries.under_way.insert(id, query);
    }

    /// The thread is done with a query.
    pub(crate) fn on_answered(&mut self, answered: Answered) -> Result<(), NodeError> {
        let Some(mut query) = self.reign.queries.under_way.remove(&answered.id) else {
            // Its time was over, or another reign asked.
            return Ok(());
        };
        let found = match answered.outcome {
            Ok(found) => found,
            Err(error) => {
                // Nothing depends on a read: it gets no answer, and the node goes on.
                tracing::error!(%error, "a query met something that cannot be read");
                let (ticket, text) = (query.request.ticket, error.to_string());
                let front = &self.hot.front;
                front.answer(ticket, Outcome::Indeterminate, 0, text.as_bytes());
                return Ok(());
            }
        };
        match found {
            Found::Totals(rows) => {
                let most = FrameKind::GetTrialBalance.reply_rows_max();
                // More would not be of one lsn; that they are not all there shows.
                let next = rows.get(most).map_or(0, |row| u64::from(row.ledger.get()));
                let rows = &rows[..rows.len().min(most)];
                let (count, bytes) = (rows.len(), rows.as_bytes());
                self.hold_page(&query.request, query.shown, query.token, next, count, bytes);
            }
            Found::Page(page) => {
                let mut bytes = Vec::new();
                let names = &self.hot.store.ledger;
                let count = page.encode(query.request.kind, names, &mut bytes) as usize;
                if count == 0
                    && let Some(until) = query.waits_until.take()
                    && until > Instant::now()
                {
                    self.park(query, until, page.next);
                    return Ok(());
                }
                let (shown, token) = (query.shown, query.token);
                self.hold_page(&query.request, shown, token, page.next, count, &bytes);
            }
        }
        Ok(())
    }

    fn hold_page(
        &mut self,
        request: &Request,
        shown: Shown,
        token: ReadToken,
        next: u64,
        count: usize,
        rows: &[u8],
    ) {
        let page = PageBody {
            lsn: shown.lsn.get().into(),
            next: next.into(),
            timestamp: shown.timestamp.into(),
            business_date: shown.business_date.into(),
            reserved: 0.into(),
        };
        let mut body = match request.kind.is_paged() {
            true => page.as_bytes().to_vec(),
            false => Vec::new(),
        };
        body.extend_from_slice(rows);
        let reply = Reply {
            ticket: request.ticket,
            count: count as u32,
            body: Results::Rows(body),
        };
        self.reign.replies.hold_read(reply, shown.lsn, token);
    }

    /// Keeps a feed that found nothing until more is committed. It goes on where it ended.
    fn park(&mut self, query: UnderWay, until: Instant, next: u64) {
        let mut request = query.request;
        let mut seen = query.shown.lsn;
        if let Ok(mut body) = FeedBody::read_from_bytes(&request.rows) {
            let from = next.max(body.from.get());
            body.from = from.into();
            request.rows = body.as_bytes().to_vec().into();
            seen = seen.max(Lsn::new(from));
        }
        self.reign.queries.parked.push(Parked {
            request,
            until,
            seen,
        });
    }

    /// Lets feeds look again that wait for what is committed by now, or have waited long enough.
    pub(super) fn wake_feeds(&mut self) -> Result<(), NodeError> {
        if self.reign.queries.parked.is_empty() {
            return Ok(());
        }
        let (committed, now) = (self.reign.gate.committed(), Instant::now());
        let is_due = |feed: &mut Parked| feed.seen < committed || feed.until <= now;
        let due: Vec<Parked> = self.reign.queries.parked.extract_if(.., is_due).collect();
        if due.is_empty() {
            return Ok(());
        }
        let token = self.reign.gate.read_arrived();
        for feed in due {
            let waits_until = Some(feed.until).filter(|until| *until > now);
            self.begin_query(feed.request, token, waits_until);
        }
        self.want_exchange(token)
    }

    /// Answers everybody who waits with `outcome`.
    pub(crate) fn give_up(&mut self, outcome: Outcome) {
        let front = &self.hot.front;
        self.reign.replies.give_up(outcome, "", front);
        self.reign.queries.give_up(outcome, "", front);
    }

    /// Looks at what goes by time.
    pub(super) fn tick_queries(&mut self, now: Instant) -> Result<(), NodeError> {
        self.reign.queries.expire(now, &self.hot.front);
        self.hot.account_ledgers.catch_up(&self.hot.store.ledger);
        if self.hot.store.ledger.is_idle() {
            self.wake_feeds()?;
        }
        Ok(())
    }
}

/// Until when a feed may wait; `None` for any other request, and one that does not wait.
fn feed_patience(request: &Request) -> Option<Instant> {
    if request.kind != FrameKind::ReadFeed {
        return None;
    }
    let body = FeedBody::read_from_bytes(&request.rows).ok()?;
    let wait = Duration::from_millis(body.wait_ms.get().into());
    let until = Instant::now() + wait;
    let latest = request.ticket.deadline.checked_sub(FEED_MARGIN)?;
    (!wait.is_zero()).then(|| until.min(latest))
}

/// Whether a query compares the ledgers of transfers.
fn needs_ledgers(request: &Request) -> bool {
    request.kind == FrameKind::QueryTransfers
        && QueryFilterBody::read_from_bytes(&request.rows).is_ok_and(|body| body.ledger.get() != 0)
}
