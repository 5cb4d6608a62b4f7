//! The sandbox: a provider that answers from the table of models.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{io, ops};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::anthropic::{self, Messages};
use crate::compose::{self, Refused};
use crate::dialect::Dialect;
use crate::faults;
use crate::frame::Head;
use crate::models::{self, Behaviour, Failure, Row};
use crate::openai;
use crate::prefix::{Cached, Prefixes};
use crate::record::Record;
use crate::reply::Reply;
use crate::request::{Chat, Request};
use crate::server::{Options, Provider, Refusing, Respond};
use crate::usage::Usage;

/// The most names whose failures are counted; beyond it all counts begin anew.
const MAX_SERIES: usize = 10_000;

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    provider: Provider,
    refusing: Refusing,
}

impl Sandbox {
    /// Starts on the runtime of the caller.
    pub fn start(options: Options) -> io::Result<Self> {
        Self::run(options, Provider::start)
    }

    /// Starts on a thread and a runtime of its own.
    pub fn spawn_thread(options: Options) -> io::Result<Self> {
        Self::run(options, Provider::spawn_thread)
    }

    fn run(options: Options, start: impl FnOnce(Options, Models) -> io::Result<Provider>) -> io::Result<Self> {
        let refusing = Refusing::new()?;
        let models = Models::new(options.endless_chunks, refusing.addr());
        Ok(Self { provider: start(options, models)?, refusing })
    }

    /// An address where every connection is refused, as long as the sandbox runs.
    pub fn refusing_addr(&self) -> SocketAddr {
        self.refusing.addr()
    }

    /// Ends as [`Provider::stop`] does.
    pub async fn stop(self) -> Vec<Record> {
        self.provider.stop().await
    }
}

impl ops::Deref for Sandbox {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}

/// Answers from the table; a script can fall back on it.
pub struct Models {
    endless_chunks: u64,
    refusing: SocketAddr,
    memory: Mutex<Memory>,
}

/// What the sandbox remembers between requests; everything else depends on the request alone.
#[derive(Default)]
struct Memory {
    prefixes: Prefixes,
    failures: HashMap<String, u64>,
}

impl Respond for Models {
    fn respond(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let dialect = Dialect::of(request);
        let or_error = |reply: Result<Reply, Refused>| reply.unwrap_or_else(|refused| refused.reply(dialect));
        match (&request.method, path) {
            (&Method::POST, "/v1/chat/completions") => or_error(self.chat(request)),
            (&Method::POST, "/v1/messages") => {
                let id = format!("req_sandbox_{}", request.arrival);
                or_error(self.messages(request)).header(anthropic::REQUEST_ID, &id)
            }
            (&Method::POST, "/v1/messages/count_tokens") => or_error(self.count(request)),
            (&Method::GET, "/v1/models") if dialect == Dialect::Anthropic => self.page(request),
            (&Method::GET, "/v1/models") => self.list(),
            (&Method::GET, path) if path.starts_with("/v1/models/") => self.show(path.trim_start_matches("/v1/models/")),
            (_, "/v1/chat/completions" | "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
                dialect.error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None, "The sandbox does not answer this method here.")
            }
            _ => {
                dialect.error(StatusCode::NOT_FOUND, "unknown_url", None, &format!("The sandbox has nothing at {} {path}.", request.method))
            }
        }
    }
}

impl Models {
    /// Streams without end have so many chunks; `refusing` is where the model that refuses is said to be.
    pub fn new(endless_chunks: u64, refusing: SocketAddr) -> Self {
        Self { endless_chunks, refusing, memory: Mutex::default() }
    }

