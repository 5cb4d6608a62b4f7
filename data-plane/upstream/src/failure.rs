//! Failures of an exchange.

/// What went wrong on the way to a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The name does not resolve.
    Dns,
    /// Nobody listens, or the network says no.
    Refused,
    /// No connection within the limit.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before the answer was whole.
    Reset,
    /// What came is not HTTP.
    Protocol,
}

impl Kind {
    /// The word used in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused_connection",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Reset => "upstream_cut",
            Self::Protocol => "protocol",
        }
    }
}

/// A failed exchange. The fault is the provider's or the network's; another endpoint may be tried while the caller has seen nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub struct Failure {
    /// What went wrong.
    pub kind: Kind,
    /// A byte of the request may have left: the provider may have worked, and may bill.
    pub request_left: bool,
    /// For people; never holds a secret.
    pub message: String,
}

impl Failure {
    pub(crate) fn before(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, request_left: false, message: message.into() }
    }

    /// Reads an error of hyper's; the request has left.
    pub(crate) fn after(error: &hyper::Error) -> Self {
        let kind = if error.is_parse() { Kind::Protocol } else { Kind::Reset };
        Self { kind, request_left: true, message: error.to_string() }
    }
}
