//! What clients and nodes of protocol version 2 say beyond version 1.

use kanjo_format::client::{
    AccountBalanceBody, AccountChange, AccountChangeBody, AccountFilterBody, AccountFilterFlags,
    AccountTermsBody, BalanceAsOfBody, CloseDayBody, FeedBody, FeedRowBody, FrameKind, Freeze,
    LineKind, OutcomeBody, OutcomeState, PageBody, QueryFilterBody, QueryFilterFlags, ResultRun,
    Span, StatementBody, StatementLineBody, TransferDetailBody, TrialBalanceBody, WelcomeBody,
};
use kanjo_format::record::RecordKind;
use kanjo_format::result::{BurnResult, ChangeAccountResult, CloseDayResult, CreateTransferResult};
use zerocopy::{Immutable, IntoBytes};

use super::{ClientFrame, account_bodies, client_welcome, lookup_ids, transfer_bodies};

const TIME: u64 = 1_795_392_000_000_000_000;

pub(crate) fn welcome() -> WelcomeBody {
    WelcomeBody {
        version: 2,
        ..client_welcome()
    }
}

pub(crate) fn details() -> Vec<TransferDetailBody> {
    let detail = |n: u32| TransferDetailBody {
        transfer: transfer_bodies()[n as usize],
        reverses: u128::from(400 + n).into(),
        value_date: (20_260_131 + n).into(),
        business_date: (20_260_201 + n).into(),
        reserved: 0.into(),
    };
    vec![detail(0), detail(1)]
}

pub(crate) fn changes() -> Vec<AccountChangeBody> {
    let limit = AccountChangeBody {
        id: 77.into(),
        overdraft_limit: 50_000.into(),
        change: AccountChange::SET_OVERDRAFT_LIMIT.into(),
        freeze: 0.into(),
        reserved: 0.into(),
    };
    let freeze = AccountChangeBody {
        id: 78.into(),
        overdraft_limit: 0.into(),
        change: (AccountChange::CLEAR_OVERDRAFT_LIMIT | AccountChange::SET_FREEZE).into(),
        freeze: (Freeze::DEBITS | Freeze::CREDITS).into(),
        reserved: 0.into(),
    };
    vec![limit, freeze]
}

pub(crate) fn close_day() -> Vec<CloseDayBody> {
    vec![CloseDayBody {
        date: 20_260_131.into(),
        next: 20_260_202.into(),
        reserved: 0.into(),
    }]
}

/// Results of the four kinds of request that write, one list each.
pub(crate) fn results() -> [Vec<ResultRun>; 4] {
    let run = |count: u32, result: u32, after: u64| ResultRun {
        count: count.into(),
        result: result.into(),
        timestamp: (TIME + after).into(),
    };
    [
        vec![
            run(3, CreateTransferResult::Created.number(), 1),
            run(2, CreateTransferResult::BusinessDateClosed.number(), 4),
        ],
        vec![
            run(1, ChangeAccountResult::Changed.number(), 5),
            run(1, ChangeAccountResult::Unchanged.number(), 6),
        ],
        vec![run(1, CloseDayResult::Closed.number(), 7)],
        vec![
            run(1, BurnResult::Burned.number(), 8),
            run(1, BurnResult::Exists.number(), 9),
        ],
    ]
}

pub(crate) fn outcomes() -> Vec<OutcomeBody> {
    let outcome = |id: u128, state: OutcomeState, result: u32, timestamp: u64| OutcomeBody {
        id: id.into(),
        state: (state as u32).into(),
        result: result.into(),
        timestamp: timestamp.into(),
    };
    let exceeds = CreateTransferResult::ExceedsOverdraftLimit.number();
    vec![
        outcome(501, OutcomeState::Committed, 0, TIME + 2),
        outcome(502, OutcomeState::Rejected, exceeds, 0),
        outcome(503, OutcomeState::Unknown, 0, 0),
    ]
}

pub(crate) fn terms() -> Vec<AccountTermsBody> {
    vec![AccountTermsBody {
        id: 77.into(),
        overdraft_limit: 50_000.into(),
        has_overdraft_limit: 1.into(),
        freeze: Freeze::CREDITS.into(),
        timestamp: (TIME + 5).into(),
    }]
}

pub(crate) fn account_filter() -> Vec<AccountFilterBody> {
    vec![AccountFilterBody {
        account_id: 77.into(),
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        user_data_32: 32.into(),
        code: 9.into(),
        reserved: [0; 58],
        timestamp_min: TIME.into(),
        timestamp_max: (TIME + 100).into(),
        limit: 8_000.into(),
        flags: (AccountFilterFlags::DEBITS | AccountFilterFlags::REVERSED).into(),
    }]
}

