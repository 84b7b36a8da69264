//! Queries that answer in pages: one page, or all of them one after the other.

use kanjo_format::client::{
    AccountBalanceBody, AccountBody, AccountFilterBody, AccountFilterFlags, BalanceAsOfBody,
    FrameKind, PageBody, QueryFilterBody, QueryFilterFlags, StatementBody, StatementLineBody,
    TransferBody, TrialBalanceBody,
};
use kanjo_format::{Lsn, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Client, ClientError};

/// A row that can be read from a reply.
pub(crate) trait ReplyRow: FromBytes + Immutable + KnownLayout + Unaligned + Copy {}

impl<R: FromBytes + Immutable + KnownLayout + Unaligned + Copy> ReplyRow for R {}

/// Some rows of an answer, and where it goes on. A page may be empty and still go on: a node
/// bounds the work for one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// In the order asked for.
    pub rows: Vec<R>,
    /// What the page shows, as the node sent it.
    pub body: PageBody,
}

impl<R> Page<R> {
    /// Where to continue, in the unit of the request; `None` where there is no more.
    pub fn next(&self) -> Option<u64> {
        match self.body.next.get() {
            0 => None,
            next => Some(next),
        }
    }

    /// The log position that the page shows: all that is committed below it, nothing behind it.
    pub fn lsn(&self) -> Lsn {
        Lsn::new(self.body.lsn.get())
    }

    /// The business date that is current at that position, as YYYYMMDD; `None` where there is no
    /// calendar.
    pub fn business_date(&self) -> Option<u32> {
        match self.body.business_date.get() {
            0 => None,
            date => Some(date),
        }
    }

    /// Log time at that position.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.body.timestamp.get())
    }
}

/// A request that can be asked again for what is behind a page.
pub trait Continue: Sized + Copy {
    /// Most rows that are still wanted.
    fn limit(&self) -> u32;

    /// The same from `next` on, for at most `limit` rows. `None` where `next` would not lead
    /// any further.
    fn onward(self, next: u64, limit: u32) -> Option<Self>;
}

/// The new bounds of a span of time that goes on at `next`.
fn onward(span: (u64, u64), is_reversed: bool, next: u64) -> Option<(u64, u64)> {
    let (min, max) = span;
    match is_reversed {
        false => (next > min).then_some((next, max)),
        true => (next < max || max == 0).then_some((min, next)),
    }
}

macro_rules! continue_filter {
    ($($filter:ty, $reversed:expr;)*) => {$(
        impl Continue for $filter {
            fn limit(&self) -> u32 {
                self.limit.get()
            }

            fn onward(self, next: u64, limit: u32) -> Option<Self> {
                let span = (self.timestamp_min.get(), self.timestamp_max.get());
                let (min, max) = onward(span, self.flags.get() & $reversed != 0, next)?;
                Some(Self {
                    timestamp_min: min.into(),
                    timestamp_max: max.into(),
                    limit: limit.into(),
                    ..self
                })
            }
        }
    )*};
}

continue_filter! {
    AccountFilterBody, AccountFilterFlags::REVERSED;
    QueryFilterBody, QueryFilterFlags::REVERSED;
}

impl Continue for StatementBody {
    fn limit(&self) -> u32 {
        self.limit.get()
    }

    fn onward(self, next: u64, limit: u32) -> Option<Self> {
        (next != self.cursor.get()).then_some(Self {
            cursor: next.into(),
            limit: limit.into(),
            ..self
        })
    }
}

/// Declares a query: the method that gives one page and the one that gives them all.
macro_rules! queries {
    ($($(#[$doc:meta])* $all:ident, $page:ident: $kind:ident($filter:ty) -> $row:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// Goes on over as many pages as it takes, until there are `limit` rows or no
                /// more. The client's deadline holds for each page.
                pub async fn $all(&self, filter: &$filter) -> Result<Vec<$row>, ClientError> {
                    self.all_pages(FrameKind::$kind, *filter).await
                }

                /// One page of it. [`Page::next`] says where to continue; [`Continue::onward`]
                /// makes the request for that.
                pub async fn $page(&self, filter: &$filter) -> Result<Page<$row>, ClientError> {
                    self.page(FrameKind::$kind, &[*filter]).await
                }
            )*
        }
    };
}

queries! {
    /// The transfers of an account that match a filter.
    ///
    /// ```no_run
    /// # use kanjo_client::{AccountFilterBody, AccountFilterFlags, Client, ClientError};
    /// # async fn example(client: Client) -> Result<(), ClientError> {
    /// let filter = AccountFilterBody {
    ///     account_id: 77.into(),
    ///     limit: 100_000.into(),
    ///     flags: (AccountFilterFlags::DEBITS | AccountFilterFlags::CREDITS).into(),
    ///     ..AccountFilterBody::default()
    /// };
    /// for transfer in client.get_account_transfers(&filter).await? {
    ///     println!("{} {}", transfer.timestamp, transfer.amount);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    get_account_transfers, get_account_transfers_page:
        GetAccountTransfers(AccountFilterBody) -> TransferBody;
    /// The balances of an account after each of its transfers that match a filter; none unless
    /// the account was opened with the flag `history`.
    get_account_balances, get_account_balances_page:
        GetAccountBalances(AccountFilterBody) -> AccountBalanceBody;
    /// The accounts that match a filter.
    query_accounts, query_accounts_page: QueryAccounts(QueryFilterBody) -> AccountBody;
    /// The transfers that match a filter.
    query_transfers, query_transfers_page: QueryTransfers(QueryFilterBody) -> TransferBody;
    /// The lines of an account's statement between two moments or dates: what happened, and the
    /// balances after it. See [`Client::opening_balance`] for the balances before the first.
    statement, statement_page: GetStatement(StatementBody) -> StatementLineBody;
}

