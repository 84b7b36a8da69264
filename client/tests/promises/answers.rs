//! What the small node answers to requests of protocol version 2, from its table of transfers.

use kanjo_client::{
    AccountBalanceBody, AccountBody, AccountFilterBody, AccountFilterFlags, AccountTermsBody,
    BalanceAsOfBody, BurnResult, FeedRowBody, PageBody, QueryFilterBody, QueryFilterFlags,
    StatementBody, StatementLineBody, TransferBody, TransferDetailBody, TrialBalanceBody,
};
use kanjo_format::client::{FeedBody, Frame, FrameKind, OutcomeBody, OutcomeState};
use kanjo_format::limits::PAGE_BYTES;
use kanjo_format::result::CreateTransferResult;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::server::{Book, CREATED, post, runs};

/// How many rows, and all of the body.
pub(crate) fn answer(frame: &Frame<'_>, book: &mut Book) -> (usize, Vec<u8>) {
    match frame.kind {
        FrameKind::CreateTransfersDetailed => {
            let asked = rows::<TransferDetailBody>(frame);
            let results = asked.iter().map(|row| post(&row.transfer, book, false));
            plain(&runs(results))
        }
        FrameKind::ChangeAccounts | FrameKind::CloseDay => {
            let results = (0..u64::from(frame.count)).map(|n| (CREATED, book.clock + 1 + n));
            plain(&runs(results))
        }
        FrameKind::BurnIds => plain(&runs(ids(frame).map(|id| burn(id, book)))),
        FrameKind::LookupOutcomes => {
            plain(&ids(frame).map(|id| outcome(id, book)).collect::<Vec<_>>())
        }
        FrameKind::LookupTransferDetails => {
            let found = ids(frame).filter_map(|id| book.transfers.get(&id));
            plain(&found.map(detail).collect::<Vec<_>>())
        }
        FrameKind::LookupAccountTerms => {
            let terms = ids(frame).map(|id| AccountTermsBody {
                id: id.into(),
                ..AccountTermsBody::default()
            });
            plain(&terms.collect::<Vec<_>>())
        }
        _ => answer_in_pages(frame, book),
    }
}

fn answer_in_pages(frame: &Frame<'_>, book: &Book) -> (usize, Vec<u8>) {
    match frame.kind {
        FrameKind::GetAccountTransfers => paged(by_account(frame, book), |row| *row),
        FrameKind::GetAccountBalances => paged(by_account(frame, book), |row| AccountBalanceBody {
            credits_posted: row.amount,
            timestamp: row.timestamp,
            ..AccountBalanceBody::default()
        }),
        FrameKind::QueryTransfers => paged(by_query(frame, book), |row| *row),
        FrameKind::QueryAccounts => paged(by_query(frame, book), |row| AccountBody {
            id: row.id,
            timestamp: row.timestamp,
            ..AccountBody::default()
        }),
        FrameKind::GetStatement => {
            let asked = rows::<StatementBody>(frame)[0];
            let from = asked.from.get().max(asked.cursor.get());
            let span = (from, asked.to.get());
            paged(select(book, span, false, asked.limit.get()), |row| {
                StatementLineBody {
                    detail: detail(row),
                    timestamp: row.timestamp,
                    ..StatementLineBody::default()
                }
            })
        }
        FrameKind::GetBalancesAsOf => {
            let asked = rows::<BalanceAsOfBody>(frame);
            let balances = asked.iter().take(book.page_rows);
            let balances: Vec<_> = balances
                .map(|one| AccountBalanceBody {
                    timestamp: one.at,
                    ..AccountBalanceBody::default()
                })
                .collect();
            let next = match balances.len() < asked.len() {
                true => asked[balances.len()].at.get().max(1),
                false => 0,
            };
            page(&balances, 1, next)
        }
        FrameKind::GetTrialBalance => page(&[TrialBalanceBody::default()], book.clock, 0),
        FrameKind::ReadFeed => feed(frame, book),
        other => panic!("this node does not know {other:?}"),
    }
}

/// Transfers, and where the next page begins.
type Selected<'a> = (Vec<&'a TransferBody>, u64);

fn by_account<'a>(frame: &Frame<'_>, book: &'a Book) -> Selected<'a> {
    let asked = rows::<AccountFilterBody>(frame)[0];
    let span = (asked.timestamp_min.get(), asked.timestamp_max.get());
    let is_reversed = asked.flags.get() & AccountFilterFlags::REVERSED != 0;
    select(book, span, is_reversed, asked.limit.get())
}

