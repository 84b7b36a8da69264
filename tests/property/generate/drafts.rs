//! Transfers that take up what is there when it is their turn: a pending one to post, one to
//! reverse, one to ask for again with a field changed.

use kanjo_format::client::{TransferBody, TransferDetailBody};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{ACCOUNTS, account_id, amount, data, date, flags, imported_time, rarely, resolve_time};
use crate::model::{Model, Pending, Transfer};
use crate::repl::request::Request;

const LINKED: u16 = 1 << 0;
const PENDING: u16 = 1 << 1;
const VOID: u16 = 1 << 3;
const IMPORTED: u16 = 1 << 8;

/// A transfer that is still to be made up.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// What nothing below replaces.
    body: TransferDetailBody,
    id: Pick,
    pending: Pick,
    reverses: Pick,
    /// The ledger and code of the debit account, or zero where they may be left out.
    right_place: bool,
    /// Asks for a transfer that is there, with so much changed.
    retry: Option<(Index, Change)>,
    /// Does not leave a chain open where it stands last.
    ends: bool,
}

/// Which transfer is meant.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Zero,
    /// One that nobody has asked for.
    Fresh,
    /// The one before in the request.
    JustBefore,
    /// One that is there.
    Any(Index),
    /// One that is pending, or was.
    Pending(Index),
    /// One that is pending and open.
    Open(Index),
    Exactly(u128),
}

/// What is different in a retry.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// What a post, void or reversal may leave out.
    LeavesOut,
    Flags(u16),
    PendingId,
    Timeout,
    DebitAccount,
    CreditAccount,
    More,
    Less,
    All,
    UserData128,
    UserData64,
    UserData32,
    Ledger,
    Code,
    Reverses,
    ValueDate,
    BusinessDate,
}

/// What is known when a draft is made up.
pub(crate) struct Known<'a> {
    pub(crate) model: &'a Model,
    /// The last id that was asked for as a new one.
    pub(crate) fresh: &'a mut u128,
    /// See `resolve_time`.
    pub(crate) last: [u64; 3],
}

pub(super) fn transfers() -> impl Strategy<Value = Vec<Draft>> {
    let imports = (
        vec(draft(), 1..6),
        vec(imported_time(), 6),
        vec(0_u32..100, 6),
    )
        .prop_map(|(mut drafts, times, drawn)| {
            for (n, draft) in drafts.iter_mut().enumerate() {
                if drawn[n] < 92 {
                    let body = &mut draft.body.transfer;
                    body.flags |= IMPORTED;
                    body.timestamp = times[n].into();
                    // Without a timeout, mostly: an import has none.
                    if drawn[n] > 20 {
                        body.timeout = 0.into();
                    }
                }
            }
            drafts
        });
    prop_oneof![4 => vec(draft(), 1..9), 1 => imports]
}

fn draft() -> impl Strategy<Value = Draft> {
    let details = (weighted(0.08, date()), weighted(0.12, date()));
    let shape = prop_oneof![
        10 => moving(flags(&[(0, 12), (1, 45), (4, 12), (5, 12), (6, 3), (7, 3)])),
        2 => moving(flags(&[(0, 12), (1, 100), (6, 30), (7, 30)])),
        4 => resolving(flags(&[(0, 12), (2, 100)]).boxed()),
        4 => resolving(flags(&[(0, 12), (3, 100)]).boxed()),
        3 => reversing(),
        5 => retrying(),
        1 => wild(),
    ];
    (shape, details, prop::bool::weighted(0.85)).prop_map(|(mut draft, dates, ends)| {
        draft.body.value_date = dates.0.unwrap_or(0).into();
        draft.body.business_date = dates.1.unwrap_or(0).into();
        draft.ends = ends;
        draft
    })
}

fn new_id() -> impl Strategy<Value = Pick> {
    prop_oneof![
        30 => Just(Pick::Fresh),
        2 => any::<Index>().prop_map(Pick::Any),
        1 => select(vec![0, u128::MAX, u128::MAX - 1]).prop_map(Pick::Exactly),
        1 => (1_u128..24).prop_map(Pick::Exactly),
    ]
}

fn two_accounts() -> impl Strategy<Value = (u128, u128)> {
    let different = (1..=ACCOUNTS, 1..ACCOUNTS).prop_map(|(debit, behind)| {
        let credit = (debit - 1 + behind) % ACCOUNTS + 1;
        (debit, credit)
    });
    prop_oneof![12 => different, 1 => (account_id(), account_id())]
}

fn drafted(body: TransferBody) -> Draft {
    Draft {
        body: TransferDetailBody {
            transfer: body,
            ..TransferDetailBody::default()
        },
        id: Pick::Fresh,
        pending: Pick::Zero,
        reverses: Pick::Zero,
        right_place: true,
        retry: None,
        ends: true,
    }
}

