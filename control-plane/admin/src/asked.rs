//! A change set after the look at itself: what can be said of it without the world.

use waybill_model::resource::Kind;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, Precondition, ResourceName},
    model::v1::Resource,
};

use crate::{admin::bytes, error::Error};

/// Most resources of one change set, upserts and deletes together: each takes two compares and two puts, and a transaction has 128 of either.
pub const CHANGE_SET_RESOURCES: usize = 50;

/// Most bytes of the resources of one change set, so that it fits a transaction (1.5 MiB in etcd) together with its log entry.
pub const CHANGE_SET_BYTES: usize = 1024 * 1024;

/// Most resources of a plan that is applied in sets, and of a dry run.
pub const PLAN_RESOURCES: usize = 10_000;

/// Most bytes of an idempotency key.
const IDEMPOTENCY_KEY_BYTES: usize = 128;

/// What a change set asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// To create or replace.
    pub upserts: Vec<Resource>,
    /// To delete.
    pub deletes: Vec<(Kind, String)>,
    /// Generations that must be.
    pub preconditions: Vec<(Kind, Precondition)>,
    /// The revision that must be; 0 = any.
    pub if_revision: u64,
    /// Nothing is to be written.
    pub dry_run: bool,
    /// It is to reach the proxies ring by ring, each watched for so long, milliseconds.
    pub bake_ms: Option<u64>,
}

impl Asked {
    /// Looks at a request. One to be committed is held against the limits of a change set, a dry run against those of a plan.
    pub fn read(request: &ApplyChangeSetRequest) -> Result<Self, Error> {
        let most = if request.dry_run || request.in_sets { PLAN_RESOURCES } else { CHANGE_SET_RESOURCES };
        let counted = request.upserts.len() + request.deletes.len();
        if counted > most {
            return Err(Error::TooLarge { what: "resources", counted, limit: most });
        }
        let counted = bytes(&request.upserts);
        if counted > CHANGE_SET_BYTES && most == CHANGE_SET_RESOURCES {
            return Err(Error::TooLarge { what: "bytes", counted, limit: CHANGE_SET_BYTES });
        }
        if request.preconditions.len() > most {
            return Err(Error::TooLarge { what: "preconditions", counted: request.preconditions.len(), limit: most });
        }
        check_idempotency_key(&request.idempotency_key)?;
        let deletes = request.deletes.iter().map(|ResourceName { kind, name }| Ok((read_kind(kind, "deletes.kind")?, name.clone())));
        let preconditions = request.preconditions.iter().map(|one| Ok((read_kind(&one.kind, "preconditions.kind")?, one.clone())));
        Ok(Self {
            upserts: request.upserts.clone(),
            deletes: deletes.collect::<Result<_, Error>>()?,
            preconditions: preconditions.collect::<Result<_, Error>>()?,
            if_revision: request.if_revision,
            dry_run: request.dry_run,
            bake_ms: read_rollout(request)?,
        })
    }
}

/// How long each ring of a rollout is watched where the request does not say, milliseconds.
const BAKE_MS: u64 = 30_000;

/// Longest watch of a ring, milliseconds: a day.
const LONGEST_BAKE_MS: u64 = 24 * 60 * 60 * 1_000;

/// Whether a rollout is asked for. Keys take no part in one: a key would be known at some proxies and unknown at others.
fn read_rollout(request: &ApplyChangeSetRequest) -> Result<Option<u64>, Error> {
    let Some(plan) = &request.rollout else { return Ok(None) };
    let refuse = |message: String| Err(Error::Malformed { field: "rollout", message });
    if request.in_sets {
        return refuse("a rollout is one change set: divide it".to_owned());
    }
    let is_key = |kind: Option<Kind>| kind == Some(Kind::ApiKey);
    let deletes_key = request.deletes.iter().any(|delete| is_key(delete.kind.parse().ok()));
    if deletes_key || request.upserts.iter().any(|resource| is_key(Kind::of(resource))) {
        return refuse("keys are not rolled out, since one would be known at some proxies only: apply them by themselves".to_owned());
    }
    if plan.bake_ms > LONGEST_BAKE_MS {
        return refuse(format!("{} ms is too long to watch a ring: at most {LONGEST_BAKE_MS} ms", plan.bake_ms));
    }
    Ok(Some(if plan.bake_ms == 0 { BAKE_MS } else { plan.bake_ms }))
}

/// Reads a kind of a request.
pub fn read_kind(word: &str, field: &'static str) -> Result<Kind, Error> {
    word.parse().map_err(|error: waybill_model::resource::UnknownKind| Error::Malformed { field, message: error.to_string() })
}

fn check_idempotency_key(key: &str) -> Result<(), Error> {
    if key.len() <= IDEMPOTENCY_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let message = format!("use at most {IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
    Err(Error::Malformed { field: "idempotency_key", message })
}
