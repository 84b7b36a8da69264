//! A request of many events: chains that hold or fall together, and imports that are not mixed
//! with anything else.

use kanjo_format::client::AccountBody;
use kanjo_format::result::{CreateAccountResult, CreateTransferResult};

use super::{Asked, Model, TIME_END, account, transfer};

/// What the rules of a request need to know of an event.
trait Linked {
    type Result: Copy + PartialEq;
    fn is_linked(&self) -> bool;
    fn is_imported(&self) -> bool;
    fn timestamp(&self) -> u64;
    fn create(&self, model: &mut Model) -> (Self::Result, u64);
    /// The name of a rule that both kinds of event have.
    fn name(rule: Rule) -> Self::Result;
    /// Whether the result's time is that of what is there.
    fn is_exists(result: Self::Result) -> bool;
    /// Makes the event's id fail for ever where that result says so.
    fn stick(&self, model: &mut Model, result: Self::Result);
}

#[derive(Clone, Copy)]
enum Rule {
    Created,
    LinkedEventFailed,
    LinkedEventChainOpen,
    ImportedEventExpected,
    ImportedEventNotExpected,
    TimestampMustBeZero,
    TimestampOutOfRange,
    TimestampMustNotAdvance,
}

impl Model {
    pub(crate) fn create_accounts(
        &mut self,
        events: &[AccountBody],
    ) -> Vec<(CreateAccountResult, u64)> {
        self.create_all(events)
    }

    pub(crate) fn create_transfers(
        &mut self,
        events: &[Asked],
    ) -> Vec<(CreateTransferResult, u64)> {
        self.create_all(events)
    }

    fn create_all<E: Linked>(&mut self, events: &[E]) -> Vec<(E::Result, u64)> {
        let mut results = Vec::new();
        let mut rest = events;
        while !rest.is_empty() {
            // A chain ends with its first event that is not linked, or with the request.
            let links = rest.iter().take_while(|event| event.is_linked()).count();
            let (chain, later) = rest.split_at((links + 1).min(rest.len()));
            let imported = events[0].is_imported();
            self.create_chain(chain, imported, &mut results);
            rest = later;
        }
        results
    }

    fn create_chain<E: Linked>(
        &mut self,
        chain: &[E],
        imported: bool,
        results: &mut Vec<(E::Result, u64)>,
    ) {
        let before = self.clone();
        let start = results.len();
        let mut broken = false;
        for (place, event) in chain.iter().enumerate() {
            let is_last = place + 1 == chain.len();
            let refused = if is_last && event.is_linked() {
                Some(Rule::LinkedEventChainOpen)
            } else if broken {
                Some(Rule::LinkedEventFailed)
            } else {
                self.refuse_time(event, imported)
            };
            let (result, timestamp) = match refused {
                Some(rule) => (E::name(rule), self.now()),
                None => event.create(self),
            };
            results.push((result, timestamp));
            if result == E::name(Rule::Created) || broken {
                continue;
            }
            broken = true;
            // Those before it are undone, and time goes on from there; what it failed for stays
            // with its own id.
            *self = before.clone();
            for earlier in &mut results[start..start + place] {
                *earlier = (E::name(Rule::LinkedEventFailed), self.now());
            }
            if !E::is_exists(result) {
                results[start + place].1 = self.now();
            }
            event.stick(self, result);
        }
    }

    /// Whether an event's timestamp fits what it is and what the first event of the request is.
    fn refuse_time<E: Linked>(&self, event: &E, imported: bool) -> Option<Rule> {
        let time = event.timestamp();
        match (event.is_imported(), imported) {
            (true, false) => Some(Rule::ImportedEventNotExpected),
            (false, true) => Some(Rule::ImportedEventExpected),
            (false, false) => (time != 0).then_some(Rule::TimestampMustBeZero),
            (true, true) if time == 0 || time >= TIME_END => Some(Rule::TimestampOutOfRange),
            (true, true) => (time >= self.now()).then_some(Rule::TimestampMustNotAdvance),
        }
    }
}

impl Linked for AccountBody {
    type Result = CreateAccountResult;

    fn is_linked(&self) -> bool {
        self.flags.get() & account::LINKED != 0
    }

    fn is_imported(&self) -> bool {
        self.flags.get() & account::IMPORTED != 0
    }

    fn timestamp(&self) -> u64 {
        self.timestamp.get()
    }

    fn create(&self, model: &mut Model) -> (CreateAccountResult, u64) {
        model.create_account(self)
    }

    fn name(rule: Rule) -> CreateAccountResult {
        use CreateAccountResult as R;
        match rule {
            Rule::Created => R::Created,
            Rule::LinkedEventFailed => R::LinkedEventFailed,
            Rule::LinkedEventChainOpen => R::LinkedEventChainOpen,
            Rule::ImportedEventExpected => R::ImportedEventExpected,
            Rule::ImportedEventNotExpected => R::ImportedEventNotExpected,
            Rule::TimestampMustBeZero => R::TimestampMustBeZero,
            Rule::TimestampOutOfRange => R::ImportedEventTimestampOutOfRange,
            Rule::TimestampMustNotAdvance => R::ImportedEventTimestampMustNotAdvance,
        }
    }

    fn is_exists(result: CreateAccountResult) -> bool {
        result == CreateAccountResult::Exists
    }

    fn stick(&self, _model: &mut Model, _result: CreateAccountResult) {}
}

impl Linked for Asked {
    type Result = CreateTransferResult;

    fn is_linked(&self) -> bool {
        self.has(transfer::LINKED)
    }

    fn is_imported(&self) -> bool {
        self.has(transfer::IMPORTED)
    }

    fn timestamp(&self) -> u64 {
        self.body.timestamp.get()
    }

    fn create(&self, model: &mut Model) -> (CreateTransferResult, u64) {
        model.create_transfer(self)
    }

    fn name(rule: Rule) -> CreateTransferResult {
        use CreateTransferResult as R;
        match rule {
            Rule::Created => R::Created,
            Rule::LinkedEventFailed => R::LinkedEventFailed,
            Rule::LinkedEventChainOpen => R::LinkedEventChainOpen,
            Rule::ImportedEventExpected => R::ImportedEventExpected,
            Rule::ImportedEventNotExpected => R::ImportedEventNotExpected,
            Rule::TimestampMustBeZero => R::TimestampMustBeZero,
            Rule::TimestampOutOfRange => R::ImportedEventTimestampOutOfRange,
            Rule::TimestampMustNotAdvance => R::ImportedEventTimestampMustNotAdvance,
        }
    }

    fn is_exists(result: CreateTransferResult) -> bool {
        result == CreateTransferResult::Exists
    }

    fn stick(&self, model: &mut Model, result: CreateTransferResult) {
        if is_transient(result) {
            model.fail_for_ever(self.id(), result);
        }
    }
}

/// Failures that might not happen again at another time: a retry must not end otherwise.
fn is_transient(result: CreateTransferResult) -> bool {
    use CreateTransferResult as R;
    [
        R::DebitAccountNotFound,
        R::CreditAccountNotFound,
        R::PendingTransferNotFound,
        R::DebitAccountAlreadyClosed,
        R::CreditAccountAlreadyClosed,
        R::ExceedsCredits,
        R::ExceedsDebits,
        R::ReversedTransferNotFound,
        R::DebitAccountFrozen,
        R::CreditAccountFrozen,
        R::ExceedsOverdraftLimit,
    ]
    .contains(&result)
}