fn by_query<'a>(frame: &Frame<'_>, book: &'a Book) -> Selected<'a> {
    let asked = rows::<QueryFilterBody>(frame)[0];
    let span = (asked.timestamp_min.get(), asked.timestamp_max.get());
    let is_reversed = asked.flags.get() & QueryFilterFlags::REVERSED != 0;
    select(book, span, is_reversed, asked.limit.get())
}

fn select(book: &Book, span: (u64, u64), is_reversed: bool, limit: u32) -> Selected<'_> {
    let max = if span.1 == 0 { u64::MAX } else { span.1 };
    let is_in = |row: &&TransferBody| (span.0..=max).contains(&row.timestamp.get());
    let mut found: Vec<&TransferBody> = book.transfers.values().filter(is_in).collect();
    found.sort_by_key(|row| row.timestamp.get());
    if is_reversed {
        found.reverse();
    }
    let most = book.page_rows.min(limit as usize);
    let next = found.get(most).map_or(0, |row| row.timestamp.get());
    found.truncate(most);
    (found, next)
}

/// One batch of the log a transfer, at the page of its timestamp; a page of the feed has at most
/// as many as the book says.
fn feed(frame: &Frame<'_>, book: &Book) -> (usize, Vec<u8>) {
    let asked = rows::<FeedBody>(frame)[0];
    let first = asked.from.get().div_ceil(PAGE_BYTES);
    let (found, next) = select(book, (first, 0), false, asked.limit.get());
    let rows: Vec<FeedRowBody> = found
        .iter()
        .map(|row| {
            let mut body = [0; 160];
            body[..16].copy_from_slice(row.id.as_bytes());
            FeedRowBody {
                lsn: (row.timestamp.get() * PAGE_BYTES).into(),
                timestamp: row.timestamp,
                body,
                ..FeedRowBody::default()
            }
        })
        .collect();
    let end = (book.clock + 1) * PAGE_BYTES;
    page(&rows, end, next * PAGE_BYTES)
}

fn burn(id: u128, book: &mut Book) -> (u32, u64) {
    let result = if book.transfers.contains_key(&id) {
        BurnResult::Exists
    } else if book.failed.insert(id, ()).is_some() {
        BurnResult::AlreadyFailed
    } else {
        BurnResult::Burned
    };
    (result.number(), book.clock)
}

fn outcome(id: u128, book: &Book) -> OutcomeBody {
    let (state, result, timestamp) = if let Some(row) = book.transfers.get(&id) {
        (OutcomeState::Committed, 0, row.timestamp.get())
    } else if book.failed.contains_key(&id) {
        let burned = CreateTransferResult::Burned.number();
        (OutcomeState::Rejected, burned, 0)
    } else {
        (OutcomeState::Unknown, 0, 0)
    };
    OutcomeBody {
        id: id.into(),
        state: (state as u32).into(),
        result: result.into(),
        timestamp: timestamp.into(),
    }
}

fn detail(row: &TransferBody) -> TransferDetailBody {
    TransferDetailBody {
        transfer: *row,
        value_date: 20_260_131.into(),
        ..TransferDetailBody::default()
    }
}

fn ids<'a>(frame: &Frame<'a>) -> impl Iterator<Item = u128> + use<'a> {
    let ids = frame.body.chunks_exact(16);
    ids.map(|id| u128::from_le_bytes(id.try_into().unwrap()))
}

fn rows<'a, R: FromBytes + Immutable + KnownLayout + Unaligned>(frame: &Frame<'a>) -> &'a [R] {
    <[R]>::ref_from_bytes(frame.body).unwrap()
}

fn plain<R: IntoBytes + Immutable>(rows: &[R]) -> (usize, Vec<u8>) {
    (rows.len(), rows.as_bytes().to_vec())
}

fn paged<R: IntoBytes + Immutable>(
    (found, next): Selected<'_>,
    row: impl Fn(&TransferBody) -> R,
) -> (usize, Vec<u8>) {
    let rows: Vec<R> = found.into_iter().map(row).collect();
    page(&rows, 1, next)
}

fn page<R: IntoBytes + Immutable>(rows: &[R], lsn: u64, next: u64) -> (usize, Vec<u8>) {
    let head = PageBody {
        lsn: lsn.into(),
        next: next.into(),
        ..PageBody::default()
    };
    let body = [head.as_bytes(), rows.as_bytes()].concat();
    (rows.len(), body)
}
