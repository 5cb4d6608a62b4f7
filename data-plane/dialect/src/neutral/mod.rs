//! The neutral form: what a request asks and an answer says, whatever dialect it came in. Dialects are N readers and N writers, never N × N pairs.
//!
//! # Layout
//! - `text`: [`Text`] and [`Raw`], JSON as it was spelt. `extension`: what only the origin's dialect has.
//! - `prompt`: [`Prompt`], the content of a request. `block`: [`Block`], what prompts and answers are made of.
//! - `message`: [`Message`], a whole answer. `event`: [`Event`], an answer in pieces; `assembler`: the only maker of events; `fold`: events back into a message.
//! - `carrier`: [`Carrier`], what the endpoint takes. `shown`: [`Shown`], what an answer shows beside the model's words.
//! - `fields`: an object of a request, its members taken with their types.
//! - `notice`: what could not be carried as it was.
//!
//! # Invariants
//! - A sequence of events is legal whatever a provider sends: only the [`Assembler`] makes them.
//! - A writer of the prompt's own dialect restores everything; a writer of another one names what it leaves out.

mod assembler;
mod block;
mod carrier;
mod event;
mod extension;
mod fields;
mod fold;
mod message;
mod notice;
mod prompt;
mod shown;
mod text;

pub use assembler::{Assembler, Disorder, Key};
pub use block::{Block, Cache, Content, Media, MediaSource, Place, Reasoning, Ttl};
pub use carrier::{Carrier, ReasoningControls};
pub use event::{Delta, Event, EventKind, Opened};
pub use extension::Extension;
pub(crate) use fields::{Fields, invalid, missing, text_of, wrong_type};
pub use fold::fold;
pub use message::{Finish, Message};
pub use notice::{Notice, Outcome, warning_header};
pub use prompt::{Effort, OutputFormat, Prompt, ReasoningWish, Role, Tool, ToolChoice, ToolKind, Turn};
pub use shown::Shown;
pub use text::{Arguments, Raw, Text};
