//! What is asked: the number of a request decides all of it, so that the oracle can work out what was sent without being told.

use serde_json::{Map, Value, json};

use super::load::Seen;
use super::prices::MAX_OUTPUT;
use super::shown::Told;

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

/// Numbers of requests whose callers hang up begin here, far from those of the others.
pub const LEAVERS: u64 = 1 << 32;

/// From this number on, requests ask for models that the provider cannot answer as it should.
pub const BROKEN: u64 = 1 << 33;

/// These models, in turn, and how a stream and a whole answer of each end.
const BROKEN_MODELS: [(&str, Ending, Ending); 16] = [
    ("kill/closed", Ending::Broken, Ending::Lost),
    ("kill/reset", Ending::Reset, Ending::Lost),
    ("kill/headless", Ending::Lost, Ending::Lost),
    ("kill/truncated", Ending::Broken, Ending::Lost),
    ("kill/short", Ending::Broken, Ending::Lost),
    ("kill/malformed", Ending::Odd, Ending::Lost),
    ("kill/huge", Ending::Broken, Ending::Whole),
    ("kill/error-inside", Ending::Broken, Ending::Refused),
    ("kill/no-usage", Ending::Unstated, Ending::Unstated),
    ("kill/null-usage", Ending::Unstated, Ending::Unstated),
    ("kill/usage-each", Ending::Whole, Ending::Whole),
    ("kill/usage-early", Ending::Whole, Ending::Whole),
    ("kill/usage-twice", Ending::Whole, Ending::Whole),
    ("kill/usage-high", Ending::Whole, Ending::Whole),
    ("kill/no-end", Ending::Odd, Ending::Whole),
    ("kill/empty", Ending::Empty, Ending::Empty),
];

/// How a request must end, by what its provider does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer, at the cost that the provider states, be that more than was reserved.
    Whole,
    /// The whole answer as the provider sent it, at the cost that it states, with a frame that cannot be read or without the mark of its end: where
    /// both sides speak one dialect, what the provider says is passed on as it is.
    Odd,
    /// An error, since nobody is served by an answer without a word; at the cost that the provider states.
    Empty,
    /// The whole answer, though the provider never says what it costs: an estimate.
    Unstated,
    /// The beginning of a stream, and then an error in it: an estimate.
    Broken,
    /// The same, or as lost: a reset may overtake what was sent before it.
    Reset,
    /// An error, and what the provider may charge for: the whole reservation.
    Lost,
    /// An error that nobody charges for.
    Refused,
}

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
    pub ending: Ending,
    /// The provider cannot answer it as it should.
    pub is_broken: bool,
    pub is_streamed: bool,
    /// `/api/v1`, where usage is always shown; else `/v1`.
    pub is_open_router: bool,
    asks_usage: bool,
    limit: Limit,
}

impl Call {
    /// The request of this number. Half of all are streamed, and every combination comes within some hundred of them.
    pub fn of(number: u64) -> Self {
        let is_streamed = number.is_multiple_of(2);
        if number >= BROKEN {
            let (turn, count) = ((number - BROKEN) / 2, BROKEN_MODELS.len() as u64);
            let (round, (model, stream, whole)) = (turn / count, BROKEN_MODELS[(turn % count) as usize]);
            let is_open_router = !round.is_multiple_of(2);
            let ending = if is_streamed { stream } else { whole };
            return Self {
                model,
                ending,
                is_broken: true,
                is_streamed,
                is_open_router,
                limit: Limit::None,
                asks_usage: !(round / 2).is_multiple_of(2),
            };
        }
        let turn = number / 2;
        let round = turn / MODELS.len() as u64;
        let model = MODELS[(turn % MODELS.len() as u64) as usize];
        Self {
            model,
            // The provider answers this model with an error, always.
            ending: if model == "kill/error" { Ending::Refused } else { Ending::Whole },
            is_broken: false,
            is_streamed,
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

    /// A caller may be shown this. A stream that breaks off says so itself.
    pub fn may_see(&self, seen: &Seen, told: Option<&Told>) -> bool {
        let is_broken = *seen == Seen::Cut && told.is_some();
        let is_error = matches!(seen, Seen::Error(status) if *status >= 500) && told.is_some();
        match self.ending {
            Ending::Whole | Ending::Unstated => matches!(seen, Seen::End(_)),
            Ending::Odd => *seen == Seen::Cut && told.is_none(),
            Ending::Broken => is_broken,
            Ending::Reset => is_broken || is_error,
            Ending::Lost | Ending::Refused | Ending::Empty => is_error,
        }
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
    fn every_broken_model_is_asked_for_in_every_form() {
        let calls: Vec<Call> = (BROKEN..BROKEN + 32 * 4).map(Call::of).collect();
        let mut seen: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), BROKEN_MODELS.len() * 2 * 2 * 2);
    }

    #[test]
    fn only_what_says_that_it_is_broken_may_be_broken() {
        let (told, end) = (Told::default(), Seen::End(super::super::shown::Shown::default()));
        for (ending, seen, told, may) in [
            (Ending::Whole, &end, None, true),
            (Ending::Whole, &Seen::Cut, Some(&told), false),
            (Ending::Whole, &Seen::Error(502), Some(&told), false),
            (Ending::Broken, &Seen::Cut, Some(&told), true),
            (Ending::Broken, &Seen::Cut, None, false),
            (Ending::Broken, &end, None, false),
            (Ending::Broken, &Seen::Error(502), Some(&told), false),
            (Ending::Lost, &Seen::Error(502), Some(&told), true),
            (Ending::Lost, &Seen::Error(402), Some(&told), false),
            (Ending::Lost, &Seen::Error(502), None, false),
            (Ending::Lost, &Seen::Stuck, None, false),
            (Ending::Odd, &Seen::Cut, None, true),
            (Ending::Odd, &Seen::Cut, Some(&told), false),
        ] {
            assert_eq!(Call { ending, ..Call::of(1) }.may_see(seen, told), may, "{ending:?} {seen:?} {told:?}");
        }
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
