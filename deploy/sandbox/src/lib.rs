//! A provider of LLM answers over real HTTP that needs no key, no network and no money.
//!
//! `waybill up` answers with it when no provider is configured; tests use it as a provider whose every byte they decide and
//! whose records are the ground truth of what was asked and sent. It listens on loopback unless told otherwise.
//!
//! # Layout
//! - The sandbox: [`Sandbox`] answers by model name ([`models::TABLE`]) in OpenAI's chat dialect and in Anthropic's Messages: `request` and
//!   `anthropic` read a call, `compose`, `schema` and `errand` decide the words, `openai` and `anthropic` write them in `frame`s, `faults`
//!   breaks them as the `dialect` has it, `prefix` is its prompt cache.
//! - Answers as data: [`Reply`] and its [`Step`]s; `cut` cuts them at random positions.
//! - Other providers of the same kind: [`Script`] for answers a test writes, [`Recordings`] for answers that were recorded.
//! - The server under all of them: [`Provider`]; `play` plays a reply, `wire` is its socket.
//! - The ground truth: [`Record`], kept by a journal as [`Keep`] says; [`read_records`] reads its file.
//! - [`fast`]: a responder for benchmarks, with neither the server nor the records.
//!
//! # Invariants
//! - Token counts follow one rule ([`tokens`]), so a test can work out the usage of every answer by itself.
//! - What a client has seen is in the record, because it is noted before it is sent.
//! - Every answer says that it is the sandbox's.

mod anthropic;
mod compose;
mod cut;
mod dialect;
mod errand;
pub mod fast;
mod faults;
mod frame;
mod journal;
pub mod models;
mod openai;
mod play;
mod prefix;
mod record;
mod replay;
mod reply;
mod request;
mod sandbox;
mod schema;
mod scripted;
mod server;
mod usage;
mod wire;

pub use cut::Seeded;
pub use journal::Keep;
pub use openai::FINGERPRINT;
pub use record::{Error as RecordsError, Outcome, Record, read as read_records};
pub use replay::{Recording, Recordings};
pub use reply::{Marks, Opening, Payload, Reply, Step, Steps};
pub use request::Request;
pub use sandbox::{Models, Sandbox};
pub use scripted::Script;
pub use server::{Listen, Options, Provider, Refusing, Respond};
pub use usage::{BYTES_PER_TOKEN, Usage, tokens};
