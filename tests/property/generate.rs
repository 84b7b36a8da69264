//! Requests over so few ids, accounts and ledgers that everything collides: of every type, with
//! every flag, amounts at both ends, times next to each other.

mod drafts;

use kanjo_format::client::{
    AccountBody, AccountChangeBody, AccountFilterBody, BalanceAsOfBody, CloseDayBody,
    QueryFilterBody, StatementBody,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::TIME_END;
use crate::repl::request::Request;
use drafts::transfers;
pub(crate) use drafts::{Draft, Known};

/// Accounts that exist in most cases.
pub(crate) const ACCOUNTS: u128 = 6;
/// Transfer ids that are looked up and burned: those of the first transfers.
const TRANSFERS: u128 = 24;

/// A time that is known only when the request is made: `distance` around what `near` names.
/// Written into `timestamp`, where no real time of a case stands.
const RELATIVE: u64 = 1 << 50;
const RELATIVE_SPAN: u64 = 16;
const RELATIVE_KINDS: u64 = 3;

/// What one batch does: time passes, then its requests follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) passes: Passes,
    pub(crate) writes: Vec<Write>,
    /// Asked when the batch is there.
    pub(crate) reads: Vec<Request>,
}

/// A request, or one whose transfers are made up when it is its turn.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Asked(Request),
    Transfers(Vec<Draft>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Passes {
    Nothing,
    By(u64),
    /// To so many nanoseconds before the end of time.
    ToTheEdge(u64),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let first = vec(opening_account(), 4..=ACCOUNTS as usize).prop_map(|accounts| Step {
        passes: Passes::By(40),
        writes: vec![Write::Asked(Request::CreateAccounts(numbered(accounts)))],
        reads: Vec::new(),
    });
    (first, vec(step(), 1..14)).prop_map(|(first, rest)| {
        let mut steps = vec![first];
        steps.extend(rest);
        steps
    })
}

fn step() -> impl Strategy<Value = Step> {
    let writes = vec(write(), 1..4);
    let reads = vec(read(), 0..3);
    (passes(), writes, reads).prop_map(|(passes, writes, reads)| Step {
        passes,
        writes,
        reads,
    })
}

fn passes() -> impl Strategy<Value = Passes> {
    prop_oneof![
        6 => Just(Passes::Nothing),
        4 => (0_u64..30).prop_map(Passes::By),
        4 => (999_999_980_u64..1_000_000_010).prop_map(Passes::By),
        1 => Just(Passes::By(7_000_000_000)),
        1 => select(vec![100_000, 4_000_000_000, 2_000_000_000, 1_000_000_100])
            .prop_map(Passes::ToTheEdge),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let other = prop_oneof![
        2 => vec(account(), 1..6).prop_map(Request::CreateAccounts),
        2 => imported_accounts().prop_map(Request::CreateAccounts),
        3 => vec(change(), 1..4).prop_map(Request::ChangeAccounts),
        4 => close_day().prop_map(Request::CloseDay),
        1 => vec(transfer_id(), 1..4).prop_map(Request::Burn),
        2 => vec(transfer_id(), 1..9).prop_map(Request::LookupTransfers),
        1 => vec(transfer_id(), 1..9).prop_map(Request::LookupTransferDetails),
        1 => vec(transfer_id(), 1..9).prop_map(Request::LookupOutcome),
        1 => vec(account_id(), 1..9).prop_map(Request::LookupAccounts),
    ];
    prop_oneof![
        4 => other.prop_map(Write::Asked),
        9 => transfers().prop_map(Write::Transfers),
    ]
}

fn read() -> impl Strategy<Value = Request> {
    prop_oneof![
        3 => account_filter().prop_map(Request::GetAccountTransfers),
        3 => account_filter().prop_map(Request::GetAccountBalances),
        2 => query_filter().prop_map(Request::QueryAccounts),
        3 => query_filter().prop_map(Request::QueryTransfers),
        3 => statement().prop_map(Request::Statement),
        2 => vec(as_of(), 1..4).prop_map(Request::BalancesAsOf),
        1 => Just(Request::TrialBalance),
    ]
}

fn account_id() -> impl Strategy<Value = u128> {
    prop_oneof![
        20 => 1..=ACCOUNTS,
        1 => Just(ACCOUNTS + 1),
        1 => select(vec![0, u128::MAX, 1 << 100]),
    ]
}

fn transfer_id() -> impl Strategy<Value = u128> {
    prop_oneof![
        30 => 1..=TRANSFERS,
        1 => select(vec![0, u128::MAX, u128::MAX - 1]),
    ]
}

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![
        10 => 0_u128..20,
        2 => Just(u128::MAX),
        2 => (0_u128..30).prop_map(|less| u128::MAX - less),
        1 => select(vec![1 << 127, (1 << 127) - 1, 1 << 64]),
    ]
}

/// Mostly zero, or one of a few values that meet again.
fn rarely<T: Clone + std::fmt::Debug + Default + 'static>(
    values: Vec<T>,
) -> impl Strategy<Value = T> {
    prop_oneof![24 => Just(T::default()), 1 => select(values)]
}

