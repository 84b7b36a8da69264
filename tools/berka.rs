//! The bank's transactions of 1993 that the project carries, and what its printed balances say
//! about ours. The file and its provenance are described in `data/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use csv::StringRecord;

/// The file, as it lies in `data/`.
const COMPRESSED: &[u8] = include_bytes!("../data/berka-1993.csv.zst");
const HEADER: [&str; 10] = [
    "trans_id",
    "account_id",
    "date",
    "type",
    "operation",
    "amount",
    "balance",
    "k_symbol",
    "bank",
    "account",
];
/// What the source's rounding amounts to, in hellers.
const ROUNDING: u128 = 10;

/// One movement of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    /// Unique, and not zero.
    pub(crate) trans_id: u64,
    /// The bank's account, not zero.
    pub(crate) account_id: u64,
    /// When; movements of one day have no order.
    pub(crate) date: Date,
    /// Which way, as the account sees it.
    pub(crate) direction: Direction,
    /// Hellers.
    pub(crate) amount: u64,
    /// Hellers: what the bank printed as the account's balance after this row.
    pub(crate) printed_balance: i64,
    /// Who stands on the other side.
    pub(crate) counterparty: Counterparty,
    /// What for.
    pub(crate) k_symbol: KSymbol,
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(u32);

impl Date {
    /// As a decimal number: 19930131.
    pub(crate) const fn yyyymmdd(self) -> u32 {
        self.0
    }

    fn from_yymmdd(text: &str) -> Option<Self> {
        let short = digits(text).filter(|_| text.len() == 6)? as u32;
        let (year, month, day) = (1900 + short / 10_000, short / 100 % 100, short % 100);
        let leap = year.is_multiple_of(4) && year != 1900;
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(leap),
            _ => return None,
        };
        (1..=days)
            .contains(&day)
            .then_some(Self(19_000_000 + short))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = (self.0 / 10_000, self.0 / 100 % 100, self.0 % 100);
        write!(f, "{year}-{month:02}-{day:02}")
    }
}

/// Which way money goes, as the account sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Into the account.
    Credit,
    /// Out of the account.
    Debit,
}

/// Who stands on the other side of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counterparty {
    /// Notes over the counter or from a machine.
    Cash,
    /// The bank, as it pays or takes interest.
    Interest,
    /// The bank, as it charges for statements.
    Fee,
    /// An account elsewhere.
    OtherBank,
}

/// What a movement was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum KSymbol {
    /// Not said.
    Empty = 0,
    /// Not said, by one blank.
    Blank = 1,
    /// `UROK`.
    Interest = 2,
    /// `SANKC. UROK`.
    PenaltyInterest = 3,
    /// `SLUZBY`.
    StatementFee = 4,
    /// `SIPO`.
    Household = 5,
    /// `DUCHOD`.
    Pension = 6,
    /// `POJISTNE`.
    Insurance = 7,
    /// `UVER`.
    Loan = 8,
}

impl KSymbol {
    /// The number that it is kept under in a transfer's user data.
    pub(crate) const fn number(self) -> u32 {
        self as u32
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Empty,
            " " => Self::Blank,
            "UROK" => Self::Interest,
            "SANKC. UROK" => Self::PenaltyInterest,
            "SLUZBY" => Self::StatementFee,
            "SIPO" => Self::Household,
            "DUCHOD" => Self::Pension,
            "POJISTNE" => Self::Insurance,
            "UVER" => Self::Loan,
            _ => return None,
        })
    }
}

/// Why the file was refused. Nothing of it is used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bank transactions, line {line}: {what}")]
pub(crate) struct BerkaError {
    /// Line of the (decompressed) file, from 1.
    pub(crate) line: u64,
    /// What is wrong there.
    pub(crate) what: String,
}

/// The movements that the project carries, in the order of the file, which is by date.
pub(crate) fn carried_movements() -> Result<Vec<Movement>, BerkaError> {
    let csv = zstd::stream::decode_all(COMPRESSED).map_err(|error| BerkaError {
        line: 0,
        what: format!("cannot be decompressed: {error}"),
    })?;
    read_movements(&csv[..])
}

