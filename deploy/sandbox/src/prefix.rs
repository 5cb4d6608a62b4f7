//! The sandbox's prompt cache: it remembers which message prefixes it has read.
//!
//! A prefix is a number of whole messages, role and text. What an earlier request began with is cached for every later one that
//! begins the same way, whoever asks. The oldest prefixes are forgotten beyond a fixed number.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::request::Message;
use crate::usage::tokens;

/// Prefixes that are remembered.
const REMEMBERED: usize = 16_384;

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
            let prefix = hasher.clone().finish();
            if self.known.insert(prefix) {
                self.order.push_back(prefix);
            } else {
                cached = bytes;
            }
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        tokens(cached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Chat;

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
