//! Moments as people write them: a time, a date, a position of the log.

use kanjo_client::{BalanceAsOfBody, Span};
use kanjo_format::Timestamp;

use crate::dates::{Date, parse_date};
use crate::times::parse_time;

/// An end of a span of time. A date stands for the whole day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Time(Timestamp),
    Day(Date),
}

impl Bound {
    /// Its first nanosecond.
    pub(crate) fn first(self) -> u64 {
        match self {
            Self::Time(time) => time.get(),
            Self::Day(day) => day.start().get(),
        }
    }

    /// Its last nanosecond.
    pub(crate) fn last(self) -> u64 {
        match self {
            Self::Time(time) => time.get(),
            Self::Day(day) => day.end().get(),
        }
    }
}

/// `2026-01-31`, or what [`parse_time`] reads.
pub(crate) fn parse_bound(text: &str) -> Result<Bound, String> {
    match parse_date(text) {
        Ok(day) => Ok(Bound::Day(day)),
        Err(why) if text.len() == 10 && text.contains('-') => Err(why),
        Err(_) => parse_time(text).map(Bound::Time),
    }
}

/// A moment at which balances are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Time(Timestamp),
    BusinessDate(Date),
    Lsn(u64),
}

impl Moment {
    /// The question after one account's balances then.
    pub(crate) fn ask(self, account: u128) -> BalanceAsOfBody {
        let (unit, at) = match self {
            Self::Time(time) => (Span::Timestamp, time.get()),
            Self::BusinessDate(date) => (Span::BusinessDate, u64::from(date.number())),
            Self::Lsn(lsn) => (Span::Lsn, lsn),
        };
        BalanceAsOfBody {
            account_id: account.into(),
            at: at.into(),
            unit: (unit as u32).into(),
            ..BalanceAsOfBody::default()
        }
    }
}

/// `lsn:4096`, a business date, or what [`parse_time`] reads.
pub(crate) fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Some(lsn) = text.strip_prefix("lsn:") {
        let lsn = lsn.parse().map_err(|_| "has no whole number behind lsn:");
        return Ok(Moment::Lsn(lsn?));
    }
    match parse_bound(text)? {
        Bound::Time(time) => Ok(Moment::Time(time)),
        Bound::Day(date) => Ok(Moment::BusinessDate(date)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_whole() {
        let day = parse_bound("1970-01-02").unwrap();
        assert_eq!(
            (day.first(), day.last()),
            (86_400_000_000_000, 172_799_999_999_999)
        );
        let time = parse_bound("1970-01-02T00:00:01Z").unwrap();
        assert_eq!(
            (time.first(), time.last()),
            (86_401_000_000_000, 86_401_000_000_000)
        );
        let refused = parse_bound("2026-02-30").unwrap_err();
        assert!(refused.contains("calendar"), "{refused}");
    }

    #[test]
    fn a_moment_is_a_time_a_business_date_or_a_position() {
        assert_eq!(parse_moment("lsn:4096"), Ok(Moment::Lsn(4_096)));
        let date = Moment::BusinessDate(parse_date("2026-01-31").unwrap());
        assert_eq!(parse_moment("2026-01-31"), Ok(date));
        assert_eq!(date.ask(7).at.get(), 20_260_131);
        assert_eq!(parse_moment("77"), Ok(Moment::Time(Timestamp::new(77))));
        for wrong in ["lsn:", "lsn:x", "soon", ""] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
