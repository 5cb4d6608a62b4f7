//! What the store holds: keys in bytewise order, each with a value and the positions of its life.

use std::fmt;

use bytes::Bytes;

/// The store's own order: grows by at least one with each commit that changes something.
/// It is never shown to operators, who count in revisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before everything. A compare with it asks for a key that does not exist.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key: never empty, and spelt by [`crate::keys`] alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The key as stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A run of keys: from `start`, inclusive, to `end`, exclusive; without an end, to the last key.
#[derive(Clone, PartialEq, Eq)]
pub struct Range {
    start: Bytes,
    end: Option<Bytes>,
}

impl Range {
    /// Every key that begins with `prefix`; every key there is when it is empty.
    pub(crate) fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = successor_of_prefix(&start);
        Self { start, end }
    }

    /// From `start`, inclusive, to `end`, exclusive.
    pub fn between(start: &Key, end: &Key) -> Self {
        Self { start: start.0.clone(), end: Some(end.0.clone()) }
    }

    /// Exactly one key.
    pub fn one(key: &Key) -> Self {
        Self { start: key.0.clone(), end: Some(just_after(key)) }
    }

    /// The part of this range that lies behind `key`: the next page of a listing.
    pub fn after(&self, key: &Key) -> Self {
        Self { start: just_after(key).max(self.start.clone()), end: self.end.clone() }
    }

    /// The part of this range that lies behind all of another; nothing if that has no end.
    pub fn beyond(&self, other: &Self) -> Self {
        let start = other.end.clone().or_else(|| self.end.clone()).unwrap_or_else(|| self.start.clone());
        Self { start: start.max(self.start.clone()), end: self.end.clone() }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &Key) -> bool {
        key.0 >= self.start && self.end.as_ref().is_none_or(|end| key.0 < *end)
    }

    /// The first key that can be in the range.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key behind the range, if it has an end.
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.start.escape_ascii())?;
        self.end.as_ref().map_or(Ok(()), |end| write!(f, "{}", end.escape_ascii()))
    }
}

fn just_after(key: &Key) -> Bytes {
    [key.as_bytes(), &[0]].concat().into()
}

/// The first byte string that is larger than everything with this prefix. None if there is no
/// such string, as for the empty prefix.
fn successor_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let (kept, last) = prefix.iter().enumerate().rev().find(|(_, byte)| **byte != u8::MAX)?;
    Some([&prefix[..kept], &[last + 1]].concat().into())
}

/// One key as it stood at some position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value: opaque to the store.
    pub value: Bytes,
    /// Where the key came into being; a deleted key that is put again is born again.
    pub created: Position,
    /// Where it was last put.
    pub modified: Position,
    /// How often it was put since it was created; 1 for a new key.
    pub version: u64,
}

/// The answer to a read of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The store's position when it was read.
    pub position: Position,
    /// The key, if it exists.
    pub entry: Option<Entry>,
}

/// The answer to a read of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The position the listing shows. A watch after it misses nothing and repeats nothing.
    pub position: Position,
    /// In the bytewise order of their keys.
    pub entries: Vec<Entry>,
    /// Whether the range held more than the limit let through.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &[u8]) -> Key {
        Key::from_bytes(text.to_vec())
    }

    #[test]
    fn a_prefix_holds_its_keys_and_no_others() {
        let rows: &[(&[u8], &[u8], bool)] = &[
            (b"a/", b"a/", true),
            (b"a/", b"a/\xff\xff", true),
            (b"a/", b"a0", false),
            (b"a/", b"a", false),
            (b"a\xff", b"a\xff\xff", true),
            (b"a\xff", b"b", false),
            (b"\xff", b"\xff\xff", true),
            (b"\xff", b"\xfe", false),
            (b"", b"anything", true),
        ];
        for (prefix, text, expected) in rows {
            let range = Range::prefix(prefix.to_vec());
            assert_eq!(range.contains(&key(text)), *expected, "{range:?} {:?}", key(text));
        }
    }

    #[test]
    fn a_range_of_one_holds_one_and_the_next_page_begins_behind_it() {
        let one = Range::one(&key(b"k"));
        assert!(one.contains(&key(b"k")) && !one.contains(&key(b"k\0")) && !one.contains(&key(b"j")));
        let page = Range::prefix(&b"k"[..]).after(&key(b"k1"));
        assert!(!page.contains(&key(b"k1")) && page.contains(&key(b"k1\0")) && !page.contains(&key(b"l")));
    }
}
