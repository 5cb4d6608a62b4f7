//! Turns an answer into the steps that send it, breaking it where its model breaks.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};

use crate::dialect::Dialect;
use crate::frame::{Frame, Kind, Stating};
use crate::models::{Behaviour, Failure};
use crate::reply::{Marks, Opening, Payload, Reply, Step, Steps};
use crate::usage::Usage;

/// Pieces that go out before a stream breaks that names no number.
const PIECES_BEFORE_BREAK: u64 = 2;
/// Most MiB of a huge frame.
const HUGE_MIB: u64 = 64;
/// The pace of the endless stream.
const ENDLESS_PACE: Duration = Duration::from_millis(20);
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>sandbox</center>\r\n</body>\r\n</html>\r\n";

/// The answer of a model that fails before it says anything.
pub(crate) fn instead(failure: Failure, dialect: Dialect) -> Option<Reply> {
    Some(match failure {
        Failure::Status { status, retry_after_s } => status_error(status, retry_after_s, dialect),
        Failure::HtmlPage => Reply::whole(StatusCode::BAD_GATEWAY, "text/html", HTML, None),
        Failure::ResetBeforeByte => Reply::never(Opening::Reset),
        Failure::StallBeforeByte => Reply::never(Opening::Stall),
        Failure::EmptyBody => Reply::json(StatusCode::OK, Bytes::new()),
        _ => return None,
    })
}

fn status_error(status: u64, retry_after_s: Option<u64>, dialect: Dialect) -> Reply {
    let (code, message) = match status {
        400 => ("invalid_value", "The sandbox finds a value invalid."),
        401 => ("invalid_api_key", "The sandbox finds the key incorrect."),
        402 => ("insufficient_credits", "The sandbox finds the credit used up."),
        403 => ("permission_denied", "The sandbox does not permit this."),
        404 => ("model_not_found", "The sandbox finds no such model."),
        408 => ("request_timeout", "The sandbox waited too long for the request."),
        413 => ("request_too_large", "The sandbox finds the request too large."),
        422 => ("unprocessable_entity", "The sandbox cannot process a field."),
        429 => ("rate_limit_exceeded", "The sandbox finds the rate limit reached."),
        503 => ("service_unavailable", "The sandbox is not available."),
        529 => ("overloaded", "The sandbox is overloaded."),
        _ => ("internal_error", "The sandbox had an error of its own."),
    };
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let reply = dialect.error(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), code, None, message);
    match retry_after_s {
        Some(seconds) => reply.header(RETRY_AFTER, &seconds.to_string()),
        None => reply,
    }
}

/// Where this model states its usage.
pub(crate) fn stating(behaviour: Behaviour, asked: bool) -> Stating {
    match behaviour {
        Behaviour::Fails(Failure::NoUsage) => Stating::Never,
        Behaviour::Fails(Failure::NullUsage) => Stating::Null,
        Behaviour::Fails(Failure::UsageInEachChunk) => Stating::InEachChunk,
        Behaviour::Fails(Failure::UsageWithFinish) => Stating::WithFinish,
        Behaviour::Fails(Failure::UsageTwice) if asked => Stating::Twice,
        _ if asked => Stating::AtEnd,
        _ => Stating::NotAsked,
    }
}

/// A whole answer as this model sends it.
pub(crate) fn whole(behaviour: Behaviour, dialect: Dialect, body: Bytes, usage: Usage) -> Reply {
    let stated = !matches!(behaviour, Behaviour::Fails(Failure::NoUsage | Failure::NullUsage));
    let mut reply = Reply::whole(StatusCode::OK, "application/json", body, stated.then_some(usage)).costing(usage);
    let Behaviour::Fails(failure) = behaviour else {
        return reply.after(whole_delay(behaviour));
    };
    let Payload::Whole(body, marks) = &reply.body else { return reply };
    let half = body.slice(..body.len() / 2);
    let steps = |last: Step| vec![Step::send(half.clone()), Step::Flush, last];
    let broken = match failure {
        Failure::ResetAfterHeaders => vec![Step::Flush, Step::Reset],
        Failure::ResetMidway { .. } => steps(Step::Reset),
        Failure::CloseMidway { .. } => steps(Step::Close),
        Failure::StallMidway { .. } => steps(Step::Stall),
        Failure::ShortBody => {
            let length = body.len().to_string();
            return Reply { body: listed(steps(Step::Close)), ..reply }.header(CONTENT_LENGTH, &length);
        }
        Failure::TruncatedJson | Failure::MalformedFrame => {
            return Reply { body: Payload::Whole(half, Marks::default()), ..reply };
        }
        Failure::ErrorIn200 => {
            return Reply { body: Payload::Whole(dialect.midway_error(), Marks::default()), usage: None, ..reply };
        }
        Failure::WrongType => return reply.header(CONTENT_TYPE, "text/plain"),
        Failure::Endless => {
            reply.body = Payload::Steps(endless_whole(body.clone(), *marks, usage));
            return reply;
        }
        _ => return reply,
    };
    Reply { body: listed(broken), ..reply }
}

fn listed(steps: Vec<Step>) -> Payload {
    Payload::Steps(Box::new(steps.into_iter()))
}