fn data() -> impl Strategy<Value = (u128, u64, u32)> {
    let some = |most: u32| prop_oneof![2 => Just(0), 1 => 1..=most];
    (some(2), some(2), some(2)).prop_map(|(a, b, c)| (a.into(), b.into(), c))
}

fn ledger() -> impl Strategy<Value = u32> {
    prop_oneof![24 => Just(1), 4 => Just(2), 1 => Just(0)]
}

fn code() -> impl Strategy<Value = u16> {
    prop_oneof![14 => 1_u16..=2, 1 => Just(0)]
}

/// Any of the bits, each with its own weight out of 100; now and then any bits at all.
fn flags(weights: &'static [(u32, u32)]) -> impl Strategy<Value = u16> {
    let bits = vec(0_u32..100, weights.len()).prop_map(move |drawn| {
        let set = weights
            .iter()
            .zip(drawn)
            .filter(|((_, weight), n)| n < weight);
        set.fold(0_u16, |flags, ((bit, _), _)| flags | 1 << bit)
    });
    prop_oneof![80 => bits, 1 => any::<u16>()]
}

fn opening_account() -> impl Strategy<Value = AccountBody> {
    let kinds = flags(&[(1, 15), (2, 10), (3, 50)]);
    (
        kinds,
        data(),
        prop_oneof![6 => Just(1_u32), 1 => Just(2)],
        1_u16..=2,
    )
        .prop_map(|(flags, data, ledger, code)| AccountBody {
            user_data_128: data.0.into(),
            user_data_64: data.1.into(),
            user_data_32: data.2.into(),
            ledger: ledger.into(),
            code: code.into(),
            flags: flags.into(),
            ..AccountBody::default()
        })
}

fn numbered(mut accounts: Vec<AccountBody>) -> Vec<AccountBody> {
    for (place, account) in accounts.iter_mut().enumerate() {
        account.id = (place as u128 + 1).into();
    }
    accounts
}

fn account() -> impl Strategy<Value = AccountBody> {
    let flags = flags(&[(0, 25), (1, 20), (2, 15), (3, 40), (4, 4), (5, 4)]);
    let balances = (
        rarely(vec![1_u128]),
        rarely(vec![1_u128]),
        rarely(vec![1_u128]),
        rarely(vec![1_u128]),
    );
    let zeros = (rarely(vec![1_u32]), rarely(vec![1_u64, u64::MAX]));
    (
        account_id(),
        data(),
        ledger(),
        code(),
        flags,
        balances,
        zeros,
    )
        .prop_map(
            |(id, data, ledger, code, flags, balances, zeros)| AccountBody {
                id: id.into(),
                debits_pending: balances.0.into(),
                debits_posted: balances.1.into(),
                credits_pending: balances.2.into(),
                credits_posted: balances.3.into(),
                user_data_128: data.0.into(),
                user_data_64: data.1.into(),
                user_data_32: data.2.into(),
                reserved: zeros.0.into(),
                ledger: ledger.into(),
                code: code.into(),
                flags: flags.into(),
                timestamp: zeros.1.into(),
            },
        )
}

/// Times that an import may name: next to the last of its kind, to now, or anywhere.
fn imported_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0..RELATIVE_KINDS * RELATIVE_SPAN).prop_map(|n| RELATIVE + n),
        2 => 0_u64..60,
        1 => select(vec![0, 1, TIME_END - 1, TIME_END, u64::MAX]),
    ]
}

fn imported_accounts() -> impl Strategy<Value = Vec<AccountBody>> {
    let one = (account(), imported_time(), prop::bool::weighted(0.9)).prop_map(
        |(mut account, time, imported)| {
            if imported {
                account.flags |= 1 << 4;
                account.timestamp = time.into();
            }
            account
        },
    );
    vec(one, 1..4)
}

/// A relative time as one of this moment. `last` is the time of the last account, of the last
/// transfer, and of the batch's next record.
pub(crate) fn resolve_time(time: u64, last: [u64; RELATIVE_KINDS as usize]) -> u64 {
    match time.checked_sub(RELATIVE) {
        Some(n) if n < RELATIVE_KINDS * RELATIVE_SPAN => {
            let near = last[(n / RELATIVE_SPAN) as usize];
            (near + n % RELATIVE_SPAN).saturating_sub(3)
        }
        _ => time,
    }
}

/// A date around those that get closed, or none of the calendar.
fn date() -> impl Strategy<Value = u32> {
    prop_oneof![
        10 => 20_260_227_u32..20_260_229,
        10 => 20_260_301_u32..20_260_304,
        1 => select(vec![20_260_229, 20_261_301, 1, u32::MAX]),
    ]
}

