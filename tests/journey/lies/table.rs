//! The lies, and what each of them must come to.

use bytes::Bytes;
use serde_json::json;
use waybill_proto::usage::v1::Kind;

use super::{Ends, Heard, Said, voice::Voice};

/// What the caller sees.
#[derive(Clone, Copy, Debug)]
pub enum Sees {
    /// A status and an `error_type`, before any output.
    Error(u16, &'static str),
    /// An `error_type` after the head, then the end of the stream.
    InBand(&'static str),
    /// The whole answer with this text, and its own end once.
    Whole(&'static str),
}

impl Sees {
    pub fn matches(self, heard: &Heard) -> bool {
        match (self, heard) {
            (Self::Error(status, kind), Heard::Error(seen, told)) => status == *seen && kind == told,
            (Self::InBand(kind), Heard::InBand(told)) => kind == told,
            (Self::Whole(text), Heard::Whole(told)) => text == told,
            _ => false,
        }
    }
}

/// What the attempt costs.
#[derive(Clone, Copy, Debug)]
pub enum Bill {
    Nothing,
    /// Tokens in and out.
    Counted(i64, i64),
    /// Bytes of output that came.
    Estimated(i64),
    /// The input that the beginning told, and bytes of output that came.
    Begun(i64, i64),
    Reserved,
    /// More than nothing, at most what was reserved: how much came is a matter of time.
    Within,
}

type End = (Kind, &'static str, Bill);

pub struct Lie {
    pub name: &'static str,
    /// A stream is asked for.
    pub stream: bool,
    pub said: Said,
    /// For a caller of the same dialect.
    pub express: (Sees, End),
    /// For one of the other.
    pub translated: (Sees, End),
}

impl Lie {
    /// The same without translation or with it.
    fn new(name: &'static str, stream: bool, said: Said, sees: Sees, end: End) -> Self {
        Self { name, stream, said, express: (sees, end), translated: (sees, end) }
    }

    fn translated(self, sees: Sees, end: End) -> Self {
        Self { translated: (sees, end), ..self }
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const HTML: &str = "text/html";

fn said(content_type: &'static str, body: impl Into<Bytes>) -> Said {
    Said { content_type, body: body.into(), ends: Ends::Whole }
}

fn events(frames: &[String]) -> Said {
    Said { content_type: EVENTS, body: frames.concat().into(), ends: Ends::Chunked }
}

fn never(content_type: &'static str, begins: String, piece: String) -> Said {
    Said { content_type, body: begins.into(), ends: Ends::Never(piece.into()) }
}

const UNAVAILABLE: Sees = Sees::Error(502, "provider_unavailable");
const BROKEN: Sees = Sees::InBand("provider_unavailable");
const YES: Sees = Sees::Whole("Yes.");
const SETTLED: End = (Kind::Settled, "complete", Bill::Counted(10, 5));
/// Four bytes: `Yes.`
const GUESSED: End = (Kind::Partial, "complete", Bill::Estimated(4));

fn orphaned(outcome: &'static str) -> End {
    (Kind::Orphaned, outcome, Bill::Reserved)
}

pub fn lies(voice: Voice) -> Vec<Lie> {
    [whole(voice), misplaced(voice), usage(voice), order(voice), breaks(voice), calls(voice)].into_iter().flatten().collect()
}

/// A stream's output is known and its usage is not: Anthropic's beginning has told the input.
const fn begun(voice: Voice, written: i64) -> Bill {
    match voice {
        Voice::OpenAi => Bill::Estimated(written),
        Voice::Anthropic => Bill::Begun(10, written),
    }
}

/// Lies of whole answers.
fn whole(voice: Voice) -> Vec<Lie> {
    let usage = voice.usage("10", "5");
    let answer = voice.whole("Yes.", &usage);
    let early = |ends| Said { content_type: JSON, body: answer.clone().into(), ends };
    let half = answer[..answer.len() / 2].to_owned();
    let spoilt = [b"\xff\xfe".as_slice(), b"Yes."].concat();
    let spoilt = answer
        .as_bytes()
        .windows(4)
        .position(|word| word == b"Yes.")
        .map_or(Vec::new(), |at| [&answer.as_bytes()[..at], &spoilt, &answer.as_bytes()[at + 4..]].concat());
    let page = "<!DOCTYPE html><html><body>Welcome!</body></html>";
    let error = voice.error();
    let refused = Sees::Error(503, "provider_overloaded");
    let nothing = (Kind::Failed, "provider_error", Bill::Nothing);
    vec![
        Lie::new("JSON as text/html", false, said(HTML, answer.clone()), YES, SETTLED),
        Lie::new("a page of HTML with 200", false, said(HTML, page), UNAVAILABLE, orphaned("malformed")),
        Lie::new("a page of HTML as JSON", false, said(JSON, page), UNAVAILABLE, orphaned("malformed")),
        Lie::new("truncated JSON of full length", false, said(JSON, half), UNAVAILABLE, orphaned("malformed")),
        Lie::new("cut before its length", false, early(Ends::Early(100)), UNAVAILABLE, orphaned("upstream_cut")),
        Lie::new("an empty body", false, said(JSON, ""), UNAVAILABLE, orphaned("malformed")),
        Lie::new("an empty object", false, said(JSON, "{}"), UNAVAILABLE, orphaned("empty_answer")),
        Lie::new("a list", false, said(JSON, "[1,2]"), UNAVAILABLE, orphaned("malformed")),
        Lie::new("blanks without end", false, never(JSON, String::new(), " ".repeat(4096)), UNAVAILABLE, orphaned("limit")),
        Lie::new("a text without end", false, never(JSON, answer[..40].to_owned(), "x".repeat(4096)), UNAVAILABLE, orphaned("limit")),
        Lie::new("an error with 200", false, said(JSON, error.clone()), refused, nothing),
        Lie::new(
            "the other dialect's answer",
            false,
            said(JSON, voice.other().whole("Yes.", &voice.other().usage("10", "5"))),
            UNAVAILABLE,
            orphaned("empty_answer"),
        ),
        Lie::new("the other dialect's error with 200", false, said(JSON, voice.other().error()), refused, nothing),
        Lie::new("text that is no UTF-8", false, said(JSON, spoilt), Sees::Whole("\u{fffd}\u{fffd}Yes."), SETTLED),
    ]
}

/// One form where the other was asked for.
fn misplaced(voice: Voice) -> Vec<Lie> {
    let usage = voice.usage("10", "5");
    let answer = voice.whole("Yes.", &usage);
    let stream = [voice.begins(), voice.says("Yes."), voice.counts("stop", &usage), voice.over()];
    let counted = (Kind::Settled, "misplaced_form", Bill::Counted(10, 5));
    let page = "<!DOCTYPE html><html><body>Welcome!</body></html>";
    let refused = Sees::Error(503, "provider_overloaded");
    let nothing = (Kind::Failed, "provider_error", Bill::Nothing);
    vec![
        Lie::new("a whole answer for a stream", true, said(JSON, answer.clone()), UNAVAILABLE, counted),
        Lie::new("a whole answer as a stream", true, said(EVENTS, answer.clone()), UNAVAILABLE, orphaned("upstream_cut")),
        Lie::new("a stream as JSON", true, said(JSON, stream.concat()), UNAVAILABLE, counted),
        Lie::new("a stream as text/html", true, said(HTML, stream.concat()), UNAVAILABLE, counted),
        Lie::new("a stream for a whole answer", false, events(&stream), UNAVAILABLE, counted),
        Lie::new("a stream for a whole answer, as JSON", false, said(JSON, stream.concat()), UNAVAILABLE, orphaned("malformed")),
        Lie::new("an error with 200 for a stream", true, said(JSON, voice.error()), refused, nothing),
        Lie::new("a stream of an error for a whole answer", false, events(&[voice.error_frame()]), refused, nothing),
        Lie::new("a page of HTML for a stream", true, said(HTML, page), UNAVAILABLE, orphaned("misplaced_form")),
        Lie::new("a page of HTML as a stream", true, said(EVENTS, page), UNAVAILABLE, orphaned("upstream_cut")),
        Lie::new("an empty body for a stream", true, said(JSON, ""), UNAVAILABLE, orphaned("misplaced_form")),
        Lie::new("an empty stream", true, events(&[]), UNAVAILABLE, orphaned("upstream_cut")),
        Lie::new(
            "blanks without end for a stream",
            true,
            never(JSON, String::new(), " ".repeat(4096)),
            UNAVAILABLE,
            orphaned("misplaced_form"),
        ),
    ]
}

/// Lies about what was consumed.
fn usage(voice: Voice) -> Vec<Lie> {
    let counts = |usage: &str| events(&[voice.begins(), voice.says("Yes."), voice.counts("stop", usage), voice.over()]);
    let mut lies = Vec::new();
    for (name, told) in [
        ("negative usage", voice.usage("-10", "5")),
        ("absurd usage", voice.usage("10", "1e30")),
        ("usage with a fraction", voice.usage("10", "5.5")),
        ("usage in words", voice.usage("\"ten\"", "5")),
        ("usage that is a list", "[10,5]".to_owned()),
        ("usage of the other dialect", voice.other().usage("10", "5")),
    ] {
        let as_stream = counts(&told);
        lies.push(Lie::new(name, false, said(JSON, voice.whole("Yes.", &told)), YES, GUESSED));
        // What counts nothing takes nothing back of what the beginning told; what counts wrongly does.
        let bill = if name.ends_with("dialect") { begun(voice, 4) } else { Bill::Estimated(4) };
        lies.push(Lie::new(name, true, as_stream, YES, (Kind::Partial, "complete", bill)));
    }
    let million = voice.usage("10", "5000000");
    let dear = (Kind::Settled, "complete", Bill::Counted(10, 5_000_000));
    lies.push(Lie::new("usage beyond what was asked for", false, said(JSON, voice.whole("Yes.", &million)), YES, dear));
    lies.push(Lie::new("usage beyond what was asked for", true, counts(&million), YES, dear));
    // Of a count that is told twice in one object the larger stands in OpenAI's dialect, the later in Anthropic's.
    let twice = match voice {
        Voice::OpenAi => r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens":7}"#,
        Voice::Anthropic => r#"{"input_tokens":7,"output_tokens":5,"input_tokens":10}"#,
    };
    lies.push(Lie::new("a count twice in one usage", false, said(JSON, voice.whole("Yes.", twice)), YES, SETTLED));
    lies.push(Lie::new("a count twice in one usage", true, counts(twice), YES, SETTLED));
    let two = format!("{},\"usage\":{}", voice.usage("99", "99"), voice.usage("10", "5"));
    lies.push(Lie::new("usage twice in one answer", false, said(JSON, voice.whole("Yes.", &two)), YES, SETTLED));
    let again = [
        voice.begins(),
        voice.says("Yes."),
        voice.counts("stop", &voice.usage("99", "99")),
        voice.counts("stop", &voice.usage("10", "5")),
        voice.over(),
    ];
    lies.push(Lie::new("usage twice, the later stands", true, events(&again), YES, SETTLED));
    lies.push(Lie::new("no usage", false, said(JSON, voice.whole("Yes.", "null")), YES, GUESSED));
    lies.push(Lie::new("no usage", true, counts("null"), YES, (Kind::Partial, "complete", begun(voice, 4))));
    lies.push(Lie::new("usage of nothing", false, said(JSON, voice.whole("Yes.", "{}")), YES, GUESSED));
    lies.push(Lie::new("usage of nothing", true, counts("{}"), YES, (Kind::Partial, "complete", begun(voice, 4))));
    lies
}

/// Streams in the wrong order.
fn order(voice: Voice) -> Vec<Lie> {
    let usage = voice.usage("10", "5");
    let (begins, says, over) = (voice.begins(), voice.says("Yes."), voice.over());
    let counts = voice.counts("stop", &usage);
    let bare = match voice {
        // Where nothing tells the input, the usage is none.
        Voice::Anthropic => (YES, GUESSED),
        Voice::OpenAi => (YES, SETTLED),
    };
    let output_alone = if voice == Voice::Anthropic { r#"{"output_tokens":5}"# } else { &usage };
    vec![
        Lie::new(
            "two finishes",
            true,
            events(&[begins.clone(), says.clone(), voice.finishes("length"), counts.clone(), over.clone()]),
            YES,
            SETTLED,
        ),
        Lie::new(
            "output after the finish",
            true,
            events(&[begins.clone(), voice.finishes("stop"), says.clone(), counts.clone(), over.clone()]),
            YES,
            SETTLED,
        ),
        Lie::new("output after the usage", true, events(&[begins.clone(), counts.clone(), says.clone(), over.clone()]), YES, SETTLED),
        Lie::new("the end twice", true, events(&[begins.clone(), says.clone(), counts.clone(), over.clone(), over.clone()]), YES, SETTLED),
        Lie::new(
            "output after the end",
            true,
            events(&[begins.clone(), says.clone(), counts.clone(), over.clone(), voice.says_in(1, "No!"), over.clone()]),
            YES,
            SETTLED,
        ),
        Lie::new(
            "usage after the end",
            true,
            events(&[begins.clone(), says.clone(), counts.clone(), over.clone(), voice.counts("stop", &voice.usage("99", "99"))]),
            YES,
            SETTLED,
        ),
        Lie::new(
            "an error after the end",
            true,
            events(&[begins.clone(), says.clone(), counts.clone(), over.clone(), voice.error_frame()]),
            YES,
            SETTLED,
        ),
        Lie::new("no beginning", true, events(&[says.clone(), voice.counts("stop", output_alone), over.clone()]), bare.0, bare.1),
        Lie::new(
            "two beginnings",
            true,
            events(&[begins.clone(), begins.clone(), says.clone(), counts.clone(), over.clone()]),
            YES,
            SETTLED,
        ),
        Lie::new(
            "a block's number jumps",
            true,
            events(&[begins.clone(), voice.says_in(7, "Yes."), counts.clone(), over.clone()]),
            YES,
            SETTLED,
        ),
        Lie::new(
            "the other dialect's stream",
            true,
            events(&[
                voice.other().begins(),
                voice.other().says("Yes."),
                voice.other().counts("stop", &voice.other().usage("10", "5")),
                voice.other().over(),
            ]),
            UNAVAILABLE,
            orphaned("upstream_cut"),
        ),
        Lie::new(
            "text that is no UTF-8",
            true,
            Said { content_type: EVENTS, body: spoilt(&[&begins, &says, &counts, &over]), ends: Ends::Chunked },
            Sees::Whole("\u{fffd}\u{fffd}Yes."),
            SETTLED,
        ),
    ]
}

fn spoilt(frames: &[&String]) -> Bytes {
    let mut all = Vec::new();
    for (at, part) in frames.iter().map(|frame| frame.as_str()).collect::<String>().split("Yes.").enumerate() {
        if at > 0 {
            all.extend_from_slice(b"\xff\xfeYes.");
        }
        all.extend_from_slice(part.as_bytes());
    }
    all.into()
}

/// Streams that break, and errors inside them.
fn breaks(voice: Voice) -> Vec<Lie> {
    let usage = voice.usage("10", "5");
    let (begins, says, over) = (voice.begins(), voice.says("Yes."), voice.over());
    let counts = voice.counts("stop", &usage);
    let nothing = (Kind::Failed, "provider_error", Bill::Nothing);
    let half = |frame: &str| frame[..frame.len() / 2].to_owned();
    let broken_frame = "data: {\"type\":\"content_block_delta\",\"index\":0,\"choices\":[{\"delta\":{\"content\":\"N\n\n".to_owned();
    let cut = (Kind::Partial, "upstream_cut", begun(voice, 4));
    vec![
        Lie::new("an error as the first event", true, events(&[voice.error_frame()]), Sees::Error(503, "provider_overloaded"), nothing),
        Lie::new(
            "an error before any output",
            true,
            events(&[begins.clone(), voice.error_frame(), over.clone()]),
            Sees::Error(503, "provider_overloaded"),
            nothing,
        ),
        Lie::new(
            "an error after output",
            true,
            events(&[begins.clone(), says.clone(), voice.error_frame()]),
            Sees::InBand("provider_overloaded"),
            (Kind::Partial, "provider_error", begun(voice, 4)),
        ),
        Lie::new(
            "an error after output and then the end",
            true,
            events(&[begins.clone(), says.clone(), voice.error_frame(), counts.clone(), over.clone()]),
            Sees::InBand("provider_overloaded"),
            (Kind::Settled, "provider_error", Bill::Counted(10, 5)),
        ),
        Lie::new("an end in the middle", true, events(&[begins.clone(), says.clone()]), BROKEN, cut),
        Lie::new(
            "an end in the middle of a frame",
            true,
            events(&[begins.clone(), says.clone(), half(&voice.says_in(1, "No!"))]),
            BROKEN,
            cut,
        ),
        Lie::new(
            "cut before its length",
            true,
            Said { content_type: EVENTS, body: [begins.as_str(), &says].concat().into(), ends: Ends::Early(100) },
            BROKEN,
            cut,
        ),
        Lie::new(
            "a frame of truncated JSON",
            true,
            events(&[begins.clone(), says.clone(), broken_frame, counts.clone(), over.clone()]),
            YES,
            SETTLED,
        )
        .translated(BROKEN, (Kind::Settled, "malformed", Bill::Counted(10, 5))),
        Lie::new("a frame without end", true, never(EVENTS, format!("{begins}data: "), "x".repeat(4096)), UNAVAILABLE, orphaned("limit")),
        Lie::new("comments without end", true, never(EVENTS, String::new(), ": still here\n\n".repeat(64)), UNAVAILABLE, orphaned("limit")),
        Lie::new(
            "a frame without end after output",
            true,
            never(EVENTS, format!("{begins}{says}data: "), "x".repeat(4096)),
            BROKEN,
            (Kind::Partial, "limit", begun(voice, 4)),
        ),
        Lie::new(
            "silence without end after the usage",
            true,
            never(EVENTS, format!("{begins}{says}{counts}"), ": still here\n\n".repeat(64)),
            BROKEN,
            (Kind::Settled, "limit", Bill::Counted(10, 5)),
        ),
    ]
}

/// Tool calls that are none, or too many.
fn calls(voice: Voice) -> Vec<Lie> {
    let usage = voice.usage("10", "5");
    let (begins, says, over) = (voice.begins(), voice.says("Yes."), voice.over());
    let counts = voice.counts("tool_calls", &usage);
    let many: Vec<String> = [begins.clone(), says.clone()]
        .into_iter()
        .chain((1..6000).map(|number| voice.calls(number)))
        .chain([voice.finishes("tool_calls"), over.clone()])
        .collect();
    let broken = (BROKEN, (Kind::Settled, "malformed", Bill::Counted(10, 5)));
    // Blocks come one after another and nothing is kept of them; calls that may come in turn are all remembered.
    let too_many = match voice {
        Voice::OpenAi => (BROKEN, (Kind::Partial, "malformed", Bill::Within)),
        Voice::Anthropic => (YES, (Kind::Partial, "complete", Bill::Within)),
    };
    // Of OpenAI's calls one that has no name is none.
    let unnamed = match voice {
        Voice::OpenAi => (YES, SETTLED),
        Voice::Anthropic => (UNAVAILABLE, (Kind::Settled, "malformed", Bill::Counted(10, 5))),
    };
    let nameless = match voice {
        Voice::OpenAi => {
            json!({ "role": "assistant", "content": "Yes.", "tool_calls": [{ "id": "t", "type": "function", "function": { "arguments": "{}" } }] })
        }
        Voice::Anthropic => json!([{ "type": "text", "text": "Yes." }, { "type": "tool_use", "id": "t", "input": {} }]),
    };
    vec![
        Lie::new(
            "a fragment of a call that never began",
            true,
            events(&[begins.clone(), says.clone(), voice.fragment(3), counts.clone(), over.clone()]),
            YES,
            SETTLED,
        )
        .translated(broken.0, broken.1),
        Lie::new("a call's number jumps", true, events(&[begins, says, voice.calls(7), counts, over]), YES, SETTLED),
        Lie::new("a call without a name", false, said(JSON, voice.holding(&nameless, &usage)), YES, SETTLED)
            .translated(unnamed.0, unnamed.1),
        Lie::new("very many calls", false, said(JSON, voice.calling(2000, &usage)), YES, SETTLED),
        Lie::new("more calls than the limit has room for", false, said(JSON, voice.calling(6000, &usage)), UNAVAILABLE, orphaned("limit")),
        Lie::new("very many calls", true, events(&many), YES, (Kind::Partial, "complete", Bill::Within)).translated(too_many.0, too_many.1),
    ]
}

/// Streams whose output never ends.
pub fn without_end(voice: Voice) -> Vec<Lie> {
    let frames = voice.says("Yes.");
    let partial = (Kind::Partial, "timeout", Bill::Within);
    vec![Lie::new("output without end", true, never(EVENTS, format!("{}{frames}", voice.begins()), frames.clone()), BROKEN, partial)]
}