/// Reads a file of that form: every row, or the first one that is wrong.
pub(crate) fn read_movements(csv: impl Read) -> Result<Vec<Movement>, BerkaError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b';')
        .has_headers(false)
        .flexible(true)
        .from_reader(csv);
    let mut record = StringRecord::new();
    let mut movements: Vec<Movement> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut line = 1;
    let mut headed = false;
    loop {
        let refuse = |what: String| BerkaError { line, what };
        let more = reader.read_record(&mut record);
        if !more.map_err(|error| refuse(format!("cannot be read: {error}")))? {
            break;
        }
        let fields = record.len();
        if fields != HEADER.len() {
            return Err(refuse(format!("{fields} fields, not {}", HEADER.len())));
        }
        if !headed {
            if record != HEADER[..] {
                return Err(refuse(format!("the columns are not {}", HEADER.join(";"))));
            }
            headed = true;
        } else {
            let movement = read_movement(&record).map_err(refuse)?;
            let (id, date) = (movement.trans_id, movement.date);
            if !ids.insert(id) {
                return Err(refuse(format!("trans_id {id} stands here a second time")));
            }
            if let Some(last) = movements.last().filter(|last| last.date > date) {
                return Err(refuse(format!("date {date} comes after {}", last.date)));
            }
            movements.push(movement);
        }
        line = reader.position().line();
    }
    match headed {
        true => Ok(movements),
        false => Err(BerkaError {
            line: 1,
            what: "the file is empty".into(),
        }),
    }
}

fn read_movement(record: &StringRecord) -> Result<Movement, String> {
    let wrong = |place: usize| format!("{} reads {:?}", HEADER[place], &record[place]);
    let id = |place: usize| {
        let id = digits(&record[place]).filter(|id| *id != 0);
        id.ok_or_else(|| wrong(place))
    };
    let balance = &record[6];
    let (sign, size) = match balance.strip_prefix('-') {
        Some(size) => (-1, size),
        None => (1, balance),
    };
    let size = hellers(size).and_then(|size| i64::try_from(size).ok());
    let k_symbol = KSymbol::from_text(&record[7]).ok_or_else(|| wrong(7))?;
    let (bank, account) = (&record[8], &record[9]);
    if !matches!(bank.len(), 0 | 2) || !bank.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(wrong(8));
    }
    if !account.is_empty() && digits(account).is_none() {
        return Err(wrong(9));
    }
    Ok(Movement {
        trans_id: id(0)?,
        account_id: id(1)?,
        date: Date::from_yymmdd(&record[2]).ok_or_else(|| wrong(2))?,
        direction: match &record[3] {
            "PRIJEM" => Direction::Credit,
            "VYDAJ" | "VYBER" => Direction::Debit,
            _ => return Err(wrong(3)),
        },
        amount: hellers(&record[5]).ok_or_else(|| wrong(5))?,
        printed_balance: sign * size.ok_or_else(|| wrong(6))?,
        counterparty: counterparty(&record[4], k_symbol).ok_or_else(|| wrong(4))?,
        k_symbol,
    })
}

/// What the movement was for decides before how it was done: fees read as withdrawals.
fn counterparty(operation: &str, k_symbol: KSymbol) -> Option<Counterparty> {
    let by_operation = match operation {
        "VKLAD" | "VYBER" | "VYBER KARTOU" => Some(Counterparty::Cash),
        "PREVOD Z UCTU" | "PREVOD NA UCET" => Some(Counterparty::OtherBank),
        "" => None,
        _ => return None,
    };
    match k_symbol {
        KSymbol::Interest | KSymbol::PenaltyInterest => Some(Counterparty::Interest),
        KSymbol::StatementFee => Some(Counterparty::Fee),
        _ => by_operation,
    }
}

/// Decimal digits and nothing else.
fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Crowns with exactly two decimals, without a sign, in hellers.
fn hellers(text: &str) -> Option<u64> {
    let (crowns, rest) = text.split_once('.')?;
    let rest = digits(rest).filter(|_| rest.len() == 2)?;
    digits(crowns)?.checked_mul(100)?.checked_add(rest)
}

/// How our closing balance of one account and day compares with the bank's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The bank printed exactly this.
    Equal,
    /// Off by exactly 0.10, as the source rounds.
    Rounded,
    /// Off by anything else: printed minus expected, in hellers.
    Differs(i128),
}