fn moving(flags: impl Strategy<Value = u16>) -> impl Strategy<Value = Draft> {
    let timeout = prop_oneof![4 => Just(0_u32), 3 => 1_u32..4, 1 => Just(u32::MAX)];
    let junk = (
        prop_oneof![30 => Just(Pick::Zero), 1 => any::<Index>().prop_map(Pick::Any)],
        rarely(vec![1_u64, u64::MAX]),
        prop::bool::weighted(0.95),
    );
    let place = (prop_oneof![3 => Just(1_u32), 1 => 0_u32..3], 0_u16..3);
    (
        new_id(),
        two_accounts(),
        amount(),
        data(),
        timeout,
        flags,
        junk,
        place,
    )
        .prop_map(
            |(id, accounts, amount, data, timeout, flags, junk, place)| {
                // A transfer of one phase has no timeout; now and then it is left in.
                let keeps_timeout = flags & PENDING != 0 || (amount == 7 && timeout == 1);
                Draft {
                    id,
                    pending: junk.0,
                    right_place: junk.2,
                    ..drafted(TransferBody {
                        debit_account_id: accounts.0.into(),
                        credit_account_id: accounts.1.into(),
                        amount: amount.into(),
                        user_data_128: data.0.into(),
                        user_data_64: data.1.into(),
                        user_data_32: data.2.into(),
                        timeout: if keeps_timeout { timeout } else { 0 }.into(),
                        ledger: place.0.into(),
                        code: place.1.into(),
                        flags: flags.into(),
                        timestamp: junk.1.into(),
                        ..TransferBody::default()
                    })
                }
            },
        )
}

/// Fields that a post, void or reversal may leave out, and mostly does.
fn left_open() -> impl Strategy<Value = TransferBody> {
    let or_zero = |id: BoxedStrategy<u128>| prop_oneof![12 => Just(0), 1 => id];
    let accounts = (or_zero(account_id().boxed()), or_zero(account_id().boxed()));
    let amount = prop_oneof![
        3 => amount().boxed(),
        4 => Just(u128::MAX).boxed(),
        4 => Just(0).boxed()
    ];
    let place = (rarely(vec![1_u32, 2]), rarely(vec![1_u16, 2]));
    let zeros = (rarely(vec![1_u32]), rarely(vec![1_u64]));
    (accounts, amount, data(), place, zeros).prop_map(|(accounts, amount, data, place, zeros)| {
        TransferBody {
            debit_account_id: accounts.0.into(),
            credit_account_id: accounts.1.into(),
            amount: amount.into(),
            user_data_128: data.0.into(),
            user_data_64: data.1.into(),
            user_data_32: data.2.into(),
            timeout: zeros.0.into(),
            ledger: place.0.into(),
            code: place.1.into(),
            timestamp: zeros.1.into(),
            ..TransferBody::default()
        }
    })
}

fn resolving(flags: BoxedStrategy<u16>) -> impl Strategy<Value = Draft> {
    let pending = prop_oneof![
        14 => any::<Index>().prop_map(Pick::Open),
        3 => any::<Index>().prop_map(Pick::Pending),
        3 => Just(Pick::JustBefore),
        2 => any::<Index>().prop_map(Pick::Any),
        1 => Just(Pick::Zero),
        1 => select(vec![u128::MAX, 1 << 90]).prop_map(Pick::Exactly),
    ];
    (new_id(), pending, left_open(), flags).prop_map(|(id, pending, mut body, flags)| {
        body.flags = flags.into();
        // A void of the maximum is hardly ever right.
        if flags & VOID != 0 && body.amount == u128::MAX {
            body.amount = 0.into();
        }
        Draft {
            id,
            pending,
            right_place: false,
            ..drafted(body)
        }
    })
}

fn reversing() -> impl Strategy<Value = Draft> {
    let reverses = prop_oneof![
        8 => any::<Index>().prop_map(Pick::Any),
        1 => Just(Pick::JustBefore),
        1 => select(vec![u128::MAX, 1 << 90]).prop_map(Pick::Exactly),
    ];
    let flags = flags(&[(0, 12), (1, 2)]);
    (new_id(), reverses, left_open(), flags).prop_map(|(id, reverses, mut body, flags)| {
        body.flags = flags.into();
        Draft {
            id,
            reverses,
            right_place: false,
            ..drafted(body)
        }
    })
}

fn retrying() -> impl Strategy<Value = Draft> {
    use Change as C;
    let changes = vec![
        C::Nothing,
        C::Nothing,
        C::LeavesOut,
        C::LeavesOut,
        C::Flags(1),
        C::Flags(2),
        C::PendingId,
        C::Timeout,
        C::DebitAccount,
        C::CreditAccount,
        C::More,
        C::Less,
        C::All,
        C::UserData128,
        C::UserData64,
        C::UserData32,
        C::Ledger,
        C::Code,
        C::Reverses,
        C::ValueDate,
        C::BusinessDate,
    ];
    (any::<Index>(), select(changes)).prop_map(|(which, change)| Draft {
        retry: Some((which, change)),
        ..drafted(TransferBody::default())
    })
}

