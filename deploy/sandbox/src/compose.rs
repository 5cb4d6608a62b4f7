//! Decides what a model says: pure, the same words for the same request.

use serde_json::{Value, json};

use crate::errand::{self, Step, Told};
use crate::models::{Behaviour, Failure};
use crate::prefix::Cached;
use crate::request::{Chat, Function};
use crate::schema;
use crate::usage::{BYTES_PER_TOKEN, Usage, tokens};

/// What models say that have nothing of their own to say.
pub(crate) const PLAIN: &str = "This is the Waybill sandbox speaking: no model was asked, and nobody charged you for this answer.";
/// What models think.
pub(crate) const THOUGHTS: &str = "The sandbox thinks in fixed words: first the question, then the answer, then whether both agree.";
/// The most characters of `user`, as OpenAI has it.
const LONGEST_USER: usize = 64;
/// The most choices that are made.
pub(crate) const MAX_CHOICES: u64 = 16;
/// Bytes of a piece of JSON text in a stream.
const JSON_PIECE: usize = 12;

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub reasoning: Vec<String>,
    pub content: Pieces,
    pub refusal: Option<String>,
    pub calls: Vec<Call>,
    /// Reasoning that nobody may read.
    pub redacted: Option<String>,
    pub finish: &'static str,
    /// The stop sequence that ended the text.
    pub stopped_by: Option<String>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub name: String,
    pub arguments: String,
}

/// Text in the pieces in which it is streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    List(Vec<String>),
    /// `sandbox 1 `, `sandbox 2 `, … made when they are needed.
    Numbered(u64),
}

impl Default for Pieces {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Pieces {
    fn words(text: &str) -> Self {
        Self::List(text.split_inclusive(' ').map(str::to_owned).collect())
    }

    pub(crate) fn into_strings(self) -> Box<dyn Iterator<Item = String> + Send> {
        match self {
            Self::List(list) => Box::new(list.into_iter()),
            Self::Numbered(last) => Box::new((1..=last).map(|number| format!("sandbox {number} "))),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.clone().into_strings().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::List(list) => list.iter().map(|piece| piece.len() as u64).sum(),
            Self::Numbered(last) => numbered_bytes(*last),
        }
    }
}

/// Bytes of `sandbox 1 ` to `sandbox {last} `, without making them.
fn numbered_bytes(last: u64) -> u64 {
    let mut digits = 0;
    let mut from = 1;
    while from <= last {
        digits += last - from + 1;
        from = from.saturating_mul(10);
    }
    last * "sandbox  ".len() as u64 + digits
}

/// Why a request is not answered, in the words of the dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub status: u16,
    pub code: &'static str,
    pub param: Option<&'static str>,
    pub message: String,
}

/// The choices of the answer, or why there are none.
pub(crate) fn choices(behaviour: Behaviour, chat: &Chat, endless_chunks: u64) -> Result<Vec<Choice>, Refused> {
    check(behaviour, chat)?;
    let mut choice = spoken(behaviour, chat, endless_chunks)?;
    choice.stop_at(&chat.stop);
    if let Some(most) = chat.max_tokens() {
        choice.limit(most);
    }
    Ok(vec![choice; chat.n.unwrap_or(1) as usize])
}

/// The usage of these choices by the sandbox's rule.
pub(crate) fn usage(behaviour: Behaviour, chat: &Chat, choices: &[Choice], cached: Cached) -> Usage {
    if let Behaviour::Usage(usage) = behaviour {
        return usage;
    }
    let reasoning: u64 = choices.iter().map(Choice::reasoning_tokens).sum();
    let completion: u64 = choices.iter().map(Choice::tokens).sum();
    chat.usage(completion, reasoning, cached)
}

fn check(behaviour: Behaviour, chat: &Chat) -> Result<(), Refused> {
    let refused = |code, param, message| Err(Refused { status: 400, code, param: Some(param), message });
    if chat.messages.is_empty() {
        return refused("invalid_value", "messages", "messages must hold at least one message.".to_owned());
    }
    if !(1..=MAX_CHOICES).contains(&chat.n.unwrap_or(1)) {
        return refused("invalid_value", "n", format!("n must be from 1 to {MAX_CHOICES} in the sandbox."));
    }
    if chat.user.as_ref().is_some_and(|user| user.chars().count() > LONGEST_USER) {
        return refused("string_above_max_length", "user", format!("user may have at most {LONGEST_USER} characters."));
    }
    if chat.max_tokens() == Some(0) {
        return refused("invalid_value", "max_tokens", "max_tokens must be at least 1.".to_owned());
    }
    let (window, asked) = (behaviour.window(), chat.prompt_tokens());
    if asked > window {
        let message = format!("This model's maximum context length is {window} tokens, but the messages hold {asked}.");
        return refused("context_length_exceeded", "messages", message);
    }
    Ok(())
}

