//! The express lane of whichever dialect, so that no one outside names a dialect's folder.

use bytes::Bytes;

use crate::answer::{Answer, AnswerOptions, BrokenAnswer};
use crate::body::Body;
use crate::call::Call;
use crate::cost::Spliced;
use crate::dialect::Dialect;
use crate::error::ErrorBody;
use crate::fault::Fault;
use crate::limits::Limits;
use crate::target::Target;
use crate::{anthropic, openai};

/// Reads a request for an answer, written in `dialect`.
///
/// # Errors
/// The first fault in the order of the bytes, with its path; what is missing is found last.
pub fn read_request(dialect: Dialect, body: &Bytes, limits: &Limits) -> Result<Call, Fault> {
    match dialect {
        Dialect::OpenAi => openai::read_request(body, limits),
        Dialect::Anthropic => anthropic::read_request(body, limits),
    }
}

/// The request as `target` is to get it, in the dialect it was written in. `body` is the one that `call` was read from.
pub fn rewrite(body: &Bytes, call: &Call, target: &Target<'_>) -> Body {
    match call.dialect {
        Dialect::OpenAi => openai::rewrite(body, call, target),
        Dialect::Anthropic => anthropic::rewrite(body, call, target),
    }
}

/// Reads a whole answer of a provider that speaks `dialect`.
///
/// # Errors
/// The body is not one JSON object.
pub fn read_answer(dialect: Dialect, body: &[u8]) -> Result<Answer, BrokenAnswer> {
    match dialect {
        Dialect::OpenAi => openai::read_answer(body),
        Dialect::Anthropic => anthropic::read_answer(body),
    }
}

/// The answer with our cost in its usage object. An answer without one stays as it is. `answer` was read from `body`.
pub fn splice_cost(dialect: Dialect, body: &Bytes, answer: &Answer, cost_picousd: i64, options: AnswerOptions) -> Spliced {
    match dialect {
        Dialect::OpenAi => openai::splice_cost(body, answer, cost_picousd, options),
        Dialect::Anthropic => anthropic::splice_cost(body, answer, cost_picousd),
    }
}

/// The body of an error answer to a caller who speaks `dialect`. `request_id` is the generation's id, or empty if there is none.
pub fn envelope(dialect: Dialect, error: &ErrorBody, request_id: &str) -> Bytes {
    match dialect {
        Dialect::OpenAi => openai::envelope(error),
        Dialect::Anthropic => anthropic::envelope(error, request_id),
    }
}

/// An error after the answer has begun, and the end of the stream as far as the dialect has one after an error.
pub fn error_frames(dialect: Dialect, error: &ErrorBody, id: &str, model: &str, created_s: u64) -> Vec<Bytes> {
    let mut frames = match dialect {
        Dialect::OpenAi => vec![openai::error_frame(error, id, model, created_s)],
        Dialect::Anthropic => vec![anthropic::error_frame(error, id)],
    };
    frames.extend(end_frames(dialect));
    frames
}

/// What closes a stream in which the provider's own end will not come.
pub fn end_frames(dialect: Dialect) -> Option<Bytes> {
    match dialect {
        Dialect::OpenAi => Some(Bytes::from_static(openai::DONE_FRAME)),
        Dialect::Anthropic => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Ending, Step, Stream, StreamOptions};

    /// One small exchange in each dialect: request, stream, the event that ends it, whole answer.
    const EXCHANGES: &[(Dialect, &str, &str, &str, &str)] = &[
        (
            Dialect::OpenAi,
            r#"{"model":"m","messages":[{"role":"user","content":"c"}]}"#,
            "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"w\"}}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
            r#"{"choices":[{"message":{"content":"w"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"c"}]}"#,
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"w\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":4,\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
            r#"{"type":"message","content":[{"type":"text","text":"w"}],"stop_reason":"end_turn","usage":{"input_tokens":4,"output_tokens":2}}"#,
        ),
    ];

    #[test]
    fn each_dialect_goes_its_own_lane() {
        for (dialect, request, word, end, answer) in EXCHANGES {
            let body = Bytes::from_static(request.as_bytes());
            let call = read_request(*dialect, &body, &Limits::default()).expect("reads");
            assert_eq!((call.dialect, &*call.model), (*dialect, "m"));
            let target = Target { provider_model: "p", ..Target::default() };
            assert_eq!(rewrite(&body, &call, &target).to_bytes(), request.replace(r#""m""#, r#""p""#));

            let (mut stream, mut out) = (Stream::new(*dialect, StreamOptions::default()), Vec::new());
            assert!(stream.is_empty() && !stream.output_started());
            assert_eq!(stream.push(&Bytes::from_static(word.as_bytes()), &mut out), Ok(Step::More));
            assert_eq!(stream.push(&Bytes::from_static(end.as_bytes()), &mut out), Ok(Step::Done));
            assert_eq!((out.concat(), stream.finish(&mut out)), (word.as_bytes().to_vec(), Ending::Complete));
            let usage = stream.usage().expect("told").clone();
            assert_eq!((usage.total_input(), usage.total_output(), stream.output().text), (4, 2, 1));
            stream.release(Some(9_000_000_000_000), &mut out);
            assert!(String::from_utf8_lossy(&out.concat()).contains(",\"cost\":9}"));

            let body = Bytes::from_static(answer.as_bytes());
            let read = read_answer(*dialect, &body).expect("reads");
            assert_eq!((read.usage.as_ref(), read.empty), (Some(&usage), false));
            let spliced = splice_cost(*dialect, &body, &read, 9_000_000_000_000, AnswerOptions::default());
            assert_eq!(spliced.body.to_bytes(), answer.replace("2}", "2,\"cost\":9}"));
        }
    }
}
