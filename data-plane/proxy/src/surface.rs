//! The paths of the data plane. Two surfaces share them: `/v1` keeps OpenAI's rules, `/api/v1` OpenRouter's.

use std::borrow::Cow;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use waybill_dialect::{ErrorBody, ErrorType};

/// Whose rules hold where the two differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Surface {
    /// `/v1`
    OpenAi,
    /// `/api/v1`
    OpenRouter,
}

impl Surface {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1",
            Self::OpenRouter => "/api/v1",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Operation<'a> {
    ChatCompletions,
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
        (None, Some(rest)) => (Surface::OpenAi, rest),
        (None, None) => return Err(unknown(path)),
    };
    let (operation, wanted) = match rest {
        "chat/completions" => (Operation::ChatCompletions, Method::POST),
        "models" => (Operation::Models, Method::GET),
        "key" | "auth/key" => (Operation::Key, Method::GET),
        "generation" => (Operation::Generation, Method::GET),
        _ => (of_model(rest).ok_or_else(|| unknown(path))?, Method::GET),
    };
    if *method == wanted {
        return Ok((surface, operation));
    }
    let message = format!("{path} takes {wanted}, not {method}.");
    Err(ErrorBody::new(ErrorType::InvalidRequest, message).with_status(StatusCode::METHOD_NOT_ALLOWED.as_u16()))
}

/// What a path below `models/` or `model/` asks for. OpenAI's clients write the slash of a model's name as `%2F`.
fn of_model(rest: &str) -> Option<Operation<'_>> {
    if let Some(name) = rest.strip_prefix("model/") {
        return unescaped(name).map(Operation::ModelData);
    }
    let name = rest.strip_prefix("models/")?;
    match name.strip_suffix("/endpoints") {
        Some(name) => unescaped(name).map(Operation::Endpoints),
        None => unescaped(name).map(Operation::Model),
    }
}

/// Text of a path or a query without its percent escapes; none if it is no UTF-8.
pub(crate) fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

fn unknown(path: &str) -> ErrorBody {
    let shown: String = path.chars().take(100).collect();
    let served = "POST /v1/chat/completions, GET /v1/models, GET /v1/models/{author}/{slug}/endpoints, GET /v1/key, GET /v1/generation?id=";
    ErrorBody::new(ErrorType::NotFound, format!("There is nothing at {shown}. Served are {served}, and the same below /api/v1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, path, operation or status.
    type Row = (&'static str, &'static str, Result<(Surface, Operation<'static>), u16>);

    #[test]
    fn paths_and_methods_lead_to_operations() {
        let rows: [Row; 14] = [
            ("POST", "/v1/chat/completions", Ok((Surface::OpenAi, Operation::ChatCompletions))),
            ("POST", "/api/v1/chat/completions", Ok((Surface::OpenRouter, Operation::ChatCompletions))),
            ("GET", "/v1/models", Ok((Surface::OpenAi, Operation::Models))),
            ("GET", "/v1/models/openai/gpt-4o", Ok((Surface::OpenAi, Operation::Model("openai/gpt-4o".into())))),
            ("GET", "/v1/models/openai%2Fgpt-4o", Ok((Surface::OpenAi, Operation::Model("openai/gpt-4o".into())))),
            ("GET", "/api/v1/model/openai/gpt-4o", Ok((Surface::OpenRouter, Operation::ModelData("openai/gpt-4o".into())))),
            ("GET", "/api/v1/models/openai/gpt-4o/endpoints", Ok((Surface::OpenRouter, Operation::Endpoints("openai/gpt-4o".into())))),
            ("GET", "/api/v1/models/openai%2fgpt-4o/endpoints", Ok((Surface::OpenRouter, Operation::Endpoints("openai/gpt-4o".into())))),
            ("GET", "/v1/models/%ff", Err(404)),
            ("GET", "/api/v1/key", Ok((Surface::OpenRouter, Operation::Key))),
            ("GET", "/v1/generation", Ok((Surface::OpenAi, Operation::Generation))),
            ("GET", "/v1/chat/completions", Err(405)),
            ("POST", "/v2/chat/completions", Err(404)),
            ("GET", "/", Err(404)),
        ];
        for (method, path, expected) in rows {
            let method = method.parse().expect("a method");
            assert_eq!(operation(&method, path).map_err(|error| error.status), expected, "{method} {path}");
        }
    }
}
