//! The limits table. Each limit is named in the error it causes.

use std::time::Duration;

/// Every limit of a request's way through the data plane.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `body_bytes`: longest request body.
    pub body_bytes: usize,
    /// `answer_bytes`: longest whole answer that is taken into memory to be priced.
    pub answer_bytes: usize,
    /// `header_bytes`: all names and values of a request's headers.
    pub header_bytes: usize,
    /// `json_depth`: deepest nesting of a request.
    pub json_depth: u32,
    /// `json_keys`: members of all objects of a request.
    pub json_keys: u32,
    /// `header_time`: from a request's first byte to the end of its headers.
    pub header_time: Duration,
    /// `body_time`: from the headers to the end of the body.
    pub body_time: Duration,
    /// `connect_time`: name, TCP and TLS towards a provider.
    pub connect_time: Duration,
    /// `first_token_time`: from a request's leaving to the first output of an attempt.
    pub first_token_time: Duration,
    /// `stall_time`: between two pieces of an answer.
    pub stall_time: Duration,
    /// `total_time`: of an attempt.
    pub total_time: Duration,
    /// `drain_time`: from the signal to the end of the process.
    pub drain_time: Duration,
    /// `connections`: open ones of one worker thread.
    pub connections: usize,
    /// `frame_bytes`: longest frame of a provider's stream.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            answer_bytes: 32 << 20,
            header_bytes: 16 << 10,
            json_depth: 64,
            json_keys: 100_000,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            connect_time: Duration::from_secs(5),
            first_token_time: Duration::from_secs(120),
            stall_time: Duration::from_secs(60),
            total_time: Duration::from_secs(30 * 60),
            drain_time: Duration::from_secs(30),
            connections: 20_000,
            frame_bytes: 4 << 20,
        }
    }
}