fn change() -> impl Strategy<Value = AccountChangeBody> {
    let limit = prop_oneof![4 => 0_u128..20, 1 => Just(u128::MAX)];
    let change = prop_oneof![20 => select(vec![0_u32, 1, 1, 2, 4, 4, 5, 6]), 1 => any::<u32>()];
    let freeze = prop_oneof![20 => 0_u32..4, 1 => any::<u32>()];
    let sloppy = prop::bool::weighted(0.05);
    (
        account_id(),
        limit,
        change,
        freeze,
        sloppy,
        rarely(vec![1_u64]),
    )
        .prop_map(
            |(id, limit, change, freeze, sloppy, reserved)| AccountChangeBody {
                id: id.into(),
                overdraft_limit: if change & 1 != 0 || sloppy { limit } else { 0 }.into(),
                change: change.into(),
                freeze: if change & 4 != 0 || sloppy { freeze } else { 0 }.into(),
                reserved: reserved.into(),
            },
        )
}

fn close_day() -> impl Strategy<Value = CloseDayBody> {
    let days = [0, 20_260_228, 20_260_302, 20_260_303];
    let next = (0..days.len() - 1).prop_map(move |n| (days[n], days[n + 1]));
    let close = prop_oneof![6 => next, 1 => (date(), date())];
    (close, rarely(vec![1_u64])).prop_map(|((date, next), reserved)| CloseDayBody {
        date: date.into(),
        next: next.into(),
        reserved: reserved.into(),
    })
}

/// Bounds of a filter, in any unit of time of a case.
fn bound() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => Just(0),
        6 => (0..RELATIVE_KINDS * RELATIVE_SPAN).prop_map(|n| RELATIVE + n),
        4 => 30_u64..80,
        1 => select(vec![TIME_END - 1, TIME_END, u64::MAX]),
    ]
}

fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1_u32..6, 4 => Just(1_000), 1 => Just(0), 1 => Just(u32::MAX)]
}

fn account_filter() -> impl Strategy<Value = AccountFilterBody> {
    let flags = prop_oneof![20 => 1_u32..8, 1 => any::<u32>()];
    let reserved = rarely(vec![1_u8]);
    let code = prop_oneof![3 => Just(0), 1 => 1_u16..3];
    (
        account_id(),
        data(),
        code,
        (bound(), bound()),
        limit(),
        flags,
        reserved,
    )
        .prop_map(|(account_id, data, code, bounds, limit, flags, reserved)| {
            let mut body = AccountFilterBody {
                account_id: account_id.into(),
                user_data_128: data.0.into(),
                user_data_64: data.1.into(),
                user_data_32: data.2.into(),
                code: code.into(),
                timestamp_min: bounds.0.into(),
                timestamp_max: bounds.1.into(),
                limit: limit.into(),
                flags: flags.into(),
                ..AccountFilterBody::default()
            };
            body.reserved[57] = reserved;
            body
        })
}

fn query_filter() -> impl Strategy<Value = QueryFilterBody> {
    let flags = prop_oneof![20 => 0_u32..2, 1 => any::<u32>()];
    let reserved = rarely(vec![1_u8]);
    let place = (
        prop_oneof![3 => Just(0), 1 => 1_u32..3],
        prop_oneof![3 => Just(0), 1 => 1_u16..3],
    );
    (data(), place, (bound(), bound()), limit(), flags, reserved).prop_map(
        |(data, place, bounds, limit, flags, reserved)| {
            let mut body = QueryFilterBody {
                user_data_128: data.0.into(),
                user_data_64: data.1.into(),
                user_data_32: data.2.into(),
                ledger: place.0.into(),
                code: place.1.into(),
                timestamp_min: bounds.0.into(),
                timestamp_max: bounds.1.into(),
                limit: limit.into(),
                flags: flags.into(),
                ..QueryFilterBody::default()
            };
            body.reserved[5] = reserved;
            body
        },
    )
}

/// A unit that the model knows, and a moment in it.
fn moment() -> impl Strategy<Value = (u32, u64, u64)> {
    prop_oneof![
        (Just(0), bound(), bound()),
        (
            Just(1),
            date().prop_map(u64::from),
            prop_oneof![Just(0), date().prop_map(u64::from)]
        ),
    ]
}

fn statement() -> impl Strategy<Value = StatementBody> {
    (account_id(), moment(), prop_oneof![1_u32..6, Just(1_000)]).prop_map(
        |(account_id, (unit, from, to), limit)| StatementBody {
            account_id: account_id.into(),
            unit: unit.into(),
            limit: limit.into(),
            from: from.into(),
            to: to.into(),
            ..StatementBody::default()
        },
    )
}

fn as_of() -> impl Strategy<Value = BalanceAsOfBody> {
    (account_id(), moment()).prop_map(|(account_id, (unit, at, _))| BalanceAsOfBody {
        account_id: account_id.into(),
        at: at.into(),
        unit: unit.into(),
        reserved: 0.into(),
    })
}