pub(crate) fn query_filter() -> Vec<QueryFilterBody> {
    vec![QueryFilterBody {
        user_data_128: 128.into(),
        user_data_64: 64.into(),
        user_data_32: 32.into(),
        ledger: 203.into(),
        code: 9.into(),
        reserved: [0; 6],
        timestamp_min: TIME.into(),
        timestamp_max: (TIME + 100).into(),
        limit: 8_001.into(),
        flags: QueryFilterFlags::REVERSED.into(),
    }]
}

pub(crate) fn page() -> PageBody {
    PageBody {
        lsn: (9_u64 << 12).into(),
        next: (TIME + 50).into(),
        timestamp: (TIME + 90).into(),
        business_date: 20_260_202.into(),
        reserved: 0.into(),
    }
}

pub(crate) fn balances() -> Vec<AccountBalanceBody> {
    let balance = |n: u32| AccountBalanceBody {
        debits_pending: u128::from(1 + n).into(),
        debits_posted: u128::from(20 + n).into(),
        credits_pending: u128::from(300 + n).into(),
        credits_posted: u128::from(4_000 + n).into(),
        timestamp: (TIME + 2 + u64::from(n)).into(),
        reserved: [0; 56],
    };
    vec![balance(0), balance(1)]
}

pub(crate) fn statement() -> Vec<StatementBody> {
    vec![StatementBody {
        account_id: 77.into(),
        unit: (Span::BusinessDate as u32).into(),
        limit: 4_000.into(),
        from: 20_260_101.into(),
        to: 20_260_131.into(),
        cursor: 5.into(),
        reserved: [0; 16],
    }]
}

pub(crate) fn lines() -> Vec<StatementLineBody> {
    vec![StatementLineBody {
        detail: details()[0],
        kind: (LineKind::Expiry as u32).into(),
        zero: 0.into(),
        timestamp: (TIME + 3).into(),
        debits_pending: 1.into(),
        debits_posted: 20.into(),
        credits_pending: 300.into(),
        credits_posted: 4_000.into(),
        reserved: 0.into(),
    }]
}

pub(crate) fn as_of() -> Vec<BalanceAsOfBody> {
    let as_of = |account: u128, at: u64, unit: Span| BalanceAsOfBody {
        account_id: account.into(),
        at: at.into(),
        unit: (unit as u32).into(),
        reserved: 0.into(),
    };
    vec![
        as_of(77, 20_260_131, Span::BusinessDate),
        as_of(78, 9 << 12, Span::Lsn),
    ]
}

pub(crate) fn trial_balance() -> Vec<TrialBalanceBody> {
    vec![TrialBalanceBody {
        ledger: 203.into(),
        code: 11.into(),
        zero: 0.into(),
        accounts: 2.into(),
        debits_pending: 1.into(),
        debits_posted: 20.into(),
        credits_pending: 300.into(),
        credits_posted: 4_000.into(),
        debits_pending_high: 5.into(),
        debits_posted_high: 6.into(),
        credits_pending_high: 7.into(),
        credits_posted_high: 8.into(),
        reserved: [0; 16],
    }]
}

pub(crate) fn feed() -> Vec<FeedBody> {
    vec![FeedBody {
        from: (3_u64 << 12).into(),
        limit: 1_024.into(),
        wait_ms: 1_000.into(),
        reserved: 0.into(),
    }]
}

pub(crate) fn feed_rows() -> Vec<FeedRowBody> {
    let row = |index: u32, kind: RecordKind, content: &[u8]| {
        let mut body = [0; 160];
        body[..content.len()].copy_from_slice(content);
        FeedRowBody {
            lsn: (3_u64 << 12).into(),
            epoch: (1_u64 << 32 | 4).into(),
            timestamp: (TIME + u64::from(index)).into(),
            index: index.into(),
            kind: (kind as u16).into(),
            zero: 0.into(),
            body,
            reserved: [0; 64],
        }
    };
    vec![
        row(0, RecordKind::AccountOpened, account_bodies()[0].as_bytes()),
        row(1, RecordKind::TransferDetailed, details()[0].as_bytes()),
        row(2, RecordKind::TransferFailed, outcomes()[1].as_bytes()),
        row(3, RecordKind::AccountChanged, terms()[0].as_bytes()),
        row(4, RecordKind::DayClosed, close_day()[0].as_bytes()),
    ]
}

fn request<R: IntoBytes + Immutable>(kind: FrameKind, rows: &[R]) -> ClientFrame {
    let number = u64::from(kind as u8);
    ClientFrame::rows(kind, number, rows).within(1_000 + u32::from(kind as u8))
}

fn reply<R: IntoBytes + Immutable>(kind: FrameKind, rows: &[R]) -> ClientFrame {
    let mut frame = ClientFrame::rows(kind, u64::from(kind as u8), rows);
    if kind.is_paged() {
        frame.body.splice(0..0, page().as_bytes().iter().copied());
    }
    frame
}