/// JSON allows blank lines before it, and there is no end to them; one per token that the answer is worth.
fn endless_whole(body: Bytes, marks: Marks, usage: Usage) -> Steps {
    let blank = (1..=usage.completion as u32).flat_map(|line| [Step::At(ENDLESS_PACE * line), Step::send("\n")]);
    Box::new(blank.chain(std::iter::once(Step::Send(body, marks))))
}

fn whole_delay(behaviour: Behaviour) -> Duration {
    match behaviour {
        Behaviour::Stream { chunks, pace_ms } => Duration::from_millis(chunks * pace_ms),
        Behaviour::Delay { ms } => Duration::from_millis(ms),
        _ => Duration::ZERO,
    }
}

/// A stream as this model sends it.
pub(crate) fn stream(behaviour: Behaviour, dialect: Dialect, frames: impl Iterator<Item = Frame> + Send + 'static, usage: Usage) -> Reply {
    let reply = |steps: Steps| Reply::stream(steps, Some(usage));
    match behaviour {
        Behaviour::Stream { pace_ms, .. } => reply(paced(frames, Duration::from_millis(pace_ms))),
        Behaviour::Delay { ms } => reply(Box::new(frames.map(sent))).after(Duration::from_millis(ms)),
        Behaviour::Fails(Failure::Endless) => reply(paced(frames, ENDLESS_PACE)),
        Behaviour::Fails(Failure::WrongType) => reply(Box::new(frames.map(sent))).header(CONTENT_TYPE, "text/plain"),
        Behaviour::Fails(failure) => reply(broken(failure, dialect, frames)),
        _ => reply(Box::new(frames.map(sent))),
    }
}

fn broken(failure: Failure, dialect: Dialect, frames: impl Iterator<Item = Frame> + Send + 'static) -> Steps {
    let breaks = PIECES_BEFORE_BREAK;
    match failure {
        Failure::ResetAfterHeaders => Box::new([Step::Flush, Step::Reset].into_iter()),
        Failure::ResetMidway { after } => cut_short(frames, after, vec![Step::Flush, Step::Reset]),
        Failure::CloseMidway { after } => cut_short(frames, after, vec![Step::Flush, Step::Close]),
        Failure::StallMidway { after } => cut_short(frames, after, vec![Step::Flush, Step::Stall]),
        Failure::ErrorIn200 => cut_short(frames, breaks, vec![Step::send(dialect.midway_frame())]),
        Failure::TruncatedJson => cut_short(frames, breaks, vec![Step::send(dialect.cut_frame())]),
        Failure::ShortBody => cut_short(frames, breaks, vec![Step::Flush, Step::Close]),
        Failure::MalformedFrame => with_one_more(frames, Step::send(dialect.malformed_frame())),
        Failure::HugeFrame { mib } => with_one_more(frames, Step::send(huge_frame(mib))),
        Failure::TwoFinishes => Box::new(frames.flat_map(|frame| {
            let again = (frame.kind == Kind::Finish).then(|| sent(frame.clone()));
            std::iter::once(sent(frame)).chain(again)
        })),
        Failure::NoDone => Box::new(frames.filter(|frame| frame.kind != Kind::Done).map(sent)),
        _ => Box::new(frames.map(sent)),
    }
}

/// All frames, and after the pieces before a break one step more. What stands behind it nobody can be expected to read, so the record does not
/// count it as said.
fn with_one_more(frames: impl Iterator<Item = Frame> + Send + 'static, more: Step) -> Steps {
    let mut pieces = 0;
    Box::new(frames.flat_map(move |frame| {
        pieces += u64::from(frame.kind == Kind::Piece);
        let here = frame.kind == Kind::Piece && pieces == PIECES_BEFORE_BREAK;
        let said = if pieces > PIECES_BEFORE_BREAK { 0 } else { frame.said };
        std::iter::once(sent(Frame { said, ..frame })).chain(here.then(|| more.clone()))
    }))
}

/// A frame of one line, longer than any reader of streams should hold.
fn huge_frame(mib: u64) -> Bytes {
    let line = "x".repeat(usize::try_from(mib.min(HUGE_MIB) << 20).unwrap_or_default());
    format!("data: {{\"padding\":\"{line}\"}}\n\n").into()
}

/// The frames up to so many pieces, then something else.
fn cut_short(frames: impl Iterator<Item = Frame> + Send + 'static, after: u64, last: Vec<Step>) -> Steps {
    let mut pieces = 0;
    let begun = frames.take_while(move |frame| {
        pieces += u64::from(frame.kind == Kind::Piece);
        pieces <= after && matches!(frame.kind, Kind::Scaffold | Kind::Piece | Kind::Usage)
    });
    Box::new(begun.map(sent).chain(last))
}

/// One piece per pace, by an absolute timetable: the first goes out one pace after the answer began.
fn paced(frames: impl Iterator<Item = Frame> + Send + 'static, pace: Duration) -> Steps {
    let mut pieces: u32 = 0;
    Box::new(frames.flat_map(move |frame| {
        let waits = (frame.kind == Kind::Piece).then(|| {
            pieces = pieces.saturating_add(1);
            Step::At(pace.saturating_mul(pieces))
        });
        waits.into_iter().chain(std::iter::once(sent(frame)))
    }))
}

fn sent(frame: Frame) -> Step {
    let marks = Marks { usage: frame.usage, done: frame.kind == Kind::Done, said: frame.said };
    Step::Send(frame.bytes, marks)
}
