//! What the events of one request have in common: linked ones succeed or fail together, imported
//! ones come alone, and results that follow each other are joined.

use kanjo_format::client::{AccountBody, AccountFlags, ResultRun, TransferBody, TransferFlags};
use kanjo_format::movement::Transfer;
use kanjo_format::result::{CreateAccountResult, CreateTransferResult};
use kanjo_format::{RecordAt, Timestamp};

use crate::batch::{Mark, OpenBatch};
use crate::books::{Before, Sums};
use crate::ledger::{Ledger, TIMESTAMP_MAX};

const CREATED: u32 = CreateTransferResult::Created.number();
const LINKED_EVENT_FAILED: u32 = CreateTransferResult::LinkedEventFailed.number();
const LINKED_EVENT_CHAIN_OPEN: u32 = CreateTransferResult::LinkedEventChainOpen.number();

/// These flags and results are the same for accounts and transfers.
const _: () = {
    assert!(AccountFlags::LINKED == TransferFlags::LINKED);
    assert!(CreateAccountResult::Created.number() == CREATED);
    assert!(CreateAccountResult::LinkedEventFailed.number() == LINKED_EVENT_FAILED);
    assert!(CreateAccountResult::LinkedEventChainOpen.number() == LINKED_EVENT_CHAIN_OPEN);
};

/// How to undo linked events: all that they changed, as it was before.
#[derive(Debug)]
pub(crate) struct Undo {
    mark: Mark,
    sums: Sums,
    transfers: Vec<(RecordAt, Transfer, Before)>,
}

impl Ledger {
    /// From here on what is executed can be undone.
    fn begin_undo(&mut self, open: &OpenBatch) {
        assert!(self.undo.is_none(), "chains of events do not nest");
        self.undo = Some(Undo {
            mark: open.mark(),
            sums: self.books.sums(),
            transfers: Vec::new(),
        });
    }

    /// Undoes all that was executed since.
    fn undo(&mut self, open: &mut OpenBatch) {
        let undo = self.undo.take().expect("linked events were begun");
        for (at, transfer, before) in undo.transfers.iter().rev() {
            self.books.undo_transfer(*at, transfer, before);
            self.index.undo_transfer(transfer);
        }
        self.books.undo_sums(undo.sums);
        open.truncate(undo.mark);
    }

    /// Notes a transfer that is about to be recorded and may have to be undone.
    pub(super) fn note_undo(&mut self, at: RecordAt, transfer: &Transfer) {
        if let Some(undo) = &mut self.undo {
            let before = self.books.before(transfer);
            undo.transfers.push((at, *transfer, before));
        }
    }
}

/// What comes before an event's own fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    is_linked: bool,
    is_imported: bool,
    timestamp: u64,
}

impl Start {
    pub(super) fn of_account(event: &AccountBody) -> Self {
        Self {
            is_linked: event.flags.get() & AccountFlags::LINKED != 0,
            is_imported: event.flags.get() & AccountFlags::IMPORTED != 0,
            timestamp: event.timestamp.get(),
        }
    }

    pub(super) fn of_transfer(event: &TransferBody) -> Self {
        Self {
            is_linked: event.flags.get() & TransferFlags::LINKED != 0,
            is_imported: event.flags.get() & TransferFlags::IMPORTED != 0,
            timestamp: event.timestamp.get(),
        }
    }

    pub(super) fn is_imported(&self) -> bool {
        self.is_imported
    }
}

/// Why an event is refused before its own fields are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Early {
    ChainOpen,
    ChainFailed,
    ImportExpected,
    ImportNotExpected,
    TimestampMustBeZero,
    TimestampOutOfRange,
    TimestampMustNotAdvance,
}

impl Early {
    pub(super) fn for_account(self) -> CreateAccountResult {
        use CreateAccountResult as R;
        match self {
            Self::ChainOpen => R::LinkedEventChainOpen,
            Self::ChainFailed => R::LinkedEventFailed,
            Self::ImportExpected => R::ImportedEventExpected,
            Self::ImportNotExpected => R::ImportedEventNotExpected,
            Self::TimestampMustBeZero => R::TimestampMustBeZero,
            Self::TimestampOutOfRange => R::ImportedEventTimestampOutOfRange,
            Self::TimestampMustNotAdvance => R::ImportedEventTimestampMustNotAdvance,
        }
    }

    pub(super) fn for_transfer(self) -> CreateTransferResult {
        use CreateTransferResult as R;
        match self {
            Self::ChainOpen => R::LinkedEventChainOpen,
            Self::ChainFailed => R::LinkedEventFailed,
            Self::ImportExpected => R::ImportedEventExpected,
            Self::ImportNotExpected => R::ImportedEventNotExpected,
            Self::TimestampMustBeZero => R::TimestampMustBeZero,
            Self::TimestampOutOfRange => R::ImportedEventTimestampOutOfRange,
            Self::TimestampMustNotAdvance => R::ImportedEventTimestampMustNotAdvance,
        }
    }
}