fn spoken(behaviour: Behaviour, chat: &Chat, endless_chunks: u64) -> Result<Choice, Refused> {
    Ok(match behaviour {
        Behaviour::Chat => return all_round(chat),
        Behaviour::Tools => return Ok(tool_calls(chat, 1)?.unwrap_or_else(|| after_tools(chat))),
        Behaviour::ParallelTools => return Ok(tool_calls(chat, usize::MAX)?.unwrap_or_else(|| after_tools(chat))),
        Behaviour::Echo => text(&format!("sandbox: {}", chat.last_text("user").unwrap_or_default())),
        Behaviour::Errand => return errand(chat),
        Behaviour::Structured => structured(chat).unwrap_or_else(|| text(PLAIN)),
        Behaviour::Reasoning => reasoned(),
        Behaviour::RedactedReasoning => Choice { redacted: Some("sandbox-redacted".to_owned()), ..reasoned() },
        Behaviour::Fails(Failure::IndexJump) => return Ok(tool_calls(chat, usize::MAX)?.unwrap_or_else(reasoned)),
        Behaviour::Stream { chunks, .. } | Behaviour::Burst { chunks } => numbered(chunks),
        Behaviour::Context { window } => text(&format!("The sandbox read {} of at most {window} tokens.", chat.prompt_tokens())),
        Behaviour::Refusal => Choice { refusal: Some("The sandbox was asked to refuse.".to_owned()), finish: "stop", ..Choice::default() },
        Behaviour::Filtered => {
            Choice { content: Pieces::words("The sandbox stops in the "), finish: "content_filter", ..Choice::default() }
        }
        Behaviour::Fails(failure) => failing(failure, endless_chunks),
        Behaviour::Delay { .. } | Behaviour::Cache | Behaviour::Usage(_) => text(PLAIN),
    })
}

fn text(text: &str) -> Choice {
    Choice { content: Pieces::words(text), finish: "stop", ..Choice::default() }
}

/// What the prompt tells to do next.
fn errand(chat: &Chat) -> Result<Choice, Refused> {
    let unclear = |message| Err(Refused { status: 400, code: "invalid_value", param: Some("messages"), message });
    match errand::next(&chat.messages) {
        Some(Step::Unclear(line)) => unclear(format!("The prompt's line '{line}' is no step.")),
        Some(Step::Call(told)) => {
            if let Some(Told { name, .. }) = told.iter().find(|told| !chat.offers(&told.name)) {
                return unclear(format!("The prompt tells to call '{name}', and there is no such tool."));
            }
            let call = |Told { name, arguments }| Call { name, arguments: Value::Object(arguments).to_string() };
            let calls = told.into_iter().map(call).collect();
            Ok(thinking(chat, Choice { calls, finish: "tool_calls", ..Choice::default() }))
        }
        Some(Step::Say(said)) => Ok(thinking(chat, text(&said))),
        None => Ok(text(PLAIN)),
    }
}

/// With thoughts before it, if the caller wishes for them.
fn thinking(chat: &Chat, spoken: Choice) -> Choice {
    let wished = chat.reasoning_effort.as_deref().is_some_and(|effort| effort != "none");
    if wished { Choice { reasoning: reasoned().reasoning, ..spoken } } else { spoken }
}

fn numbered(chunks: u64) -> Choice {
    Choice { content: Pieces::Numbered(chunks), finish: "stop", ..Choice::default() }
}

fn reasoned() -> Choice {
    Choice { reasoning: THOUGHTS.split_inclusive(' ').map(str::to_owned).collect(), ..text(PLAIN) }
}

fn failing(failure: Failure, endless_chunks: u64) -> Choice {
    match failure {
        // Some pieces more than are sent, so that there is something left to miss.
        Failure::ResetMidway { after } | Failure::CloseMidway { after } | Failure::StallMidway { after } => numbered(after + 4),
        Failure::Endless => numbered(endless_chunks),
        Failure::EmptyAnswer => Choice { finish: "stop", ..Choice::default() },
        _ => text(PLAIN),
    }
}

