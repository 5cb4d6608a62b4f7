//! A plan as one transaction: the resources, their names, the log, the result of the call, the head.

use std::{num::NonZeroU32, sync::Arc};

use prost::Message;
use waybill_model::{
    resource::{Kind, metadata},
    world::{Key, World},
};
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ApplyChangeSetResponse},
    model::v1::Resource,
};
use waybill_publish::{
    rollout::{Rollout, State},
    stored::{Head, LogEntry, LoggedChange, resource_value},
};
use waybill_store::{Compare, Done, Operation, Outcome, Position, Read, Store, Transaction, keys};

use crate::{
    error::Error,
    held::Held,
    plan::{Plan, RolloutStep, Step},
};

/// A result keeps the field-by-field changes up to this size, so that it fits a transaction beside the resources.
const RESULT_BYTES: usize = 64 * 1024;

/// How long the result of a call is kept, milliseconds: a day, in which whoever repeats it has done so.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Results that are looked at in one step.
const SWEEP: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Who calls, and how the call is told from others.
#[derive(Clone, Debug)]
pub struct Call {
    actor: String,
    idempotency_key: String,
    request_hash: [u8; 32],
}

/// Rollouts that are remembered after they have ended.
const ENDED_ROLLOUTS: usize = 20;

impl Call {
    /// A call of the control plane itself.
    pub fn of_ours(actor: &str) -> Self {
        Self { actor: actor.to_owned(), idempotency_key: String::new(), request_hash: [0; 32] }
    }

    /// The call of a request.
    pub fn new(request: &ApplyChangeSetRequest, actor: &str) -> Self {
        let request_hash = *blake3::hash(&request.encode_to_vec()).as_bytes();
        Self { actor: actor.to_owned(), idempotency_key: request.idempotency_key.clone(), request_hash }
    }

    /// The client's key, if it gave one.
    pub fn idempotency_key(&self) -> Option<&str> {
        Some(self.idempotency_key.as_str()).filter(|key| !key.is_empty())
    }
}

/// The result of a finished call, as stored. Part of the stored format: fields are added, never changed.
#[derive(Clone, PartialEq, Message)]
struct Finished {
    /// BLAKE3 of the request: the same key with another request is a mistake.
    #[prost(bytes = "vec", tag = "1")]
    request_hash: Vec<u8>,
    /// When, milliseconds since 1970.
    #[prost(int64, tag = "2")]
    unix_ms: i64,
    /// The answer, without the texts of keys.
    #[prost(message, optional, tag = "3")]
    response: Option<ApplyChangeSetResponse>,
}

/// Forgets the results that are older than they are kept, as long as the fence holds. Gives how many.
pub async fn forget(store: &dyn Store, unix_ms: i64, fence: Option<&Compare>) -> Result<usize, Error> {
    let mut range = keys::idempotency_all();
    let mut forgotten = 0;
    loop {
        let page = store.list(&Read::now(range.clone()).limit(SWEEP)).await?;
        let Some(last) = page.entries.last() else { return Ok(forgotten) };
        range = range.after(&last.key);
        let is_old = |value: &[u8]| Finished::decode(value).is_ok_and(|finished| finished.unix_ms < unix_ms - KEPT_MS);
        let old = page.entries.iter().filter(|entry| is_old(&entry.value));
        let then: Vec<Operation> = old.map(|entry| Operation::delete(&entry.key)).collect();
        if !then.is_empty() {
            let (count, compares) = (then.len(), fence.cloned().into_iter().collect());
            if !store.commit(Transaction { compares, then, ..Transaction::default() }).await?.succeeded {
                // Another replica does it now.
                return Ok(forgotten);
            }
            forgotten += count;
        }
        if !page.more {
            return Ok(forgotten);
        }
    }
}

/// Where a plan landed.
pub enum Landed {
    /// It is in force. This is the world with it.
    Here(Arc<Held>),
    /// The same call had landed before, with this answer.
    Before(ApplyChangeSetResponse),
    /// Others were faster; nothing is written.
    Nowhere,
}

/// The answer that this call had before, if it had one.
pub async fn answered(store: &dyn Store, call: &Call) -> Result<Option<ApplyChangeSetResponse>, Error> {
    let Some(key) = call.idempotency_key() else { return Ok(None) };
    let found = store.get(&keys::idempotency(key)).await?;
    found.entry.map(|entry| repeat(&entry.value, call)).transpose()
}