impl Client {
    /// Balances of accounts at moments of the past, one each, in order; zeros where an account
    /// was not opened by then. The client's deadline holds for each page.
    pub async fn balances_as_of(
        &self,
        asked: &[BalanceAsOfBody],
    ) -> Result<Vec<AccountBalanceBody>, ClientError> {
        let mut rows = Vec::with_capacity(asked.len());
        while rows.len() < asked.len() {
            let left = &asked[rows.len()..];
            let most = FrameKind::GetBalancesAsOf.request_rows_max();
            let page = self
                .balances_as_of_page(&left[..left.len().min(most)])
                .await?;
            if page.rows.is_empty() {
                return Err(stuck(FrameKind::GetBalancesAsOf));
            }
            rows.extend(page.rows);
        }
        Ok(rows)
    }

    /// Of as many of the balances as one page holds, from the first one on.
    pub async fn balances_as_of_page(
        &self,
        asked: &[BalanceAsOfBody],
    ) -> Result<Page<AccountBalanceBody>, ClientError> {
        let kind = FrameKind::GetBalancesAsOf;
        let page = self.page(kind, asked).await?;
        match page.rows.len() <= asked.len() {
            true => Ok(page),
            false => Err(too_many(kind, page.rows.len(), asked.len())),
        }
    }

    /// Debits and credits of every ledger, and of every code in it, at one position of the log
    /// ([`Page::lsn`]). Atomic over any number of accounts.
    pub async fn trial_balance(&self) -> Result<Page<TrialBalanceBody>, ClientError> {
        let kind = FrameKind::GetTrialBalance;
        let page: Page<TrialBalanceBody> = self.page::<[u8; 0], _>(kind, &[]).await?;
        match page.next() {
            None => Ok(page),
            Some(_) => Err(ClientError::Protocol(
                "the trial balance goes on, but pages of it could not be of one lsn".to_owned(),
            )),
        }
    }

    /// Where the log stands now: a page without rows, for its lsn, log time and business date.
    pub async fn position(&self) -> Result<Page<AccountBalanceBody>, ClientError> {
        self.balances_as_of_page(&[]).await
    }

    /// One page of an answer.
    pub(crate) async fn page<Q: IntoBytes + Immutable, R: ReplyRow>(
        &self,
        kind: FrameKind,
        asked: &[Q],
    ) -> Result<Page<R>, ClientError> {
        let body = bytes::Bytes::copy_from_slice(asked.as_bytes());
        let answer = self.call(kind, asked.len(), body, self.due()).await?;
        let broken = |text: String| ClientError::Protocol(text);
        let (body, rest) = PageBody::read_from_prefix(&answer.body)
            .map_err(|_| broken(format!("a {kind:?} answer without a page")))?;
        let rows = <[R]>::ref_from_bytes(rest).map_err(|error| broken(error.to_string()))?;
        let rows = rows.to_vec();
        Ok(Page { rows, body })
    }

    /// All pages of an answer, up to the request's own limit.
    async fn all_pages<Q, R>(&self, kind: FrameKind, asked: Q) -> Result<Vec<R>, ClientError>
    where
        Q: Continue + IntoBytes + Immutable,
        R: ReplyRow,
    {
        let (mut asked, mut rows) = (asked, Vec::new());
        loop {
            let page: Page<R> = self.page(kind, &[asked]).await?;
            let Some(left) = (asked.limit() as usize).checked_sub(page.rows.len()) else {
                return Err(too_many(kind, page.rows.len(), asked.limit() as usize));
            };
            let next = page.next();
            rows.extend(page.rows);
            match next {
                Some(next) if left > 0 => {
                    let behind = asked.onward(next, left as u32);
                    asked = behind.ok_or_else(|| stuck(kind))?;
                }
                _ => return Ok(rows),
            }
        }
    }
}

fn too_many(kind: FrameKind, rows: usize, asked: usize) -> ClientError {
    let text = format!("{rows} rows answer a {kind:?} request for at most {asked}");
    ClientError::Protocol(text)
}

fn stuck(kind: FrameKind) -> ClientError {
    let text = format!("a page of a {kind:?} request goes on where it began");
    ClientError::Protocol(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_on_only_in_its_own_direction() {
        assert_eq!(onward((5, 9), false, 7), Some((7, 9)));
        assert_eq!(onward((5, 9), false, 5), None);
        assert_eq!(onward((5, 9), true, 7), Some((5, 7)));
        assert_eq!(onward((5, 9), true, 9), None);
        assert_eq!(onward((5, 0), true, 9), Some((5, 9)));
    }
}
