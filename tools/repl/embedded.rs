//! A ledger in memory, its log beside it, and a clock that only requests move.

use super::json::Misread;
use super::reply::Reply;
use super::request::Request;

#[derive(Debug, Default)]
pub(crate) struct Embedded {}

impl Embedded {
    pub(crate) fn answer(&mut self, request: &Request) -> Result<Reply, Misread> {
        match request {
            Request::LookupAccounts(_) => Ok(Reply::Accounts(Vec::new())),
            Request::TrialBalance => Ok(Reply::Totals(Vec::new())),
            _ => Err(Misread::new("", "later")),
        }
    }
}
