//! Anthropic's messages.
//!
//! # Layout
//! The express lane, where the caller's bytes are forwarded and spans of them exchanged:
//! - `fields`: what is read of a request. `request`, `content`, `tools`: a request becomes a `Call`. `splice`: towards the provider.
//! - `usage`, `event`: what an object of an answer tells. `whole`: an answer in one. `stream`, `told`: one in pieces.
//! - `envelope`: our errors.
//!
//! The codec, for translation:
//! - `prompt_read`, `block_read`: a request into the neutral form.
//! - `prompt_write`, `block_write`: a prompt as a request. `fit` (`fit_turns`, `fit_media`, `fit_reasoning`): one of another dialect made fit first.
//! - `message_read`, `message_write`: a whole answer. `events_read`, `events_write`: one in pieces. `shown`: what both writers show
//!   of another provider's answer. `finish`: why the model stopped.
//! - `media`: pictures and documents. `unsigned`: thoughts that Anthropic would refuse. `tool_id`: ids of calls in its letters.

mod block_read;
mod block_write;
mod content;
mod envelope;
mod event;
mod events_read;
mod events_write;
mod fields;
mod finish;
mod fit;
mod fit_media;
mod fit_reasoning;
mod fit_turns;
mod media;
mod message_read;
mod message_write;
mod prompt_read;
mod prompt_write;
mod request;
mod shown;
mod splice;
mod stream;
mod told;
mod tool_id;
mod tools;
mod unsigned;
mod usage;
mod whole;

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod tests;

pub use envelope::{envelope, error_frame};
pub use events_read::EventsReader;
pub use events_write::EventsWriter;
pub use message_read::read_message;
pub use message_write::write_message;
pub use prompt_read::read_prompt;
pub use prompt_write::write_prompt;
pub use request::{read_count_request, read_request};
pub use splice::rewrite;
pub use stream::Stream;
pub use whole::{read_answer, splice_cost};
