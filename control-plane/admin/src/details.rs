//! Google's error details: the messages of `google.rpc` that gRPC clients know, as far as they are used here.
//!
//! Written by hand, since there are four of them: `google/rpc/status.proto` and `google/rpc/error_details.proto` of github.com/googleapis.

use std::collections::HashMap;

use prost::{Message, Name};
use prost_types::{Any, Duration};

/// The whole error, as it travels in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// Which fields are wrong.
#[derive(Clone, PartialEq, Message)]
pub struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

/// One field that is wrong.
#[derive(Clone, PartialEq, Message)]
pub struct FieldViolation {
    #[prost(string, tag = "1")]
    pub field: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// The cause in words for programs.
#[derive(Clone, PartialEq, Message)]
pub struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub reason: String,
    #[prost(string, tag = "2")]
    pub domain: String,
    #[prost(map = "string, string", tag = "3")]
    pub metadata: HashMap<String, String>,
}

/// When to try again.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Duration>,
}

macro_rules! named {
    ($($name:ident),+) => {
        $(impl Name for $name {
            const NAME: &'static str = stringify!($name);
            const PACKAGE: &'static str = "google.rpc";
        })+
    };
}

named!(BadRequest, ErrorInfo, RetryInfo);

/// Packs a detail.
pub fn pack<M: Message + Name>(detail: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}.{}", M::PACKAGE, M::NAME), value: detail.encode_to_vec() }
}
