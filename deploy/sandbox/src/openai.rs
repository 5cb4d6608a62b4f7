//! The OpenAI chat dialect on the wire: whole answers, stream frames, errors.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::compose::{Choice, fragments};
use crate::frame::{Frame, Head, Kind, Stating};
use crate::reply::Reply;
use crate::usage::{Usage, UsageObject, tokens};

/// What `system_fingerprint` says in every answer.
pub const FINGERPRINT: &str = "sandbox";
/// What ends a stream.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WholeChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageObject>>,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: usize,
    message: WholeMessage<'a>,
    logprobs: (),
    finish_reason: &'a str,
}

#[derive(Serialize)]
struct WholeMessage<'a> {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

#[derive(Serialize)]
struct ToolCall {
    /// Only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: FunctionCall,
}

#[derive(Serialize)]
struct FunctionCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [ChunkChoice],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageObject>>,
}

#[derive(Serialize)]
struct ChunkChoice {
    index: usize,
    delta: Delta,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

/// A whole answer.
pub(crate) fn whole(head: &Head, choices: &[Choice], usage: Usage, stating: Stating) -> Bytes {
    let choices = choices.iter().enumerate().map(|(index, choice)| WholeChoice {
        index,
        message: WholeMessage {
            role: "assistant",
            content: (choice.calls.is_empty() && choice.refusal.is_none()).then(|| choice.content.text()),
            reasoning_content: (!choice.reasoning.is_empty()).then(|| choice.reasoning.concat()),
            refusal: choice.refusal.as_deref(),
            tool_calls: choice.calls.iter().enumerate().map(|(call, c)| tool_call(head, index, call, &c.name, &c.arguments)).collect(),
        },
        logprobs: (),
        finish_reason: choice.finish,
    });
    to_bytes(&Whole {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: &head.model,
        choices: choices.collect(),
        usage: match stating {
            Stating::Never => None,
            Stating::Null => Some(None),
            _ => Some(Some(usage.object())),
        },
        service_tier: "default",
        system_fingerprint: FINGERPRINT,
    })
}

fn tool_call(head: &Head, choice: usize, call: usize, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        index: None,
        // The head's id is of one request, so these ids do not repeat in a conversation.
        id: Some(format!("call_{}_{choice}_{call}", head.id.trim_start_matches("chatcmpl-"))),
        kind: Some("function"),
        function: FunctionCall { name: Some(name.to_owned()), arguments: arguments.to_owned() },
    }
}

/// The frames of a stream, made one at a time.
pub(crate) fn frames(head: Head, choices: Vec<Choice>, usage: Usage, stating: Stating) -> impl Iterator<Item = Frame> + Send {
    let ids = head.clone();
    let deltas = choices.into_iter().enumerate().flat_map(move |(index, choice)| deltas(&ids, index, choice));
    let mut sent = 0;
    let mut so_far = move |delta: &Delta| {
        sent += delta.text_bytes();
        Usage { completion: tokens(sent).min(usage.completion), reasoning: usage.reasoning.min(tokens(sent)), ..usage }
    };
    let last = head.clone();
    let chunks = deltas.map(move |(kind, choice)| {
        let stated = match (stating, kind) {
            (Stating::InEachChunk, Kind::Finish) | (Stating::WithFinish, Kind::Finish) => Some(usage),
            (Stating::InEachChunk, _) => Some(so_far(&choice.delta)),
            _ => None,
        };
        let field =
            stated.map(|usage| Some(usage.object())).or(matches!(stating, Stating::AtEnd | Stating::Twice | Stating::Null).then_some(None));
        let said = choice.delta.text_bytes();
        Frame { kind, bytes: frame(&head, &[choice], field), usage: stated, said }
    });
    let statements = match stating {
        Stating::AtEnd => vec![usage],
        Stating::Twice => vec![usage.halfway(), usage],
        _ => vec![],
    };
    let end = statements.into_iter().map(move |usage| {
        let bytes = frame(&last, &[], Some(Some(usage.object())));
        Frame { kind: Kind::Usage, bytes, usage: Some(usage), said: 0 }
    });
    let done = Frame { kind: Kind::Done, bytes: Bytes::from_static(DONE), usage: None, said: 0 };
    chunks.chain(end).chain(std::iter::once(done))
}