fn all_round(chat: &Chat) -> Result<Choice, Refused> {
    if let Some(calls) = tool_calls(chat, 1)? {
        return Ok(calls);
    }
    if chat.last_text_is_of_a_tool() {
        return Ok(after_tools(chat));
    }
    Ok(thinking(chat, structured(chat).unwrap_or_else(|| text(PLAIN))))
}

/// Calls of up to `most` tools; none if there is nothing to call or a tool has just answered.
fn tool_calls(chat: &Chat, most: usize) -> Result<Option<Choice>, Refused> {
    let choice = chat.tool_choice.as_ref();
    if chat.last_text_is_of_a_tool() || choice.is_some_and(|choice| choice == "none") {
        return Ok(None);
    }
    let named = choice.and_then(|choice| choice.pointer("/function/name")).and_then(Value::as_str);
    let mut functions: Vec<&Function> = chat.functions().filter(|function| named.is_none_or(|name| name == function.name)).collect();
    let Some(first) = functions.first().copied() else {
        return match named {
            Some(name) => Err(Refused {
                status: 400,
                code: "invalid_value",
                param: Some("tool_choice"),
                message: format!("There is no tool '{name}'."),
            }),
            None => Ok(None),
        };
    };
    let most = if chat.parallel_tool_calls == Some(false) { 1 } else { most };
    if most > 1 && functions.len() == 1 {
        functions.push(first);
    }
    let calls = functions.into_iter().take(most).map(call).collect();
    Ok(Some(Choice { calls, finish: "tool_calls", ..Choice::default() }))
}

fn call(function: &Function) -> Call {
    let arguments = match schema::instance(&function.parameters) {
        Value::Object(arguments) => Value::Object(arguments),
        _ => json!({}),
    };
    Call { name: function.name.clone(), arguments: arguments.to_string() }
}

fn after_tools(chat: &Chat) -> Choice {
    match chat.last_text("tool") {
        Some(result) => text(&format!("The sandbox read the tool's answer: {result}")),
        None => text(PLAIN),
    }
}

fn structured(chat: &Chat) -> Option<Choice> {
    let format = chat.response_format.as_ref()?;
    let value = match format.get("type").and_then(Value::as_str)? {
        "json_schema" => schema::instance(format.pointer("/json_schema/schema").unwrap_or(&Value::Null)),
        "json_object" => json!({"sandbox": true}),
        _ => return None,
    };
    Some(Choice { content: Pieces::List(fragments(&value.to_string()).collect()), finish: "stop", ..Choice::default() })
}

/// JSON text in the small pieces in which providers stream it.
pub(crate) fn fragments(text: &str) -> impl Iterator<Item = String> + Send + use<> {
    let mut pieces = vec![String::new()];
    for character in text.chars() {
        if pieces.last().is_some_and(|piece| piece.len() + character.len_utf8() > JSON_PIECE) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
    }
    pieces.into_iter().filter(|piece| !piece.is_empty())
}

impl Chat {
    fn last_text_is_of_a_tool(&self) -> bool {
        self.messages.last().is_some_and(|message| message.role == "tool")
    }
}

impl Choice {
    pub(crate) fn reasoning_tokens(&self) -> u64 {
        tokens(self.reasoning.iter().map(|piece| piece.len() as u64).sum())
    }

    pub(crate) fn tokens(&self) -> u64 {
        let refusal = self.refusal.as_ref().map_or(0, |refusal| refusal.len() as u64);
        let arguments: u64 = self.calls.iter().map(|call| call.arguments.len() as u64).sum();
        self.reasoning_tokens() + tokens(self.content.bytes() + refusal + arguments)
    }

    /// Ends before the first of these texts.
    fn stop_at(&mut self, stop: &[String]) {
        let text = if stop.is_empty() { String::new() } else { self.content.text() };
        let found = stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((text.find(stop.as_str())?, stop)));
        let Some((at, stop)) = found.min_by_key(|(at, _)| *at) else { return };
        self.content = Pieces::words(text.get(..at).unwrap_or_default());
        self.stopped_by = Some(stop.clone());
        self.finish = "stop";
    }

    /// Ends after `most` tokens, with finish reason `length`, if there are more.
    fn limit(&mut self, most: u64) {
        if self.tokens() <= most {
            return;
        }
        self.finish = "length";
        self.stopped_by = None;
        self.reasoning = shortened(self.reasoning.drain(..), &mut (most * BYTES_PER_TOKEN));
        let mut room = (most - self.reasoning_tokens().min(most)) * BYTES_PER_TOKEN;
        self.content = Pieces::List(shortened(std::mem::take(&mut self.content).into_strings(), &mut room));
        self.refusal = self.refusal.take().map(|refusal| shortened(std::iter::once(refusal), &mut room).concat());
        for call in &mut self.calls {
            call.arguments = shortened(std::iter::once(std::mem::take(&mut call.arguments)), &mut room).concat();
        }
    }
}