fn repeat(value: &[u8], call: &Call) -> Result<ApplyChangeSetResponse, Error> {
    let finished = Finished::decode(value).map_err(|error| Error::Damaged(format!("the result of a call: {error}")))?;
    if finished.request_hash != call.request_hash {
        let message = "this key was used for another request: choose a new one".to_owned();
        return Err(Error::Precondition { reason: "idempotency_key_reused", message });
    }
    Ok(finished.response.unwrap_or_default())
}

/// Commits a plan, if the world is still the one that it was made for, and if the fence of a job's leader holds.
pub async fn commit(
    store: &dyn Store,
    held: &Held,
    plan: &Plan,
    call: &Call,
    fence: Option<Compare>,
    unix_ms: i64,
) -> Result<Landed, Error> {
    let mut transaction = Transaction { compares: vec![Compare::unchanged(keys::head(), held.position())], ..Transaction::default() };
    transaction.compares.extend(fence);
    for step in written(plan) {
        add_step(&mut transaction, step);
    }
    if let Some(step) = &plan.rollout {
        let record = step.record();
        transaction.then.push(Operation::Put(keys::rollout(&record.id), record.to_value()));
        transaction.then.extend(forgotten(held).map(|id| Operation::delete(&keys::rollout(id))));
    }
    if let Some(key) = call.idempotency_key() {
        let key = keys::idempotency(key);
        transaction.compares.push(Compare::absent(key.clone()));
        transaction.then.push(Operation::Put(key.clone(), finished(plan, call, unix_ms).encode_to_vec().into()));
        transaction.otherwise.push(Operation::Get(key));
    }
    let mut head = held.head().clone();
    if !plan.is_empty() {
        let entry = log_entry(held, plan, call, unix_ms);
        head = Head { revision: entry.revision, log_hash: entry.hash().to_vec() };
        transaction.compares.push(Compare::absent(keys::log(entry.revision)));
        transaction.then.push(Operation::Put(keys::log(entry.revision), entry.to_value()));
        transaction.then.push(Operation::Put(keys::head(), head.to_value()));
    }
    let outcome = match store.commit(transaction).await {
        Ok(outcome) => outcome,
        Err(error @ waybill_store::Error::Unavailable { .. }) => return if_it_landed(store, &head, plan, error).await,
        Err(error) => return Err(error.into()),
    };
    landed(held, plan, head, outcome, call)
}

fn landed(held: &Held, plan: &Plan, head: Head, outcome: Outcome, call: &Call) -> Result<Landed, Error> {
    if outcome.succeeded {
        // Without steps only the result was written, and the head stands where it stood.
        let position = if plan.is_empty() { held.position() } else { outcome.position };
        return Ok(Landed::Here(Arc::new(after(held, plan, head, position))));
    }
    match outcome.results.into_iter().next() {
        Some(Done::Got(Some(entry))) => Ok(Landed::Before(repeat(&entry.value, call)?)),
        _ => Ok(Landed::Nowhere),
    }
}

/// A commit whose answer is unknown has landed exactly if the head is the one that it wrote: the log's hash is of no other change set.
async fn if_it_landed(store: &dyn Store, head: &Head, plan: &Plan, error: waybill_store::Error) -> Result<Landed, Error> {
    let now = match Held::read(store).await {
        Ok(now) if !plan.is_empty() => now,
        _ => return Err(error.into()),
    };
    if now.head() == head { Ok(Landed::Here(Arc::new(now))) } else { Err(error.into()) }
}

/// The world after a commit at this position.
fn after(held: &Held, plan: &Plan, head: Head, position: Position) -> Held {
    let mut next = held.next(head, position);
    if let Some(step) = &plan.rollout {
        forgotten(held).for_each(|id| next.forget_rollout(id));
        next.put_rollout(step.record().clone());
    }
    for step in written(plan) {
        match step {
            Step::Put { resource, .. } => next.put(Arc::clone(resource), position),
            Step::Delete { resource, before } => next.remove(before.key.kind, &metadata(resource).name),
        }
    }
    next
}

/// The steps that are written into the configuration: those of a rollout that only begins are not.
fn written(plan: &Plan) -> &[Step] {
    if matches!(plan.rollout, Some(RolloutStep::Begin(_))) { &[] } else { &plan.steps }
}

