//! A provider whose answers a test writes: by a function, or chosen by the request's model or by a header.
//!
//! ```no_run
//! # use waybill_sandbox::{Keep, Options, Provider, Reply, Script};
//! # fn main() -> std::io::Result<()> {
//! let script = Script::by_model()
//!     .on("small", |_| Reply::json(http::StatusCode::OK, r#"{"choices":[]}"#))
//!     .on("broken", |_| Reply::never(waybill_sandbox::Opening::Reset));
//! let provider = Provider::spawn_thread(Options { records: Keep::Memory, ..Options::default() }, script)?;
//! # Ok(()) }
//! ```

use std::collections::HashMap;

use http::StatusCode;

use crate::dialect::Dialect;
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Respond;

type Answer = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// Answers by a key of the request.
pub struct Script {
    key: Key,
    answers: HashMap<String, Answer>,
    otherwise: Option<Answer>,
}

enum Key {
    Model,
    Header(String),
}

impl Script {
    /// The `model` field of the body decides.
    pub fn by_model() -> Self {
        Self { key: Key::Model, answers: HashMap::new(), otherwise: None }
    }

    /// The value of a header decides.
    pub fn by_header(name: &str) -> Self {
        Self { key: Key::Header(name.to_owned()), ..Self::by_model() }
    }

    /// The answer to requests with this key.
    pub fn on(mut self, key: &str, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.answers.insert(key.to_owned(), Box::new(answer));
        self
    }

    /// The answer to all other requests; without it they get a 501 that names the key.
    pub fn otherwise(mut self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        self.otherwise = Some(Box::new(answer));
        self
    }
}

impl Respond for Script {
    fn respond(&self, request: &Request) -> Reply {
        let key = match &self.key {
            Key::Model => request.model(),
            Key::Header(name) => request.header(name).map(str::to_owned),
        };
        let answer = key.as_deref().and_then(|key| self.answers.get(key)).or(self.otherwise.as_ref());
        match answer {
            Some(answer) => answer(request),
            None => {
                let message = format!("The script has no answer for {key:?}.");
                Dialect::of(request).error(StatusCode::NOT_IMPLEMENTED, "not_in_script", None, &message)
            }
        }
    }
}
