//! What is wrong with a request: always the caller's fault, never worth a retry.

use crate::error::ErrorType;

/// The kinds of fault that reading a request can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The body is longer than the limit.
    TooLarge,
    InvalidUtf8,
    InvalidJson,
    /// Nested deeper than the limit.
    TooDeep,
    /// More members than the limit.
    TooManyKeys,
    /// A required field is not there.
    Missing,
    WrongType,
    /// The right type, but no value that means anything.
    InvalidValue,
    /// A field that is read here stands twice.
    Duplicate,
    /// A field that is read here in another spelling, which some provider may take for it.
    Misspelt,
    /// Something this gateway does not do; ignoring it would change what was asked for.
    Unsupported,
    /// Earlier turns are to be kept by the provider; the same request with all of its turns is fine.
    HeldConversation,
}

/// A fault in a request, with the path of the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", path, if path.is_empty() { "" } else { ": " })]
pub struct Fault {
    pub kind: FaultKind,
    /// `provider.max_price.prompt`, `models[2]`; empty for the body as a whole.
    pub path: String,
    pub message: String,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, path: path.into(), message: message.into() }
    }

    /// The same fault, seen from the object that holds the field.
    pub(crate) fn inside(mut self, outer: &str) -> Self {
        if outer.is_empty() {
            return self;
        }
        self.path = match self.path.as_str() {
            "" => outer.to_owned(),
            path if path.starts_with('[') => format!("{outer}{path}"),
            path => format!("{outer}.{path}"),
        };
        self
    }

    /// The code of this kind that clients of a dialect act upon by themselves.
    pub(crate) fn code(&self) -> Option<&'static str> {
        // anthropics/anthropic-sdk-python `lib/threads/_thread_state.py`: its tool runner goes on without a thread.
        (self.kind == FaultKind::HeldConversation).then_some("thread_unsupported_request")
    }

    pub fn error_type(&self) -> ErrorType {
        match self.kind {
            FaultKind::TooLarge => ErrorType::PayloadTooLarge,
            _ => ErrorType::InvalidRequest,
        }
    }
}

impl From<crate::json::Error> for Fault {
    fn from(error: crate::json::Error) -> Self {
        use crate::json::ErrorKind;
        let at = error.at;
        match error.kind {
            ErrorKind::Expected(what) => Self::new(FaultKind::InvalidJson, "", format!("invalid JSON at byte {at}: expected {what}")),
            ErrorKind::TooDeep => {
                Self::new(FaultKind::TooDeep, "", format!("JSON nested deeper than is taken, at byte {at} (limit json_depth)"))
            }
            ErrorKind::TooManyKeys => {
                Self::new(FaultKind::TooManyKeys, "", format!("more JSON members than are taken, at byte {at} (limit json_keys)"))
            }
        }
    }
}
