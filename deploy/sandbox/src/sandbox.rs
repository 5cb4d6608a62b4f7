//! The sandbox: a provider that answers from the table of models.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{io, ops};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::compose::{self, Refused};
use crate::faults;
use crate::models::{self, Behaviour, Failure, Row};
use crate::openai::{self, Head};
use crate::prefix::Prefixes;
use crate::record::Record;
use crate::reply::Reply;
use crate::request::{Chat, Request};
use crate::server::{Options, Provider, Refusing, Respond};

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
        match (&request.method, path) {
            (&Method::POST, "/v1/chat/completions") => self.chat(request).unwrap_or_else(|refused| refused.reply()),
            (&Method::GET, "/v1/models") => self.list(),
            (&Method::GET, path) if path.starts_with("/v1/models/") => self.show(path.trim_start_matches("/v1/models/")),
            (_, "/v1/chat/completions" | "/v1/models") => {
                openai::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None, "The sandbox does not answer this method here.")
            }
            _ => {
                openai::error(StatusCode::NOT_FOUND, "unknown_url", None, &format!("The sandbox has nothing at {} {path}.", request.method))
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
        if let Behaviour::Fails(failure) = behaviour
            && let Some(reply) = faults::instead(failure).or_else(|| self.refused_or_flaky(failure, &chat.model))
        {
            return Ok(reply);
        }
        let choices = compose::choices(behaviour, &chat, self.endless_chunks)?;
        let cached = if behaviour == Behaviour::Cache { self.memory().prefixes.read(&chat.messages) } else { 0 };
        let usage = compose::usage(behaviour, &chat, &choices, cached);
        let head = Head { id: format!("chatcmpl-sandbox-{}", request.arrival), created: now_s(), model: chat.model.clone() };
        let stating = faults::stating(behaviour, chat.asks_usage());
        if chat.streams() {
            Ok(faults::stream(behaviour, openai::frames(head, choices, usage, stating), usage))
        } else {
            Ok(faults::whole(behaviour, openai::whole(&head, &choices, usage, stating), usage))
        }
    }

    /// The failures that depend on more than the request.
    fn refused_or_flaky(&self, failure: Failure, model: &str) -> Option<Reply> {
        match failure {
            Failure::Refuse => {
                let message = format!("This model of the sandbox is served at http://{}/v1, which refuses connections.", self.refusing);
                Some(openai::error(StatusCode::MISDIRECTED_REQUEST, "misdirected", Some("model"), &message))
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
                    openai::error(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", None, &message)
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

    fn show(&self, id: &str) -> Reply {
        let row = models::TABLE.iter().find(|row| row.model() == id || id.strip_prefix(models::PREFIX) == Some(row.grammar));
        match row {
            Some(row) => Reply::json(StatusCode::OK, openai::to_bytes(&self.described(row, id))),
            None if models::find(id).is_some() => Reply::json(
                StatusCode::OK,
                openai::to_bytes(&json!({"id": id, "object": "model", "created": 0, "owned_by": "waybill-sandbox"})),
            ),
            None => unknown(id).reply(),
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
    fn reply(&self) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        openai::error(status, self.code, self.param, &self.message)
    }
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
