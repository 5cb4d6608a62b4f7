//! What only the origin's dialect has: kept as it was spelt, restored on the way back to it, named when it is left out elsewhere.

use bytes::Bytes;

use super::text::{Raw, Text};
use crate::json::{Members, Writer};

/// Members of one object that the neutral form has no place for, and hints how the known ones were spelt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    members: Vec<Member>,
    /// A word of the origin's reader to its writer: which of several spellings it met (`content` as a string or as parts, …).
    spelling: &'static str,
    /// The whole object, for the writer of its own dialect.
    whole: Option<Raw>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: Text,
    raw: Raw,
    sort: Sort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// Only the origin's dialect has it: written there, named elsewhere.
    Foreign,
    /// The neutral form has it, too: written there as it was spelt, and nothing is said about it elsewhere.
    Known,
    /// It lies inside a known one (`reasoning.summary`): written with that, named elsewhere.
    Inner,
}

impl Extension {
    /// Whatever a reader has not taken.
    pub(crate) fn rest(source: &Bytes, members: &Members<'_>) -> Self {
        let mut extension = Self::default();
        for (key, tree) in members.iter() {
            extension.push(Text::of(source, key), Raw::of(source, tree), Sort::Foreign);
        }
        extension
    }

    pub(crate) fn spelt(mut self, spelling: &'static str) -> Self {
        self.spelling = spelling;
        self
    }

    pub(crate) fn spelling(&self) -> &'static str {
        self.spelling
    }

    /// Keeps the object as it was.
    pub(crate) fn keep_whole(&mut self, whole: Raw) {
        self.whole = Some(whole);
    }

    pub(crate) fn whole(&self) -> Option<&Raw> {
        self.whole.as_ref()
    }

    /// A member that only the origin's dialect has.
    pub(crate) fn keep(&mut self, name: &'static str, raw: Raw) {
        self.push(Text::word(name), raw, Sort::Foreign);
    }

    /// A member that the neutral form has as well, for its spelling.
    pub(crate) fn keep_known(&mut self, name: &'static str, raw: Raw) {
        self.push(Text::word(name), raw, Sort::Known);
    }

    /// What the other dialects do not have of a member that is known: `outer` with its dot, and the members that are left of it.
    pub(crate) fn keep_inner(&mut self, source: &Bytes, outer: &'static str, members: &Members<'_>) {
        for (key, tree) in members.iter() {
            let name = Text::joined(&[Text::word(outer), Text::of(source, key)]);
            self.push(name, Raw::of(source, tree), Sort::Inner);
        }
    }

    /// Takes over all members of `other`.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.members.append(&mut other.members);
    }

    fn push(&mut self, name: Text, raw: Raw, sort: Sort) {
        self.members.push(Member { name, raw, sort });
    }

    /// Lets a member go that no longer holds.
    pub(crate) fn forget(&mut self, name: &str) {
        self.members.retain(|member| !member.name.is(name));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Raw> {
        self.members.iter().find(|member| member.name.is(name)).map(|member| &member.raw)
    }

    /// The names and values of what no other dialect has, in the order in which they came. A `null` says nothing and is not among them.
    pub fn members(&self) -> impl Iterator<Item = (&Text, &Raw)> {
        let named = |member: &&Member| member.sort != Sort::Known && member.raw.json() != b"null";
        self.members.iter().filter(named).map(|member| (&member.name, &member.raw))
    }

    /// Nothing is lost with it in another dialect.
    pub fn is_empty(&self) -> bool {
        self.members().next().is_none()
    }

    /// Puts all members into the object that is being written.
    pub(crate) fn write(&self, json: &mut Writer) {
        for member in self.members.iter().filter(|member| member.sort != Sort::Inner) {
            json.escaped_key(member.name.escaped()).raw(member.raw.json());
        }
    }
}
