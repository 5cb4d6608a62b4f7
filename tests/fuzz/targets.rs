//! Who reads the input, and what must hold of what comes out.

use bytes::Bytes;
use waybill_dialect::{
    AsksUsage, Dialect, Limits, StreamOptions, Target as Endpoint, anthropic, classify, classify_in_body,
    neutral::{Carrier, Event, EventKind, Shown},
    openai, splice_cost,
};
use waybill_tests::Random;

use crate::seeds::Shape;

/// What an input led to: nothing to say, or a finding.
pub type Outcome = Result<(), String>;

/// One reader under test.
pub struct Target {
    pub name: &'static str,
    pub shape: Shape,
    pub read: fn(&[u8], &mut Random) -> Outcome,
}

const fn target(name: &'static str, shape: Shape, read: fn(&[u8], &mut Random) -> Outcome) -> Target {
    Target { name, shape, read }
}

pub const TARGETS: [Target; 11] = [
    target("openai-request", Shape::ChatRequest, chat_request),
    target("anthropic-request", Shape::MessagesRequest, messages_request),
    target("openai-answer", Shape::ChatAnswer, chat_answer),
    target("anthropic-answer", Shape::MessagesAnswer, messages_answer),
    target("openai-stream", Shape::ChatStream, chat_stream),
    target("anthropic-stream", Shape::MessagesStream, messages_stream),
    target("openai-events", Shape::ChatStream, chat_events),
    target("anthropic-events", Shape::MessagesStream, messages_events),
    target("sse", Shape::MessagesStream, sse),
    target("error", Shape::Error, error),
    target("error-in-body", Shape::ChatAnswer, error),
];

const LIMITS: Limits = Limits { body_bytes: 1 << 20, json_depth: 64, json_keys: 100_000, list_entries: 128, name_bytes: 256 };

/// Smaller than the product's, so that inputs reach it.
const FRAME_BYTES: usize = 16 << 10;

fn endpoint() -> Endpoint<'static> {
    Endpoint { provider_model: "m\"1", asks_usage: AsksUsage::StreamOptions, drop_gateway_fields: true, max_output: None }
}

fn carrier(stream: bool) -> Carrier<'static> {
    Carrier { provider_model: "m\"1", stream, max_output: 4096, ..Carrier::default() }
}

fn json(text: &[u8], what: &str) -> Outcome {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        // A reader of the tests stops at a depth of 128 and at lone surrogates; the product's own limits are its business.
        Err(error) if error.to_string().contains("recursion") || error.to_string().contains("surrogate") => Ok(()),
        Err(error) => Err(format!("{what} is no JSON ({error}): {}", text.escape_ascii())),
    }
}

/// A request that is taken is JSON wherever it goes.
macro_rules! request {
    ($name:ident, $own:ident) => {
        fn $name(input: &[u8], _: &mut Random) -> Outcome {
            let body = Bytes::copy_from_slice(input);
            let Ok(call) = $own::read_request(&body, &LIMITS) else { return Ok(()) };
            json(&$own::rewrite(&body, &call, &endpoint()).to_bytes(), "the request on the express lane")?;
            let Ok(prompt) = $own::read_prompt(&body, &LIMITS) else { return Ok(()) };
            let carrier = carrier(call.stream);
            if let Ok((written, _)) = openai::write_prompt(&prompt, &carrier) {
                json(&written, "the request for OpenAI's dialect")?;
                openai::read_prompt(&written, &LIMITS)
                    .map_err(|fault| format!("what was written for OpenAI's dialect is refused: {fault}"))?;
            }
            if let Ok((written, _)) = anthropic::write_prompt(&prompt, &carrier) {
                json(&written, "the request for Anthropic's dialect")?;
                anthropic::read_prompt(&written, &LIMITS)
                    .map_err(|fault| format!("what was written for Anthropic's dialect is refused: {fault}"))?;
            }
            Ok(())
        }
    };
}

request!(chat_request, openai);
request!(messages_request, anthropic);

/// An answer that is taken is JSON however it is shown.
macro_rules! answer {
    ($name:ident, $own:ident, $dialect:expr) => {
        fn $name(input: &[u8], _: &mut Random) -> Outcome {
            let body = Bytes::copy_from_slice(input);
            let Ok(answer) = $own::read_answer(&body) else { return Ok(()) };
            if std::str::from_utf8(input).is_ok() {
                json(&splice_cost($dialect, &body, &answer, 1_234_567, Default::default()).body.to_bytes(), "the answer with its cost")?;
            }
            let Ok(message) = $own::read_message(&body) else { return Ok(()) };
            let shown = Shown {
                id: "gen-1",
                model: "a/b",
                reading: answer.usage.as_ref(),
                cost_picousd: Some(1),
                openrouter: true,
                ..Shown::default()
            };
            json(&openai::write_message(&message, &shown).0, "the answer in OpenAI's dialect")?;
            json(&anthropic::write_message(&message, &shown).0, "the answer in Anthropic's dialect")
        }
    };
}

answer!(chat_answer, openai, Dialect::OpenAi);
answer!(messages_answer, anthropic, Dialect::Anthropic);

/// The input in pieces.
fn pieces(input: &[u8], random: &mut Random) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut rest = Bytes::copy_from_slice(input);
    while !rest.is_empty() {
        let most = if random.word().is_multiple_of(3) { rest.len() } else { rest.len().min(200) };
        pieces.push(rest.split_to(random.between(1, most as u64 + 1) as usize));
    }
    pieces
}

/// What a stream comes to: its bytes, and what was learned of it.
type Told = (Vec<u8>, String);