/// Of the rollouts that have ended, the oldest beyond those that are remembered.
fn forgotten(held: &Held) -> impl Iterator<Item = &str> {
    let ended = held.rollouts().into_iter().filter(|rollout| !rollout.is_baking());
    ended.skip(ENDED_ROLLOUTS).map(|rollout| rollout.id.as_str())
}

fn add_step(transaction: &mut Transaction, step: &Step) {
    match step {
        Step::Put { resource, before: Some(before) } => {
            let key = keys::resource(before.key.kind.name(), &before.key.uid);
            transaction.compares.push(Compare::unchanged(key.clone(), before.modified));
            transaction.then.push(Operation::Put(key, resource_value(resource)));
        }
        Step::Put { resource, before: None } => {
            let (kind, metadata) = (Kind::of(resource).map(Kind::name).unwrap_or_default(), metadata(resource));
            let (key, name) = (keys::resource(kind, &metadata.uid), keys::name(kind, "", &metadata.name));
            transaction.compares.extend([Compare::absent(key.clone()), Compare::absent(name.clone())]);
            transaction.then.push(Operation::Put(key, resource_value(resource)));
            transaction.then.push(Operation::Put(name, metadata.uid.clone().into()));
        }
        Step::Delete { resource, before } => {
            let kind = before.key.kind.name();
            let key = keys::resource(kind, &before.key.uid);
            transaction.compares.push(Compare::unchanged(key.clone(), before.modified));
            transaction.then.push(Operation::delete(&key));
            transaction.then.push(Operation::delete(&keys::name(kind, "", &metadata(resource).name)));
        }
    }
}

fn finished(plan: &Plan, call: &Call, unix_ms: i64) -> Finished {
    let mut response = ApplyChangeSetResponse {
        revision: plan.revision,
        changes: plan.changes.clone(),
        rollout: plan.rollout.as_ref().map(|step| step.record().id.clone()).unwrap_or_default(),
        ..ApplyChangeSetResponse::default()
    };
    response.generated_keys = plan.generated.clone();
    response.generated_keys.iter_mut().for_each(|generated| generated.key.clear());
    if response.encoded_len() > RESULT_BYTES {
        response.changes.iter_mut().for_each(|change| change.fields.clear());
    }
    Finished { request_hash: call.request_hash.to_vec(), unix_ms, response: Some(response) }
}

fn log_entry(held: &Held, plan: &Plan, call: &Call, unix_ms: i64) -> LogEntry {
    let hash = |key: &Key| held.world().get(key).map(|entry| entry.hash().to_vec()).unwrap_or_default();
    let mut changes: Vec<(Key, LoggedChange)> = Vec::new();
    for step in written(plan) {
        let (resource, before, after) = match step {
            Step::Put { resource, before } => {
                (resource, before.as_ref().map(|place| hash(&place.key)).unwrap_or_default(), content(resource))
            }
            Step::Delete { resource, before } => (resource, hash(&before.key), Vec::new()),
        };
        let Some(key) = Key::of(resource) else { continue };
        let metadata = metadata(resource);
        let (kind, uid, name) = (key.kind.name().to_owned(), metadata.uid.clone(), metadata.name.clone());
        changes.push((key, LoggedChange { kind, uid, name, generation: metadata.generation, before, after }));
    }
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    LogEntry {
        revision: plan.revision,
        unix_ms,
        operator: call.actor.clone(),
        idempotency_key: call.idempotency_key.clone(),
        changes: changes.into_iter().map(|(_, change)| change).collect(),
        previous_hash: held.head().log_hash.clone(),
        rollout: plan.rollout.as_ref().map(|step| said(step.record())).unwrap_or_default(),
    }
}

/// A step of a rollout, for the log.
fn said(record: &Rollout) -> String {
    match record.state() {
        State::Unknown | State::Baking => format!("{} ring {}", record.id, record.ring),
        State::Done => format!("{} done", record.id),
        State::Halted => format!("{} halted: {}", record.id, record.reason),
    }
}

/// The hash of a resource's content, as a world has it.
fn content(resource: &Arc<Resource>) -> Vec<u8> {
    let world = World::new(0, [Arc::clone(resource)]);
    world.iter().map(|(_, entry)| entry.hash().to_vec()).next().unwrap_or_default()
}
