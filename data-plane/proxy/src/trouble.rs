//! How an attempt ends that does not end well: what went wrong at the provider, or on this side of the gateway.

use std::time::Duration;

use waybill_dialect::StreamFault;

/// What went wrong after the request had left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Upstream(#[from] waybill_upstream::Failure),
    #[error("nothing came within {0:?} (limit {1})")]
    Timeout(Duration, &'static str),
    #[error("the answer is longer than {0} bytes (limit answer_bytes)")]
    TooLarge(usize),
    #[error(transparent)]
    Stream(#[from] StreamFault),
}

impl Trouble {
    /// The word for events.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Upstream(failure) => failure.kind.name(),
            Self::Timeout(..) => "timeout",
            Self::TooLarge(_) | Self::Stream(StreamFault::Frame(_)) => "limit",
            Self::Stream(StreamFault::Disorder(_)) => "malformed",
        }
    }
}

/// How an attempt ended on this side of the gateway, if nothing went wrong on the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Here {
    /// The caller waited to the end.
    Complete,
    /// The caller has gone.
    HungUp,
    /// The caller's key was revoked while the answer came.
    Revoked,
    /// The gateway stopped reading, as when the drain time is over.
    Abandoned,
}

impl Here {
    /// The word for events.
    pub(crate) const fn outcome(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::HungUp => "client_hang_up",
            Self::Revoked => "key_revoked",
            Self::Abandoned => "abandoned",
        }
    }
}
