//! Reads JSON without losing anything: no digit of a large integer, no field that nobody asked
//! for, and where a mistake stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) message: String,
    /// Such as `create_transfers[3].code`; empty where no field can be named.
    pub(crate) field: String,
}

impl Misread {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            field: field.into(),
        }
    }
}

/// Most fields of one object; no request knows so many.
const FIELDS_MAX: usize = 64;

/// A value and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    text: &'a str,
    path: String,
}

/// What kind of value a text is.
fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        _ => "a number",
    }
}

impl<'a> Node<'a> {
    /// The one value that a line holds.
    pub(crate) fn of_line(line: &'a str) -> Result<Self, Misread> {
        let raw: &RawValue = serde_json::from_str(line)
            .map_err(|error| Misread::new("", format!("this is no JSON: {error}")))?;
        Ok(Self {
            text: raw.get(),
            path: String::new(),
        })
    }

    /// That this value is wrong.
    pub(crate) fn misread(&self, message: impl Into<String>) -> Misread {
        Misread::new(self.path.clone(), message)
    }

    fn not(&self, wanted: &str) -> Misread {
        self.misread(format!("must be {wanted}, not {}", kind(self.text)))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.text == "null"
    }

    /// An object's fields in the order in which they stand.
    pub(crate) fn fields(&self) -> Result<Fields<'a>, Misread> {
        if !self.text.starts_with('{') {
            return Err(self.not("an object"));
        }
        let entries: Entries<'a> =
            serde_json::from_str(self.text).map_err(|error| self.misread(error.to_string()))?;
        if entries.0.len() > FIELDS_MAX {
            return Err(self.misread(format!("has more than {FIELDS_MAX} fields")));
        }
        let mut nodes = Vec::<(String, Node<'a>)>::new();
        for (name, raw) in entries.0 {
            let path = match self.path.as_str() {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            if nodes.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Misread::new(path, "stands here twice"));
            }
            let text = raw.get();
            nodes.push((name, Node { text, path }));
        }
        Ok(Fields {
            left: nodes,
            asked: Vec::new(),
        })
    }

    /// A list's values.
    pub(crate) fn list(&self) -> Result<Vec<Node<'a>>, Misread> {
        if !self.text.starts_with('[') {
            return Err(self.not("a list"));
        }
        let items: Vec<&'a RawValue> =
            serde_json::from_str(self.text).map_err(|error| self.misread(error.to_string()))?;
        let node = |(n, raw): (usize, &'a RawValue)| Node {
            text: raw.get(),
            path: format!("{}[{n}]", self.path),
        };
        Ok(items.into_iter().enumerate().map(node).collect())
    }

    /// A string.
    pub(crate) fn text(&self) -> Result<String, Misread> {
        if !self.text.starts_with('"') {
            return Err(self.not("a string"));
        }
        serde_json::from_str(self.text).map_err(|error| self.misread(error.to_string()))
    }

    /// A whole number that fits so many bits: as a JSON integer or as a string of digits.
    pub(crate) fn number(&self, bits: u32) -> Result<u128, Misread> {
        let digits = match kind(self.text) {
            "a number" => self.text.to_owned(),
            "a string" => self.text()?,
            _ => return Err(self.not("a whole number or a string of its digits")),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let why = format!("must be a whole number from 0 on, not {}", shorten(&digits));
            return Err(self.misread(why));
        }
        let largest = u128::MAX >> (128 - bits);
        match digits.parse::<u128>() {
            Ok(number) if number <= largest => Ok(number),
            _ => Err(self.misread(format!(
                "{} does not fit {bits} bits; the largest is {largest}",
                shorten(&digits)
            ))),
        }
    }

    /// Flags: a number with any bits, a list of names, or names joined by `|`.
    pub(crate) fn flags(&self, names: &[(&str, u128)], bits: u32) -> Result<u128, Misread> {
        match kind(self.text) {
            "a list" => {
                let mut flags = 0;
                for name in self.list()? {
                    flags |= flag(&name, name.text()?.trim(), names)?;
                }
                Ok(flags)
            }
            "a string" => {
                let text = self.text()?;
                if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
                    return self.number(bits);
                }
                let mut flags = 0;
                for name in text.split('|').map(str::trim).filter(|n| !n.is_empty()) {
                    flags |= flag(self, name, names)?;
                }
                Ok(flags)
            }
            "a number" => self.number(bits),
            _ => Err(self.not("a number, a list of names, or names joined by |")),
        }
    }

    /// One of some names, or its number.
    pub(crate) fn choice(&self, names: &[(&str, u128)]) -> Result<u128, Misread> {
        if kind(self.text) == "a string" {
            return flag(self, &self.text()?, names);
        }
        let number = self.number(32)?;
        if names.iter().any(|(_, choice)| *choice == number) {
            return Ok(number);
        }
        Err(self.misread(format!("must be one of: {}", joined(names))))
    }
}

fn flag(node: &Node<'_>, name: &str, names: &[(&str, u128)]) -> Result<u128, Misread> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, bit)| *bit).ok_or_else(|| {
        let name = shorten(name);
        node.misread(format!("{name} is unknown; known are: {}", joined(names)))
    })
}

