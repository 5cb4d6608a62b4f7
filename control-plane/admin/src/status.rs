//! The one place where an error becomes a gRPC status.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::{Code, Status};
use waybill_billing::Refusal;

use crate::{
    details::{self, BadRequest, ErrorInfo, FieldViolation, RetryInfo, pack},
    error::{Error, Fault},
};

/// Bytes of the faults in an error's details: trailers of more than 8 KiB are refused by some clients, base 64 makes a third more.
const FAULTS_BYTES: usize = 4 * 1024;

/// After this a call that met others may be tried again.
const SOON: Duration = Duration::from_millis(100);

/// After this a call that met a store in trouble may be tried again.
const LATER: Duration = Duration::from_secs(1);

/// What an error is on the wire.
#[derive(Debug)]
struct Answer {
    code: Code,
    reason: &'static str,
    retry: Option<Duration>,
}

const fn answer(code: Code, reason: &'static str) -> Answer {
    Answer { code, reason, retry: None }
}

const fn again(code: Code, reason: &'static str, after: Duration) -> Answer {
    Answer { code, reason, retry: Some(after) }
}

/// The status of an error, with Google's details: the fields, a reason in the domain `waybill`, when to try again.
#[must_use]
pub fn status(error: &Error) -> Status {
    let Answer { code, reason, retry } = judge(error);
    let mut metadata = HashMap::new();
    let mut packed = Vec::new();
    match error {
        Error::Invalid(faults) => {
            metadata.insert("faults".to_owned(), faults.len().to_string());
            packed.push(pack(&bad_request(faults)));
        }
        Error::Malformed { field, message } => {
            let violation = FieldViolation { field: (*field).to_owned(), description: message.clone(), reason: reason.to_owned() };
            packed.push(pack(&BadRequest { field_violations: vec![violation] }));
        }
        _ => {}
    }
    packed.push(pack(&ErrorInfo { reason: reason.to_owned(), domain: "waybill".to_owned(), metadata }));
    if let Some(after) = retry {
        let retry_delay = prost_types::Duration::try_from(after).ok();
        packed.push(pack(&RetryInfo { retry_delay }));
    }
    if matches!(code, Code::Internal | Code::DataLoss) {
        tracing::error!(%error, "an operator's call failed");
    }
    let message = error.to_string();
    let whole = details::Status { code: code.into(), message: message.clone(), details: packed };
    Status::with_details(code, message, whole.encode_to_vec().into())
}

/// The first faults, as many as there is room for.
fn bad_request(faults: &[Fault]) -> BadRequest {
    let mut bytes = 0;
    let violation = |fault: &Fault| FieldViolation {
        field: format!("{}/{}: {}", fault.kind, fault.name, fault.path),
        description: fault.message.clone(),
        reason: fault.code.to_owned(),
    };
    let fits = |violation: &FieldViolation| {
        bytes += violation.encoded_len();
        bytes <= FAULTS_BYTES
    };
    BadRequest { field_violations: faults.iter().map(violation).take_while(fits).collect() }
}

fn judge(error: &Error) -> Answer {
    match error {
        Error::Invalid(_) => answer(Code::InvalidArgument, "invalid_resources"),
        Error::Malformed { .. } => answer(Code::InvalidArgument, "malformed_request"),
        Error::TooLarge { .. } => answer(Code::InvalidArgument, "change_set_too_large"),
        Error::Precondition { reason, .. } => answer(Code::FailedPrecondition, reason),
        Error::NotFound(_) => answer(Code::NotFound, "not_found"),
        Error::Conflict { .. } => again(Code::Aborted, "conflict", SOON),
        Error::Unfinished { source, .. } => Answer { reason: "unfinished", ..judge(source) },
        Error::Adjustment(refusal) => judge_refusal(refusal),
        Error::Store(error) => judge_store(error),
        Error::Ledger(error) => judge_ledger(error),
        Error::Damaged(_) => answer(Code::DataLoss, "configuration_damaged"),
        Error::Randomness(_) => answer(Code::Internal, "no_randomness"),
        Error::Deadline { .. } => answer(Code::DeadlineExceeded, "deadline"),
    }
}

fn judge_refusal(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Unknown(_) => answer(Code::NotFound, "not_found"),
        Refusal::NotOrphaned { .. } => answer(Code::FailedPrecondition, "not_orphaned"),
        Refusal::AlreadyAdjusted(_) => answer(Code::FailedPrecondition, "already_adjusted"),
        Refusal::NoGap(_) => answer(Code::NotFound, "no_gap"),
        Refusal::NoPartition { .. } => answer(Code::NotFound, "no_partition"),
        Refusal::Elsewhere { .. } => answer(Code::FailedPrecondition, "elsewhere"),
        Refusal::NoOperator => answer(Code::InvalidArgument, "no_operator"),
        Refusal::NoReason => answer(Code::InvalidArgument, "no_reason"),
        Refusal::NegativeAmount => answer(Code::InvalidArgument, "negative_amount"),
        Refusal::Failed(error) => judge_ledger(error),
    }
}

