//! A value as a line shows it: fields in the documented order, and integers that every reader
//! reads back as they are.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Above this, many readers of JSON round integers.
const EXACT_MAX: u128 = 1 << 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Null,
    Truth(bool),
    /// As an integer up to 2^53, as a string of digits above.
    Number(u128),
    Text(String),
    List(Vec<Shown>),
    Object(Vec<(&'static str, Shown)>),
}

impl Shown {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Names of the bits that are set; bits without a name as a number.
    pub(crate) fn flags<T: Copy + Into<u128>>(flags: T, names: &[(&str, T)]) -> Self {
        let mut left: u128 = flags.into();
        let mut shown = Vec::new();
        for (name, bit) in names {
            let bit: u128 = (*bit).into();
            if left & bit != 0 {
                left &= !bit;
                shown.push(Self::text(*name));
            }
        }
        if left != 0 {
            shown.push(Self::Number(left));
        }
        Self::List(shown)
    }

    /// As JSON, in one line.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("strings and integers are always JSON")
    }
}

impl<T: Into<u128>> From<T> for Shown {
    fn from(number: T) -> Self {
        Self::Number(number.into())
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Truth(truth) => serializer.serialize_bool(*truth),
            Self::Number(number) => match u64::try_from(*number) {
                Ok(small) if *number <= EXACT_MAX => serializer.serialize_u64(small),
                _ => serializer.collect_str(number),
            },
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// A sum that may be longer than 128 bits.
pub(crate) fn wide(low: u128, high: u64) -> Shown {
    if high == 0 {
        return Shown::Number(low);
    }
    // Long division by ten of three parts of 64 bits, from the high one down.
    let mut parts = [high, (low >> 64) as u64, low as u64];
    let mut digits = Vec::new();
    while parts.iter().any(|part| *part != 0) {
        let mut rest = 0;
        for part in &mut parts {
            let value = (rest << 64) | u128::from(*part);
            *part = (value / 10) as u64;
            rest = value % 10;
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    Shown::Text(digits.iter().rev().collect())
}

#[cfg(test)]
mod tests {
    use kanjo_format::client::AccountFlags;

    use super::*;

    #[test]
    fn integers_above_2_to_the_53_are_strings() {
        let shown = |number: u128| Shown::Number(number).line();
        assert_eq!(shown(1 << 53), "9007199254740992");
        assert_eq!(shown((1 << 53) + 1), "\"9007199254740993\"");
        assert_eq!(
            shown(u128::MAX),
            "\"340282366920938463463374607431768211455\""
        );
    }

    #[test]
    fn a_sum_over_128_bits_is_shown_in_full() {
        assert_eq!(wide(7, 0).line(), "7");
        assert_eq!(
            wide(0, 1).line(),
            "\"340282366920938463463374607431768211456\""
        );
        assert_eq!(
            wide(u128::MAX, 1).line(),
            "\"680564733841876926926749214863536422911\""
        );
    }

    #[test]
    fn flags_are_shown_by_name_and_what_has_none_as_a_number() {
        let shown = |flags: u16| Shown::flags(flags, AccountFlags::NAMES).line();
        assert_eq!(shown(5), "[\"linked\",\"credits_must_not_exceed_debits\"]");
        assert_eq!(shown(1 << 15), "[32768]");
    }
}