fn joined(names: &[(&str, u128)]) -> String {
    let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// So much of a text that a message stays a line.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("`{text}`");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("`{start}…`")
}

/// Fields of an object that are still to be read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    left: Vec<(String, Node<'a>)>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Takes a field out, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.asked.push(name);
        let place = self.left.iter().position(|(there, _)| there == name)?;
        Some(self.left.remove(place).1)
    }

    /// Whether a field is there and was not taken out.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(there, _)| there == name)
    }

    /// Takes a number out; one that is missing is zero.
    pub(crate) fn number(&mut self, name: &'static str, bits: u32) -> Result<u128, Misread> {
        self.take(name).map_or(Ok(0), |node| node.number(bits))
    }

    pub(crate) fn u128(&mut self, name: &'static str) -> Result<u128, Misread> {
        self.number(name, 128)
    }

    pub(crate) fn u64(&mut self, name: &'static str) -> Result<u64, Misread> {
        Ok(self.number(name, 64)? as u64)
    }

    pub(crate) fn u32(&mut self, name: &'static str) -> Result<u32, Misread> {
        Ok(self.number(name, 32)? as u32)
    }

    pub(crate) fn u16(&mut self, name: &'static str) -> Result<u16, Misread> {
        Ok(self.number(name, 16)? as u16)
    }

    /// Takes flags out; none where they are missing.
    pub(crate) fn flags<T: Copy + Into<u128>>(
        &mut self,
        name: &'static str,
        names: &[(&str, T)],
    ) -> Result<u128, Misread> {
        let names: Vec<(&str, u128)> = names.iter().map(|(n, bit)| (*n, (*bit).into())).collect();
        let bits = 8 * size_of::<T>() as u32;
        let node = self.take(name);
        node.map_or(Ok(0), |node| node.flags(&names, bits))
    }

    /// The only field of a request line.
    pub(crate) fn only(mut self) -> Result<(String, Node<'a>), Misread> {
        match self.left.len() {
            1 => Ok(self.left.remove(0)),
            0 => Err(Misread::new("", "an object without a request in it")),
            _ => {
                let (name, _) = &self.left[1];
                Err(Misread::new(
                    name.clone(),
                    "a line holds one request; put this one on a line of its own",
                ))
            }
        }
    }

    /// That nothing is left which nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Misread> {
        match self.left.first() {
            None => Ok(()),
            Some((_, node)) => {
                let known = self.asked.join(", ");
                Err(node.misread(format!("there is no such field; known are: {known}")))
            }
        }
    }
}

/// An object's entries, all of them, in order.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node<'_> {
        Node::of_line(text).expect("JSON")
    }

    #[test]
    fn no_digit_is_lost_in_either_form() {
        let largest = u128::MAX.to_string();
        assert_eq!(node(&largest).number(128), Ok(u128::MAX));
        assert_eq!(node(&format!("\"{largest}\"")).number(128), Ok(u128::MAX));
        assert_eq!(
            node("9007199254740993").number(64),
            Ok(9_007_199_254_740_993)
        );
        assert_eq!(node("\"0065535\"").number(16), Ok(65_535));
    }

    #[test]
    fn what_is_no_number_of_that_size_is_refused() {
        for text in [
            "65536", "-1", "1.0", "1e3", "\"\"", "\"1 \"", "null", "true", "[]",
        ] {
            assert!(node(text).number(16).is_err(), "{text}");
        }
        let larger = "340282366920938463463374607431768211456";
        assert!(node(larger).number(128).is_err());
    }

    #[test]
    fn a_mistake_is_named_by_the_way_to_it() {
        let line = r#"{"create_transfers":[{"code":1},{"code":"x"}]}"#;
        let (_, request) = node(line).fields().and_then(Fields::only).expect("one");
        let second = &request.list().expect("a list")[1];
        let mut fields = second.fields().expect("an object");
        let wrong = fields.u16("code").expect_err("no number");
        assert_eq!(wrong.field, "create_transfers[1].code");
    }

    #[test]
    fn flags_are_read_in_all_their_forms() {
        let names = [("linked", 1), ("pending", 2)];
        for text in [
            "3",
            "\"3\"",
            "[\"linked\",\"pending\"]",
            "\"linked | pending\"",
        ] {
            assert_eq!(node(text).flags(&names, 16), Ok(3), "{text}");
        }
        assert_eq!(node("[]").flags(&names, 16), Ok(0));
        assert_eq!(node("32768").flags(&names, 16), Ok(32_768));
        let wrong = node("[\"linked\",\"later\"]").flags(&names, 16);
        assert_eq!(wrong.expect_err("unknown").field, "[1]");
    }

    #[test]
    fn a_field_twice_or_unasked_for_is_refused() {
        assert!(node(r#"{"id":1,"id":2}"#).fields().is_err());
        let mut fields = node(r#"{"id":1,"idd":2}"#).fields().expect("an object");
        assert_eq!(fields.u128("id"), Ok(1));
        assert_eq!(fields.finish().expect_err("left").field, "idd");
    }
}
