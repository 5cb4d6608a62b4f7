//! OpenAI's chat completions, on the express lane: the caller's bytes forwarded, spans of them exchanged.

mod chunk;
mod content;
mod envelope;
mod fields;
mod media;
mod member;
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
mod whole;

#[cfg(test)]
mod tests;

pub use envelope::{DONE_FRAME, envelope, error_frame};
pub use prompt_read::read_prompt;
pub use prompt_write::write_prompt;
pub use request::read_request;
pub use splice::rewrite;
pub use stream::Stream;
pub use whole::{read_answer, splice_cost};
