//! What only the origin's dialect has: kept as it was spelt, restored on the way back to it, named when it is left out elsewhere.

use bytes::Bytes;

use super::text::{Raw, Text};
use crate::json::{Members, Writer};

/// Members of one object that the neutral form has no place for, and hints how the known ones were spelt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    members: Vec<(Text, Raw)>,
    /// A word of the origin's reader to its writer: which of several spellings it met (`content` as a string or as parts, …).
    spelling: &'static str,
}

impl Extension {
    /// Whatever a reader has not taken.
    pub(crate) fn rest(source: &Bytes, members: &Members<'_>) -> Self {
        let members = members.iter().map(|(key, tree)| (Text::of(source, key), Raw::of(source, tree))).collect();
        Self { members, spelling: "" }
    }

    pub(crate) fn spelt(mut self, spelling: &'static str) -> Self {
        self.spelling = spelling;
        self
    }

    pub(crate) fn spelling(&self) -> &'static str {
        self.spelling
    }

    pub(crate) fn keep(&mut self, name: &'static str, raw: Raw) {
        self.members.push((Text::word(name), raw));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Raw> {
        self.members.iter().find(|(key, _)| key.is(name)).map(|(_, raw)| raw)
    }

    /// The names and values, in the order in which they came.
    pub fn members(&self) -> impl Iterator<Item = (&Text, &Raw)> {
        self.members.iter().map(|(name, raw)| (name, raw))
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Puts all members into the object that is being written.
    pub(crate) fn write(&self, json: &mut Writer) {
        for (name, raw) in &self.members {
            json.escaped_key(name.escaped()).raw(raw.json());
        }
    }
}
