//! Drives the engine and the model with the same requests and compares all that both say.

use std::collections::BTreeMap;

use kanjo_format::client::{
    AccountBody, AccountFilterBody, BalanceAsOfBody, QueryFilterBody, StatementBody, TransferBody,
    TransferDetailBody,
};

use crate::answer::Modelled;
use crate::generate::{ACCOUNTS, Known, Passes, Step, Write, resolve_time};
use crate::line::line_of;
use crate::model::{IMPORTED, TIME_END, Transfer};
use crate::repl::embedded::Embedded;
use crate::repl::json::Misread;
use crate::repl::reply::Reply;
use crate::repl::request::Request;

/// Both sides, and every line that both were asked.
#[derive(Default)]
pub(crate) struct Pair {
    engine: Embedded,
    model: Modelled,
    pub(crate) lines: Vec<String>,
    /// The last transfer id that was asked for as a new one.
    fresh: u128,
    /// How often each event of a request ended how.
    pub(crate) seen: Seen,
}

/// Results by request and name.
pub(crate) type Seen = BTreeMap<(&'static str, &'static str), u64>;

/// Says of what was asked how the two differ.
pub(crate) type Different = String;

/// Runs a case. `cut` chooses where a checkpoint is taken.
pub(crate) fn run(steps: &[Step], cut: usize, pair: &mut Pair) -> Result<(), Different> {
    for step in steps {
        pair.pass(step.passes)?;
        pair.batch(&step.writes)?;
        for read in &step.reads {
            pair.ask(read)?;
        }
    }
    pair.ask_everything()?;
    pair.replay(cut)
}

impl Pair {
    fn pass(&mut self, passes: Passes) -> Result<(), Different> {
        let clock = self.model.clock().max(self.model.model.log_time());
        let passed = match passes {
            Passes::Nothing => return Ok(()),
            Passes::By(passed) if clock + passed < TIME_END - 100_000 => passed,
            // Time goes on by a nanosecond a record even at its edge.
            Passes::By(_) => return Ok(()),
            Passes::ToTheEdge(before) => match (TIME_END - before).checked_sub(clock) {
                Some(passed) => passed,
                None => return Ok(()),
            },
        };
        self.ask(&Request::TickNs(passed))
    }

    /// Asks both the same in a batch of its own.
    fn ask(&mut self, request: &Request) -> Result<(), Different> {
        let request = &self.resolved(request);
        self.lines.push(line_of(request));
        let engine = self.engine.answer(request);
        let model = self.model.answer(request);
        self.compare(shown(engine), shown(model))
    }

    /// Asks both the same requests in one batch.
    fn batch(&mut self, writes: &[Write]) -> Result<(), Different> {
        self.model.begin_batch();
        let mut open = self.engine.begin_batch();
        let mut compared = Ok(());
        for write in writes {
            let request = &self.made_up(write);
            self.lines.push(line_of(request));
            let engine;
            (open, engine) = self.engine.execute(open, request);
            let model = self.model.execute(request);
            self.count(request, &model);
            compared = self.compare(engine.line("reply"), model.line("reply"));
            if compared.is_err() {
                break;
            }
        }
        self.engine.end_batch(open);
        compared
    }

    fn count(&mut self, request: &Request, reply: &Reply) {
        let kind = match request {
            Request::CreateAccounts(_) => "create_accounts",
            Request::CreateTransfers(_) => "create_transfers",
            Request::CreateTransfersDetailed(_) => "create_transfers",
            Request::ChangeAccounts(_) => "change_accounts",
            Request::CloseDay(_) => "close_day",
            Request::Burn(_) => "burn",
            _ => return,
        };
        let one = match reply {
            Reply::Ended(all) => all.as_slice(),
            Reply::EndedOne(one) => std::slice::from_ref(one),
            _ => return,
        };
        for ended in one {
            *self.seen.entry((kind, ended.status)).or_default() += 1;
        }
    }

    fn compare(&self, engine: String, model: String) -> Result<(), Different> {
        if engine == model {
            return Ok(());
        }
        Err(format!("engine {engine}\nmodel  {model}"))
    }

    /// What a write comes to by what is there now.
    fn made_up(&mut self, write: &Write) -> Request {
        let drafts = match write {
            Write::Asked(request) => return self.resolved(request),
            Write::Transfers(drafts) => drafts,
        };
        let mut known = Known {
            last: self.last_times(),
            model: &self.model.model,
            fresh: &mut self.fresh,
        };
        known.request(drafts)
    }

    /// Times of the last account, of the last transfer, and of the next record.
    fn last_times(&self) -> [u64; 3] {
        let model = &self.model.model;
        [
            model.accounts.last().map_or(0, |account| account.timestamp),
            model
                .transfers
                .last()
                .map_or(0, |transfer| transfer.timestamp),
            model.now(),
        ]
    }

