//! Why a command fails, and the exit code that says so.

use std::process::ExitCode;

use tonic::{Code, Status};
use waybill_model::document::Fault;

/// How a command ends. Promised to scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, invalid, or a check has found something.
    Refused = 1,
    /// The command was not understood, or what it names cannot be read.
    Usage = 2,
    /// Nobody answers there, or who answers is in trouble: the same command may succeed later.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Documents have faults.
    #[error("{}", listed(.0))]
    Faults(Vec<Fault>),
    /// The service refuses.
    #[error("{0}")]
    Refused(String),
    /// What was typed cannot be.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The answer cannot be shown.
    #[error("the answer cannot be shown: {0}")]
    Show(String),
}

impl Error {
    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Faults(_) | Self::Refused(_) | Self::Show(_) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::Unreachable(_) => Exit::Unreachable,
        }
    }
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    format!("{}\n{count}: nothing was applied", lines.join("\n"))
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let message = status.message();
        match status.code() {
            Code::Unauthenticated => Self::Refused(format!(
                "{message}. The token lies in secrets/operator-token of the state folder of the Waybill that is asked: name it with --token-file"
            )),
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => Self::Unreachable(message.to_owned()),
            Code::Unimplemented => {
                Self::Refused("whoever listens there does not know this call: it is an older Waybill, or none at all".to_owned())
            }
            Code::Unknown | Code::Internal | Code::DataLoss => {
                Self::Refused(format!("the control plane failed: {message}; its log says more"))
            }
            _ => Self::Refused(message.to_owned()),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Show(error.to_string())
    }
}

impl From<serde_saphyr::SerializeError> for Error {
    fn from(error: serde_saphyr::SerializeError) -> Self {
        Self::Show(error.to_string())
    }
}

impl From<waybill_model::document::Error> for Error {
    fn from(error: waybill_model::document::Error) -> Self {
        Self::Show(error.to_string())
    }
}
