//! The table of models: everything the sandbox can do, by name.
//!
//! A name is `sandbox/` and one of the grammars below, with a whole number in place of each `{word}`. `GET /v1/models` lists
//! the table, so that what is documented is what is served.

use crate::usage::Usage;

/// What every model name begins with.
pub const PREFIX: &str = "sandbox/";
/// The largest number a name may hold.
pub const MAX_NUMBER: u64 = 1_000_000;
/// The context window of a model that names none, in tokens.
pub const CONTEXT: u64 = 131_072;
/// The context window of the long-context model, in tokens.
pub const LONG_CONTEXT: u64 = 1_048_576;

/// One kind of model.
pub struct Row {
    /// A name to try, without the prefix.
    pub example: &'static str,
    /// How its names are built; forms divided by `|`.
    pub grammar: &'static str,
    pub about: &'static str,
    make: fn(&[u64]) -> Behaviour,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Chat,
    Echo,
    Errand,
    Tools,
    ParallelTools,
    Structured,
    Reasoning,
    RedactedReasoning,
    Stream { chunks: u64, pace_ms: u64 },
    Delay { ms: u64 },
    Burst { chunks: u64 },
    Cache,
    Usage(Usage),
    Context { window: u64 },
    Refusal,
    Filtered,
    Fails(Failure),
}

/// How a model fails. `after` counts the pieces of text that are sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Status { status: u64, retry_after_s: Option<u64> },
    HtmlPage,
    ResetBeforeByte,
    ResetAfterHeaders,
    ResetMidway { after: u64 },
    CloseMidway { after: u64 },
    StallBeforeByte,
    StallMidway { after: u64 },
    TruncatedJson,
    ShortBody,
    MalformedFrame,
    HugeFrame { mib: u64 },
    ErrorIn200,
    EmptyAnswer,
    EmptyBody,
    NoUsage,
    NullUsage,
    UsageInEachChunk,
    UsageWithFinish,
    UsageTwice,
    TwoFinishes,
    IndexJump,
    NoDone,
    WrongType,
    Endless,
    Flaky { failures: u64 },
    Refuse,
}

use Behaviour::{
    Burst, Cache, Chat, Context, Delay, Echo, Errand, Fails, Filtered, ParallelTools, Reasoning, RedactedReasoning, Refusal, Stream,
    Structured, Tools,
};
use Failure as F;

const fn row(example: &'static str, grammar: &'static str, about: &'static str, make: fn(&[u64]) -> Behaviour) -> Row {
    Row { example, grammar, about, make }
}

