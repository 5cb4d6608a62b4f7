//! The dialect against tables of rows and random input. All texts are invented.

mod answer;
mod errors;
mod messages;
mod nulls;
mod prompt_read;
mod prompt_write;
mod request;
mod shown;
mod splice;
mod stream;