fn frame(head: &Head, choices: &[ChunkChoice], usage: Option<Option<UsageObject>>) -> Bytes {
    event(&Chunk {
        id: &head.id,
        object: "chat.completion.chunk",
        created: head.created,
        model: &head.model,
        system_fingerprint: FINGERPRINT,
        choices,
        usage,
    })
}

type Deltas = Box<dyn Iterator<Item = (Kind, ChunkChoice)> + Send>;

fn deltas(head: &Head, index: usize, choice: Choice) -> Deltas {
    let in_choice = move |kind, delta| (kind, ChunkChoice { index, delta, logprobs: (), finish_reason: None });
    // An answer of tool calls or a refusal begins with no content at all.
    let speaks = choice.calls.is_empty() && choice.refusal.is_none();
    let role = Delta { role: Some("assistant"), content: speaks.then(String::new), ..Delta::default() };
    let reasoning = choice.reasoning.into_iter().map(|piece| Delta { reasoning_content: Some(piece), ..Delta::default() });
    let content = choice.content.into_strings().map(|piece| Delta { content: Some(piece), ..Delta::default() });
    let refusal = choice.refusal.into_iter().map(|text| Delta { refusal: Some(text), ..Delta::default() });
    let head = head.clone();
    let calls = choice.calls.into_iter().enumerate().flat_map(move |(call, c)| {
        let place = Some(call * head.stride);
        let opening = ToolCall { index: place, ..tool_call(&head, index, call, &c.name, "") };
        let arguments = fragments(&c.arguments).map(move |arguments| ToolCall {
            index: place,
            id: None,
            kind: None,
            function: FunctionCall { name: None, arguments },
        });
        std::iter::once(opening).chain(arguments).map(|call| Delta { tool_calls: vec![call], ..Delta::default() })
    });
    let finish = ChunkChoice { index, delta: Delta::default(), logprobs: (), finish_reason: Some(choice.finish) };
    let pieces = reasoning.chain(content).chain(refusal).chain(calls).map(move |delta| in_choice(Kind::Piece, delta));
    Box::new(std::iter::once(in_choice(Kind::Scaffold, role)).chain(pieces).chain(std::iter::once((Kind::Finish, finish))))
}

impl Delta {
    fn text_bytes(&self) -> u64 {
        let texts = [&self.content, &self.reasoning_content, &self.refusal];
        let arguments: usize = self.tool_calls.iter().map(|call| call.function.arguments.len()).sum();
        texts.into_iter().flatten().map(|text| text.len() as u64).sum::<u64>() + arguments as u64
    }
}

/// An error answer in the dialect's envelope.
pub(crate) fn error(status: StatusCode, code: &str, param: Option<&str>, message: &str) -> Reply {
    Reply::json(status, error_body(status, code, param, message))
}

/// The dialect's error envelope.
pub(crate) fn error_body(status: StatusCode, code: &str, param: Option<&str>, message: &str) -> Bytes {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    to_bytes(&json!({"error": {"message": message, "type": kind, "param": param, "code": code}}))
}

/// An event of an event stream.
pub(crate) fn event(data: &impl Serialize) -> Bytes {
    let mut text = b"data: ".to_vec();
    text.extend_from_slice(&to_bytes(data));
    text.extend_from_slice(b"\n\n");
    text.into()
}

pub(crate) fn to_bytes(value: &impl Serialize) -> Bytes {
    // These types have string keys and no failing parts, so this cannot fail; an empty body would be noticed by any client.
    serde_json::to_vec(value).unwrap_or_default().into()
}
