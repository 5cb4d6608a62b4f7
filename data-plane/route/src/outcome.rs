//! How an attempt ended, as far as it says something about the health of its endpoint.

use waybill_proto::sync::v1::ErrorClass;

/// How an attempt failed, kept apart because it means different things.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// No connection: refused, name not found, TLS.
    Connect,
    /// No first token in time.
    FirstToken,
    /// The answer stopped flowing.
    Stall,
    /// A 5xx.
    Server,
    /// 503 or 529.
    Overloaded,
    /// 429: a limit of the account, not a fault of the endpoint. Milliseconds of its `Retry-After`.
    RateLimited { retry_after_ms: Option<i64> },
    /// 401, 402, 403: the account's credential, funds or rights.
    Credential,
    /// 404: the provider does not serve what we ask it for.
    NotServed,
    /// The answer breaks the provider's own protocol.
    Malformed,
    /// The connection ended within the answer.
    Cut,
    /// A success without content.
    Empty,
    /// Any other 4xx: caused by the caller, it says nothing about the endpoint.
    Caller,
}

impl Class {
    /// The class of a status; `None` = no failure.
    #[must_use]
    pub const fn of_status(status: u16, retry_after_ms: Option<i64>) -> Option<Self> {
        Some(match status {
            401..=403 => Self::Credential,
            404 => Self::NotServed,
            408 => Self::FirstToken,
            429 => Self::RateLimited { retry_after_ms },
            503 | 529 => Self::Overloaded,
            400..=499 => Self::Caller,
            500..=599 => Self::Server,
            _ => return None,
        })
    }

    /// It says something about the endpoint. A limit of the account and a fault of the caller do not: no endpoint is left out for them.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::RateLimited { .. } | Self::Caller)
    }

    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> ErrorClass {
        match self {
            Self::Connect => ErrorClass::Connect,
            Self::FirstToken => ErrorClass::FirstToken,
            Self::Stall => ErrorClass::Stall,
            Self::Server => ErrorClass::Server,
            Self::Overloaded => ErrorClass::Overloaded,
            Self::RateLimited { .. } => ErrorClass::RateLimited,
            Self::Credential => ErrorClass::Credential,
            Self::NotServed => ErrorClass::NotServed,
            Self::Malformed => ErrorClass::Malformed,
            Self::Cut => ErrorClass::Cut,
            Self::Empty => ErrorClass::Empty,
            Self::Caller => ErrorClass::Caller,
        }
    }
}

/// How an attempt ended, for the breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An answer.
    Success,
    /// No answer, or a bad one.
    Failure(Class),
    /// Nobody knows: the client hung up, or the attempt was given up before it was sent.
    Unknown,
}

impl Outcome {
    /// The word of the contract under which it is counted; an unknown end is not.
    #[must_use]
    pub const fn word(self) -> Option<ErrorClass> {
        match self {
            Self::Success => Some(ErrorClass::None),
            Self::Failure(class) => Some(class.word()),
            Self::Unknown => None,
        }
    }
}