/// The same bytes, whatever the cut; the same reading; nothing lost before the terminal part.
macro_rules! stream {
    ($name:ident, $own:ident) => {
        fn $name(input: &[u8], random: &mut Random) -> Outcome {
            let run = |pieces: Vec<Bytes>| -> Option<Told> {
                let mut stream = $own::Stream::new(StreamOptions { frame_bytes: FRAME_BYTES, ..StreamOptions::default() });
                let mut out = Vec::new();
                for piece in &pieces {
                    stream.push(piece, &mut out).ok()?;
                }
                stream.finish(&mut out);
                let learned = format!("{:?} {:?} {:?} {:?}", stream.ending(), stream.usage(), stream.finish_reason(), stream.output());
                stream.release(Some(1_234_567), &mut out);
                Some((out.concat(), learned))
            };
            let whole = run(vec![Bytes::copy_from_slice(input)]);
            let cut = run(pieces(input, random));
            match (whole, cut) {
                // The limit of what is carried may be met in one cut and not in another.
                (Some(whole), Some(cut)) if whole != cut => Err(format!("the cut decides: {whole:?} or {cut:?}")),
                _ => Ok(()),
            }
        }
    };
}

stream!(chat_stream, openai);
stream!(messages_stream, anthropic);

/// Events are a legal sequence, the same whatever the cut, and readable in both dialects.
macro_rules! events {
    ($name:ident, $own:ident) => {
        fn $name(input: &[u8], random: &mut Random) -> Outcome {
            let run = |pieces: Vec<Bytes>| -> (Vec<Event>, bool) {
                let mut reader = $own::EventsReader::new(FRAME_BYTES);
                let mut out = Vec::new();
                let broken = pieces.iter().any(|piece| reader.push(piece, &mut out).is_err());
                if !broken {
                    reader.finish(&mut out);
                }
                (out, broken)
            };
            let (whole, whole_broken) = run(vec![Bytes::copy_from_slice(input)]);
            let (cut, cut_broken) = run(pieces(input, random));
            if !whole_broken && !cut_broken && whole != cut {
                return Err(format!("the cut decides: {whole:?} or {cut:?}"));
            }
            legal(&cut)?;
            for dialect in Dialect::ALL {
                written(*dialect, &cut)?;
            }
            Ok(())
        }
    };
}

events!(chat_events, openai);
events!(messages_events, anthropic);

fn legal(events: &[Event]) -> Outcome {
    let (mut open, mut next, mut over) = (None, 0, false);
    for (at, event) in events.iter().enumerate() {
        let fits = !over
            && match event.kind() {
                EventKind::Start { .. } => at == 0,
                EventKind::Open { block, .. } => {
                    let fits = at > 0 && open.is_none() && *block == next;
                    open = Some(*block);
                    next += 1;
                    fits
                }
                EventKind::Delta { block, .. } => open == Some(*block),
                EventKind::Close { block } => open.take() == Some(*block),
                EventKind::Finish { .. } => {
                    over = true;
                    open.is_none()
                }
            };
        if !fits {
            return Err(format!("event {at} is out of place: {events:?}"));
        }
    }
    Ok(())
}

/// What the events are written as is read back without a fault.
fn written(dialect: Dialect, events: &[Event]) -> Outcome {
    let mut out = Vec::new();
    match dialect {
        Dialect::OpenAi => {
            let mut writer = openai::EventsWriter::new("gen-1".into(), "a/b".into(), 1, true, true);
            events.iter().for_each(|event| writer.push(event, &mut out));
            writer.end(None, Some(5), None, &mut out);
        }
        Dialect::Anthropic => {
            let mut writer = anthropic::EventsWriter::new("gen-1", "a/b", 1, true, true);
            events.iter().for_each(|event| writer.push(event, &mut out));
            writer.end(None, Some(5), None, &mut out);
        }
    }
    let bytes = Bytes::from(out.concat());
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(data) = line.strip_prefix(b"data: ").filter(|data| *data != b"[DONE]") {
            json(data, "a frame")?;
        }
    }
    let mut back = Vec::new();
    let read = match dialect {
        Dialect::OpenAi => openai::EventsReader::new(1 << 20).push(&bytes, &mut back),
        Dialect::Anthropic => anthropic::EventsReader::new(1 << 20).push(&bytes, &mut back),
    };
    read.map_err(|disorder| format!("what was written in {dialect} is not read back: {disorder}"))
}

/// Lines that end in every way, bytes in any order: nothing of a stream that says nothing is lost or changed.
fn sse(input: &[u8], random: &mut Random) -> Outcome {
    let endings: [&[u8]; 3] = [b"\n", b"\r", b"\r\n"];
    let mut text = Vec::with_capacity(input.len());
    for line in input.split(|byte| matches!(byte, b'\n' | b'\r')) {
        // Comments are no data: they pass whatever they hold.
        if !line.is_empty() {
            text.push(b':');
            text.extend_from_slice(line);
        }
        text.extend_from_slice(endings.get(random.word() as usize % 3).copied().unwrap_or_default());
    }
    let mut stream = openai::Stream::new(StreamOptions { frame_bytes: 1 << 20, ..StreamOptions::default() });
    let mut out = Vec::new();
    for piece in pieces(&text, random) {
        stream.push(&piece, &mut out).map_err(|error| error.to_string())?;
    }
    stream.finish(&mut out);
    stream.release(None, &mut out);
    if out.concat() == text { Ok(()) } else { Err("comments do not pass as they came".to_owned()) }
}

/// Whatever a provider says of its fault, the caller gets a status that is one of an error, and none of it is ours.
fn error(input: &[u8], random: &mut Random) -> Outcome {
    let status = random.between(300, 600) as u16;
    for classified in [classify(status, &Default::default(), input), classify_in_body(input)] {
        if !(400..600).contains(&classified.status) || classified.status == 401 {
            return Err(format!("status {} for {status}", classified.status));
        }
    }
    Ok(())
}
