//! The paths of the data plane. Two surfaces share them: `/v1` keeps the vendors' rules, `/api/v1` OpenRouter's. A path tells the dialect as well.

use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use waybill_dialect::{Dialect, ErrorBody, ErrorType};

use crate::outbound::ANTHROPIC_VERSION;

/// Whose rules hold where the two differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Surface {
    /// `/v1`
    Vendor,
    /// `/api/v1`
    OpenRouter,
}

impl Surface {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vendor => "/v1",
            Self::OpenRouter => "/api/v1",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Operation<'a> {
    ChatCompletions,
    /// Anthropic's messages.
    Messages,
    /// How many tokens messages have.
    CountTokens,
    /// Something that no provider is asked for.
    Ask(Question<'a>),
}

/// See [`Operation::Ask`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Question<'a> {
    Models,
    /// One model: its author and slug, or a bare slug. As OpenAI shows it.
    Model(Cow<'a, str>),
    /// The same as OpenRouter shows it: below `data`.
    ModelData(Cow<'a, str>),
    /// The endpoints of a model.
    Endpoints(Cow<'a, str>),
    Key,
    Generation,
}

/// Finds the operation of a request.
pub(crate) fn operation<'a>(method: &Method, path: &'a str) -> Result<(Surface, Operation<'a>), ErrorBody> {
    let (surface, rest) = match (path.strip_prefix("/api/v1/"), path.strip_prefix("/v1/")) {
        (Some(rest), _) => (Surface::OpenRouter, rest),
        (None, Some(rest)) => (Surface::Vendor, rest),
        (None, None) => return Err(unknown(path)),
    };
    let (operation, wanted) = match rest {
        "chat/completions" => (Operation::ChatCompletions, Method::POST),
        "messages" => (Operation::Messages, Method::POST),
        "messages/count_tokens" => (Operation::CountTokens, Method::POST),
        _ => (Operation::Ask(question(rest).ok_or_else(|| unknown(path))?), Method::GET),
    };
    if *method == wanted {
        return Ok((surface, operation));
    }
    let message = format!("{path} takes {wanted}, not {method}.");
    Err(ErrorBody::new(ErrorType::InvalidRequest, message).with_status(StatusCode::METHOD_NOT_ALLOWED.as_u16()))
}

/// The dialect of a request: its path tells it, and where a path serves both, the header that Anthropic's clients always send.
pub(crate) fn dialect(path: &str, headers: &HeaderMap) -> Dialect {
    let rest = path.strip_prefix("/api").unwrap_or(path).strip_prefix("/v1/").unwrap_or_default();
    let below = |folder: &str| rest.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below("messages") || (headers.contains_key(ANTHROPIC_VERSION) && !below("chat")) { Dialect::Anthropic } else { Dialect::OpenAi }
}

fn question(rest: &str) -> Option<Question<'_>> {
    match rest {
        // OpenRouter has a list of what the key may call beside that of all there is; here every list is the former.
        "models" | "models/user" => Some(Question::Models),
        "key" | "auth/key" => Some(Question::Key),
        "generation" => Some(Question::Generation),
        _ => of_model(rest),
    }
}

/// What a path below `models/` or `model/` asks for. OpenAI's clients write the slash of a model's name as `%2F`.
fn of_model(rest: &str) -> Option<Question<'_>> {
    if let Some(name) = rest.strip_prefix("model/") {
        return unescaped(name).map(Question::ModelData);
    }
    let name = rest.strip_prefix("models/")?;
    match name.strip_suffix("/endpoints") {
        Some(name) => unescaped(name).map(Question::Endpoints),
        None => unescaped(name).map(Question::Model),
    }
}

/// Text of a path or a query without its percent escapes; none if it is no UTF-8.
pub(crate) fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

