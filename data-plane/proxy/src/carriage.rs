//! The request as one endpoint is to get it: the caller's bytes with a few spans exchanged where both speak the same dialect, translated where
//! they do not. Made before the intent: what cannot be carried is neither sent nor owed.

use bytes::Bytes;
use waybill_dialect::{
    AsksUsage, Dialect, Fault, Target,
    neutral::{Carrier, Notice, ReasoningControls},
    read_prompt, rewrite, write_prompt,
};
use waybill_model::snapshot::{AsksUsage as Asks, Endpoint};
use waybill_proto::usage::v1::Lane;

use crate::{
    attempts::{Accepted, limits_of},
    outbound::dialect_of,
    worker::Worker,
};

/// See the module.
pub(crate) struct Carriage {
    pub(crate) pieces: Vec<Bytes>,
    /// The provider's.
    pub(crate) dialect: Dialect,
    pub(crate) lane: Lane,
    /// What the translation left out or approximated.
    pub(crate) notices: Vec<Notice>,
}

impl Carriage {
    /// Makes the request ready for an endpoint.
    ///
    /// # Errors
    /// It cannot be carried to a provider of this dialect.
    pub(crate) fn of(worker: &Worker, accepted: &Accepted, endpoint: &Endpoint) -> Result<Self, Fault> {
        let dialect = dialect_of(endpoint);
        if dialect == accepted.dialect {
            let pieces = rewrite(&accepted.body, &accepted.call, &target(endpoint)).into_pieces();
            return Ok(Self { pieces, dialect, lane: Lane::Express, notices: Vec::new() });
        }
        let read = || read_prompt(accepted.dialect, &accepted.body, &limits_of(worker.limits()));
        let prompt = accepted.prompt.get_or_init(read).as_ref().map_err(Fault::clone)?;
        let (body, notices) = write_prompt(dialect, prompt, &carrier(endpoint, accepted.call.stream))?;
        Ok(Self { pieces: vec![body], dialect, lane: Lane::Translated, notices })
    }

    pub(crate) const fn is_translated(&self) -> bool {
        matches!(self.lane, Lane::Translated)
    }

    /// Length of the body.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

fn asks_usage(endpoint: &Endpoint) -> AsksUsage {
    match endpoint.provider.asks_usage {
        Asks::StreamOptions => AsksUsage::StreamOptions,
        Asks::Always => AsksUsage::Always,
        Asks::Never => AsksUsage::Never,
    }
}

pub(crate) fn target(endpoint: &Endpoint) -> Target<'_> {
    Target {
        provider_model: &endpoint.provider_model,
        asks_usage: asks_usage(endpoint),
        drop_gateway_fields: !endpoint.provider.takes_gateway_fields,
        max_output: None,
    }
}

fn carrier(endpoint: &Endpoint, stream: bool) -> Carrier<'_> {
    let has = |word: &str| endpoint.reasoning_controls.iter().any(|known| **known == *word);
    Carrier {
        provider_model: &endpoint.provider_model,
        stream,
        asks_usage: asks_usage(endpoint),
        takes_gateway_fields: endpoint.provider.takes_gateway_fields,
        max_output: endpoint.max_output,
        parameters: &endpoint.parameters,
        context_window: endpoint.context_window,
        reasoning: ReasoningControls {
            effort: has("effort"),
            budget: has("budget_tokens"),
            adaptive: has("adaptive"),
            toggle: has("toggle"),
        },
    }
}
