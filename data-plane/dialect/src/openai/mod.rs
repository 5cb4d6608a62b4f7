//! OpenAI's chat completions, on the express lane: the caller's bytes forwarded, spans of them exchanged.

mod chunk;
mod classify;
mod content;
mod cost;
mod envelope;
mod fields;
mod media;
mod member;
mod nulls;
mod preferences;
mod prompt_read;
mod prompt_restore;
mod prompt_write;
mod provider_error;
mod read;
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

pub use chunk::Output;
pub use classify::{Classified, ErrorHeaders, Retry, classify, classify_in_body};
pub use cost::Spliced;
pub use envelope::{DONE_FRAME, envelope, error_frame};
pub use prompt_read::read_prompt;
pub use prompt_write::write_prompt;
pub use request::{Limits, read_request};
pub(crate) use splice::Places;
pub use splice::{AsksUsage, MaxOutput, MaxOutputField, Target, rewrite};
pub use stream::{Ending, FrameTooLarge, Step, Stream, StreamOptions};
pub use whole::{Answer, AnswerOptions, BrokenAnswer, read_answer, splice_cost};