/// Every model there is, most useful first.
pub const TABLE: &[Row] = &[
    row(
        "chat",
        "chat",
        "does what the request asks for: tools, structured output, reasoning (with reasoning_effort or thinking), else plain text",
        |_| Chat,
    ),
    row("echo", "echo", "repeats the last user message", |_| Echo),
    row(
        "errand",
        "errand",
        "does what lines of the prompt tell, one in each answer: `sandbox: call TOOL {ARGUMENTS}` (`sandbox: and …` for one more), `sandbox: say TEXT`; thinks before it if asked to",
        |_| Errand,
    ),
    row(
        "tools",
        "tools",
        "calls the first tool (or the one tool_choice names) with arguments made from its schema; after a tool's result, answers in text",
        |_| Tools,
    ),
    row(
        "parallel-tools",
        "parallel-tools",
        "calls every tool at once (a single one twice); one call if parallel_tool_calls is false or disable_parallel_tool_use is true",
        |_| ParallelTools,
    ),
    row("structured", "structured", "answers JSON that satisfies the json_schema of response_format or output_config.format", |_| {
        Structured
    }),
    row(
        "reasoning",
        "reasoning",
        "reasons first (reasoning_content; a signed thinking block), then answers; usage has reasoning tokens where the dialect has",
        |_| Reasoning,
    ),
    row("redacted-reasoning", "redacted-reasoning", "as reasoning, with a redacted_thinking block besides in Anthropic's dialect", |_| {
        RedactedReasoning
    }),
    row("stream-20x50ms", "stream-{chunks}x{pace}ms", "one chunk per pace, by an absolute timetable; a whole answer takes as long", |n| {
        Stream { chunks: at(n, 0), pace_ms: at(n, 1) }
    }),
    row("delay-500ms", "delay-{time}ms", "says nothing for a time, then answers", |n| Delay { ms: at(n, 0) }),
    row("burst-200", "burst-{chunks}", "all chunks at once", |n| Burst { chunks: at(n, 0) }),
    row(
        "cache",
        "cache",
        "a prefix of whole messages that an earlier request also began with counts as cached; in Anthropic's dialect cache_control marks it",
        |_| Cache,
    ),
    row(
        "usage-1200-30",
        "usage-{prompt}-{completion}|usage-{prompt}-{completion}-{cached}-{reasoning}|usage-{prompt}-{completion}-{cached}-{reasoning}-{write_5m}-{write_1h}",
        "reports exactly this usage, whatever was asked",
        usage,
    ),
    row("long-context", "long-context", "reads up to 1,048,576 tokens (the others 131,072) and says how many it was", |_| Context {
        window: LONG_CONTEXT,
    }),
    row("context-1000", "context-{tokens}", "has a context window of so many tokens: 400 context_length_exceeded beyond it", |n| Context {
        window: at(n, 0),
    }),
    row("refusal", "refusal", "refuses in the refusal field; stop_reason refusal", |_| Refusal),
    row("content-filter", "content-filter", "stops in mid-text with finish_reason content_filter; stop_reason refusal", |_| Filtered),
    row("error-400", "error-400", "fails with status 400", |_| fails(400)),
    row("error-401", "error-401", "fails with status 401", |_| fails(401)),
    row("error-402", "error-402", "fails with status 402: no credit left", |_| fails(402)),
    row("error-403", "error-403", "fails with status 403", |_| fails(403)),
    row("error-404", "error-404", "fails with status 404", |_| fails(404)),
    row("error-408", "error-408", "fails with status 408", |_| fails(408)),
    row("error-413", "error-413", "fails with status 413", |_| fails(413)),
    row("error-422", "error-422", "fails with status 422", |_| fails(422)),
    row("error-429", "error-429|error-429-after-{seconds}s", "fails with status 429 and Retry-After (1 s unless named)", |n| {
        Fails(F::Status { status: 429, retry_after_s: Some(n.first().copied().unwrap_or(1)) })
    }),
    row("error-500", "error-500", "fails with status 500", |_| fails(500)),
    row("error-502", "error-502", "fails with status 502", |_| fails(502)),
    row("error-503", "error-503", "fails with status 503", |_| fails(503)),
    row("error-529", "error-529", "fails with status 529: overloaded", |_| fails(529)),
    row("error-html", "error-html", "fails with status 502 and an HTML page, as a proxy on the way would", |_| Fails(F::HtmlPage)),
    row(
        "error-in-200",
        "error-in-200",
        "fails inside a 200; in a stream after two pieces, without [DONE]; an event error in Anthropic's dialect",
        |_| Fails(F::ErrorIn200),
    ),
    row("reset-before-byte", "reset-before-byte", "resets the connection before any byte of an answer", |_| Fails(F::ResetBeforeByte)),
    row("reset-after-headers", "reset-after-headers", "resets the connection after the headers", |_| Fails(F::ResetAfterHeaders)),
    row("reset-midway-3", "reset-midway-{after}", "resets the connection after so many pieces (a whole answer: after half)", |n| {
        Fails(F::ResetMidway { after: at(n, 0) })
    }),
    row("close-midway-3", "close-midway-{after}", "closes the connection after so many pieces, the answer unfinished", |n| {
        Fails(F::CloseMidway { after: at(n, 0) })
    }),
    row("stall-before-byte", "stall-before-byte", "never answers", |_| Fails(F::StallBeforeByte)),
    row("stall-midway-3", "stall-midway-{after}", "falls silent after so many pieces (a whole answer: after half)", |n| {
        Fails(F::StallMidway { after: at(n, 0) })
    }),
    row("truncated-json", "truncated-json", "ends in mid-JSON though HTTP is in order", |_| Fails(F::TruncatedJson)),
    row("short-body", "short-body", "whole answers: closes before the promised Content-Length; streams: before the last chunk", |_| {
        Fails(F::ShortBody)
    }),
    row("malformed-frame", "malformed-frame", "one frame of the stream is not JSON, then it goes on; a whole answer is not JSON", |_| {
        Fails(F::MalformedFrame)
    }),
    row("huge-frame-5", "huge-frame-{mib}", "after two pieces one frame of the stream is this large, then it goes on", |n| {
        Fails(F::HugeFrame { mib: at(n, 0) })
    }),
    row("empty-answer", "empty-answer", "answers with no text at all", |_| Fails(F::EmptyAnswer)),
    row("empty-body", "empty-body", "status 200 and not a byte of body", |_| Fails(F::EmptyBody)),
    row("no-usage", "no-usage", "never states usage", |_| Fails(F::NoUsage)),
    row("usage-null", "usage-null", "states usage as null, always", |_| Fails(F::NullUsage)),
    row("usage-in-each-chunk", "usage-in-each-chunk", "states the usage so far in every chunk, asked or not", |_| {
        Fails(F::UsageInEachChunk)
    }),
    row("usage-with-finish", "usage-with-finish", "states usage in the chunk with the finish reason, asked or not", |_| {
        Fails(F::UsageWithFinish)
    }),
    row("usage-twice", "usage-twice", "the stream states its usage twice, first with half of the output", |_| Fails(F::UsageTwice)),
    row("two-finishes", "two-finishes", "the stream finishes twice", |_| Fails(F::TwoFinishes)),
    row("index-jump", "index-jump", "the indices of tool calls and of content blocks in the stream go 0, 2, 4", |_| Fails(F::IndexJump)),
    row("no-done", "no-done", "the stream ends without [DONE] or message_stop", |_| Fails(F::NoDone)),
    row("wrong-type", "wrong-type", "the Content-Type is text/plain", |_| Fails(F::WrongType)),
    row("endless", "endless", "a chunk each 20 ms without end (up to the sandbox's own limit); a whole answer: blank lines", |_| {
        Fails(F::Endless)
    }),
    row(
        "flaky-2",
        "flaky-{failures}|flaky-{failures}-{series}",
        "fails so often with status 503, then answers; another series counts anew",
        |n| Fails(F::Flaky { failures: at(n, 0) }),
    ),
    row("refuse", "refuse", "is served on a port that refuses connections; asked here, says where (421)", |_| Fails(F::Refuse)),
];

