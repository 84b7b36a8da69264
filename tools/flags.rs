//! Bits by their documented names.

use kanjo_client::{AccountFlags, Freeze, TransferFlags};

/// Names of the bits that are set.
fn names<F: Copy + Into<u64>>(bits: F, names: &[(&'static str, F)]) -> Vec<&'static str> {
    let bits = bits.into();
    let set = names.iter().filter(|(_, bit)| bits & (*bit).into() != 0);
    set.map(|(name, _)| *name).collect()
}

/// Names of an account's flags.
pub(crate) fn account_flag_names(flags: u16) -> Vec<&'static str> {
    names(flags, AccountFlags::NAMES)
}

/// Names of a transfer's flags.
pub(crate) fn transfer_flag_names(flags: u16) -> Vec<&'static str> {
    names(flags, TransferFlags::NAMES)
}

/// Names of what is frozen.
pub(crate) fn freeze_names(freeze: u32) -> Vec<&'static str> {
    names(freeze, Freeze::NAMES)
}

/// `debits,credits`, either alone, or `none`.
pub(crate) fn parse_freeze(text: &str) -> Result<u32, String> {
    if text == "none" {
        return Ok(0);
    }
    let mut freeze = 0;
    for word in text.split(',') {
        let found = Freeze::NAMES.iter().find(|(name, _)| *name == word);
        freeze |= found
            .ok_or("is neither debits, credits, debits,credits nor none")?
            .1;
    }
    Ok(freeze)
}

/// Flags of a transfer by name, with `|` or spaces between; empty for none.
pub(crate) fn parse_transfer_flags(text: &str) -> Result<u16, String> {
    let words = text.split(['|', ' ']).filter(|word| !word.is_empty());
    words.into_iter().try_fold(0, |flags, word| {
        let found = TransferFlags::NAMES.iter().find(|(name, _)| *name == word);
        let (_, bit) = found.ok_or_else(|| format!("{word:?} is no flag of a transfer"))?;
        Ok(flags | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_shown_and_read_by_name() {
        assert_eq!(account_flag_names(0b1001), ["linked", "history"]);
        assert_eq!(transfer_flag_names(0b10), ["pending"]);
        assert_eq!(freeze_names(3), ["debits", "credits"]);
        assert_eq!(parse_freeze("debits,credits"), Ok(3));
        assert_eq!(parse_freeze("credits"), Ok(2));
        assert_eq!(parse_freeze("none"), Ok(0));
        assert!(parse_freeze("debits,none").is_err());
        assert_eq!(parse_transfer_flags("linked|pending"), Ok(0b11));
        assert_eq!(parse_transfer_flags(""), Ok(0));
        assert!(parse_transfer_flags("linkd").unwrap_err().contains("linkd"));
    }
}