/// Requests that write, or look things up by id.
fn plain_frames() -> Vec<(&'static str, ClientFrame)> {
    use FrameKind::{
        BurnIds, ChangeAccounts, CloseDay, CreateTransfersDetailed, LookupAccountTerms,
        LookupOutcomes, LookupTransferDetails,
    };
    let ids: Vec<[u8; 16]> = lookup_ids().iter().map(|id| id.to_le_bytes()).collect();
    let [posted, changed, closed, burnt] = results();
    vec![
        (
            "client-v2/welcome.frame",
            ClientFrame::rows(FrameKind::Welcome, 0, &[welcome()]),
        ),
        (
            "client-v2/create-transfers-detailed-request.frame",
            request(CreateTransfersDetailed, &details()),
        ),
        (
            "client-v2/create-transfers-detailed-reply.frame",
            reply(CreateTransfersDetailed, &posted),
        ),
        (
            "client-v2/change-accounts-request.frame",
            request(ChangeAccounts, &changes()),
        ),
        (
            "client-v2/change-accounts-reply.frame",
            reply(ChangeAccounts, &changed),
        ),
        (
            "client-v2/close-day-request.frame",
            request(CloseDay, &close_day()),
        ),
        ("client-v2/close-day-reply.frame", reply(CloseDay, &closed)),
        ("client-v2/burn-ids-request.frame", request(BurnIds, &ids)),
        ("client-v2/burn-ids-reply.frame", reply(BurnIds, &burnt)),
        (
            "client-v2/lookup-outcomes-request.frame",
            request(LookupOutcomes, &ids),
        ),
        (
            "client-v2/lookup-outcomes-reply.frame",
            reply(LookupOutcomes, &outcomes()),
        ),
        (
            "client-v2/lookup-transfer-details-request.frame",
            request(LookupTransferDetails, &ids),
        ),
        (
            "client-v2/lookup-transfer-details-reply.frame",
            reply(LookupTransferDetails, &details()),
        ),
        (
            "client-v2/lookup-account-terms-request.frame",
            request(LookupAccountTerms, &ids),
        ),
        (
            "client-v2/lookup-account-terms-reply.frame",
            reply(LookupAccountTerms, &terms()),
        ),
    ]
}

/// Requests that are answered in pages.
fn paged_frames() -> Vec<(&'static str, ClientFrame)> {
    use FrameKind::{
        GetAccountBalances, GetAccountTransfers, GetBalancesAsOf, GetStatement, GetTrialBalance,
        QueryAccounts, QueryTransfers, ReadFeed,
    };
    vec![
        (
            "client-v2/get-account-transfers-request.frame",
            request(GetAccountTransfers, &account_filter()),
        ),
        (
            "client-v2/get-account-transfers-reply.frame",
            reply(GetAccountTransfers, &transfer_bodies()),
        ),
        (
            "client-v2/get-account-balances-request.frame",
            request(GetAccountBalances, &account_filter()),
        ),
        (
            "client-v2/get-account-balances-reply.frame",
            reply(GetAccountBalances, &balances()),
        ),
        (
            "client-v2/query-accounts-request.frame",
            request(QueryAccounts, &query_filter()),
        ),
        (
            "client-v2/query-accounts-reply.frame",
            reply(QueryAccounts, &account_bodies()),
        ),
        (
            "client-v2/query-transfers-request.frame",
            request(QueryTransfers, &query_filter()),
        ),
        (
            "client-v2/query-transfers-reply.frame",
            reply(QueryTransfers, &transfer_bodies()),
        ),
        (
            "client-v2/get-statement-request.frame",
            request(GetStatement, &statement()),
        ),
        (
            "client-v2/get-statement-reply.frame",
            reply(GetStatement, &lines()),
        ),
        (
            "client-v2/get-balances-as-of-request.frame",
            request(GetBalancesAsOf, &as_of()),
        ),
        (
            "client-v2/get-balances-as-of-reply.frame",
            reply(GetBalancesAsOf, &balances()),
        ),
        (
            "client-v2/get-trial-balance-request.frame",
            request::<[u8; 0]>(GetTrialBalance, &[]),
        ),
        (
            "client-v2/get-trial-balance-reply.frame",
            reply(GetTrialBalance, &trial_balance()),
        ),
        (
            "client-v2/read-feed-request.frame",
            request(ReadFeed, &feed()),
        ),
        (
            "client-v2/read-feed-reply.frame",
            reply(ReadFeed, &feed_rows()),
        ),
    ]
}

pub(crate) fn frames() -> Vec<(&'static str, ClientFrame)> {
    [plain_frames(), paged_frames()].concat()
}
