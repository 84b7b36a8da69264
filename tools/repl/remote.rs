//! Requests to a cluster.
//!
//! The client lives on a thread of its own, so that its connection is served while a person thinks.

use std::sync::mpsc as blocking;
use std::time::Duration;

use kanjo_client::{
    AccountId, Client, ClientConfig, ClientError, ClusterId, CreateResult, EventResult, Fate,
    TransferId,
};
use kanjo_format::client::{OutcomeBody, OutcomeState};
use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CreateAccountResult, CreateTransferResult,
};
use tokio::sync::mpsc;

use super::reply::{Ended, Reply, Statement};
use super::request::Request;
use crate::commands::unconnected;
use crate::exit::{Exit, Failure};

type Answer = Result<Reply, Failure>;
type Question = (Request, blocking::SyncSender<Answer>);

/// The way to the client's thread. Ends it when dropped.
#[derive(Debug)]
pub(crate) struct Remote {
    questions: mpsc::Sender<Question>,
}

impl Remote {
    /// Finds the primary.
    pub(crate) fn connect(
        addresses: Vec<String>,
        cluster: Option<ClusterId>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut config = ClientConfig::new(addresses);
        config.cluster = cluster;
        config.connect_deadline = timeout;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        let client = runtime
            .block_on(Client::connect(config))
            .map_err(unconnected)?;
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        let serve = async move {
            while let Some((request, answer)) = asked.recv().await {
                let reply = tokio::time::timeout(timeout, ask(&client, request)).await;
                let reply = match reply {
                    Ok(reply) => reply.map_err(Failure::from),
                    Err(_) => Err(Failure::new(Exit::Unknown, "no answer in time")),
                };
                // Nobody waits where the session has ended.
                let _ = answer.send(reply);
            }
        };
        let thread = std::thread::Builder::new().name("kanjo-repl".to_owned());
        thread
            .spawn(move || runtime.block_on(serve))
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { questions })
    }

    pub(crate) fn answer(&self, request: Request) -> Answer {
        let gone = || Failure::failed("the client's thread has ended");
        let (answer, answered) = blocking::sync_channel(1);
        let asked = self.questions.blocking_send((request, answer));
        asked.map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

async fn ask(client: &Client, request: Request) -> Result<Reply, ClientError> {
    Ok(match request {
        Request::CreateAccounts(rows) => {
            let results = client.create_accounts(&rows).await?;
            ended(results, |number| {
                CreateAccountResult::from_number(number).map(CreateAccountResult::name)
            })
        }
        Request::CreateTransfers(rows) => {
            ended(client.create_transfers(&rows).await?, transfer_result)
        }
        Request::CreateTransfersDetailed(rows) => ended(
            client.create_transfers_detailed(&rows).await?,
            transfer_result,
        ),
        Request::ChangeAccounts(rows) => {
            let results = client.change_accounts(&rows).await?;
            let one = |r: EventResult<ChangeAccountResult>| Ended {
                status: r.result.name(),
                timestamp: r.timestamp,
            };
            Reply::Ended(results.into_iter().map(one).collect())
        }
        Request::CloseDay(body) => {
            let result = client.close_day(body.date.get(), body.next.get()).await?;
            Reply::EndedOne(Ended {
                status: result.result.name(),
                timestamp: result.timestamp,
            })
        }
        Request::Burn(ids) => {
            let results = client.burn(&transfer_ids(&ids)).await?;
            let one = |r: EventResult<BurnResult>| Ended {
                status: r.result.name(),
                timestamp: r.timestamp,
            };
            Reply::Ended(results.into_iter().map(one).collect())
        }
        request => look(client, request).await?,
    })
}

async fn look(client: &Client, request: Request) -> Result<Reply, ClientError> {
    Ok(match request {
        Request::LookupAccounts(ids) => {
            Reply::Accounts(client.lookup_accounts(&account_ids(&ids)).await?)
        }
        Request::LookupAccountTerms(ids) => {
            Reply::Terms(client.lookup_account_terms(&account_ids(&ids)).await?)
        }
        Request::LookupTransfers(ids) => {
            Reply::Transfers(client.lookup_transfers(&transfer_ids(&ids)).await?)
        }
        Request::LookupTransferDetails(ids) => {
            Reply::Details(client.lookup_transfer_details(&transfer_ids(&ids)).await?)
        }
        Request::LookupOutcome(ids) => {
            let fates = client.lookup_outcomes(&transfer_ids(&ids)).await?;
            Reply::Outcomes(ids.iter().zip(fates).map(outcome).collect())
        }
        Request::GetAccountTransfers(body) => {
            Reply::Transfers(client.get_account_transfers(&body).await?)
        }
        Request::GetAccountBalances(body) => {
            Reply::Balances(client.get_account_balances(&body).await?)
        }
        Request::QueryAccounts(body) => Reply::Accounts(client.query_accounts(&body).await?),
        Request::QueryTransfers(body) => Reply::Transfers(client.query_transfers(&body).await?),
        Request::Statement(body) => {
            let opening = client.opening_balance(&body).await?;
            let lines = client.statement(&Statement::with_one_more(&body)).await?;
            Reply::Statement(Box::new(Statement::new(&body, opening, lines)))
        }
        Request::BalancesAsOf(rows) => Reply::Balances(client.balances_as_of(&rows).await?),
        Request::TrialBalance => Reply::Totals(client.trial_balance().await?.rows),
        _ => unreachable!("that is no question for a cluster"),
    })
}

fn ended(results: Vec<CreateResult>, name: impl Fn(u32) -> Option<&'static str>) -> Reply {
    let one = |result: CreateResult| Ended {
        status: name(result.result).unwrap_or("unknown_to_this_version"),
        timestamp: result.timestamp,
    };
    Reply::Ended(results.into_iter().map(one).collect())
}

fn transfer_result(number: u32) -> Option<&'static str> {
    CreateTransferResult::from_number(number).map(CreateTransferResult::name)
}

fn account_ids(ids: &[u128]) -> Vec<AccountId> {
    ids.iter().map(|id| AccountId::new(*id)).collect()
}

fn transfer_ids(ids: &[u128]) -> Vec<TransferId> {
    ids.iter().map(|id| TransferId::new(*id)).collect()
}

fn outcome((id, fate): (&u128, Fate)) -> OutcomeBody {
    let (state, result, timestamp) = match fate {
        Fate::Unknown => (OutcomeState::Unknown, 0, 0),
        Fate::Committed { timestamp } => (OutcomeState::Committed, 0, timestamp),
        Fate::Rejected { why } => (OutcomeState::Rejected, why.number(), 0),
    };
    OutcomeBody {
        id: (*id).into(),
        state: (state as u32).into(),
        result: result.into(),
        timestamp: timestamp.into(),
    }
}
