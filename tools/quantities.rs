//! Sizes, times and ids as people write them on a command line.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 5] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// `64MiB`, `2 GiB`, `4096`: a whole number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = factor_of(unit, &SIZE_UNITS)
        .ok_or_else(|| format!("unit {unit:?} is none of B, KiB, MiB, GiB"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "is more than 64 bits of bytes".to_owned())
}

/// `500ms`, `30s`, `5m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let factor = factor_of(unit, &TIME_UNITS)
        .ok_or_else(|| format!("unit {unit:?} is none of ms, s, m, h"))?;
    let millis = number.checked_mul(factor);
    // A year is longer than anybody waits, and far from what a clock overflows at.
    let millis = millis.filter(|&millis| millis <= 366 * 24 * 3_600_000);
    Ok(Duration::from_millis(
        millis.ok_or("is more than a year".to_owned())?,
    ))
}

/// A time that something may take, or is to last: not zero.
pub(crate) fn parse_some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("no time at all is too short".to_owned()),
        time => Ok(time),
    }
}

/// An account's or transfer's id: decimal, or hexadecimal after `0x`; not zero, not all ones.
pub(crate) fn parse_id(text: &str) -> Result<u128, String> {
    match parse_u128(text)? {
        0 => Err("zero is no id".to_owned()),
        u128::MAX => Err("the largest 128-bit number is no id".to_owned()),
        id => Ok(id),
    }
}

/// A number of 128 bits: decimal, or hexadecimal after `0x`.
pub(crate) fn parse_u128(text: &str) -> Result<u128, String> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("is not a whole number (decimal, or hexadecimal after 0x)".to_owned());
    }
    u128::from_str_radix(digits, radix).map_err(|_| "does not fit into 128 bits".to_owned())
}

/// A number of bytes for people: `64 MiB`, `1.4 GiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = SIZE_UNITS[2..].iter().rev();
    match units.into_iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) if bytes.is_multiple_of(*factor) => {
            format!("{} {unit}", bytes / factor)
        }
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

/// A number with its thousands apart: `28,205`.
pub(crate) fn show_count(count: impl ToString) -> String {
    let digits = count.to_string();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits.to_owned()),
        None => ("", digits),
    };
    let mut shown = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("does not start with a whole number".to_owned());
    }
    let number = digits.parse().map_err(|_| "is too large".to_owned())?;
    Ok((number, unit.trim_start()))
}

fn factor_of(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let found = units.iter().find(|(name, _)| *name == unit);
    found.map(|(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_exact_binary_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size(" 2 GiB "), Ok(2 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("7B"), Ok(7));
        for wrong in ["", "MiB", "64MB", "64M", "-1", "1.5GiB", "1 MiB x"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert!(parse_size("18446744073709551615KiB").is_err());
        assert!(parse_size("18446744073709551616").is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("5 m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["30", "s", "1d", "-1s", "1.5s", "99999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_decimal_or_hexadecimal_and_neither_zero_nor_all_ones() {
        assert_eq!(parse_id("255"), Ok(255));
        assert_eq!(parse_id("0xff"), Ok(255));
        assert_eq!(parse_u128("0"), Ok(0));
        for wrong in ["0", "0x", "ff", "+1", "-1", "1 ", ""] {
            assert!(parse_id(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse_id(&u128::MAX.to_string()).is_err());
        assert!(parse_id("340282366920938463463374607431768211456").is_err());
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(show_size(64 << 20), "64 MiB");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(12), "12 B");
        assert_eq!(show_count(28_205), "28,205");
        assert_eq!(show_count(-1_000), "-1,000");
        assert_eq!(show_count(999), "999");
    }
}