/// The pieces that fit into `room` bytes, the last one cut between characters; takes their bytes off `room`.
fn shortened(pieces: impl Iterator<Item = String>, room: &mut u64) -> Vec<String> {
    let mut kept = Vec::new();
    for mut piece in pieces {
        if piece.len() as u64 > *room {
            let starts = piece.char_indices().map(|(start, _)| start);
            let end = starts.take_while(|start| *start as u64 <= *room).last().unwrap_or(0);
            piece.truncate(end);
            *room = 0;
        } else {
            *room -= piece.len() as u64;
        }
        if piece.is_empty() {
            break;
        }
        kept.push(piece);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chat(json: Value) -> Chat {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_bytes_of_numbered_pieces_are_counted_without_making_them() {
        for last in [0, 1, 9, 10, 11, 99, 100, 12_345] {
            let pieces = Pieces::Numbered(last);
            assert_eq!(pieces.bytes(), pieces.text().len() as u64, "{last}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_it_may_be(most in 1u64..60, words in "[aä€ ]{0,80}") {
            for behaviour in [Behaviour::Echo, Behaviour::Reasoning, Behaviour::Refusal, Behaviour::Burst { chunks: 50 }, Behaviour::ParallelTools] {
                let asked = chat(json!({"model": "m", "max_tokens": most, "messages": [{"role": "user", "content": words}],
                    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"long": {"const": "€".repeat(30)}}}}}]}));
                for choice in choices(behaviour, &asked, 10).unwrap() {
                    prop_assert!(choice.tokens() <= most, "{behaviour:?}: {} > {most}", choice.tokens());
                    prop_assert!(choice.finish == "length" || choice.tokens() < most + 1);
                }
            }
        }
    }

    #[test]
    fn tools_are_called_as_asked() {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}});
        let (tools, user) = (json!([tool("a"), tool("b")]), json!([{"role": "user", "content": "go"}]));
        let rows = [
            (Behaviour::Tools, json!({}), vec!["a"]),
            (Behaviour::Chat, json!({}), vec!["a"]),
            (Behaviour::Chat, json!({"tool_choice": "none"}), vec![]),
            (Behaviour::Tools, json!({"tool_choice": "required"}), vec!["a"]),
            (Behaviour::Tools, json!({"tool_choice": {"type": "function", "function": {"name": "b"}}}), vec!["b"]),
            (Behaviour::ParallelTools, json!({}), vec!["a", "b"]),
            (Behaviour::ParallelTools, json!({"tools": [tool("c")]}), vec!["c", "c"]),
            (Behaviour::ParallelTools, json!({"parallel_tool_calls": false}), vec!["a"]),
            (Behaviour::Tools, json!({"messages": [{"role": "tool", "tool_call_id": "1", "content": "42"}]}), vec![]),
            (Behaviour::Tools, json!({"tools": null}), vec![]),
        ];
        for (behaviour, changes, expected) in rows {
            let mut asked = json!({"model": "m", "messages": user, "tools": tools});
            asked.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let answer = choices(behaviour, &chat(asked), 1).unwrap();
            let called: Vec<&str> = answer[0].calls.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(called, expected, "{behaviour:?} {changes}");
            assert!(answer[0].calls.iter().all(|call| call.arguments == r#"{"x":1}"#));
            assert_eq!(answer[0].finish, if expected.is_empty() { "stop" } else { "tool_calls" });
        }
    }

    #[test]
    fn what_cannot_be_answered_is_refused_by_field() {
        let rows = [
            (json!({"messages": []}), "messages"),
            (json!({"n": 0}), "n"),
            (json!({"n": 17}), "n"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"user": "u".repeat(65)}), "user"),
            (json!({"messages": [{"role": "user", "content": "x".repeat(41)}]}), "messages"),
        ];
        for (changes, param) in rows {
            let mut asked = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
            asked.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let refused = choices(Behaviour::Context { window: 10 }, &chat(asked), 1).unwrap_err();
            assert_eq!((refused.status, refused.param), (400, Some(param)));
        }
    }
}
