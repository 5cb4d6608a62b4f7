//! The neutral form and the dialects of the data plane: bytes in, decisions' facts out, bytes back.
//!
//! # Layout
//! - `dialect`: [`Dialect`], who speaks which. One folder for each: [`openai`] (chat completions), [`anthropic`] (messages).
//! - `call`: [`Call`], what a request asks for. `fault`: what can be wrong with it. `limits`: what it may be at most.
//! - `fields`: tables of the fields that are read. `read`: typed reading with paths. `preferences`: the `provider` object.
//! - `target`: [`Target`], what an endpoint wants to see. `places`: the request with those spans exchanged.
//! - `answer`: [`Answer`], a whole one. `stream`: one in pieces. `output`: what was written. `cost`: the splice of our price.
//! - `usage`: [`Reading`], what an attempt consumed, in disjoint classes.
//! - `error`: the closed vocabulary of errors, before a dialect gives them a shape. `classify`: providers' errors in it.
//! - `lanes`: reading, rewriting and answering in whichever dialect; who uses the crate for forwarding needs no dialect's folder.
//! - `body`: a body as slices of the original and what replaces parts of it.
//! - `json`: the one strict, lazy scan. `sse`: frames, whatever the cut points.
//! - [`neutral`]: the content of requests and answers, for translation between dialects.
//! - `base64`: documents that are base64 in one dialect and text in the other.
//!
//! # Invariants
//! - Pure: no I/O, clock, randomness or `async`.
//! - No input panics, and no input takes more than linear time or a stack that grows with it.
//! - No parser differential: outside strings the request is valid JSON, and every field that is read here stands in
//!   it once and in one spelling.
//! - Outside the splices every byte is the caller's or the provider's own.
//! - Money is an integer or an exact decimal, never a float.

mod answer;
pub mod anthropic;
mod base64;
mod body;
mod call;
mod classify;
mod cost;
mod dialect;
mod error;
mod fault;
mod fields;
mod json;
mod lanes;
mod limits;
mod named_set;
pub mod neutral;
pub mod openai;
mod output;
mod places;
mod preferences;
mod read;
mod sse;
mod stream;
mod target;
mod translated;
mod usage;

pub use answer::{Answer, AnswerOptions, BrokenAnswer};
pub use anthropic::read_count_request;
pub use body::Body;
pub use call::{Call, DataCollection, MaxPrice, Need, Needs, Parameter, Parameters, ProviderPreferences, Sort, Unbounded, UnboundedCauses};
pub use classify::{Classified, ErrorHeaders, Retry, classify, classify_in_body};
pub use cost::Spliced;
pub use dialect::Dialect;
pub use error::{ErrorBody, ErrorType};
pub use fault::{Fault, FaultKind};
pub use lanes::{end_frames, envelope, error_frames, read_answer, read_request, rewrite, splice_cost};
pub use limits::Limits;
pub use output::Output;
pub use stream::{Ending, FrameTooLarge, Step, Stream, StreamOptions};
pub use target::{AsksUsage, MaxOutput, MaxOutputField, Target};
pub use translated::{Passage, StreamFault, Telling, Translated, read_message, read_prompt, write_message, write_prompt};
pub use usage::{Reading, UsageFault};
