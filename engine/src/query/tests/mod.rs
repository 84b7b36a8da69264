//! Answers by posting lists, by looking through every batch, and by a list of all that happened
//! must be the same, whatever the turns and pages.

mod log;

use kanjo_format::client::{
    AccountFilterBody, AccountFilterFlags, QueryFilterBody, QueryFilterFlags, Span, StatementBody,
};
use kanjo_format::movement::Transfer;
use kanjo_format::{AccountNumber, Lsn, RecordAt};
use proptest::prelude::*;

use super::walk::Event;
use super::*;
use log::{ACCOUNTS, Happened, IndexedPast, Maker, naive_apply};

fn present(maker: &Maker, number: u32) -> Present {
    let number = AccountNumber::new(number);
    let mut balances = Balances::default();
    for happened in &maker.all {
        naive_apply(&mut balances, happened, number);
    }
    Present {
        number,
        opened: 1,
        balances,
    }
}

/// Less than nothing is nothing; amounts are small here.
fn shown(mut balances: Balances) -> Balances {
    for pending in [&mut balances.debits_pending, &mut balances.credits_pending] {
        *pending = pending.cast_signed().max(0).cast_unsigned();
    }
    balances
}

/// Goes on in turns of a few records.
fn answer<P: Past>(mut query: Query, past: &mut P, turn: u64) -> Page {
    for _ in 0..1_000_000 {
        if let Some(next) = query.step(past, &mut Budget::new(turn)).unwrap() {
            return query.into_page(next);
        }
    }
    panic!("a query that never ends");
}

fn date_of(maker: &Maker, happened: &Happened) -> u32 {
    match &happened.event {
        Event::Transfer(transfer) if transfer.business_date != 0 => transfer.business_date,
        _ => {
            let before = maker.days.iter().take_while(|day| day.at < happened.at);
            before.last().map_or(0, |day| day.next)
        }
    }
}

/// Everything that belongs to a span of one account, with the balances after it; and what was
/// before the span.
fn naive_lines(
    maker: &Maker,
    number: u32,
    unit: Span,
    from: u64,
    to: u64,
) -> (Balances, Vec<(u64, Balances)>) {
    let account = AccountNumber::new(number);
    let ends: Vec<(Lsn, Lsn)> = maker
        .past
        .batches()
        .iter()
        .map(|b| (b.header.lsn(), b.end))
        .collect();
    let mine = || maker.all.iter().filter(|h| h.event.touches(account));
    let place = |happened: &Happened| {
        let (start, end) = ends
            .iter()
            .find(|(lsn, _)| *lsn == happened.at.lsn())
            .unwrap();
        match unit {
            Span::Timestamp => {
                let time = happened.event.timestamp();
                (time < from, from <= time && time <= to)
            }
            Span::BusinessDate => {
                let date = u64::from(date_of(maker, happened));
                (date < from, from <= date && date <= to)
            }
            Span::Lsn => {
                let begins = start.get() >= from;
                (!begins, begins && end.get() <= to)
            }
        }
    };
    let mut balances = Balances::default();
    for happened in mine().filter(|h| place(h).0) {
        naive_apply(&mut balances, happened, account);
    }
    let opening = balances;
    let lines = mine().filter(|h| place(h).1).map(|happened| {
        naive_apply(&mut balances, happened, account);
        (happened.event.timestamp(), shown(balances))
    });
    let lines = lines.collect();
    (shown(opening), lines)
}

fn statement<P: Past>(
    maker: &Maker,
    past: &mut P,
    number: u32,
    (unit, from, to): (Span, u64, u64),
    turn: u64,
) -> Vec<(u64, Balances)> {
    let mut lines = Vec::new();
    let mut cursor = 0;
    loop {
        let body = StatementBody {
            unit: (unit as u32).into(),
            limit: 3.into(),
            from: from.into(),
            to: to.into(),
            cursor: cursor.into(),
            ..StatementBody::default()
        };
        let account = present(maker, number);
        let query = StatementQuery::new(&body, account, maker.calendar(), 100).unwrap();
        let page = answer(Query::Statement(query), past, turn);
        let Rows::Lines(found) = &page.rows else {
            panic!("lines")
        };
        lines.extend(found.iter().map(|line| (line.timestamp, line.balances)));
        if page.next == 0 {
            return lines;
        }
        cursor = page.next;
    }
}

fn as_of<P: Past>(
    maker: &Maker,
    past: &mut P,
    number: u32,
    (unit, at): (Span, u64),
    turn: u64,
) -> BalanceThen {
    let moment = Moment {
        account: Some(present(maker, number)),
        unit,
        at,
    };
    let query = MomentQuery::new(vec![moment], maker.calendar());
    let Rows::Balances(found) = answer(Query::Moments(query), past, turn).rows else {
        panic!("balances")
    };
    found[0]
}