/// Everything at random.
fn wild() -> impl Strategy<Value = Draft> {
    let fields = (0_u128..4, 0_u128..8, 0_u128..8, 0_u128..4);
    (fields, any::<u16>(), amount(), 0_u32..2, 0_u32..2, 0_u16..2).prop_map(
        |(ids, flags, amount, timeout, ledger, code)| Draft {
            id: Pick::Exactly(ids.0),
            pending: Pick::Exactly(ids.3),
            right_place: false,
            ..drafted(TransferBody {
                debit_account_id: ids.1.into(),
                credit_account_id: ids.2.into(),
                amount: amount.into(),
                timeout: timeout.into(),
                ledger: ledger.into(),
                code: code.into(),
                flags: (flags & 0x1ff).into(),
                ..TransferBody::default()
            })
        },
    )
}

impl Known<'_> {
    /// The request that the drafts come to.
    pub(crate) fn request(&mut self, drafts: &[Draft]) -> Request {
        let mut rows = Vec::<TransferDetailBody>::new();
        for (n, draft) in drafts.iter().enumerate() {
            let mut row = self.row(draft, rows.last());
            if draft.ends && n + 1 == drafts.len() {
                row.transfer.flags = (row.transfer.flags.get() & !LINKED).into();
            }
            rows.push(row);
        }
        let is_detailed = |row: &TransferDetailBody| {
            row.reverses != 0 || row.value_date != 0 || row.business_date != 0
        };
        if rows.iter().any(is_detailed) {
            return Request::CreateTransfersDetailed(rows);
        }
        Request::CreateTransfers(rows.iter().map(|row| row.transfer).collect())
    }

    fn row(&mut self, draft: &Draft, before: Option<&TransferDetailBody>) -> TransferDetailBody {
        if let Some((which, change)) = &draft.retry
            && !self.model.transfers.is_empty()
        {
            return retry(which.get(&self.model.transfers), *change);
        }
        let mut row = draft.body;
        let body = &mut row.transfer;
        body.id = self.pick(draft.id, before).into();
        body.pending_id = self.pick(draft.pending, before).into();
        body.timestamp = resolve_time(body.timestamp.get(), self.last).into();
        row.reverses = self.pick(draft.reverses, before).into();
        let debit = self.model.account(row.transfer.debit_account_id.get());
        if let Some(debit) = debit.filter(|_| draft.right_place) {
            row.transfer.ledger = debit.ledger.into();
            row.transfer.code = debit.code.into();
        }
        row
    }

    fn pick(&mut self, pick: Pick, before: Option<&TransferDetailBody>) -> u128 {
        let transfers = &self.model.transfers;
        let among = |which: Index, fits: &dyn Fn(&Transfer) -> bool| {
            let fitting: Vec<u128> = transfers.iter().filter(|t| fits(t)).map(|t| t.id).collect();
            (!fitting.is_empty()).then(|| *which.get(&fitting))
        };
        let state = |transfer: &Transfer| self.model.pending.get(&transfer.id).copied();
        match pick {
            Pick::Zero => 0,
            Pick::Fresh => {
                *self.fresh += 1;
                *self.fresh
            }
            Pick::JustBefore => before.map_or(1, |row| row.transfer.id.get()),
            Pick::Any(which) => among(which, &|_| true).unwrap_or(1),
            Pick::Pending(which) => among(which, &|t| state(t).is_some()).unwrap_or(1),
            Pick::Open(which) => among(which, &|t| state(t) == Some(Pending::Open)).unwrap_or(1),
            Pick::Exactly(id) => id,
        }
    }
}

/// Asks for what is there, with one thing changed.
fn retry(there: &Transfer, change: Change) -> TransferDetailBody {
    let mut row = TransferDetailBody {
        transfer: there.body(),
        reverses: there.reverses.into(),
        value_date: there.value_date.into(),
        business_date: there.asked_business_date().into(),
        ..TransferDetailBody::default()
    };
    let body = &mut row.transfer;
    if !there.has(IMPORTED) {
        body.timestamp = 0.into();
    }
    match change {
        Change::Nothing => {}
        Change::LeavesOut => {
            body.debit_account_id = 0.into();
            body.credit_account_id = 0.into();
            body.ledger = 0.into();
            body.code = 0.into();
            body.user_data_64 = 0.into();
        }
        Change::Flags(bits) => body.flags = (body.flags.get() ^ bits).into(),
        Change::PendingId => body.pending_id += 1,
        Change::Timeout => body.timeout = (body.timeout.get() ^ 1).into(),
        Change::DebitAccount => body.debit_account_id += 1,
        Change::CreditAccount => body.credit_account_id += 1,
        Change::More => body.amount = body.amount.get().saturating_add(1).into(),
        Change::Less => body.amount = body.amount.get().saturating_sub(1).into(),
        Change::All => body.amount = u128::MAX.into(),
        Change::UserData128 => body.user_data_128 += 1,
        Change::UserData64 => body.user_data_64 += 1,
        Change::UserData32 => body.user_data_32 += 1,
        Change::Ledger => body.ledger += 1,
        Change::Code => body.code += 1,
        Change::Reverses => row.reverses = (row.reverses.get() ^ 1).into(),
        Change::ValueDate => row.value_date = (20_260_101 + (row.value_date.get() & 1)).into(),
        Change::BusinessDate => row.business_date = 20_260_303.into(),
    }
    row
}
