//! The sandbox's prompt cache: it remembers which message prefixes it has read.
//!
//! A prefix is a number of whole messages, role and text. What an earlier request began with is cached for every later one that
//! begins the same way, whoever asks. The oldest prefixes are forgotten beyond a fixed number.
//!
//! Where the dialect lets the caller say what is to be cached (Anthropic's `cache_control`), a prefix is what lies before a mark: it is read
//! if it is known, and written for the time that its mark says if it is not.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::request::Message;
use crate::usage::tokens;

/// Prefixes that are remembered.
const REMEMBERED: usize = 16_384;

/// How long a prefix is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    FiveMinutes,
    Hour,
}

/// A block of a prompt, marked if what ends with it is to be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub role: &'static str,
    pub text: String,
    pub mark: Option<Ttl>,
}

/// Tokens of a prompt that were read from the cache, and that were written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cached {
    pub read: u64,
    pub write_5m: u64,
    pub write_1h: u64,
}

#[derive(Default)]
pub(crate) struct Prefixes {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Prefixes {
    /// Tokens of the longest known prefix of `messages`; from now on all their prefixes are known.
    pub(crate) fn read(&mut self, messages: &[Message]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let (mut bytes, mut cached) = (0, 0);
        for message in messages {
            message.role.hash(&mut hasher);
            message.text().hash(&mut hasher);
            bytes += message.text_bytes();
            if !self.learn(hasher.clone().finish()) {
                cached = bytes;
            }
        }
        self.forget();
        tokens(cached)
    }

    /// What of these segments is read and what is written; from now on all their marked prefixes are known.
    pub(crate) fn read_marked(&mut self, segments: &[Segment]) -> Cached {
        let mut hasher = DefaultHasher::new();
        let (mut bytes, mut done) = (0, 0);
        let mut cached = Cached::default();
        for segment in segments {
            segment.role.hash(&mut hasher);
            segment.text.hash(&mut hasher);
            bytes += segment.text.len() as u64;
            let Some(ttl) = segment.mark else { continue };
            let new = tokens(bytes) - tokens(done);
            match (self.learn(hasher.clone().finish()), ttl) {
                // All before a known prefix is read, whatever was thought of the marks before it.
                (false, _) => cached = Cached { read: tokens(bytes), ..Cached::default() },
                (true, Ttl::FiveMinutes) => cached.write_5m += new,
                (true, Ttl::Hour) => cached.write_1h += new,
            }
            done = bytes;
        }
        self.forget();
        cached
    }

    /// Whether this prefix is new.
    fn learn(&mut self, prefix: u64) -> bool {
        let is_new = self.known.insert(prefix);
        if is_new {
            self.order.push_back(prefix);
        }
        is_new
    }

    fn forget(&mut self) {
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Chat;

    #[test]
    fn a_marked_prefix_is_written_once_and_read_after() {
        use Ttl::{FiveMinutes, Hour};
        let mut prefixes = Prefixes::default();
        let cached = |read, write_5m, write_1h| Cached { read, write_5m, write_1h };
        type Row<'a> = (&'a [(&'a str, Option<Ttl>)], Cached);
        let rows: &[Row<'_>] = &[
            (&[("aaaa", None), ("bbbb", None)], cached(0, 0, 0)),
            (&[("aaaa", Some(Hour)), ("bbbb", Some(FiveMinutes)), ("cccc", None)], cached(0, 1, 1)),
            (&[("aaaa", Some(Hour)), ("bbbb", Some(FiveMinutes)), ("dddd", None)], cached(2, 0, 0)),
            (&[("aaaa", None), ("bbbb", Some(FiveMinutes)), ("dddd", Some(FiveMinutes))], cached(2, 1, 0)),
            (&[("aaaa", Some(FiveMinutes)), ("eeee", Some(Hour))], cached(1, 0, 1)),
            // Three bytes and one are one token together.
            (&[("xxx", Some(FiveMinutes)), ("y", Some(Hour))], cached(0, 1, 0)),
        ];
        for (texts, expected) in rows {
            let segments: Vec<_> =
                texts.iter().map(|(text, mark)| Segment { role: "user", text: (*text).to_owned(), mark: *mark }).collect();
            assert_eq!(prefixes.read_marked(&segments), *expected, "{texts:?}");
        }
    }

    #[test]
    fn a_repeated_prefix_is_cached() {
        let mut prefixes = Prefixes::default();
        let rows = [
            (vec!["aaaa", "bbbb"], 0),
            (vec!["aaaa", "bbbb"], 2),
            (vec!["aaaa", "cccc"], 1),
            (vec!["aaaa", "bbbb", "dddd"], 2),
            (vec!["bbbb"], 0),
        ];
        for (texts, expected) in rows {
            let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({"role": "user", "content": text})).collect();
            let chat: Chat = serde_json::from_value(serde_json::json!({"model": "m", "messages": messages})).unwrap();
            assert_eq!(prefixes.read(&chat.messages), expected, "{texts:?}");
        }
    }
}