/// Counts of what [`ClosingOracle::judge`] said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClosingCounts {
    /// Account days that ended in [`Closing::Equal`].
    pub(crate) equal: u64,
    /// Account days that ended in [`Closing::Rounded`].
    pub(crate) rounded: u64,
    /// Account days that ended in [`Closing::Differs`].
    pub(crate) differ: u64,
}

impl ClosingCounts {
    /// What the carried file gives if every movement was posted exactly once and on its day.
    pub(crate) const CARRIED: Self = Self {
        equal: 22_073,
        rounded: 1_366,
        differ: 1,
    };
}

/// Judges balances that we keep by those that the bank printed.
///
/// It keeps nothing of ours: of our balance it uses the change over one day, as the caller
/// looked it up, and adds that to the bank's own closing before.
#[derive(Debug, Default)]
pub(crate) struct ClosingOracle {
    /// Last day and printed closing of each account.
    closings: BTreeMap<u64, (Date, i64)>,
    counts: ClosingCounts,
}

impl ClosingOracle {
    /// Judges one account at the end of one day. `before` and `after` are our balance (credits
    /// minus debits, in hellers) before and after that day's movements, `printed` all balances
    /// that the bank printed for the account on that day, in any order.
    ///
    /// Panics if nothing was printed, or if the account's days do not ascend: then the caller
    /// did not compare what it thinks.
    pub(crate) fn judge(
        &mut self,
        account_id: u64,
        day: Date,
        before: i128,
        after: i128,
        printed: &[i64],
    ) -> Closing {
        let last = self.closings.get(&account_id);
        assert!(last.is_none_or(|(before, _)| *before < day), "days ascend");
        // An account opens with nothing.
        let previous = last.map_or(0, |(_, closing)| *closing);
        let change = after.saturating_sub(before);
        let expected = i128::from(previous).saturating_add(change);
        let distance = |balance: &i64| i128::from(*balance).abs_diff(expected);
        let nearest = printed.iter().copied().min_by_key(distance);
        let closing = nearest.expect("a balance was printed that day");
        self.closings.insert(account_id, (day, closing));
        match distance(&closing) {
            0 => {
                self.counts.equal += 1;
                Closing::Equal
            }
            ROUNDING => {
                self.counts.rounded += 1;
                Closing::Rounded
            }
            _ => {
                self.counts.differ += 1;
                Closing::Differs(i128::from(closing).saturating_sub(expected))
            }
        }
    }

    /// What was judged so far.
    pub(crate) fn counts(&self) -> ClosingCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\
                        \"amount\";\"balance\";\"k_symbol\";\"bank\";\"account\"\n";
    const ROW: &str = "695247;2378;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;\n";

    fn read(rows: &str) -> Result<Vec<Movement>, BerkaError> {
        read_movements(format!("{HEAD}{rows}").as_bytes())
    }

    #[test]
    fn every_carried_row_is_read_and_has_its_counterparty() {
        let movements = carried_movements().unwrap();
        let of = |who| {
            movements
                .iter()
                .filter(|one| one.counterparty == who)
                .count()
        };
        assert_eq!(movements.len(), 28_205);
        assert_eq!(of(Counterparty::Cash), 13_516);
        assert_eq!(of(Counterparty::Interest), 6_065 + 9);
        assert_eq!(of(Counterparty::Fee), 2_922);
        assert_eq!(of(Counterparty::OtherBank), 5_693);
        let below = movements
            .iter()
            .filter(|one| one.printed_balance < 0)
            .count();
        assert_eq!(below, 15);
        assert_eq!(movements[0].date.to_string(), "1993-01-01");
        assert_eq!(movements.last().unwrap().date.yyyymmdd(), 19_931_231);
    }

