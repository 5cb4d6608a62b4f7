//! What is asked: the number of a request decides all of it, so that the oracle can work out what was sent without being told.

use serde_json::{Map, Value, json};

use super::prices::MAX_OUTPUT;

/// Which model each request asks for, in turn.
const MODELS: [&str; 12] = [
    "kill/plain",
    "kill/stream",
    "kill/cached",
    "kill/burst",
    "kill/plain",
    "kill/delay",
    "kill/failover",
    "kill/burst",
    "kill/cached",
    "kill/cache",
    "kill/stream",
    "kill/error",
];

/// Bytes of the first message. More than the tokens that any model of the list claims to have read: a token is at least a byte, and the
/// product's reservation counts on it.
const PREFIX_BYTES: usize = 1300;

/// A limit of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    MaxTokens,
    /// By the other name, and two answers.
    Two,
}

/// Most tokens of an answer, where there is a limit.
const LIMIT: u64 = 64;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub model: &'static str,
    pub is_streamed: bool,
    /// `/api/v1`, where usage is always shown; else `/v1`.
    pub is_open_router: bool,
    asks_usage: bool,
    limit: Limit,
}

impl Call {
    /// The request of this number. Half of all are streamed, and every combination comes within some hundred of them.
    pub fn of(number: u64) -> Self {
        let turn = number / 2;
        let round = turn / MODELS.len() as u64;
        Self {
            model: MODELS[(turn % MODELS.len() as u64) as usize],
            is_streamed: number.is_multiple_of(2),
            is_open_router: !round.is_multiple_of(2),
            limit: [Limit::None, Limit::MaxTokens, Limit::Two][(round / 2 % 3) as usize],
            asks_usage: !(round / 6).is_multiple_of(2),
        }
    }

    /// Where it is sent.
    pub fn path(&self) -> &'static str {
        if self.is_open_router { "/api/v1/chat/completions" } else { "/v1/chat/completions" }
    }

    /// The body. The marker is in it, so that what the provider has recorded can be told apart.
    pub fn body(&self, marker: &str) -> String {
        let prefix = "The same first message for all. ".repeat(PREFIX_BYTES / 32 + 1);
        let messages = json!([{"role": "system", "content": prefix}, {"role": "user", "content": format!("{marker} count to three")}]);
        let mut fields = Map::from_iter([("model".to_owned(), self.model.into()), ("messages".to_owned(), messages)]);
        let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        if self.is_streamed {
            add("stream", true.into());
            if self.asks_usage {
                add("stream_options", json!({"include_usage": true}));
            }
        }
        match self.limit {
            Limit::None => {}
            Limit::MaxTokens => add("max_tokens", LIMIT.into()),
            Limit::Two => {
                add("max_completion_tokens", LIMIT.into());
                add("n", 2.into());
            }
        }
        Value::Object(fields).to_string()
    }

    /// Answers that are asked for.
    pub fn answers(&self) -> u64 {
        if self.limit == Limit::Two { 2 } else { 1 }
    }

    /// The asked limit of an answer's tokens.
    pub fn max_output(&self) -> Option<u64> {
        (self.limit != Limit::None).then_some(LIMIT)
    }

    /// The answer must show usage and cost.
    pub fn shows_usage(&self) -> bool {
        !self.is_streamed || self.is_open_router || self.asks_usage
    }

    /// The provider answers this model with an error, always.
    pub fn must_fail(&self) -> bool {
        self.model == "kill/error"
    }
}

const _: () = assert!(LIMIT < MAX_OUTPUT);

/// The word that names a request to everyone who sees it.
pub fn marker(seed: u64, number: u64) -> String {
    format!("kill-{seed}-{number}")
}

/// The number that a marker of this seed holds.
pub fn number(seed: u64, text: &str) -> Option<u64> {
    text.strip_prefix("kill-")?.split_once('-').filter(|(own, _)| own.parse() == Ok(seed))?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_asked_for_and_half_is_streamed() {
        let calls: Vec<Call> = (0..288).map(Call::of).collect();
        let mut seen: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
        seen.sort();
        seen.dedup();
        // 9 models ask in 12 turns, streamed or not, on two surfaces, with three limits, asking for usage or not.
        assert_eq!(seen.len(), 8 * 2 * 2 * 3 * 2);
        assert_eq!(calls.iter().filter(|call| call.is_streamed).count(), 144);
    }

    #[test]
    fn a_body_says_what_the_oracle_thinks_it_says() {
        for number in 0..288 {
            let call = Call::of(number);
            let body: Value = serde_json::from_str(&call.body("kill-1-2")).unwrap();
            assert_eq!(body["n"].as_u64().unwrap_or(1), call.answers());
            assert_eq!(body["max_tokens"].as_u64().or(body["max_completion_tokens"].as_u64()), call.max_output());
            assert_eq!(body["stream"].as_bool().unwrap_or(false), call.is_streamed);
            assert!(body["messages"][1]["content"].as_str().unwrap().starts_with("kill-1-2 "));
            assert!(call.body("").len() > PREFIX_BYTES);
        }
    }

    #[test]
    fn markers_read_back() {
        assert_eq!(number(7, &marker(7, 12)), Some(12));
        for other in ["kill-8-12", "kill-7", "12", "kill-7-x"] {
            assert_eq!(number(7, other), None, "{other}");
        }
    }
}
