//! Following the log: every committed record, in order, once.

use std::time::Duration;

use kanjo_format::Lsn;
use kanjo_format::client::{FeedBody, FeedRowBody, FrameKind};
use kanjo_format::limits::PAGE_BYTES;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::{Client, ClientError, Page};

/// Rows wished for at a time. A node gives the rest of a batch with them where there is room.
const ROWS_WISHED: u32 = 1_024;
/// How long a node may wait for something new before it says that there is nothing.
const WAIT: Duration = Duration::from_secs(1);

/// All committed records from an lsn on. It goes on at its own position whatever happens to the
/// connection or the primary: committed records stand at the same lsn on every node, so over a
/// promotion too no row is left out and none comes twice.
#[derive(Clone, Debug)]
pub struct Feed {
    client: Client,
    position: Lsn,
    /// The last row that was given: its lsn and index.
    last: Option<Place>,
}

/// Lsn of a row's batch, and its index within that.
type Place = (u64, u32);

/// Some rows of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedBatch {
    /// In the order of the log.
    pub rows: Vec<FeedRowBody>,
    /// Where to go on, once these rows were dealt with: a feed from here has the next ones. It
    /// may lie within a batch.
    pub resume: Lsn,
}

impl Client {
    /// The change feed from the batch at or behind `from` on; zero for all of history.
    ///
    /// ```no_run
    /// # use kanjo_client::{Client, ClientError, Lsn};
    /// # async fn example(client: Client, kept: u64) -> Result<(), ClientError> {
    /// let mut feed = client.feed(Lsn::new(kept));
    /// loop {
    ///     let batch = feed.next().await?;
    ///     for row in &batch.rows {
    ///         println!("{} {} kind {}", row.lsn, row.index, row.kind);
    ///     }
    ///     // Keep `batch.resume` together with what was made of the rows.
    /// }
    /// # }
    /// ```
    pub fn feed(&self, from: Lsn) -> Feed {
        Feed {
            client: self.clone(),
            position: from,
            last: None,
        }
    }
}

impl Feed {
    /// Where the next rows are looked for.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// The next rows, at least one. Waits until there are some and as long as no node can give
    /// them; an error is one that waiting does not end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<FeedBatch, ClientError> {
        let (min, max) = (
            self.client.config.backoff_min,
            self.client.config.backoff_max,
        );
        let mut backoff = Backoff::new(min, max);
        loop {
            match self.read(WAIT).await {
                Ok(batch) if batch.rows.is_empty() => backoff.reset(),
                Ok(batch) => return Ok(batch),
                Err(error) if error.worth_repeating() => {
                    tracing::debug!(%error, position = %self.position, "the feed waits");
                    sleep(backoff.pause()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks once. No rows, if nothing new was committed within `wait`. The position moves only
    /// with what is returned.
    pub async fn read(&mut self, wait: Duration) -> Result<FeedBatch, ClientError> {
        let asked = FeedBody {
            from: self.position.get().into(),
            limit: ROWS_WISHED.into(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).into(),
            ..FeedBody::default()
        };
        let client = &self.client;
        let patient = client.with_deadline(client.deadline.saturating_add(wait));
        let page: Page<FeedRowBody> = patient.page(FrameKind::ReadFeed, &[asked]).await?;
        let resume = resume_of(&page, self.position, self.last).map_err(ClientError::Protocol)?;
        self.position = resume;
        self.last = page.rows.last().map(place).or(self.last);
        let rows = page.rows;
        Ok(FeedBatch { rows, resume })
    }
}

fn place(row: &FeedRowBody) -> Place {
    (row.lsn.get(), row.index.get())
}

/// Where to go on behind a page. An error if the page has rows from before `from` or up to
/// `last`, out of order, or from behind where it says to go on: then rows would come twice, or be
/// left out.
fn resume_of(page: &Page<FeedRowBody>, from: Lsn, last: Option<Place>) -> Result<Lsn, String> {
    // Without a place to continue the page has everything up to what it shows.
    let resume = page.next().map_or(page.lsn(), Lsn::new).max(from);
    // A position within a batch is above the batch's own lsn.
    let first = (from.get() - from.get() % PAGE_BYTES, 0);
    let mut least = last.map_or(first, |last| first.max((last.0, last.1.saturating_add(1))));
    for row in &page.rows {
        let (lsn, index) = place(row);
        if (lsn, index) < least {
            return Err(format!(
                "a row of the feed at lsn {lsn} index {index} is behind its place"
            ));
        }
        least = (lsn, index.saturating_add(1));
    }
    match page.rows.last() {
        Some(last) if last.lsn.get() >= resume.get() => Err(format!(
            "the feed goes on at lsn {resume}, before its own last row at {}",
            last.lsn
        )),
        _ => Ok(resume),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kanjo_format::client::PageBody;

    const PAGE: u64 = PAGE_BYTES;

    /// Positions are in pages of the log.
    fn page(rows: &[(u64, u32)], lsn: u64, next: u64) -> Page<FeedRowBody> {
        let row = |&(lsn, index): &(u64, u32)| FeedRowBody {
            lsn: (lsn * PAGE).into(),
            index: index.into(),
            ..FeedRowBody::default()
        };
        Page {
            rows: rows.iter().map(row).collect(),
            body: PageBody {
                lsn: (lsn * PAGE).into(),
                next: (next * PAGE).into(),
                ..PageBody::default()
            },
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let from = Lsn::new(PAGE);
        let resume = |page| resume_of(&page, from, None).map(|lsn| lsn.get() / PAGE);
        assert_eq!(resume(page(&[(1, 0), (1, 1), (2, 0)], 9, 3)), Ok(3));
        assert_eq!(resume(page(&[(1, 0)], 9, 0)), Ok(9));
        assert_eq!(resume(page(&[], 9, 5)), Ok(5));
        // A node that has not come as far as this feed.
        assert_eq!(resume(page(&[], 0, 0)), Ok(1));
    }

    #[test]
    fn a_batch_that_is_too_large_for_a_page_goes_on_within() {
        let within = Lsn::new(PAGE + 500);
        let rest = page(&[(1, 1_000), (1, 1_001)], 9, 2);
        assert!(resume_of(&rest, within, Some((PAGE, 999))).is_ok());
        assert!(resume_of(&rest, within, Some((PAGE, 1_000))).is_err());
    }

    #[test]
    fn rows_that_come_twice_or_out_of_order_are_no_feed() {
        let from = Lsn::new(2 * PAGE);
        for rows in [&[(1, 0)][..], &[(2, 1), (2, 1)], &[(3, 0), (2, 0)]] {
            assert!(
                resume_of(&page(rows, 9, 8), from, None).is_err(),
                "{rows:?}"
            );
        }
        assert!(resume_of(&page(&[(3, 0)], 9, 3), from, None).is_err());
        assert!(resume_of(&page(&[(3, 0)], 3, 0), from, None).is_err());
    }
}
