//! What a recorded usage is to become in the bill: classes of tokens by hand, and an amount by hand.
//!
//! Providers differ in what their counts include. Where the count that the recording expects and the provider's own arithmetic disagree,
//! a row of [`ARITHMETIC`] says how and why; the run prints how often each was needed.

use std::collections::BTreeMap;

use serde_json::Value;
use waybill_proto::usage::v1::Event;

use crate::dialect::Dialect;
use crate::reader::Usage;

/// Meter, price in USD per million as configured, and the same in pico-USD per token: written by hand, so that no price code is trusted
/// with its own check. All differ, so that a token in the wrong class is a wrong amount.
pub const PRICES: [(&str, &str, i64); 9] = [
    ("input", "3", 3_000_000),
    ("cache_read", "0.3", 300_000),
    ("cache_write_5m", "3.75", 3_750_000),
    ("cache_write_1h", "6", 6_000_000),
    ("output", "15", 15_000_000),
    ("reasoning", "16", 16_000_000),
    ("audio_input", "5", 5_000_000),
    ("audio_output", "20", 20_000_000),
    ("search", "10000", 10_000_000_000),
];

/// Counts in classes that share no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub cache_write_1h: u64,
    pub audio_input: u64,
    pub output: u64,
    pub reasoning: u64,
    pub audio_output: u64,
    /// Searches the provider made, counted in requests.
    pub searches: u64,
}

/// What the provider said, as far as the rows look at it.
struct Told {
    usage: Usage,
    cache: u64,
    reasoning: u64,
    audio_input: u64,
    audio_output: u64,
    /// What the total has beyond prompt and completion.
    beyond: u64,
}

/// A way in which counts are not parts of what they stand under.
pub struct Row {
    pub name: &'static str,
    pub reason: &'static str,
    applies: fn(&Told) -> bool,
    apply: fn(&Told, &mut Classes),
}

/// The first row that applies is used; most answers need none.
pub const ARITHMETIC: [Row; 5] = [
    Row {
        name: "reasoning beside the completion",
        reason: "xAI: the total is prompt + completion + reasoning, so reasoning is output that completion_tokens does not count",
        applies: |told| told.reasoning > 0 && told.beyond == told.reasoning,
        apply: |told, classes| classes.output = told.usage.output.saturating_sub(told.audio_output),
    },
    Row {
        name: "cache beside the prompt",
        reason: "xAI's models at Azure: more cached tokens than the prompt has, so the prompt cannot include them",
        applies: |told| told.cache > told.usage.input,
        apply: |told, classes| classes.input = told.usage.input.saturating_sub(told.audio_input),
    },
    Row {
        name: "audio beside the prompt",
        reason: "Mistral: the total is prompt + audio + completion",
        applies: |told| told.audio_input > 0 && told.beyond == told.audio_input,
        apply: |told, classes| classes.input = told.usage.input.saturating_sub(told.cache),
    },
    Row {
        name: "thoughts in the total only",
        reason: "Gemini's OpenAI form: thoughts are billed as output and told in nothing but the total",
        applies: |told| told.reasoning == 0 && told.beyond > 0,
        apply: |told, classes| classes.reasoning = told.beyond,
    },
    Row {
        name: "more reasoning than completion",
        reason: "aggregators count reasoning with another tokenizer; the total shows that the completion includes it, and a part is no larger than the whole",
        applies: |told| told.reasoning > told.usage.output && told.beyond == 0,
        apply: |told, classes| (classes.reasoning, classes.output) = (told.usage.output, 0),
    },
];

/// Needed where it is found.
const BESIDE_THE_ANSWER: Row = Row {
    name: "rounds beside the answer",
    reason: "Anthropic: what an advisor read and wrote, and what a compaction did, is told in iterations only and billed beside the answer",
    applies: |_| true,
    apply: |_, _| (),
};

impl Classes {
    /// The classes of a usage, and the row that was needed.
    pub fn of(dialect: Dialect, usage: Usage, raw: &Value) -> (Self, Option<&'static Row>) {
        match dialect {
            Dialect::OpenAi => Self::of_parts(usage, raw),
            Dialect::Anthropic => Self::of_disjoint(raw),
        }
    }

    /// Anthropic counts the cache beside the input; thoughts are part of the output.
    fn of_disjoint(raw: &Value) -> (Self, Option<&'static Row>) {
        let mut classes = Self::of_one(raw);
        let rounds = raw.get("iterations").and_then(Value::as_array).into_iter().flatten();
        let beside = rounds.filter(|round| round["type"] == "compaction" || round["type"] == "advisor_message").map(Self::of_one);
        let mut row = None;
        for other in beside {
            row = Some(&BESIDE_THE_ANSWER);
            classes.input += other.input;
            classes.cache_read += other.cache_read;
            classes.cache_write += other.cache_write;
            classes.cache_write_1h += other.cache_write_1h;
            classes.output += other.output;
            classes.reasoning += other.reasoning;
        }
        (classes, row)
    }