    /// With times that were given as "next to the last transfer" made real.
    fn resolved(&self, request: &Request) -> Request {
        let last = self.last_times();
        let mut request = request.clone();
        let account = |row: &mut AccountBody| {
            row.timestamp = resolve_time(row.timestamp.get(), last).into();
        };
        match &mut request {
            Request::CreateAccounts(rows) => rows.iter_mut().for_each(account),
            Request::GetAccountTransfers(body) | Request::GetAccountBalances(body) => {
                body.timestamp_min = resolve_time(body.timestamp_min.get(), last).into();
                body.timestamp_max = resolve_time(body.timestamp_max.get(), last).into();
            }
            Request::QueryAccounts(body) | Request::QueryTransfers(body) => {
                body.timestamp_min = resolve_time(body.timestamp_min.get(), last).into();
                body.timestamp_max = resolve_time(body.timestamp_max.get(), last).into();
            }
            Request::Statement(body) => {
                body.from = resolve_time(body.from.get(), last).into();
                body.to = resolve_time(body.to.get(), last).into();
            }
            Request::BalancesAsOf(rows) => {
                for row in rows {
                    row.at = resolve_time(row.at.get(), last).into();
                }
            }
            _ => {}
        }
        request
    }

    /// Everything that can be looked up, and every account's past.
    fn ask_everything(&mut self) -> Result<(), Different> {
        for request in everything(self.fresh) {
            self.ask(&request)?;
        }
        Ok(())
    }

    /// Every way to the end of the log gives the same ledger, and it answers retries the same.
    fn replay(&mut self, cut: usize) -> Result<(), Different> {
        let expected = self.engine.state();
        let mut ways = vec![("replayed", self.engine.replayed())];
        ways.push(("restored", self.engine.restored(cut)));
        for (way, mut ledger) in ways {
            let found = ledger.state();
            if found != expected {
                return Err(format!("{way}: {found}\nengine {expected}"));
            }
            let mut model = self.model.clone();
            for request in everything(self.fresh).chain(self.retries()) {
                let engine = shown(ledger.answer(&request));
                let model = shown(model.answer(&request));
                if engine != model {
                    return Err(format!(
                        "{way}, asked {}\nengine {engine}\nmodel  {model}",
                        line_of(&request)
                    ));
                }
            }
        }
        Ok(())
    }

    /// All transfers again, then what ends all that is still pending.
    fn retries(&self) -> Vec<Request> {
        let again = |transfer: &Transfer| {
            let mut body = transfer.body();
            if !transfer.has(IMPORTED) {
                body.timestamp = 0.into();
            }
            let detailed = TransferDetailBody {
                transfer: body,
                reverses: transfer.reverses.into(),
                value_date: transfer.value_date.into(),
                business_date: transfer.asked_business_date().into(),
                ..TransferDetailBody::default()
            };
            Request::CreateTransfersDetailed(vec![detailed])
        };
        let transfers = &self.model.model.transfers;
        let mut requests: Vec<Request> = transfers.iter().map(again).collect();
        requests.push(Request::TickNs(3_000_000_000));
        for id in 1..=self.fresh {
            requests.push(Request::CreateTransfers(vec![TransferBody {
                id: (1_000_000 + id).into(),
                pending_id: id.into(),
                flags: (1 << 3).into(),
                ..TransferBody::default()
            }]));
        }
        requests.push(Request::TrialBalance);
        requests
    }
}

/// The line of a reply; the two need not refuse in the same words.
fn shown(answered: Result<Reply, Misread>) -> String {
    answered.map_or_else(|_| "refused".to_owned(), |reply| reply.line("reply"))
}

fn everything(fresh: u128) -> impl Iterator<Item = Request> {
    let accounts: Vec<u128> = (0..=ACCOUNTS + 1).chain([u128::MAX]).collect();
    let transfers: Vec<u128> = (0..=fresh + 1).chain([u128::MAX - 1, u128::MAX]).collect();
    let mut requests = vec![
        Request::LookupAccounts(accounts.clone()),
        Request::LookupAccountTerms(accounts.clone()),
        Request::LookupTransfers(transfers.clone()),
        Request::LookupTransferDetails(transfers.clone()),
        Request::LookupOutcome(transfers),
        Request::TrialBalance,
        Request::QueryTransfers(QueryFilterBody {
            limit: 1_000.into(),
            flags: 1.into(),
            ..QueryFilterBody::default()
        }),
        Request::QueryAccounts(QueryFilterBody {
            limit: 1_000.into(),
            ..QueryFilterBody::default()
        }),
    ];
    for id in 1..=ACCOUNTS {
        let filter = AccountFilterBody {
            account_id: id.into(),
            limit: 1_000.into(),
            flags: 3.into(),
            ..AccountFilterBody::default()
        };
        requests.push(Request::GetAccountTransfers(filter));
        requests.push(Request::GetAccountBalances(filter));
        for unit in [0_u32, 1] {
            requests.push(Request::Statement(StatementBody {
                account_id: id.into(),
                unit: unit.into(),
                limit: 1_000.into(),
                ..StatementBody::default()
            }));
            requests.push(Request::BalancesAsOf(vec![BalanceAsOfBody {
                account_id: id.into(),
                at: u64::MAX.into(),
                unit: unit.into(),
                reserved: 0.into(),
            }]));
        }
    }
    requests.into_iter()
}
