//! Days of the calendar, as banks count them: `2026-01-31`, and 20260131 in what is sent.

use std::fmt;

use kanjo_format::Timestamp;

const DAY_NANOS: u64 = 24 * 3600 * 1_000_000_000;
/// Behind it nanoseconds since 1970 do not fit 64 bits.
const YEAR_MAX: u32 = 2553;

/// A day of the calendar from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    year: u32,
    month: u32,
    day: u32,
}

impl Date {
    /// Year, month and day; `None` where there is no such day.
    fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let exists = (1970..=YEAR_MAX).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// The day of a number like 20260131.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::new(number / 10_000, number / 100 % 100, number % 100)
    }

    /// A number like 20260131.
    pub(crate) const fn number(self) -> u32 {
        self.year * 10_000 + self.month * 100 + self.day
    }

    /// Its first nanosecond, in UTC.
    pub(crate) fn start(self) -> Timestamp {
        Timestamp::new(self.days() * DAY_NANOS)
    }

    /// Its last nanosecond, in UTC.
    pub(crate) fn end(self) -> Timestamp {
        Timestamp::new(self.days() * DAY_NANOS + DAY_NANOS - 1)
    }

    /// Days since 1970-01-01. Source: Howard Hinnant, "chrono-compatible low-level date
    /// algorithms", `days_from_civil`, for days that are not negative.
    fn days(self) -> u64 {
        let year = u64::from(self.year) - u64::from(self.month <= 2);
        let from_march = u64::from((self.month + 9) % 12);
        let of_year = (153 * from_march + 2) / 5 + u64::from(self.day) - 1;
        let (era, of_era) = (year / 400, year % 400);
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

const fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `2026-01-31`.
pub(crate) fn parse_date(text: &str) -> Result<Date, String> {
    let is_form = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_form {
        return Err("is no date like 2026-01-31".to_owned());
    }
    let number = |from: usize, to: usize| text[from..to].parse().unwrap_or(0);
    Date::new(number(0, 4), number(5, 7), number(8, 10))
        .ok_or_else(|| "is not in the calendar (from 1970 on)".to_owned())
}

/// A date as it was sent: empty for zero, and a number that is no date as it is.
pub(crate) fn show_date(number: u32) -> String {
    match (number, Date::from_number(number)) {
        (0, _) => String::new(),
        (_, Some(date)) => date.to_string(),
        (number, None) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::times::show_time;

    #[test]
    fn dates_that_exist_are_read_and_shown() {
        for (text, number) in [("2026-01-31", 20_260_131), ("2024-02-29", 20_240_229)] {
            let date = parse_date(text).unwrap();
            assert_eq!((date.number(), date.to_string()), (number, text.to_owned()));
            assert_eq!(Date::from_number(number), Some(date));
        }
        for wrong in [
            "2026-02-29",
            "2026-00-01",
            "2026-13-01",
            "2026-04-31",
            "1969-12-31",
            "2026-1-1",
            "20260131",
            "2026/01/31",
            "",
            "2026-01-3x",
        ] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show_date(0), "");
        assert_eq!(show_date(20_260_231), "20260231");
    }

    #[test]
    fn a_day_begins_and_ends_in_utc() {
        for (text, start) in [
            ("1970-01-01", "1970-01-01T00:00:00.000000000Z"),
            ("2000-02-29", "2000-02-29T00:00:00.000000000Z"),
            ("2100-03-01", "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(show_time(parse_date(text).unwrap().start()), start);
        }
        let end = parse_date("2026-12-31").unwrap().end();
        assert_eq!(show_time(end), "2026-12-31T23:59:59.999999999Z");
    }
}
