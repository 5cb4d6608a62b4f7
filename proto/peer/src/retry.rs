//! When to try again, in the words of Google's error details: `google.rpc.Status` with a `RetryInfo`, as gRPC clients know them.

use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};

/// The whole error, as it travels in `grpc-status-details-bin` (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// When to try again (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

impl Name for RetryInfo {
    const NAME: &'static str = "RetryInfo";
    const PACKAGE: &'static str = "google.rpc";
}

/// A status that says when to try again.
#[must_use]
pub fn retry_after(code: Code, message: &str, after: Duration) -> Status {
    let info = RetryInfo { retry_delay: prost_types::Duration::try_from(after).ok() };
    let details = vec![Any { type_url: format!("type.googleapis.com/{}", RetryInfo::full_name()), value: info.encode_to_vec() }];
    let whole = Details { code: code.into(), message: message.to_owned(), details };
    Status::with_details(code, message, whole.encode_to_vec().into())
}

/// When a status says to try again; `None` if it does not.
#[must_use]
pub fn retry_of(status: &Status) -> Option<Duration> {
    let details = Details::decode(status.details()).ok()?.details;
    let info = details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    RetryInfo::decode(&info.value[..]).ok()?.retry_delay?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_says_of_trying_again_reads_back() {
        let status = retry_after(Code::ResourceExhausted, "full", Duration::from_millis(1_500));
        assert_eq!(
            (status.code(), status.message(), retry_of(&status)),
            (Code::ResourceExhausted, "full", Some(Duration::from_millis(1_500)))
        );
        assert_eq!(retry_of(&Status::unavailable("x")), None);
        assert_eq!(retry_of(&Status::with_details(Code::Aborted, "x", vec![0xff; 9].into())), None);
    }
}
