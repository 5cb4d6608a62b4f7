//! Tables of request fields: each field that is read stands in one spelling and once.
//!
//! A provider may match keys without regard to case (Go), accept camelCase for snake_case (protobuf's JSON form),
//! or take the first or the last of two equal keys. A field that decides over money or routing must mean the same
//! to it as to us: each is accepted in exactly one spelling, once, and every other spelling is refused.

use crate::fault::{Fault, FaultKind};
use crate::json::Text;

/// The fields of one level of the request.
pub(crate) trait Level: Copy + 'static {
    /// Every field with its only accepted spelling.
    const TABLE: &'static [(Self, &'static str)];

    fn exact(raw: &[u8]) -> Option<Self>;

    /// Position in the table, for the set of fields seen.
    fn index(self) -> u32;
}

macro_rules! level {
    ($(#[$about:meta])* $Name:ident { $( $Field:ident = $spelling:literal, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $Name { $( $Field, )+ }

        impl $crate::fields::Level for $Name {
            const TABLE: &'static [(Self, &'static str)] = &[$( (Self::$Field, $spelling), )+];

            #[inline]
            fn exact(raw: &[u8]) -> Option<Self> {
                $( if raw == $spelling.as_bytes() { return Some(Self::$Field); } )+
                None
            }

            fn index(self) -> u32 {
                self as u32
            }
        }
    };
}

pub(crate) use level;

/// The fields of one object met so far.
#[derive(Default)]
pub(crate) struct Seen(u64);

impl Seen {
    /// Which field the key is. `None`: none of this level, to be skipped.
    pub(crate) fn field<L: Level>(&mut self, key: &Text<'_>) -> Result<Option<L>, Fault> {
        let exact = if key.is_escaped() { None } else { L::exact(key.raw()) };
        let Some(field) = exact else {
            return match misspelt::<L>(key) {
                Some(name) => Err(Fault::new(
                    FaultKind::Misspelt,
                    name,
                    format!("this field must be spelt exactly \"{name}\" (another spelling at byte {})", key.start()),
                )),
                None => Ok(None),
            };
        };
        let bit = 1 << field.index();
        if self.0 & bit != 0 {
            let name = L::TABLE.get(field.index() as usize).map_or("", |(_, name)| *name);
            return Err(Fault::new(FaultKind::Duplicate, name, "this field stands twice"));
        }
        self.0 |= bit;
        Ok(Some(field))
    }
}

/// The field that some reader may take the key for.
fn misspelt<L: Level>(key: &Text<'_>) -> Option<&'static str> {
    // The longest name has 24 letters; an escape takes at most six bytes for one.
    if key.raw().len() > 6 * 32 {
        return None;
    }
    let text = key.decode()?;
    let same = |name: &str| text.chars().filter_map(fold).eq(name.chars().filter_map(fold));
    L::TABLE.iter().map(|(_, name)| *name).find(|name| same(name))
}

/// Case folding as the most generous reader does it; separators do not count.
fn fold(letter: char) -> Option<char> {
    match letter {
        '_' | '-' => None,
        'ſ' => Some('s'),
        '\u{212a}' => Some('k'),
        'ı' | 'İ' => Some('i'),
        other => Some(other.to_ascii_lowercase()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spellings<L: Level>() -> Vec<&'static str> {
        L::TABLE.iter().map(|(_, name)| *name).collect()
    }

    /// A level fits its set and finds each of its names.
    pub(crate) fn check<L: Level + PartialEq + std::fmt::Debug>() {
        assert!(L::TABLE.len() <= 64);
        for (at, (field, name)) in L::TABLE.iter().enumerate() {
            assert_eq!(field.index() as usize, at);
            assert_eq!(L::exact(name.as_bytes()), Some(*field));
        }
    }
}