    fn of_one(raw: &Value) -> Self {
        let count = |path: &[&str]| path.iter().try_fold(raw, |value, name| value.get(name)).and_then(Value::as_u64).unwrap_or(0);
        let written = count(&["cache_creation_input_tokens"]);
        let for_an_hour = count(&["cache_creation", "ephemeral_1h_input_tokens"]);
        let thoughts = count(&["output_tokens_details", "thinking_tokens"]);
        Self {
            input: count(&["input_tokens"]),
            cache_read: count(&["cache_read_input_tokens"]),
            cache_write: written - for_an_hour,
            cache_write_1h: for_an_hour,
            output: count(&["output_tokens"]) - thoughts,
            reasoning: thoughts,
            searches: count(&["server_tool_use", "web_search_requests"]),
            ..Self::default()
        }
    }

    /// In the other dialect counts are parts of sums.
    fn of_parts(usage: Usage, raw: &Value) -> (Self, Option<&'static Row>) {
        let detail = |outer: &str, name: &str| raw.get(outer).and_then(|inner| inner.get(name)).and_then(Value::as_u64).unwrap_or(0);
        let sum = usage.input + usage.output;
        let told = Told {
            usage,
            cache: usage.cache_read.unwrap_or(0) + usage.cache_write.unwrap_or(0),
            reasoning: usage.reasoning.unwrap_or(0),
            audio_input: detail("prompt_tokens_details", "audio_tokens"),
            audio_output: detail("completion_tokens_details", "audio_tokens"),
            beyond: raw.get("total_tokens").and_then(Value::as_u64).unwrap_or(sum).saturating_sub(sum),
        };
        let mut classes = Self {
            input: usage.input.saturating_sub(told.cache + told.audio_input),
            cache_read: usage.cache_read.unwrap_or(0),
            cache_write: usage.cache_write.unwrap_or(0),
            cache_write_1h: 0,
            audio_input: told.audio_input,
            output: usage.output.saturating_sub(told.reasoning + told.audio_output),
            reasoning: told.reasoning,
            audio_output: told.audio_output,
            searches: detail("server_tool_use_details", "web_search_requests"),
        };
        let row = ARITHMETIC.iter().find(|row| (row.applies)(&told));
        if let Some(row) = row {
            (row.apply)(&told, &mut classes);
        }
        (classes, row)
    }

    pub const fn total_input(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_input
    }

    pub const fn total_output(&self) -> u64 {
        self.output + self.reasoning + self.audio_output
    }

    /// Pico-USD.
    pub fn amount(&self) -> i64 {
        self.by_meter().into_iter().map(|(meter, quantity)| i64::try_from(quantity).unwrap_or(i64::MAX) * price(meter)).sum()
    }

    /// Whether an event's lines and totals say the same; what differs, if not.
    pub fn compare(&self, event: &Event) -> Result<(), String> {
        let mut lines = BTreeMap::<&str, u64>::new();
        for line in event.lines.iter().filter(|line| line.quantity > 0 && line.meter != "request") {
            *lines.entry(&line.meter).or_default() += line.quantity;
        }
        let seen = (lines, event.input_tokens, event.output_tokens, event.amount_picousd);
        let expected = (self.by_meter(), self.total_input(), self.total_output(), self.amount());
        if seen == expected { Ok(()) } else { Err(format!("{seen:?} instead of {expected:?}")) }
    }

    /// What is not 0. A life of a cache that was not said is five minutes.
    fn by_meter(&self) -> BTreeMap<&'static str, u64> {
        let all = [
            ("input", self.input),
            ("cache_read", self.cache_read),
            ("cache_write_5m", self.cache_write),
            ("cache_write_1h", self.cache_write_1h),
            ("audio_input", self.audio_input),
            ("output", self.output),
            ("reasoning", self.reasoning),
            ("audio_output", self.audio_output),
            ("search", self.searches),
        ];
        all.into_iter().filter(|(_, quantity)| *quantity > 0).collect()
    }
}

fn price(meter: &str) -> i64 {
    PRICES.iter().find(|(name, ..)| *name == meter).map_or(0, |(.., price)| *price)
}

/// An amount in USD as a JSON number without an exponent.
pub fn usd(picousd: i64) -> String {
    let (whole, rest) = (picousd / 1_000_000_000_000, picousd % 1_000_000_000_000);
    let digits = format!("{rest:012}");
    match digits.trim_end_matches('0') {
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    }
}