    fn chat(&self, request: &Request) -> Result<Reply, Refused> {
        let chat: Chat = serde_json::from_slice(&request.body).map_err(|error| invalid(&error))?;
        let behaviour = models::find(&chat.model).ok_or_else(|| unknown(&chat.model))?;
        if let Some(reply) = self.failure_instead(behaviour, Dialect::OpenAi, &chat.model) {
            return Ok(reply);
        }
        let choices = compose::choices(behaviour, &chat, self.endless_chunks)?;
        let read = if behaviour == Behaviour::Cache { self.memory().prefixes.read(&chat.messages) } else { 0 };
        let usage = compose::usage(behaviour, &chat, &choices, Cached { read, ..Cached::default() });
        let head = head(behaviour, format!("chatcmpl-sandbox-{}", request.arrival), &chat.model);
        let stating = faults::stating(behaviour, chat.asks_usage());
        if chat.streams() {
            Ok(faults::stream(behaviour, Dialect::OpenAi, openai::frames(head, choices, usage, stating), usage))
        } else {
            Ok(faults::whole(behaviour, Dialect::OpenAi, openai::whole(&head, &choices, usage, stating), usage))
        }
    }

    fn messages(&self, request: &Request) -> Result<Reply, Refused> {
        let asked = read_messages(request)?;
        let behaviour = models::find(&asked.model).ok_or_else(|| unknown(&asked.model))?;
        if let Some(reply) = self.failure_instead(behaviour, Dialect::Anthropic, &asked.model) {
            return Ok(reply);
        }
        let chat = asked.chat()?;
        let choices = compose::choices(behaviour, &chat, self.endless_chunks).map_err(|refused| too_long(refused, behaviour, &chat))?;
        let choice = choices.into_iter().next().unwrap_or_default();
        let cached = if behaviour == Behaviour::Cache { self.memory().prefixes.read_marked(&asked.segments()) } else { Cached::default() };
        // This dialect counts reasoning as output like any other.
        let usage = Usage { reasoning: 0, ..compose::usage(behaviour, &chat, std::slice::from_ref(&choice), cached) };
        let head = head(behaviour, format!("msg_sandbox_{}", request.arrival), &chat.model);
        let stating = faults::stating(behaviour, true);
        if chat.streams() {
            Ok(faults::stream(behaviour, Dialect::Anthropic, anthropic::frames(head, choice, usage, stating), usage))
        } else {
            Ok(faults::whole(behaviour, Dialect::Anthropic, anthropic::whole(&head, choice, usage, stating), usage))
        }
    }

    fn count(&self, request: &Request) -> Result<Reply, Refused> {
        let asked = read_messages(request)?;
        let behaviour = models::find(&asked.model).ok_or_else(|| unknown(&asked.model))?;
        if let Some(reply) = self.failure_instead(behaviour, Dialect::Anthropic, &asked.model) {
            return Ok(reply);
        }
        Ok(Reply::json(StatusCode::OK, anthropic::count(anthropic::counted(&asked)?.prompt_tokens())))
    }

    /// What a model answers that fails before it says anything.
    fn failure_instead(&self, behaviour: Behaviour, dialect: Dialect, model: &str) -> Option<Reply> {
        let Behaviour::Fails(failure) = behaviour else { return None };
        faults::instead(failure, dialect).or_else(|| self.refused_or_flaky(failure, dialect, model))
    }

