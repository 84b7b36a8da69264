//! The asynchronous Rust client.
//!
//! It owns one connection to the primary, finds that primary among several addresses, follows
//! it over a promotion, and pipelines any number of requests. It never guesses: an outcome that
//! it cannot know is [`ClientError::Indeterminate`], never success and never failure. Repeating
//! a request with the same ids is always safe and ends in at most one posting;
//! [`Client::create_transfers_resolved`] does so until there is an answer, and
//! [`Client::settle`] makes sure that what was given up never happens later.
//!
//! ```text
//! callers ──Request──▶ driver task ──frames──▶ primary
//!    ▲                    │  ▲                    │
//!    └──────answer────────┘  └──────replies───────┘
//!                         └─ lost, not primary, silent: dial all addresses again
//! ```
//!
//! ```no_run
//! use kanjo_client::{Client, ClientConfig, TransferBody, new_transfer_id};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), kanjo_client::ClientError> {
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:7401", "127.0.0.1:7501"])).await?;
//! let transfer = TransferBody {
//!     id: new_transfer_id().get().into(),
//!     debit_account_id: 1.into(),
//!     credit_account_id: 2.into(),
//!     amount: 1_250.into(),
//!     ledger: 203.into(),
//!     code: 1.into(),
//!     ..TransferBody::default()
//! };
//! let resolved = client
//!     .create_transfers_resolved(&[transfer], Duration::from_secs(30))
//!     .await?;
//! assert!(resolved[0].posted());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod call;
mod client;
mod config;
mod dial;
mod driver;
mod error;
mod fate;
mod feed;
mod lookups;
mod outbox;
mod pages;
mod resolve;
mod results;
mod session;
mod split;
mod statement;
mod writes;

pub use client::{Client, Primary, new_transfer_id};
pub use config::ClientConfig;
pub use error::ClientError;
pub use fate::Fate;
pub use feed::{Feed, FeedBatch};
pub use pages::{Continue, Page};
pub use resolve::Resolved;
pub use results::{CreateResult, EventResult, RunsError, expand_runs};

pub use kanjo_format::client::{
    AccountBalanceBody, AccountBody, AccountChange, AccountChangeBody, AccountFilterBody,
    AccountFilterFlags, AccountFlags, AccountTermsBody, BalanceAsOfBody, FeedRowBody, Freeze,
    LineKind, PageBody, QueryFilterBody, QueryFilterFlags, ResultRun, Span, StatementBody,
    StatementLineBody, TransferBody, TransferDetailBody, TransferFlags, TrialBalanceBody,
};
pub use kanjo_format::record::RecordKind;
pub use kanjo_format::result::{
    BurnResult, ChangeAccountResult, CloseDayResult, CreateAccountResult, CreateTransferResult,
};
pub use kanjo_format::{AccountId, ClusterId, Epoch, Lsn, NodeId, Timestamp, TransferId};
