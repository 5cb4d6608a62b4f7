//! What a refusal says besides its message, in the words of Google's error details: a `google.rpc.Status` with a `RetryInfo` or an `ErrorInfo`, as gRPC
//! clients know them.

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

/// For which reason not (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

impl Name for ErrorInfo {
    const NAME: &'static str = "ErrorInfo";
    const PACKAGE: &'static str = "google.rpc";
}

/// Whose reasons they are.
const DOMAIN: &str = "waybill";

/// A status that says when to try again.
#[must_use]
pub fn retry_after(code: Code, message: &str, after: Duration) -> Status {
    with(code, message, &RetryInfo { retry_delay: prost_types::Duration::try_from(after).ok() })
}

/// When a status says to try again; `None` if it does not.
#[must_use]
pub fn retry_of(status: &Status) -> Option<Duration> {
    detail::<RetryInfo>(status)?.retry_delay?.try_into().ok()
}

/// A status with a reason that a program can tell from others.
#[must_use]
pub fn because(code: Code, message: &str, reason: &str) -> Status {
    with(code, message, &ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned() })
}

/// The reason of a status; `None` if it has none of ours.
#[must_use]
pub fn reason_of(status: &Status) -> Option<String> {
    detail::<ErrorInfo>(status).filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

fn with<T: Name>(code: Code, message: &str, info: &T) -> Status {
    let details = vec![Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: info.encode_to_vec() }];
    let whole = Details { code: code.into(), message: message.to_owned(), details };
    Status::with_details(code, message, whole.encode_to_vec().into())
}

fn detail<T: Name + Default>(status: &Status) -> Option<T> {
    let details = Details::decode(status.details()).ok()?.details;
    let name = T::full_name();
    let info = details.iter().find(|detail| detail.type_url.rsplit('/').next() == Some(name.as_str()))?;
    T::decode(&info.value[..]).ok()
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
        assert_eq!((retry_of(&Status::unavailable("x")), reason_of(&status)), (None, None));
        let status = because(Code::FailedPrecondition, "no", "PEPPER");
        assert_eq!((status.message(), reason_of(&status).as_deref(), retry_of(&status)), ("no", Some("PEPPER"), None));
        assert_eq!(retry_of(&Status::with_details(Code::Aborted, "x", vec![0xff; 9].into())), None);
    }
}
