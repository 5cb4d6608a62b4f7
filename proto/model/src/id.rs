//! Identifiers: UUIDv7 in Crockford's base 32 with a prefix.

use std::{fmt, str::FromStr};

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text is not an identifier of this kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an id of the form {prefix}<26 characters of Crockford's base 32>")]
pub struct Malformed {
    text: String,
    prefix: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What its text begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A time-ordered id (UUIDv7) from the time in milliseconds since 1970 and ten random bytes.
            #[must_use]
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(*uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().as_bytes())
            }

            /// From its 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Milliseconds since 1970 of its making.
            #[must_use]
            pub fn unix_ms(&self) -> u64 {
                self.0[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $prefix.len() + 26];
                let (prefix, rest) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                rest.copy_from_slice(&encode(self.0));
                formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or_else(|| Malformed { text: text.chars().take(64).collect(), prefix: $prefix })
            }
        }
    };
}

identifier!(
    /// A generation: one request of a caller, whatever its attempts.
    GenerationId,
    "gen-"
);
identifier!(
    /// An attempt: one send to one endpoint.
    AttemptId,
    "att-"
);
identifier!(
    /// A resource: made at creation, never reused.
    Uid,
    "uid-"
);

/// 26 characters, the first of which holds the three highest bits.
fn encode(bytes: [u8; 16]) -> [u8; 26] {
    let value = u128::from_be_bytes(bytes);
    std::array::from_fn(|position| ALPHABET[(value >> (5 * (25 - position)) & 31) as usize])
}

fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 {
        return None;
    }
    let value = text.bytes().try_fold(0_u128, |value, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)? as u128;
        (value >> 123 == 0).then_some(value << 5 | digit)
    })?;
    Some(Uuid::from_u128(value).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let early = GenerationId::new(1_700_000_000_000, [0xff; 10]);
        let late = GenerationId::new(1_700_000_000_001, [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.unix_ms(), 1_700_000_000_000);
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn malformed_ids_are_refused() {
        let good = AttemptId::new(1, [1; 10]).to_string();
        for bad in [
            "",
            "att-",
            "gen-0",
            &good[..29],
            &good.to_uppercase(),
            &good.replace("att-", "gen-"),
            "att-zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "att-0000000000000000000000000u",
        ] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
    }
}
