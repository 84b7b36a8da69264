//! Business dates: which one is current, and which ones were closed where in the log.

use kanjo_format::{RecordAt, Timestamp};

/// The close of one business date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The date that was closed, as YYYYMMDD; 0 where business dates began.
    pub closed: u32,
    /// The date that is current behind it.
    pub next: u32,
    /// Where it stands.
    pub at: RecordAt,
    /// When that was, in nanoseconds.
    pub(crate) timestamp: u64,
}

impl Day {
    /// When the date was closed.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.timestamp)
    }
}

/// All closes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusinessDays {
    closes: Vec<Day>,
}

impl BusinessDays {
    /// The current date as YYYYMMDD; 0 before there is one.
    pub fn current(&self) -> u32 {
        self.closes.last().map_or(0, |day| day.next)
    }

    /// The last date that was closed; 0 for none.
    pub fn last_closed(&self) -> u32 {
        self.closes.last().map_or(0, |day| day.closed)
    }

    /// The date that was current when the record at `at` was made; 0 for none.
    pub fn date_at(&self, at: RecordAt) -> u32 {
        let after = self.closes.partition_point(|day| day.at < at);
        match after.checked_sub(1) {
            None => 0,
            Some(n) => self.closes[n].next,
        }
    }

    /// All closes, in order of the log and of dates.
    pub fn closes(&self) -> &[Day] {
        &self.closes
    }

    /// The close of a date.
    pub(crate) fn find(&self, date: u32) -> Option<&Day> {
        let n = self.closes.binary_search_by_key(&date, |day| day.closed);
        n.ok().map(|n| &self.closes[n])
    }

    /// Whether a close of `closed` fits behind those that are there.
    pub(crate) fn fits(&self, closed: u32, next: u32) -> bool {
        closed == self.current() && next > closed && is_date(next)
    }

    pub(crate) fn push(&mut self, day: Day) {
        assert!(self.fits(day.closed, day.next), "checked before");
        self.closes.push(day);
    }

    /// Points closes of a batch that was moved to where they stand.
    pub(crate) fn repoint(&mut self, moved: impl Fn(RecordAt) -> RecordAt) {
        for day in &mut self.closes {
            day.at = moved(day.at);
        }
    }
}

/// Whether YYYYMMDD is a day of the Gregorian calendar.
pub(crate) fn is_date(date: u32) -> bool {
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=9_999).contains(&year) && (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        let dates = [
            20_240_229, 20_000_229, 20_261_231, 20_260_430, 10_101, 99_991_231,
        ];
        assert!(dates.iter().all(|&date| is_date(date)));
        let none = [
            0,
            20_230_229,
            19_000_229,
            20_261_301,
            20_260_431,
            20_260_100,
            20_260_001,
            101,
            100_000_101,
            u32::MAX,
        ];
        for date in none {
            assert!(!is_date(date), "{date}");
        }
    }
}