/// A chain of linked events that is being executed.
#[derive(Clone, Copy, Debug)]
struct Linked {
    /// Its events so far.
    events: usize,
    has_failed: bool,
    /// The results before its own: how many runs, and how many events the last of them has.
    runs: usize,
    last_count: u32,
}

/// One request while it is being executed.
pub(super) struct Request<'a> {
    runs: Runs<'a>,
    /// Events that are yet to come.
    left: usize,
    imports: bool,
    linked: Option<Linked>,
}

impl<'a> Request<'a> {
    pub(super) fn new(out: &'a mut Vec<ResultRun>, events: usize, imports: bool) -> Self {
        Self {
            runs: Runs::new(out),
            left: events,
            imports,
            linked: None,
        }
    }

    /// Whether the next event stands for itself, and nothing is imported.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.linked.is_none() && !self.imports
    }

    /// A plain event was recorded.
    #[inline]
    pub(super) fn push_created(&mut self, at: Timestamp) {
        self.left -= 1;
        self.runs.push(CREATED, at);
    }

    /// Begins an event the long way. Gives why it is refused, if it is.
    pub(super) fn begin(
        &mut self,
        ledger: &mut Ledger,
        open: &OpenBatch,
        start: Start,
    ) -> Option<Early> {
        self.left -= 1;
        if start.is_linked && self.linked.is_none() {
            ledger.begin_undo(open);
            self.linked = Some(Linked {
                events: 0,
                has_failed: false,
                runs: self.runs.out.len(),
                last_count: self.runs.last_count(),
            });
        }
        if let Some(linked) = &mut self.linked {
            linked.events += 1;
            if start.is_linked && self.left == 0 {
                return Some(Early::ChainOpen);
            }
            if linked.has_failed {
                return Some(Early::ChainFailed);
            }
        }
        match (self.imports, start.is_imported) {
            (true, false) => return Some(Early::ImportExpected),
            (false, true) => return Some(Early::ImportNotExpected),
            (false, false) if start.timestamp != 0 => return Some(Early::TimestampMustBeZero),
            (false, false) => return None,
            (true, true) => {}
        }
        if start.timestamp == 0 || start.timestamp > TIMESTAMP_MAX {
            return Some(Early::TimestampOutOfRange);
        }
        let now = open.next_timestamp().get();
        (start.timestamp >= now).then_some(Early::TimestampMustNotAdvance)
    }

    /// Ends an event: if it failed, its chain is undone. Gives the time of its result: `at` where
    /// there is one, and else the one that is due next once the chain is undone.
    pub(super) fn end(
        &mut self,
        ledger: &mut Ledger,
        open: &mut OpenBatch,
        start: Start,
        result: u32,
        at: Option<Timestamp>,
    ) -> Timestamp {
        if let Some(linked) = &mut self.linked
            && result != CREATED
            && !linked.has_failed
        {
            linked.has_failed = true;
            ledger.undo(open);
            let linked = *linked;
            self.runs.truncate(linked.runs, linked.last_count);
            for _ in 1..linked.events {
                self.runs.push(LINKED_EVENT_FAILED, open.next_timestamp());
            }
        }
        if let Some(linked) = self.linked
            && (!start.is_linked || result == LINKED_EVENT_CHAIN_OPEN)
        {
            if !linked.has_failed {
                ledger.undo = None;
            }
            self.linked = None;
        }
        at.unwrap_or_else(|| open.next_timestamp())
    }

    /// Adds a result.
    pub(super) fn push(&mut self, result: u32, at: Timestamp) {
        self.runs.push(result, at);
    }

    /// The request ends before its end: a chain that is not complete is undone.
    pub(super) fn abandon(&mut self, ledger: &mut Ledger, open: &mut OpenBatch) {
        if ledger.undo.is_some() {
            ledger.undo(open);
        }
    }
}

/// Joins results of consecutive events of one request into runs.
pub(super) struct Runs<'a> {
    out: &'a mut Vec<ResultRun>,
    start: usize,
}

impl<'a> Runs<'a> {
    pub(super) fn new(out: &'a mut Vec<ResultRun>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    #[inline]
    pub(super) fn push(&mut self, result: u32, timestamp: Timestamp) {
        if let Some(run) = self.out[self.start..].last_mut() {
            let is_created = result == CREATED;
            let passed = if is_created { run.count.get() } else { 0 };
            let next = run.timestamp.get() + u64::from(passed);
            if run.result.get() == result && next == timestamp.get() {
                run.count += 1;
                return;
            }
        }
        self.out.push(ResultRun {
            count: 1.into(),
            result: result.into(),
            timestamp: timestamp.get().into(),
        });
    }

    fn last_count(&self) -> u32 {
        let last = self.out[self.start..].last();
        last.map_or(0, |run| run.count.get())
    }

    fn truncate(&mut self, runs: usize, last_count: u32) {
        self.out.truncate(runs);
        if let Some(run) = self.out[self.start..].last_mut() {
            run.count = last_count.into();
        }
    }
}
