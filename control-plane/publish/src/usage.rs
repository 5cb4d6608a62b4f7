//! What proxies ask of the ledger through the control plane, since they have no way to it. Whoever wires the process knows the ledger.

use std::{future::Future, pin::Pin};

use waybill_proto::usage::v1::{GenerationRequest, GenerationResponse, IngestRequest, IngestResponse, SpentRequest, SpentResponse};

/// An answer to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unanswered>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The ledger cannot be had now: the same may succeed later.
    #[error("the ledger is away: {0}")]
    Away(String),
    /// The proxy asks for what cannot be.
    #[error("{0}")]
    Malformed(String),
    /// A fault of ours or of the ledger: trying again does not help.
    #[error("the ledger failed: {0}")]
    Failed(String),
}

/// The ledger, as proxies see it.
pub trait Usage: Send + Sync {
    /// Takes records into the ledger. Those it has already are no fault.
    fn ingest(&self, request: IngestRequest) -> Answer<'_, IngestResponse>;

    /// The events of a generation, within the scope of a key.
    fn generation(&self, request: GenerationRequest) -> Answer<'_, GenerationResponse>;

    /// What a key has spent.
    fn spent(&self, request: SpentRequest) -> Answer<'_, SpentResponse>;
}
