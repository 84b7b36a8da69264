//! Numbers as tables write them: `1_000`, `max`, `max-99`, `2^63-1`, `@t7+1`.

/// The value of a cell, if it is a number. `time` gives the timestamp of an account (`a`) or a
/// transfer (`t`) by its id.
pub(crate) fn read(cell: &str, time: &dyn Fn(char, u128) -> Option<u64>) -> Option<u128> {
    let (first, rest) = term(cell, time)?;
    let mut value = first;
    let mut rest = rest;
    while let Some(sign) = rest.chars().next() {
        let (number, behind) = term(&rest[1..], time)?;
        value = match sign {
            '+' => value.checked_add(number)?,
            '-' => value.checked_sub(number)?,
            _ => return None,
        };
        rest = behind;
    }
    Some(value)
}

fn term<'a>(text: &'a str, time: &dyn Fn(char, u128) -> Option<u64>) -> Option<(u128, &'a str)> {
    if let Some(rest) = text.strip_prefix("max") {
        return Some((u128::MAX, rest));
    }
    if let Some(rest) = text.strip_prefix("2^") {
        let (exponent, rest) = digits(rest)?;
        return Some((1_u128.checked_shl(u32::try_from(exponent).ok()?)?, rest));
    }
    if let Some(rest) = text.strip_prefix('@') {
        let what = rest.chars().next()?;
        let (id, rest) = digits(&rest[1..])?;
        return Some((time(what, id)?.into(), rest));
    }
    digits(text)
}

fn digits(text: &str) -> Option<(u128, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let number = text[..end].replace('_', "").parse().ok()?;
    Some((number, &text[end..]))
}

#[test]
fn numbers_are_read_as_they_are_meant() {
    let time = |what: char, id: u128| (what == 't' && id == 7).then_some(40);
    let cases = [
        ("1_000", Some(1_000)),
        ("max", Some(u128::MAX)),
        ("max-99", Some(u128::MAX - 99)),
        ("2^63-1", Some((1 << 63) - 1)),
        ("@t7+2", Some(42)),
        ("@t8", None),
        ("linked", None),
        ("-", None),
    ];
    for (text, value) in cases {
        assert_eq!(read(text, &time), value, "{text}");
    }
}
