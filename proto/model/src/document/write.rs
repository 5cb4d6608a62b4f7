//! Writing: a resource → the text of its document.

use serde::Serialize;
use waybill_proto::model::v1::{Metadata, Resource, resource::Spec};

use super::API_VERSION;
use crate::resource::Kind;

/// What of a resource is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// All of it.
    Whole,
    /// What an operator can write: without uid, generation and creation time, without hash, pepper and prefix of a key.
    Input,
}

/// Why a resource cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no spec, so it is of no kind.
    #[error("a resource without a spec has no kind to write")]
    NoSpec,
    /// The writer refused it.
    #[error("the resource cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a Metadata,
    spec: &'a S,
}

macro_rules! by_kind {
    ($spec:expr, $kind:expr, $metadata:expr, $($name:ident),+) => {
        match $spec {
            $(Spec::$name(spec) => {
                serde_saphyr::to_string(&Envelope { api_version: API_VERSION, kind: $kind.name(), metadata: $metadata, spec })
            })+
        }
    };
}

/// The YAML document of a resource, without `---`. [`read`](super::read) reads it back.
///
/// # Errors
/// If the resource has no spec.
pub fn write(resource: &Resource, shown: Shown) -> Result<String, Error> {
    let mut resource = resource.clone();
    if shown == Shown::Input {
        leave_out_output_only(&mut resource);
    }
    let (Some(kind), Some(spec)) = (Kind::of(&resource), &resource.spec) else {
        return Err(Error::NoSpec);
    };
    let metadata = resource.metadata.clone().unwrap_or_default();
    let text = by_kind!(
        spec,
        kind,
        &metadata,
        Org,
        Workspace,
        ApiKey,
        Provider,
        ProviderAccount,
        Model,
        Endpoint,
        RoutePolicy,
        PriceBook,
        Guardrail
    )?;
    Ok(text)
}

/// The fields that the contract calls output only.
fn leave_out_output_only(resource: &mut Resource) {
    if let Some(metadata) = &mut resource.metadata {
        metadata.uid.clear();
        metadata.generation = 0;
        metadata.create_time = None;
    }
    if let Some(Spec::ApiKey(key)) = &mut resource.spec {
        key.hash.clear();
        key.pepper_id = 0;
        key.prefix.clear();
    }
}
