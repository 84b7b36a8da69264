//! Who answers requests.

use std::time::Duration;

use kanjo_client::ClusterId;

use super::embedded::Embedded;
use super::json::Misread;
use super::operations::help;
use super::remote::Remote;
use super::reply::Reply;
use super::request::Request;
use crate::exit::Failure;

/// Why a request got no result.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It cannot be meant so.
    Misread(Misread),
    /// The cluster did not do it, or may have.
    Failed(Failure),
}

impl From<Misread> for Unanswered {
    fn from(misread: Misread) -> Self {
        Self::Misread(misread)
    }
}

#[derive(Debug)]
pub(crate) enum Bank {
    Embedded(Box<Embedded>),
    Remote(Remote),
}

impl Bank {
    pub(crate) fn embedded() -> Self {
        Self::Embedded(Box::default())
    }

    pub(crate) fn connect(
        addresses: Vec<String>,
        cluster: Option<ClusterId>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        Ok(Self::Remote(Remote::connect(addresses, cluster, timeout)?))
    }

    /// Reads a line and answers it: the request's name and what it gave.
    pub(crate) fn answer(&mut self, line: &str) -> Result<(&'static str, Reply), Unanswered> {
        let (name, request) = Request::read(line)?;
        let reply = match (request, self) {
            (Request::Help(about), _) => Reply::Help(help(about)),
            (request, Self::Embedded(embedded)) => embedded.answer(&request)?,
            (Request::TickNs(_), Self::Remote(_)) => {
                let why = "a cluster has a clock of its own; this is for --embedded";
                return Err(Misread::new(name, why).into());
            }
            (request, Self::Remote(remote)) => {
                remote.answer(request).map_err(Unanswered::Failed)?
            }
        };
        Ok((name, reply))
    }
}