fn judge_store(error: &waybill_store::Error) -> Answer {
    use waybill_store::Error as Store;
    match error {
        Store::TooManyOperations { .. } | Store::RequestTooLarge { .. } => answer(Code::InvalidArgument, "change_set_too_large"),
        Store::Unavailable { .. } => again(Code::Unavailable, "store_unavailable", LATER),
        Store::Corrupt { .. } => answer(Code::DataLoss, "store_damaged"),
        Store::Full { .. } => answer(Code::ResourceExhausted, "store_full"),
        Store::Refused { .. } => answer(Code::FailedPrecondition, "store_refused"),
        _ => answer(Code::Internal, "store_failed"),
    }
}

fn judge_ledger(error: &waybill_billing::Error) -> Answer {
    if error.may_retry() {
        return again(Code::Unavailable, "ledger_unavailable", LATER);
    }
    match error {
        waybill_billing::Error::Damaged(_) | waybill_billing::Error::Unbalanced { .. } => answer(Code::DataLoss, "ledger_damaged"),
        _ => answer(Code::Internal, "ledger_failed"),
    }
}

#[cfg(test)]
mod tests {
    use waybill_model::id::AttemptId;

    use super::*;

    fn fault(message: &str) -> Fault {
        let (kind, name, path) = ("Org".to_owned(), "o".to_owned(), "spec".to_owned());
        Fault { kind, name, path, code: "spec_missing", message: message.to_owned() }
    }

    #[test]
    fn each_error_has_its_code_and_reason_and_says_whether_to_try_again() {
        let attempt = AttemptId::from_bytes([1; 16]);
        let unavailable = || waybill_store::Error::Unavailable { what: "disk".to_owned() };
        let rows: Vec<(Error, Code, &str, bool)> = vec![
            (Error::Invalid(vec![fault("no spec")]), Code::InvalidArgument, "invalid_resources", false),
            (Error::Malformed { field: "kind", message: "no".to_owned() }, Code::InvalidArgument, "malformed_request", false),
            (Error::TooLarge { what: "bytes", counted: 2, limit: 1 }, Code::InvalidArgument, "change_set_too_large", false),
            (
                Error::Precondition { reason: "revision_mismatch", message: "no".to_owned() },
                Code::FailedPrecondition,
                "revision_mismatch",
                false,
            ),
            (Error::NotFound("no".to_owned()), Code::NotFound, "not_found", false),
            (Error::Conflict { tries: 5 }, Code::Aborted, "conflict", true),
            (Error::Store(unavailable()), Code::Unavailable, "store_unavailable", true),
            (
                Error::Store(waybill_store::Error::TooManyOperations { counted: 2, limit: 1 }),
                Code::InvalidArgument,
                "change_set_too_large",
                false,
            ),
            (Error::Store(waybill_store::Error::Full { what: "x".to_owned() }), Code::ResourceExhausted, "store_full", false),
            (Error::Store(waybill_store::Error::Refused { what: "x".to_owned() }), Code::FailedPrecondition, "store_refused", false),
            (Error::Store(waybill_store::Error::Corrupt { what: "x".to_owned() }), Code::DataLoss, "store_damaged", false),
            (Error::Ledger(waybill_billing::Error::Damaged("x".to_owned())), Code::DataLoss, "ledger_damaged", false),
            (Error::Adjustment(Refusal::Unknown(attempt)), Code::NotFound, "not_found", false),
            (Error::Adjustment(Refusal::AlreadyAdjusted(attempt)), Code::FailedPrecondition, "already_adjusted", false),
            (Error::Adjustment(Refusal::NoReason), Code::InvalidArgument, "no_reason", false),
            (Error::Damaged("x".to_owned()), Code::DataLoss, "configuration_damaged", false),
            (Error::Deadline { seconds: 1 }, Code::DeadlineExceeded, "deadline", false),
            (
                Error::Unfinished { applied: 1, total: 2, done: Box::default(), source: Box::new(Error::Store(unavailable())) },
                Code::Unavailable,
                "unfinished",
                true,
            ),
        ];
        for (error, code, reason, retries) in rows {
            let status = status(&error);
            assert_eq!(status.code(), code, "{error}");
            let details = details::Status::decode(status.details()).expect("details");
            assert_eq!((details.code, details.message.as_str()), (code.into(), status.message()));
            let urls: Vec<&str> = details.details.iter().map(|detail| detail.type_url.as_str()).collect();
            assert_eq!(urls.contains(&"type.googleapis.com/google.rpc.RetryInfo"), retries, "{error}");
            let info = details.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.ErrorInfo")).expect("a reason");
            let info = ErrorInfo::decode(&info.value[..]).expect("a reason");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "waybill"), "{error}");
        }
    }

    #[test]
    fn the_details_have_the_first_faults_and_the_number_of_all() {
        let faults = (0..500).map(|number| fault(&format!("fault {number}"))).collect();
        let status = status(&Error::Invalid(faults));
        assert!(status.details().len() < 6 * 1024, "{}", status.details().len());
        let details = details::Status::decode(status.details()).expect("details");
        let bad = BadRequest::decode(&details.details[0].value[..]).expect("fields");
        assert_eq!(bad.field_violations[0].field, "Org/o: spec");
        assert_eq!(bad.field_violations[0].description, "fault 0");
        assert!(bad.field_violations.len() > 20);
        let info = ErrorInfo::decode(&details.details[1].value[..]).expect("a reason");
        assert_eq!(info.metadata["faults"], "500");
    }
}
