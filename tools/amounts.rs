//! Amounts of money: minor units as they are sent, and with a decimal point for people.

use crate::quantities::{parse_u128, show_count};

/// An amount in minor units, or `max` for all that there is.
pub(crate) fn parse_amount(text: &str) -> Result<u128, String> {
    match text {
        "max" => Ok(u128::MAX),
        text => parse_u128(text),
    }
}

/// `none`, or an amount.
pub(crate) fn parse_amount_or_none(text: &str) -> Result<Option<u128>, String> {
    match text {
        "none" => Ok(None),
        text => parse_u128(text).map(Some),
    }
}

/// How amounts are shown in tables; in JSON they are always whole minor units.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct AmountArgs {
    /// Digits behind the decimal point of amounts in tables: 2 for cents, 0 for yen
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u8).range(0..=18))]
    decimals: u8,
}

impl AmountArgs {
    /// `12,345` or, with two decimals, `123.45`.
    pub(crate) fn show(self, minor: u128) -> String {
        self.place_point(minor.to_string())
    }

    /// `plus - minus`, which as a signed number may need more than 128 bits.
    pub(crate) fn difference(self, plus: u128, minus: u128) -> String {
        let size = self.show(plus.abs_diff(minus));
        match plus < minus {
            true => format!("-{size}"),
            false => size,
        }
    }

    /// `high * 2^128 + low`: a sum over any number of accounts.
    pub(crate) fn show_wide(self, wide: (u64, u128)) -> String {
        self.place_point(wide_digits(wide))
    }

    fn place_point(self, digits: String) -> String {
        let decimals = usize::from(self.decimals);
        if decimals == 0 {
            return show_count(digits);
        }
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        format!("{}.{part}", show_count(whole))
    }
}

/// `high * 2^128 + low` in decimal digits.
pub(crate) fn wide_digits((high, low): (u64, u128)) -> String {
    const CHUNK: u128 = 10_u128.pow(18);
    // Six words of 32 bits, the highest first; divided by 10^18 word by word.
    let mut words: Vec<u128> = [u128::from(high), low >> 64, low & u128::from(u64::MAX)]
        .iter()
        .flat_map(|pair| [pair >> 32, pair & 0xffff_ffff])
        .collect();
    let mut chunks = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut rest = 0;
        for word in &mut words {
            let value = rest << 32 | *word;
            (*word, rest) = (value / CHUNK, value % CHUNK);
        }
        chunks.push(rest);
    }
    let mut digits = chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        digits.push_str(&format!("{chunk:018}"));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_beyond_128_signed_bits_is_shown_whole() {
        let plain = AmountArgs::default();
        assert_eq!(plain.difference(5, 1_005), "-1,000");
        let most = "340,282,366,920,938,463,463,374,607,431,768,211,455";
        assert_eq!(plain.difference(u128::MAX, 0), most);
        assert_eq!(plain.difference(0, u128::MAX), format!("-{most}"));
    }

    #[test]
    fn a_decimal_point_stands_where_it_is_wished() {
        let cents = AmountArgs { decimals: 2 };
        assert_eq!(cents.show(0), "0.00");
        assert_eq!(cents.show(5), "0.05");
        assert_eq!(cents.show(123_456_789), "1,234,567.89");
        assert_eq!(cents.difference(100, 250), "-1.50");
        assert_eq!(AmountArgs::default().show(1_250), "1,250");
    }

    #[test]
    fn sums_over_128_bits_are_shown_whole() {
        assert_eq!(wide_digits((0, 0)), "0");
        assert_eq!(wide_digits((0, u128::MAX)), u128::MAX.to_string());
        let two_to_the_128 = "340282366920938463463374607431768211456";
        assert_eq!(wide_digits((1, 0)), two_to_the_128);
        let most = "6277101735386680763835789423207666416102355444464034512895";
        assert_eq!(wide_digits((u64::MAX, u128::MAX)), most);
        assert_eq!(wide_digits((0, 10_u128.pow(18))), "1000000000000000000");
    }

    #[test]
    fn all_and_nothing_have_words() {
        assert_eq!(parse_amount("max"), Ok(u128::MAX));
        assert_eq!(parse_amount("1250"), Ok(1_250));
        assert!(parse_amount("12.50").is_err());
        assert_eq!(parse_amount_or_none("none"), Ok(None));
        assert_eq!(parse_amount_or_none("0"), Ok(Some(0)));
    }
}