fn at(numbers: &[u64], index: usize) -> u64 {
    numbers.get(index).copied().unwrap_or(0)
}

fn fails(status: u64) -> Behaviour {
    Fails(F::Status { status, retry_after_s: None })
}

fn usage(n: &[u64]) -> Behaviour {
    Behaviour::Usage(Usage {
        prompt: at(n, 0),
        completion: at(n, 1),
        cached: at(n, 2),
        reasoning: at(n, 3),
        cache_write_5m: at(n, 4),
        cache_write_1h: at(n, 5),
    })
}

impl Row {
    /// The example as a client names it.
    pub fn model(&self) -> String {
        format!("{PREFIX}{}", self.example)
    }

    /// Tokens the model reads at most.
    pub fn context_length(&self) -> u64 {
        self.behaviour(self.example).map_or(CONTEXT, Behaviour::window)
    }

    fn behaviour(&self, name: &str) -> Option<Behaviour> {
        self.grammar.split('|').find_map(|form| numbers(form, name)).map(|numbers| (self.make)(&numbers))
    }
}

impl Behaviour {
    pub(crate) fn window(self) -> u64 {
        match self {
            Self::Context { window } => window,
            _ => CONTEXT,
        }
    }
}

/// What the model of this full name does, if there is one.
pub(crate) fn find(model: &str) -> Option<Behaviour> {
    let name = model.strip_prefix(PREFIX)?;
    TABLE.iter().find_map(|row| row.behaviour(name))
}

/// The numbers in `name` where `form` has words in braces; none if the name is not of that form.
fn numbers(form: &str, name: &str) -> Option<Vec<u64>> {
    let (mut form, mut name, mut numbers) = (form, name, Vec::new());
    while let Some((literal, rest)) = form.split_once('{') {
        name = name.strip_prefix(literal)?;
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        let (number, left) = name.split_at(digits);
        numbers.push(number.parse().ok().filter(|number| *number <= MAX_NUMBER)?);
        (name, form) = (left, rest.split_once('}')?.1);
    }
    (form == name).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_of_its_own_row() {
        for row in TABLE {
            let own = row.behaviour(row.example);
            assert!(own.is_some(), "{} is not of the form {}", row.example, row.grammar);
            assert_eq!(find(&row.model()), own, "{} is taken by an earlier row", row.example);
        }
    }

    #[test]
    fn parameters_ride_in_the_name() {
        let rows = [
            ("sandbox/stream-200x20ms", Some(Stream { chunks: 200, pace_ms: 20 })),
            ("sandbox/stream-200x20", None),
            ("sandbox/stream-x20ms", None),
            ("sandbox/burst-7", Some(Burst { chunks: 7 })),
            ("sandbox/burst-07", Some(Burst { chunks: 7 })),
            ("sandbox/burst-1000001", None),
            ("sandbox/burst-99999999999999999999", None),
            ("sandbox/usage-1-2", Some(Behaviour::Usage(Usage { prompt: 1, completion: 2, ..Usage::default() }))),
            (
                "sandbox/usage-9-8-7-6",
                Some(Behaviour::Usage(Usage { prompt: 9, completion: 8, cached: 7, reasoning: 6, ..Usage::default() })),
            ),
            (
                "sandbox/usage-9-8-4-3-2-1",
                Some(Behaviour::Usage(Usage { prompt: 9, completion: 8, cached: 4, reasoning: 3, cache_write_5m: 2, cache_write_1h: 1 })),
            ),
            ("sandbox/usage-9-8-7-6-5", None),
            ("sandbox/usage-9-8-7", None),
            ("sandbox/error-429-after-9s", Some(Fails(F::Status { status: 429, retry_after_s: Some(9) }))),
            ("sandbox/flaky-3-12", Some(Fails(F::Flaky { failures: 3 }))),
            ("sandbox/echo ", None),
            ("echo", None),
            ("sandbox/", None),
        ];
        for (name, expected) in rows {
            assert_eq!(find(name), expected, "{name}");
        }
    }
}