fn unknown(path: &str) -> ErrorBody {
    let shown: String = path.chars().take(100).collect();
    let served = "POST /v1/chat/completions, POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models, GET /v1/models/{author}/{slug}/endpoints, GET /v1/key, GET /v1/generation?id=";
    ErrorBody::new(ErrorType::NotFound, format!("There is nothing at {shown}. Served are {served}, and the same below /api/v1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, path, operation or status.
    type Row = (&'static str, &'static str, Result<(Surface, Operation<'static>), u16>);

    #[test]
    fn paths_and_methods_lead_to_operations() {
        let rows: [Row; 19] = [
            ("POST", "/v1/chat/completions", Ok((Surface::Vendor, Operation::ChatCompletions))),
            ("POST", "/api/v1/chat/completions", Ok((Surface::OpenRouter, Operation::ChatCompletions))),
            ("POST", "/v1/messages", Ok((Surface::Vendor, Operation::Messages))),
            ("POST", "/api/v1/messages", Ok((Surface::OpenRouter, Operation::Messages))),
            ("POST", "/v1/messages/count_tokens", Ok((Surface::Vendor, Operation::CountTokens))),
            ("GET", "/v1/messages", Err(405)),
            ("GET", "/v1/models", Ok((Surface::Vendor, Operation::Ask(Question::Models)))),
            ("GET", "/api/v1/models/user", Ok((Surface::OpenRouter, Operation::Ask(Question::Models)))),
            ("GET", "/v1/models/openai/gpt-4o", Ok((Surface::Vendor, Operation::Ask(Question::Model("openai/gpt-4o".into()))))),
            ("GET", "/v1/models/openai%2Fgpt-4o", Ok((Surface::Vendor, Operation::Ask(Question::Model("openai/gpt-4o".into()))))),
            ("GET", "/api/v1/model/openai/gpt-4o", Ok((Surface::OpenRouter, Operation::Ask(Question::ModelData("openai/gpt-4o".into()))))),
            (
                "GET",
                "/api/v1/models/openai/gpt-4o/endpoints",
                Ok((Surface::OpenRouter, Operation::Ask(Question::Endpoints("openai/gpt-4o".into())))),
            ),
            (
                "GET",
                "/api/v1/models/openai%2fgpt-4o/endpoints",
                Ok((Surface::OpenRouter, Operation::Ask(Question::Endpoints("openai/gpt-4o".into())))),
            ),
            ("GET", "/v1/models/%ff", Err(404)),
            ("GET", "/api/v1/key", Ok((Surface::OpenRouter, Operation::Ask(Question::Key)))),
            ("GET", "/v1/generation", Ok((Surface::Vendor, Operation::Ask(Question::Generation)))),
            ("GET", "/v1/chat/completions", Err(405)),
            ("POST", "/v2/chat/completions", Err(404)),
            ("GET", "/", Err(404)),
        ];
        for (method, path, expected) in rows {
            let method = method.parse().expect("a method");
            assert_eq!(operation(&method, path).map_err(|error| error.status), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_path_tells_the_dialect_and_a_header_does_where_it_serves_both() {
        let rows = [
            ("/v1/chat/completions", false, Dialect::OpenAi),
            ("/v1/chat/completions", true, Dialect::OpenAi),
            ("/v1/messages", false, Dialect::Anthropic),
            ("/api/v1/messages", false, Dialect::Anthropic),
            ("/v1/messages/count_tokens", false, Dialect::Anthropic),
            ("/v1/messages/batches", false, Dialect::Anthropic),
            ("/v1/messagesx", false, Dialect::OpenAi),
            ("/v1/models", false, Dialect::OpenAi),
            ("/v1/models", true, Dialect::Anthropic),
            ("/nowhere", true, Dialect::Anthropic),
        ];
        for (path, version, expected) in rows {
            let mut headers = HeaderMap::new();
            if version {
                headers.insert(ANTHROPIC_VERSION, http::HeaderValue::from_static("2023-06-01"));
            }
            assert_eq!(dialect(path, &headers), expected, "{path} {version}");
        }
    }
}
