//! How identifiers and positions stand in JSON, for documents that people read beside programs:
//! the register's record, certificates, reports.
//!
//! ```text
//! node, lsn, timestamp   a number         site    1 or 2
//! epoch                  "site.local"     cluster, incarnation, chain, random   hexadecimal
//! ```

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::ids::{Chain, ClusterId, Digest, Epoch, Incarnation, Lsn, NodeId, Site, Timestamp};

macro_rules! as_number {
    ($name:ident, $inner:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.get().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$inner>::deserialize(deserializer).map(Self::new)
            }
        }
    };
}

/// Reads a text by one function, whose refusal becomes the error.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

macro_rules! as_text {
    ($name:ident, $what:literal, $parse:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text($what, $parse))
            }
        }
    };
}

as_number!(Lsn, u64);
as_number!(NodeId, u32);
as_number!(Timestamp, u64);
as_text!(ClusterId, "32 hexadecimal digits", |text| text.parse().ok());
as_text!(Incarnation, "32 hexadecimal digits", |text| text
    .parse()
    .ok());
as_text!(Digest, "32 hexadecimal digits", |text| text.parse().ok());
as_text!(Epoch, "an epoch such as \"1.2\"", parse_epoch);
as_text!(Chain, "64 hexadecimal digits", parse_chain);

impl Serialize for Site {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.number().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| {
            let found = de::Unexpected::Unsigned(number.into());
            de::Error::invalid_value(found, &"a site, 1 or 2")
        })
    }
}

fn parse_epoch(text: &str) -> Option<Epoch> {
    let (site, local) = text.split_once('.')?;
    Some(Epoch::from_terms(site.parse().ok()?, local.parse().ok()?))
}

fn parse_chain(text: &str) -> Option<Chain> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Chain::new(bytes))
}

/// A `u128` in JSON, which has no integers of that size: 32 hexadecimal digits.
pub mod hex128 {
    use super::{Deserializer, Serializer, Text};

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:032x}"))
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let parse = |text: &str| u128::from_str_radix(text, 16).ok();
        deserializer.deserialize_str(Text("up to 32 hexadecimal digits", parse))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Epoch, Lsn, OpeningId, Site, Tail};

    #[test]
    fn what_is_written_as_json_is_read_back_the_same() {
        let tail = Tail {
            epoch: Epoch::from_terms(3, 7),
            lsn: Lsn::new(u64::MAX),
            chain: crate::Chain::new([0xa5; 32]),
        };
        let text = serde_json::to_string(&tail).unwrap();
        assert!(text.contains("\"3.7\""), "{text}");
        assert_eq!(serde_json::from_str::<Tail>(&text).unwrap(), tail);
        let opening = OpeningId {
            node: crate::NodeId::new(4),
            incarnation: crate::Incarnation::new(u128::MAX),
            random: 9,
        };
        let text = serde_json::to_string(&opening).unwrap();
        assert_eq!(serde_json::from_str::<OpeningId>(&text).unwrap(), opening);
    }

    #[test]
    fn what_is_no_identifier_is_refused_in_words() {
        for text in ["\"1\"", "\"a.b\"", "7", "\"1.99999999999\""] {
            assert!(serde_json::from_str::<Epoch>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Site>("3").unwrap_err().to_string();
        assert!(error.contains("a site, 1 or 2"), "{error}");
        assert!(serde_json::from_str::<crate::Chain>("\"é\"").is_err());
    }
}
