//! The express lane against tables of rows and random input. All texts are invented.

mod answer;
mod errors;
mod request;
mod splice;
mod stream;