/// All pages of a query for transfers or balances, whose bodies differ by a bound.
fn pages<P: Past>(
    past: &mut P,
    turn: u64,
    mut filter: Filter,
    make: impl Fn(Filter) -> Query,
) -> Vec<Page> {
    let mut all = Vec::new();
    loop {
        let page = answer(make(filter.clone()), past, turn);
        let next = page.next;
        all.push(page);
        match (next, filter.reversed) {
            (0, _) => return all,
            (next, false) => filter.timestamp_min = next,
            (next, true) => filter.timestamp_max = next,
        }
    }
}

fn made(ops: &[[u8; 4]]) -> Maker {
    let mut maker = Maker::new();
    ops.iter().for_each(|op| maker.happen(*op));
    maker.finish(0);
    maker
}

fn matches(maker: &Maker, filter: &Filter, transfer: &Transfer) -> bool {
    filter.is_in_time(transfer.timestamp.get()) && filter.matches(&maker.past, transfer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn transfers_and_balances_are_those_that_a_list_of_everything_gives(
        ops in prop::collection::vec(any::<[u8; 4]>(), 1..200),
        fields in any::<[u8; 8]>(),
        times in any::<(u16, u16)>(),
        indexed in 0_usize..30,
        turn in 1_u64..60,
    ) {
        let maker = made(&ops);
        let span = maker.past.batches().last().unwrap().header.timestamp().get();
        let mut bounds = [times.0, times.1].map(|t| u64::from(t) * (span + 20) / 60_000);
        bounds.sort_unstable();
        let some = |field: u8, of: u8| if field < 100 { 0 } else { field % of };
        let number = u32::from(fields[0]) % ACCOUNTS;
        let reversed = fields[6] % 2 == 1;
        let account_filter = AccountFilterBody {
            account_id: 1.into(),
            user_data_128: u128::from(some(fields[1], 3)).into(),
            user_data_64: u64::from(some(fields[2], 3)).into(),
            code: u16::from(some(fields[3], 4)).into(),
            timestamp_min: bounds[0].into(),
            timestamp_max: bounds[1].into(),
            limit: 7.into(),
            flags: match fields[5] % 3 {
                0 => AccountFilterFlags::DEBITS,
                1 => AccountFilterFlags::CREDITS,
                _ => AccountFilterFlags::DEBITS | AccountFilterFlags::CREDITS,
            }
            .into(),
            ..AccountFilterBody::default()
        };
        let query_filter = QueryFilterBody {
            user_data_32: u32::from(some(fields[4], 3)).into(),
            ledger: u32::from(some(fields[7], 3)).into(),
            code: account_filter.code,
            timestamp_min: bounds[0].into(),
            timestamp_max: bounds[1].into(),
            limit: 7.into(),
            flags: if reversed { QueryFilterFlags::REVERSED } else { 0 }.into(),
            ..QueryFilterBody::default()
        };
        let account = AccountNumber::new(number);
        let mut of_account = Filter::of_account(&account_filter, account).unwrap();
        of_account.reversed = reversed;
        let of_all = Filter::of_query(&query_filter).unwrap();
        let mut scanned = maker.past.clone();
        let mut listed = IndexedPast::new(&maker, indexed, true);
        for filter in [of_account.clone(), of_all] {
            let mut expected: Vec<Transfer> = maker.all.iter().filter_map(|h| match h.event {
                Event::Transfer(transfer) if matches(&maker, &filter, &transfer) => Some(transfer),
                _ => None,
            }).collect();
            if filter.reversed {
                expected.reverse();
            }
            let make = |filter| Query::Transfers(TransferQuery::new(filter, maker.calendar(), 100));
            let one = pages(&mut scanned, turn, filter.clone(), make);
            let two = pages(&mut listed, turn, filter.clone(), make);
            for pages in [one, two] {
                let found: Vec<Transfer> = pages.iter().flat_map(|page| match &page.rows {
                    Rows::Transfers(rows) => rows.iter().map(|told| told.transfer),
                    _ => panic!("transfers"),
                }).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
        let mut balances = Balances::default();
        let mut expected = Vec::new();
        for happened in &maker.all {
            naive_apply(&mut balances, happened, account);
            match &happened.event {
                Event::Transfer(transfer) if matches(&maker, &of_account, transfer) => {
                    let timestamp = transfer.timestamp.get();
                    expected.push(BalanceThen { balances, timestamp });
                }
                _ => {}
            }
        }
        if reversed {
            expected.reverse();
        }
        let present = present(&maker, number);
        let make = |filter| Query::Balances(BalanceQuery::new(filter, present, 100));
        let one = pages(&mut scanned, turn, of_account.clone(), make);
        let two = pages(&mut listed, turn, of_account, make);
        for pages in [one, two] {
            let found: Vec<BalanceThen> = pages.into_iter().flat_map(|page| match page.rows {
                Rows::Balances(rows) => rows,
                _ => panic!("balances"),
            }).collect();
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn statements_and_balances_as_of_a_moment_are_those_that_a_list_of_everything_gives(
        ops in prop::collection::vec(any::<[u8; 4]>(), 1..200),
        number in 0..ACCOUNTS,
        unit in 0_u32..3,
        edges in any::<(u16, u16)>(),
        indexed in 0_usize..30,
        turn in 1_u64..60,
        has_dated: bool,
    ) {
        let maker = made(&ops);
        let unit = Span::from_number(unit).unwrap();
        let last = match unit {
            Span::Timestamp => maker.past.batches().last().unwrap().header.timestamp().get() + 50,
            Span::BusinessDate => u64::from(maker.days.last().map_or(2, |day| day.next)) + 6,
            Span::Lsn => maker.past.end().get() + 10_000,
        };
        let edge = |edge: u16| u64::from(edge) * last / 65_535;
        let (from, to) = (edge(edges.0.min(edges.1)), edge(edges.0.max(edges.1)).max(1));
        let mut scanned = maker.past.clone();
        let mut listed = IndexedPast::new(&maker, indexed, has_dated);
        let (_, expected) = naive_lines(&maker, number, unit, from, to);
        let span = (unit, from, to);
        prop_assert_eq!(&statement(&maker, &mut scanned, number, span, turn), &expected);
        prop_assert_eq!(&statement(&maker, &mut listed, number, span, turn), &expected);

        let (closing, _) = match unit {
            Span::Lsn => {
                let (_, lines) = naive_lines(&maker, number, unit, 0, to);
                (lines.last().map_or(Balances::default(), |line| line.1), ())
            }
            _ => (naive_lines(&maker, number, unit, to + 1, u64::MAX).0, ()),
        };
        let one = as_of(&maker, &mut scanned, number, (unit, to), turn);
        let two = as_of(&maker, &mut listed, number, (unit, to), turn);
        prop_assert_eq!(one.balances, closing);
        prop_assert_eq!(one, two);
    }

    #[test]
    fn the_feed_tells_every_record_once_whatever_its_pages(
        ops in prop::collection::vec(any::<[u8; 4]>(), 1..200),
        limit in 0_usize..20,
        rows_max in 2_usize..50,
        turn in 1_u64..60,
    ) {
        let maker = made(&ops);
        let mut past = maker.past.clone();
        let (mut from, mut found) = (0, Vec::new());
        while from < past.end().get() {
            let query = FeedQuery::new(from, limit, maker.calendar(), rows_max);
            let page = answer(Query::Feed(query), &mut past, turn);
            let Rows::Feed(items) = page.rows else { panic!("feed") };
            prop_assert!(items.len() <= rows_max);
            prop_assert!(page.next > from);
            found.extend(items.iter().map(|item| item.at));
            from = page.next;
        }
        let expected: Vec<RecordAt> = maker.past.batches().iter().flat_map(|batch| {
            let records = batch.header.record_count() as usize;
            (0..records).map(|n| RecordAt::new(batch.header.lsn(), n))
        }).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_filter_that_is_not_valid_finds_nothing() {
    let good = AccountFilterBody {
        account_id: 1.into(),
        limit: 1.into(),
        flags: AccountFilterFlags::DEBITS.into(),
        ..AccountFilterBody::default()
    };
    assert!(is_valid_account_filter(&good));
    let spoiled: [fn(&mut AccountFilterBody); 9] = [
        |body| body.account_id = 0.into(),
        |body| body.account_id = u128::MAX.into(),
        |body| body.limit = 0.into(),
        |body| body.flags = 0.into(),
        |body| body.flags = AccountFilterFlags::REVERSED.into(),
        |body| body.flags = (AccountFilterFlags::DEBITS | 8).into(),
        |body| body.reserved[57] = 1,
        |body| body.timestamp_max = (1 << 63).into(),
        |body| (body.timestamp_min, body.timestamp_max) = (3.into(), 2.into()),
    ];
    for spoil in spoiled {
        let mut body = good;
        spoil(&mut body);
        assert!(!is_valid_account_filter(&body), "{body:?}");
    }
    let good = QueryFilterBody {
        limit: 1.into(),
        timestamp_min: ((1 << 63) - 1).into(),
        ..QueryFilterBody::default()
    };
    assert!(is_valid_query_filter(&good));
    let spoiled: [fn(&mut QueryFilterBody); 4] = [
        |body| body.limit = 0.into(),
        |body| body.flags = 2.into(),
        |body| body.reserved[0] = 1,
        |body| body.timestamp_min = u64::MAX.into(),
    ];
    for spoil in spoiled {
        let mut body = good;
        spoil(&mut body);
        assert!(!is_valid_query_filter(&body), "{body:?}");
    }
}

#[test]
fn what_is_reserved_up_to_the_maximum_is_shown_by_business_date() {
    let mut maker = Maker::new();
    maker.reserve(0, 2, u128::MAX);
    maker.finish(0);
    let mut past = maker.past.clone();
    let span = (Span::BusinessDate, 0, 20_260_101);
    let lines = statement(&maker, &mut past, 0, span, 100);
    assert_eq!(lines[0].1.debits_pending, u128::MAX);
    let then = as_of(&maker, &mut past, 2, (Span::BusinessDate, 20_260_101), 100);
    assert_eq!(then.balances.credits_pending, u128::MAX);
}
