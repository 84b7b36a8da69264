//! Transfers from a CSV file of any origin.
//!
//! The first line names the columns, in any order; fields are separated by commas and may stand
//! in double quotes. Numbers are decimal, or hexadecimal after `0x`.
//!
//! | column | |
//! |---|---|
//! | `id` | 128 bits; the same file can be imported again: what is there is not posted twice |
//! | `debit_account_id` | 128 bits; the account whose debits grow |
//! | `credit_account_id` | 128 bits; the account whose credits grow |
//! | `amount` | 128 bits, in minor units of the ledger (cents, hellers): no decimal point |
//! | `ledger` | 32 bits |
//! | `code` | 16 bits |
//!
//! These may be absent, or empty, which is zero:
//!
//! | column | |
//! |---|---|
//! | `user_data_128`, `user_data_64`, `user_data_32` | of those bits |
//! | `flags` | by name, with `|` between: `linked|pending` |
//! | `pending_id` | the pending transfer that it posts or voids |
//! | `timeout` | seconds after which a pending transfer expires |
//! | `timestamp` | nanoseconds, of an `imported` one |
//! | `reverses` | the transfer that it reverses |
//! | `value_date`, `business_date` | like `2026-01-31` |

use std::io::{BufRead, Read};

use kanjo_client::{TransferBody, TransferDetailBody};

use crate::dates::{Date, parse_date};
use crate::flags::parse_transfer_flags;

/// Columns that must be there, then those that may.
const COLUMNS: [&str; 16] = [
    "id",
    "debit_account_id",
    "credit_account_id",
    "amount",
    "ledger",
    "code",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "flags",
    "pending_id",
    "timeout",
    "timestamp",
    "reverses",
    "value_date",
    "business_date",
];
const REQUIRED: usize = 6;
/// Numbers of 128 bits in every column take less than a tenth of it.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Why a file, or a row of it, was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferCsvError {
    /// The first line does not name the columns.
    #[error("line 1: {0}; the columns are {cols}", cols = COLUMNS.join(","))]
    Header(String),
    /// A field is not what its column holds.
    #[error("line {line}, column {column}: {what}")]
    Field {
        /// From 1.
        line: u64,
        /// Its name.
        column: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The line is no row of this file.
    #[error("line {line}: {what}")]
    Row {
        /// From 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be read.
    #[error("after line {line}: {error}")]
    Read {
        /// The last line that was read.
        line: u64,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Reads transfers one by one, whatever the size of the file. After an error there is no more.
///
/// It reads line by line by itself: no field of such a file can hold a line end or a comma, and
/// so the line that an error names is always the right one, and a line's length has a bound.
pub(crate) struct TransferCsv<R> {
    source: R,
    text: Vec<u8>,
    line: u64,
    /// Fields of the first line.
    fields: usize,
    /// Where in a row each of [`COLUMNS`] stands.
    places: [Option<usize>; COLUMNS.len()],
    failed: bool,
}

impl<R: BufRead> TransferCsv<R> {
    /// Reads the first line.
    pub(crate) fn new(source: R) -> Result<Self, TransferCsvError> {
        let mut file = Self {
            source,
            text: Vec::new(),
            line: 0,
            fields: 0,
            places: [None; COLUMNS.len()],
            failed: false,
        };
        file.read_line()?;
        let header = fields_of(&file.text).map_err(|what| file.row_error(what))?;
        let found = places(&header).map_err(TransferCsvError::Header)?;
        (file.fields, file.places) = (header.len(), found);
        Ok(file)
    }

    /// Reads a line into `text`, without its end. False if there is none.
    fn read_line(&mut self) -> Result<bool, TransferCsvError> {
        self.text.clear();
        let mut bounded = (&mut self.source).take(LINE_BYTES_MAX as u64 + 1);
        let line = self.line;
        let read = bounded.read_until(b'\n', &mut self.text);
        let read = read.map_err(|error| TransferCsvError::Read { line, error })?;
        self.line += 1;
        if read > LINE_BYTES_MAX {
            return Err(self.row_error(format!("is longer than {LINE_BYTES_MAX} bytes")));
        }
        while self.text.last().is_some_and(u8::is_ascii_whitespace) {
            self.text.pop();
        }
        Ok(read > 0)
    }

    fn next_row(&mut self) -> Result<Option<(u64, TransferDetailBody)>, TransferCsvError> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            if !self.text.is_empty() {
                break;
            }
        }
        let fields = fields_of(&self.text).map_err(|what| self.row_error(what))?;
        let (count, expected) = (fields.len(), self.fields);
        if count != expected {
            let what = format!("has {count} fields, the first line has {expected}");
            return Err(self.row_error(what));
        }
        let row = Row {
            fields: &fields,
            places: &self.places,
            line: self.line,
        };
        Ok(Some((self.line, row.transfer()?)))
    }

    fn row_error(&self, what: String) -> TransferCsvError {
        let line = self.line;
        TransferCsvError::Row { line, what }
    }
}

impl<R: BufRead> Iterator for TransferCsv<R> {
    /// A transfer with the line that it stands on.
    type Item = Result<(u64, TransferDetailBody), TransferCsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.next_row();
        self.failed = row.is_err();
        row.transpose()
    }
}

