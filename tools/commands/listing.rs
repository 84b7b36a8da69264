//! Rows that come in pages: filters for them, and their printing as they come.

use std::future::Future;

use kanjo_client::{
    AccountFilterBody, ClientError, Continue, Page, QueryFilterBody, QueryFilterFlags,
};
use serde::Serialize;

use crate::exit::Failure;
use crate::moments::{Bound, parse_bound};
use crate::output::Output;
use crate::quantities::parse_u128;

/// Which rows, for every command that lists accounts or transfers.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only with this code
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    code: Option<u16>,
    /// Only with this data of your own
    #[arg(long, value_name = "NUMBER", value_parser = parse_u128)]
    user_data_128: Option<u128>,
    /// Only with this data of your own
    #[arg(long, value_name = "NUMBER")]
    user_data_64: Option<u64>,
    /// Only with this data of your own
    #[arg(long, value_name = "NUMBER")]
    user_data_32: Option<u32>,
    /// From here on: a day or time in UTC (2026-01-31, 2026-01-31T12:00:00Z), or nanoseconds
    #[arg(long, value_name = "TIME", value_parser = parse_bound)]
    from: Option<Bound>,
    /// Up to and with this day or time
    #[arg(long, value_name = "TIME", value_parser = parse_bound)]
    to: Option<Bound>,
    /// At most so many [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The latest first
    #[arg(long)]
    pub(super) reversed: bool,
}

impl FilterArgs {
    /// For what happened to one account.
    pub(super) fn of_account(&self, account: u128, flags: u32) -> AccountFilterBody {
        AccountFilterBody {
            account_id: account.into(),
            user_data_128: self.user_data_128.unwrap_or(0).into(),
            user_data_64: self.user_data_64.unwrap_or(0).into(),
            user_data_32: self.user_data_32.unwrap_or(0).into(),
            code: self.code.unwrap_or(0).into(),
            timestamp_min: self.from.map_or(0, Bound::first).into(),
            timestamp_max: self.to.map_or(0, Bound::last).into(),
            limit: self.limit.unwrap_or(u32::MAX).into(),
            flags: flags.into(),
            ..AccountFilterBody::default()
        }
    }

    /// For accounts or transfers of any account.
    pub(super) fn of_all(&self, ledger: Option<u32>) -> QueryFilterBody {
        let flags = match self.reversed {
            true => QueryFilterFlags::REVERSED,
            false => 0,
        };
        QueryFilterBody {
            user_data_128: self.user_data_128.unwrap_or(0).into(),
            user_data_64: self.user_data_64.unwrap_or(0).into(),
            user_data_32: self.user_data_32.unwrap_or(0).into(),
            ledger: ledger.unwrap_or(0).into(),
            code: self.code.unwrap_or(0).into(),
            timestamp_min: self.from.map_or(0, Bound::first).into(),
            timestamp_max: self.to.map_or(0, Bound::last).into(),
            limit: self.limit.unwrap_or(u32::MAX).into(),
            flags: flags.into(),
            ..QueryFilterBody::default()
        }
    }

    /// Most rows that are wished; `None` for all.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit.map(u64::from)
    }
}

/// Takes one page after the other, up to `limit` rows. Gives how many there were.
pub(super) async fn each_page<Q, R, F>(
    mut asked: Q,
    limit: Option<u64>,
    fetch: impl Fn(Q) -> F,
    mut take: impl FnMut(&Page<R>) -> Result<(), Failure>,
) -> Result<u64, Failure>
where
    Q: Continue,
    F: Future<Output = Result<Page<R>, ClientError>>,
{
    let mut rows = 0;
    loop {
        let page = fetch(asked).await?;
        rows += page.rows.len() as u64;
        take(&page)?;
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(rows));
        let Some(next) = page.next().filter(|_| left > 0) else {
            return Ok(rows);
        };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        asked = asked
            .onward(next, left)
            .ok_or_else(|| Failure::failed("a node's page goes on where it began"))?;
    }
}

/// Prints pages as they come: a table each for people, one JSON object a line for scripts.
pub(super) struct Printer<R, S> {
    pub(super) json: bool,
    pub(super) table: fn(&[R]) -> comfy_table::Table,
    pub(super) shown: fn(&R) -> S,
}

impl<R, S: Serialize> Printer<R, S> {
    pub(super) fn print(&self, page: &Page<R>, output: &mut Output) -> Result<(), Failure> {
        if self.json {
            for row in &page.rows {
                output.json_line(&(self.shown)(row))?;
            }
        } else if !page.rows.is_empty() {
            output.line((self.table)(&page.rows))?;
        }
        output.flush()
    }

    /// Prints all of it.
    pub(super) async fn print_all<Q, F>(
        &self,
        asked: Q,
        limit: Option<u64>,
        fetch: impl Fn(Q) -> F,
    ) -> Result<u64, Failure>
    where
        Q: Continue,
        F: Future<Output = Result<Page<R>, ClientError>>,
    {
        let mut output = Output::new();
        let take = |page: &Page<R>| self.print(page, &mut output);
        let rows = each_page(asked, limit, fetch, take).await?;
        output.finish()?;
        Ok(rows)
    }
}
