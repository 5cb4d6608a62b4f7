//! OpenAI's chat completions.
//!
//! # Layout
//! - Express lane, the caller's bytes forwarded and spans of them exchanged: `fields request splice content` for requests,
//!   `chunk usage whole stream seen nulls envelope` for answers. It knows nothing of the neutral form.
//! - Codec, for translation from and to another dialect; it knows nothing of money. Requests: `prompt_read turn_read media reasoning tools member` and
//!   `prompt_write turn_write prompt_restore`. Answers: `message_read message_write events_read events_write calls citations finish usage_write`.

mod calls;
mod chunk;
mod citations;
mod content;
mod envelope;
mod events_read;
mod events_write;
mod fields;
mod finish;
mod media;
mod member;
mod message_read;
mod message_write;
mod nulls;
mod prompt_read;
mod prompt_restore;
mod prompt_write;
mod reasoning;
mod request;
mod seen;
mod splice;
mod stream;
mod tools;
mod turn_read;
mod turn_write;
mod usage;
mod usage_write;
mod whole;

#[cfg(test)]
mod tests;

pub use envelope::{DONE_FRAME, envelope, error_frame};
pub use events_read::EventsReader;
pub use events_write::EventsWriter;
pub use message_read::read_message;
pub use message_write::write_message;
pub use prompt_read::read_prompt;
pub use prompt_write::write_prompt;
pub use request::read_request;
pub use splice::rewrite;
pub use stream::Stream;
pub use whole::{read_answer, splice_cost};