    /// The failures that depend on more than the request.
    fn refused_or_flaky(&self, failure: Failure, dialect: Dialect, model: &str) -> Option<Reply> {
        match failure {
            Failure::Refuse => {
                let message = format!("This model of the sandbox is served at http://{}/v1, which refuses connections.", self.refusing);
                Some(dialect.error(StatusCode::MISDIRECTED_REQUEST, "misdirected", Some("model"), &message))
            }
            Failure::Flaky { failures } => {
                let mut memory = self.memory();
                if memory.failures.len() >= MAX_SERIES {
                    memory.failures.clear();
                }
                let failed = memory.failures.entry(model.to_owned()).or_default();
                (*failed < failures).then(|| {
                    *failed += 1;
                    let message = format!("The sandbox fails {failed} of {failures} times.");
                    dialect.error(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", None, &message)
                })
            }
            _ => None,
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Reply {
        let data: Vec<Value> = models::TABLE.iter().map(|row| self.described(row, &row.model())).collect();
        Reply::json(StatusCode::OK, openai::to_bytes(&json!({"object": "list", "data": data})))
    }

    /// Anthropic's list comes in pages: `limit` and `after_id` choose one.
    fn page(&self, request: &Request) -> Reply {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        let field = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
        let limit = field("limit").and_then(|(_, value)| value.parse().ok()).unwrap_or(20_usize).clamp(1, 1_000);
        let after = field("after_id").map(|(_, value)| value.replace("%2F", "/"));
        let all: Vec<(String, &str)> = models::TABLE.iter().map(|row| (row.model(), row.about)).collect();
        let from = after.and_then(|after| all.iter().position(|(id, _)| *id == after)).map_or(0, |at| at + 1);
        let rest = all.get(from..).unwrap_or_default();
        let page = rest.get(..limit.min(rest.len())).unwrap_or_default();
        Reply::json(StatusCode::OK, anthropic::page(page, page.len() < rest.len()))
    }

    fn show(&self, id: &str) -> Reply {
        let row = models::TABLE.iter().find(|row| row.model() == id || id.strip_prefix(models::PREFIX) == Some(row.grammar));
        match row {
            Some(row) => Reply::json(StatusCode::OK, openai::to_bytes(&self.described(row, id))),
            None if models::find(id).is_some() => Reply::json(
                StatusCode::OK,
                openai::to_bytes(&json!({"id": id, "object": "model", "created": 0, "owned_by": "waybill-sandbox"})),
            ),
            None => unknown(id).reply(Dialect::OpenAi),
        }
    }

    fn described(&self, row: &Row, id: &str) -> Value {
        let mut model = json!({
            "id": id,
            "object": "model",
            "created": 0,
            "owned_by": "waybill-sandbox",
            "description": format!("Sandbox: {}.", row.about),
            "grammar": row.grammar.split('|').map(|form| format!("{}{form}", models::PREFIX)).collect::<Vec<_>>(),
            "context_length": row.context_length(),
        });
        if row.example == "refuse" {
            model["base_url"] = format!("http://{}/v1", self.refusing).into();
        }
        model
    }
}

impl Refused {
    fn reply(&self, dialect: Dialect) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        dialect.error(status, self.code, self.param, &self.message)
    }
}

fn head(behaviour: Behaviour, id: String, model: &str) -> Head {
    let stride = if behaviour == Behaviour::Fails(Failure::IndexJump) { 2 } else { 1 };
    Head { id, created: now_s(), model: model.to_owned(), stride }
}

/// A prompt beyond the window, as this dialect says it.
fn too_long(refused: Refused, behaviour: Behaviour, chat: &Chat) -> Refused {
    if refused.code != "context_length_exceeded" {
        return refused;
    }
    let message = format!("prompt is too long: {} tokens > {} maximum", chat.prompt_tokens(), behaviour.window());
    Refused { param: None, message, ..refused }
}

/// The request, if it has the header that the real API demands.
fn read_messages(request: &Request) -> Result<Messages, Refused> {
    if !request.headers.contains_key(anthropic::VERSION) {
        let message = "anthropic-version: header is required".to_owned();
        return Err(Refused { status: 400, code: "invalid_request_error", param: None, message });
    }
    serde_json::from_slice(&request.body).map_err(|error| invalid(&error))
}

fn invalid(error: &serde_json::Error) -> Refused {
    Refused { status: 400, code: "invalid_json", param: None, message: format!("The sandbox cannot read the request: {error}.") }
}

fn unknown(model: &str) -> Refused {
    let message = format!("The sandbox has no model '{model}'; GET /v1/models lists what it has.");
    Refused { status: 404, code: "model_not_found", param: Some("model"), message }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
