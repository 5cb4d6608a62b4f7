//! Answers through the codecs.

use bytes::Bytes;
use waybill_dialect::neutral::{Event, Message, Shown, fold};
use waybill_dialect::{anthropic, openai};

use crate::across::said;
use crate::case::Case;
use crate::dialect::{Dialect, Pair};
use crate::judge::{Verdict, equal, shown};
use crate::reader::{self, Reading};

/// Longest that may wait.
const LIMIT: usize = 1 << 20;

/// The events of a stream that comes in pieces of `piece` bytes.
fn events(dialect: Dialect, stream: &[u8], piece: usize) -> Result<Vec<Event>, String> {
    let (mut out, stream) = (Vec::new(), Bytes::copy_from_slice(stream));
    let pieces = (0..stream.len()).step_by(piece.max(1)).map(|at| stream.slice(at..(at + piece.max(1)).min(stream.len())));
    match dialect {
        Dialect::OpenAi => {
            let mut reader = openai::EventsReader::new(LIMIT);
            for bytes in pieces {
                reader.push(&bytes, &mut out).map_err(|disorder| disorder.to_string())?;
            }
            reader.finish(&mut out);
        }
        Dialect::Anthropic => {
            let mut reader = anthropic::EventsReader::new(LIMIT);
            for bytes in pieces {
                reader.push(&bytes, &mut out).map_err(|disorder| disorder.to_string())?;
            }
            reader.finish(&mut out);
        }
    }
    Ok(out)
}

fn stream_of(dialect: Dialect, events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    match dialect {
        Dialect::OpenAi => {
            let mut writer = openai::EventsWriter::new("gen-x".to_owned(), "m".to_owned(), 1, true, true);
            events.iter().for_each(|event| writer.push(event, &mut out));
            writer.end(None, None, None, &mut out);
        }
        Dialect::Anthropic => {
            let mut writer = anthropic::EventsWriter::new("gen-x", "m", 1, true, true);
            events.iter().for_each(|event| writer.push(event, &mut out));
            writer.end(None, None, None, &mut out);
        }
    }
    out.concat()
}

fn whole_of(dialect: Dialect, message: &Message) -> Bytes {
    let shown = Shown { id: "gen-x", model: "m", created_s: 1, ..Shown::default() };
    match dialect {
        Dialect::OpenAi => openai::write_message(message, &shown).0,
        Dialect::Anthropic => anthropic::write_message(message, &shown).0,
    }
}

pub fn check(case: &Case, verdict: &mut Verdict) {
    let message = if case.is_sse {
        events(case.dialect, &case.served, usize::MAX).and_then(|first| {
            for piece in [1, 7, 64] {
                // Frames of a stream give the same events wherever they are cut.
                if events(case.dialect, &case.served, piece)? != first {
                    return Err(format!("other events in pieces of {piece}"));
                }
            }
            Ok((fold(&first), Some(first)))
        })
    } else {
        let body = Bytes::copy_from_slice(&case.served);
        let read = match case.dialect {
            Dialect::OpenAi => openai::read_message(&body),
            Dialect::Anthropic => anthropic::read_message(&body),
        };
        read.map(|message| (message, None)).map_err(|broken| broken.to_string())
    };
    for caller in Dialect::ALL {
        let pair = Pair { caller, provider: case.dialect };
        let folded = message.as_ref().map_err(Clone::clone).and_then(|(message, events)| {
            let whole = whole_of(caller, message);
            let told = Reading::whole(caller, &whole).ok_or_else(|| format!("not readable: {}", shown(&whole)))?;
            says(case, caller, &told).map_err(|wrong| format!("{wrong}, whole: {}", shown(&whole)))?;
            reader::faults_of_whole(caller, &whole)?;
            let Some(events) = events else { return Ok(()) };
            let stream = stream_of(caller, events);
            reader::faults(caller, &stream)?;
            let again = Reading::stream(caller, &stream);
            let words =
                |reading: &Reading| (reading.text.clone(), reading.refusal.clone(), reading.reasoning.clone(), reading.finish.clone());
            equal(&words(&again), &words(&told)).map_err(|wrong| format!("streamed and whole differ: {wrong}"))?;
            says(case, caller, &again).map_err(|wrong| format!("{wrong}, streamed: {}", shown(&stream)))
        });
        verdict.note(&case.id, pair, "codec", "folded", folded);
    }
}

/// What is expected: in the other dialect by the rules of translation, in its own the same words.
fn says(case: &Case, caller: Dialect, told: &Reading) -> Result<(), String> {
    let is_own = caller == case.dialect;
    let mut checks = said(case, caller, told).into_iter().filter(|(check, _)| !is_own || *check != "finish");
    checks.try_for_each(|(check, outcome)| outcome.map_err(|wrong| format!("{check}: {wrong}")))
}
