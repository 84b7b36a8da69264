//! Log time for people: RFC 3339 in UTC, to the nanosecond, as the log keeps it.

use std::time::Duration;

use kanjo_format::Timestamp;

use crate::dates::parse_date;

const DAY_SECONDS: u64 = 24 * 3600;

/// `2026-05-01T12:34:56.000000001Z`.
pub(crate) fn show_time(time: Timestamp) -> String {
    let (seconds, nanos) = (time.get() / 1_000_000_000, time.get() % 1_000_000_000);
    let (year, month, day) = date_of(seconds / DAY_SECONDS);
    let second = seconds % DAY_SECONDS;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// `2026-05-01 12:34:56`, for those who do not count nanoseconds.
pub(crate) fn show_second(time: Timestamp) -> String {
    let whole = show_time(time);
    whole[..19].replace('T', " ")
}

/// A time in UTC, to the second or finer (`2026-05-01T12:34:56Z`, `…56.000000001Z`), or
/// nanoseconds since 1970 as the log has them.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    const FORM: &str =
        "is no time like 2026-05-01T12:34:56Z, no date, and no number of nanoseconds";
    if let Ok(nanos) = text.parse() {
        return Ok(Timestamp::new(nanos));
    }
    let (date, time) = text.split_once('T').ok_or(FORM)?;
    let date = parse_date(date)?;
    let time = time
        .strip_suffix('Z')
        .ok_or("is no time in UTC: it does not end with Z")?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut fields = time.split(':');
    let mut field = |most: u64| -> Option<u64> {
        let digits = fields.next().filter(|digits| digits.len() == 2)?;
        let number = digits.bytes().all(|digit| digit.is_ascii_digit());
        let number: u64 = number.then(|| digits.parse().ok())??;
        (number <= most).then_some(number)
    };
    let of_day = (|| Some(field(23)? * 3600 + field(59)? * 60 + field(59)?))().ok_or(FORM)?;
    let is_fraction =
        (1..=9).contains(&fraction.len()) && fraction.bytes().all(|digit| digit.is_ascii_digit());
    if fields.next().is_some() || !is_fraction {
        return Err(FORM.to_owned());
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| FORM)?;
    Ok(Timestamp::new(
        date.start().get() + of_day * 1_000_000_000 + nanos,
    ))
}

/// `1.25 s`, `3.4 ms`, `2 h 5 min`.
pub(crate) fn show_duration(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros @ 1_000_000..60_000_000 => format!("{:.2} s", micros as f64 / 1e6),
        _ => {
            let minutes = time.as_secs() / 60;
            match minutes {
                0..60 => format!("{minutes} min {} s", time.as_secs() % 60),
                _ => format!("{} h {} min", minutes / 60, minutes % 60),
            }
        }
    }
}

/// Year, month and day of a day since 1970-01-01. Source: Howard Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`, for days that are not negative.
const fn date_of(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_known_dates_are_found() {
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(59), (1970, 3, 1));
        assert_eq!(date_of(11_016), (2000, 2, 29));
        assert_eq!(date_of(11_017), (2000, 3, 1));
        assert_eq!(date_of(19_723), (2024, 1, 1));
        assert_eq!(date_of(47_540), (2100, 2, 28));
        assert_eq!(date_of(47_541), (2100, 3, 1));
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for nanos in [0, 1, 951_785_123_000_000_007, 1_795_392_000_123_456_789] {
            let time = Timestamp::new(nanos);
            assert_eq!(parse_time(&show_time(time)), Ok(time));
            assert_eq!(parse_time(&nanos.to_string()), Ok(time));
        }
        let short = parse_time("1970-01-01T00:00:01.5Z");
        assert_eq!(short, Ok(Timestamp::new(1_500_000_000)));
        for wrong in [
            "",
            "1970-01-01T00:00:01",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00Z",
            "1970-01-01T00:00:01.Z",
            "1970-01-01T00:00:01.0000000001Z",
            "1970-02-30T00:00:00Z",
            "1970-01-01T00:00:01+01:00",
            "-5",
            "1970-01-01T+1:00:01Z",
            "1970-01-01T00:00:00:00Z",
        ] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_to_the_nanosecond() {
        let time = Timestamp::new(951_782_400_000_000_000 + 3_723_000_000_007);
        assert_eq!(show_time(time), "2000-02-29T01:02:03.000000007Z");
        assert_eq!(show_second(time), "2000-02-29 01:02:03");
        assert_eq!(show_duration(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(show_duration(Duration::from_secs(7_500)), "2 h 5 min");
    }
}