    #[test]
    fn exact_sums_agree_with_the_balances_that_the_bank_printed() {
        let movements = carried_movements().unwrap();
        let mut days: BTreeMap<(Date, u64), Vec<&Movement>> = BTreeMap::new();
        for one in &movements {
            days.entry((one.date, one.account_id))
                .or_default()
                .push(one);
        }
        let mut oracle = ClosingOracle::default();
        let mut sums: BTreeMap<u64, i128> = BTreeMap::new();
        let mut differing = Vec::new();
        for ((day, account), rows) in days {
            let before = sums.get(&account).copied().unwrap_or(0);
            let changes = rows.iter().map(|one| match one.direction {
                Direction::Credit => i128::from(one.amount),
                Direction::Debit => -i128::from(one.amount),
            });
            let after = before + changes.sum::<i128>();
            sums.insert(account, after);
            let printed: Vec<i64> = rows.iter().map(|one| one.printed_balance).collect();
            if let Closing::Differs(by) = oracle.judge(account, day, before, after, &printed) {
                differing.push((account, day.to_string(), by.abs()));
            }
        }
        assert_eq!(oracle.counts(), ClosingCounts::CARRIED);
        assert_eq!(differing, [(8132, "1993-12-31".to_owned(), 20)]);
    }

    #[test]
    fn a_posting_that_is_missing_or_doubled_shows() {
        let mut oracle = ClosingOracle::default();
        let day = |text| Date::from_yymmdd(text).unwrap();
        let first = oracle.judge(1, day("930101"), 0, 70_000, &[70_000]);
        assert_eq!(first, Closing::Equal);
        let missing = oracle.judge(1, day("930102"), 70_000, 70_000, &[75_000]);
        assert_eq!(missing, Closing::Differs(5_000));
        // From the printed closing on, so one error counts once.
        let next = oracle.judge(1, day("930103"), 70_000, 70_110, &[75_100, 99_999]);
        assert_eq!(next, Closing::Rounded);
        let doubled = oracle.judge(1, day("930104"), 70_110, 70_310, &[75_200]);
        assert_eq!(doubled, Closing::Differs(-100));
    }

    #[test]
    fn a_row_is_read_to_the_heller() {
        let rows = "171812;576;930228;\"VYDAJ\";\"VYBER\";14.60;-23785.81;\"SLUZBY\";;\n";
        let one = read(rows).unwrap()[0];
        assert_eq!(
            (one.trans_id, one.account_id, one.amount),
            (171_812, 576, 1_460)
        );
        assert_eq!(
            (one.direction, one.printed_balance),
            (Direction::Debit, -2_378_581)
        );
        assert_eq!(
            (one.counterparty, one.k_symbol.number()),
            (Counterparty::Fee, 4)
        );
    }

    #[test]
    fn anything_else_is_refused_with_its_line() {
        let cases = [
            ("930101", "930229", "date"),
            ("930101", "9301010", "date"),
            ("695247", "0", "trans_id"),
            ("2378", "-2", "account_id"),
            ("PRIJEM", "PRIJMY", "type"),
            ("VKLAD", "", "operation"),
            ("VKLAD", "SEK", "operation"),
            (";700.00;7", ";700.0;7", "amount"),
            (";700.00;7", ";+700.00;7", "amount"),
            (";700.00;7", ";.00;7", "amount"),
            (";700.00;7", ";184467440737095516.16;7", "amount"),
            (";700.00;\"", ";700;\"", "balance"),
            (";700.00;\"", ";--700.00;\"", "balance"),
            (";\"\";;", ";\"NIC\";;", "k_symbol"),
            (";\"\";;", ";\"\";xy;", "bank"),
            (";\"\";;", ";\"\";;1x", "account"),
            (";\"\";;", ";\"\"", "8 fields"),
        ];
        for (good, bad, column) in cases {
            let row = ROW.replacen(good, bad, 1);
            assert_ne!(row, ROW);
            let error = read(&format!("{}{row}", ROW.replace("695247", "5"))).unwrap_err();
            assert_eq!(error.line, 3, "{error}");
            assert!(error.what.contains(column), "{column}: {error}");
        }
        assert!(
            read(&format!("{ROW}{ROW}"))
                .unwrap_err()
                .what
                .contains("second time")
        );
        let earlier = ROW.replace("695247", "5").replace("930101", "921231");
        assert!(
            read(&format!("{ROW}{earlier}"))
                .unwrap_err()
                .what
                .contains("after")
        );
        assert_eq!(read_movements(&b""[..]).unwrap_err().line, 1);
        assert_eq!(read_movements(&b"a;b\n"[..]).unwrap_err().line, 1);
        assert!(read("\u{fffd}").is_err() && read_movements(&[0xff, b'\n'][..]).is_err());
    }
}