/// The fields of a line, without blanks and quotes around them.
fn fields_of(line: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
    Ok(text.split(',').map(bare).collect())
}

fn bare(field: &str) -> &str {
    let field = field.trim_start_matches('\u{feff}').trim();
    let inner = field
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(field)
}

fn places(header: &[&str]) -> Result<[Option<usize>; COLUMNS.len()], String> {
    let mut places = [None; COLUMNS.len()];
    for (place, name) in header.iter().enumerate() {
        let Some(column) = COLUMNS.iter().position(|known| known == name) else {
            return Err(format!("column {name:?} is unknown"));
        };
        if places[column].replace(place).is_some() {
            return Err(format!("column {name:?} is there twice"));
        }
    }
    match places[..REQUIRED].iter().position(Option::is_none) {
        Some(missing) => Err(format!("column {:?} is missing", COLUMNS[missing])),
        None => Ok(places),
    }
}

struct Row<'a> {
    fields: &'a [&'a str],
    places: &'a [Option<usize>; COLUMNS.len()],
    line: u64,
}

impl Row<'_> {
    fn transfer(&self) -> Result<TransferDetailBody, TransferCsvError> {
        let transfer = TransferBody {
            id: self.number(0, 128)?.into(),
            debit_account_id: self.number(1, 128)?.into(),
            credit_account_id: self.number(2, 128)?.into(),
            amount: self.number(3, 128)?.into(),
            ledger: (self.number(4, 32)? as u32).into(),
            code: (self.number(5, 16)? as u16).into(),
            user_data_128: self.number(6, 128)?.into(),
            user_data_64: (self.number(7, 64)? as u64).into(),
            user_data_32: (self.number(8, 32)? as u32).into(),
            flags: self.read(9, parse_transfer_flags)?.into(),
            pending_id: self.number(10, 128)?.into(),
            timeout: (self.number(11, 32)? as u32).into(),
            timestamp: (self.number(12, 64)? as u64).into(),
        };
        let date = |text: &str| parse_date(text).map(Date::number);
        Ok(TransferDetailBody {
            transfer,
            reverses: self.number(13, 128)?.into(),
            value_date: self.read(14, date)?.into(),
            business_date: self.read(15, date)?.into(),
            ..TransferDetailBody::default()
        })
    }

    /// The field of that column; empty where there is none.
    fn text(&self, column: usize) -> &str {
        let text = self.places[column].and_then(|place| self.fields.get(place).copied());
        text.unwrap_or_default()
    }

    /// What stands in that column, the default where nothing does.
    fn read<T: Default>(
        &self,
        column: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, TransferCsvError> {
        match self.text(column) {
            "" => Ok(T::default()),
            text => parse(text).map_err(|what| TransferCsvError::Field {
                line: self.line,
                column: COLUMNS[column],
                what: format!("{text:?}: {what}"),
            }),
        }
    }

    /// The field of that column, which fits into so many bits.
    fn number(&self, column: usize, bits: u32) -> Result<u128, TransferCsvError> {
        let text = self.text(column);
        if text.is_empty() && column >= REQUIRED {
            return Ok(0);
        }
        let refuse = |what| TransferCsvError::Field {
            line: self.line,
            column: COLUMNS[column],
            what,
        };
        let (digits, radix) = match text.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            let wanted = match column {
                3 => "a whole number of minor units",
                _ => "a whole number",
            };
            return Err(refuse(format!("{text:?} is not {wanted}")));
        }
        match u128::from_str_radix(digits, radix) {
            Ok(number) if number.checked_shr(bits).unwrap_or(0) == 0 => Ok(number),
            _ => Err(refuse(format!("{text:?} does not fit into {bits} bits"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id,debit_account_id,credit_account_id,amount,ledger,code";

    fn read_details(text: &str) -> Result<Vec<(u64, TransferDetailBody)>, String> {
        let rows = TransferCsv::new(text.as_bytes()).map_err(|error| error.to_string())?;
        rows.map(|row| row.map_err(|error| error.to_string()))
            .collect()
    }

    fn read(text: &str) -> Result<Vec<(u64, TransferBody)>, String> {
        let rows = read_details(text)?.into_iter();
        Ok(rows.map(|(line, row)| (line, row.transfer)).collect())
    }

    #[test]
    fn columns_of_the_whole_ledger_are_read_where_they_are_there() {
        let head =
            format!("{HEAD},flags,pending_id,timeout,timestamp,reverses,value_date,business_date");
        let text = format!(
            "{head}\n1,2,3,4,5,6,linked|pending,,60,,,2026-02-02,\n2,2,3,4,5,6,,1,,77,9,,2026-01-31\n"
        );
        let rows = read_details(&text).unwrap();
        let first = &rows[0].1;
        assert_eq!(
            (first.transfer.flags.get(), first.transfer.timeout.get()),
            (3, 60)
        );
        assert_eq!(
            (first.value_date.get(), first.business_date.get()),
            (20_260_202, 0)
        );
        let second = &rows[1].1;
        assert_eq!(
            (second.transfer.pending_id.get(), second.reverses.get()),
            (1, 9)
        );
        assert_eq!(second.transfer.timestamp.get(), 77);
        assert_eq!(second.business_date.get(), 20_260_131);
        let wrong = format!("{head}\n1,2,3,4,5,6,linkd,,,,,,\n");
        let refused = read_details(&wrong).unwrap_err();
        assert!(
            refused.starts_with("line 2, column flags: \"linkd\""),
            "{refused}"
        );
        let wrong = format!("{head}\n1,2,3,4,5,6,,,,,,2026-02-30,\n");
        assert!(
            read_details(&wrong)
                .unwrap_err()
                .contains("column value_date")
        );
    }

    #[test]
    fn columns_are_found_by_name_and_optional_ones_are_zero() {
        let text = "code,amount,user_data_64,id,ledger,credit_account_id,debit_account_id\r\n\
                    7, 1250 ,,0xff,203,\"2\",1\r\n\
                    \r\n\
                    7,0,19930101,340282366920938463463374607431768211455,203,2,1\r\n";
        let rows = read(text).unwrap();
        let (line, first) = &rows[0];
        assert_eq!((*line, first.id.get(), first.amount.get()), (2, 255, 1250));
        assert_eq!(
            (first.debit_account_id.get(), first.credit_account_id.get()),
            (1, 2)
        );
        assert_eq!((first.ledger.get(), first.code.get()), (203, 7));
        assert_eq!(
            (first.user_data_64.get(), first.user_data_128.get()),
            (0, 0)
        );
        let (line, second) = &rows[1];
        assert_eq!((*line, second.id.get()), (4, u128::MAX));
        assert_eq!(second.user_data_64.get(), 19_930_101);
    }

    #[test]
    fn a_wrong_field_is_named_by_line_and_column_and_ends_the_file() {
        let cases = [
            (
                "1,2,3,12.50,5,6",
                "line 3, column amount: \"12.50\" is not a whole number of minor",
            ),
            ("1,2,3,-4,5,6", "line 3, column amount"),
            ("+1,2,3,4,5,6", "line 3, column id: \"+1\""),
            ("1,,3,4,5,6", "line 3, column debit_account_id: \"\""),
            ("1,2,0x,4,5,6", "line 3, column credit_account_id"),
            (
                "1,2,3,4,4294967296,6",
                "line 3, column ledger: \"4294967296\" does not fit into 32",
            ),
            (
                "1,2,3,4,5,65536",
                "line 3, column code: \"65536\" does not fit into 16",
            ),
            (
                "1,2,3,340282366920938463463374607431768211456,5,6",
                "does not fit into 128",
            ),
            ("1,2,3,4,5", "line 3: has 5 fields, the first line has 6"),
        ];
        for (row, expected) in cases {
            let text = format!("{HEAD}\n9,2,3,4,5,6\n{row}\n8,2,3,4,5,6\n");
            let mut rows = TransferCsv::new(text.as_bytes()).unwrap();
            assert!(rows.next().unwrap().is_ok());
            let error = rows.next().unwrap().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(rows.next().is_none());
        }
        let long = format!("{HEAD}\n{}\n", "1".repeat(LINE_BYTES_MAX));
        assert!(
            read(&long)
                .unwrap_err()
                .starts_with("line 2: is longer than")
        );
        let mut bytes = format!("{HEAD}\n").into_bytes();
        bytes.extend_from_slice(b"\xff,2,3,4,5,6\n");
        let error = TransferCsv::new(&bytes[..]).unwrap().next().unwrap();
        assert_eq!(error.unwrap_err().to_string(), "line 2: is not UTF-8");
    }

    #[test]
    fn a_header_that_lacks_doubles_or_invents_a_column_is_refused() {
        let refused = |head: &str| read(head).unwrap_err();
        assert!(refused("id,amount\n").contains("\"debit_account_id\" is missing"));
        assert!(refused(&format!("{HEAD},memo\n")).contains("\"memo\" is unknown"));
        assert!(refused(&format!("{HEAD},code\n")).contains("\"code\" is there twice"));
        assert!(refused("").contains("column \"\" is unknown"));
        assert_eq!(read(&format!("{HEAD}\n")).unwrap(), []);
    }
}
