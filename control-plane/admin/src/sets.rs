//! More than one change set: a plan divided in the order of references.

use prost::Message;
use waybill_model::resource::Kind;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ApplyChangeSetResponse, ResourceName, change::Action},
    model::v1::Resource,
};

use crate::{
    admin::Admin,
    asked::{Asked, CHANGE_SET_BYTES, CHANGE_SET_RESOURCES},
    commit::Call,
    error::Error,
    plan::Plan,
};

/// Names of resources, in the words of the contract.
pub fn names(of: &[(Kind, &str)]) -> Vec<ResourceName> {
    of.iter().map(|(kind, name)| ResourceName { kind: kind.name().to_owned(), name: (*name).to_owned() }).collect()
}

/// Applies a request as ordered change sets.
pub async fn apply(admin: &Admin, request: ApplyChangeSetRequest, actor: &str) -> Result<ApplyChangeSetResponse, Error> {
    check(&request)?;
    let asked = Asked::read(&request)?;
    let held = admin.held().await?;
    let whole = admin.plan(&held, &asked)?;
    if asked.dry_run || whole.is_empty() {
        return Ok(whole.shown());
    }
    admin.remember(whole.puts()).await?;
    let sets = divide(&whole, asked);
    let total = sets.len();
    let mut done = ApplyChangeSetResponse { revision: held.revision(), ..ApplyChangeSetResponse::default() };
    for (applied, set) in sets.into_iter().enumerate() {
        let request = ApplyChangeSetRequest { upserts: set.upserts.clone(), ..ApplyChangeSetRequest::default() };
        match admin.commit(&set, &Call::new(&request, actor)).await {
            Ok(answer) => {
                done.revision = answer.revision;
                done.changes.extend(answer.changes);
                done.generated_keys.extend(answer.generated_keys);
            }
            Err(source) if applied == 0 => return Err(source),
            Err(source) => return Err(Error::Unfinished { applied, total, done: Box::new(done), source: Box::new(source) }),
        }
    }
    // In the order of the request, with what was unchanged.
    Ok(ApplyChangeSetResponse { changes: whole.changes, ..done })
}

fn check(request: &ApplyChangeSetRequest) -> Result<(), Error> {
    let refuse = |field, why: &str| Err(Error::Malformed { field, message: format!("a request in sets takes none: {why}") });
    if !request.idempotency_key.is_empty() {
        return refuse("idempotency_key", "repeating it does what is left");
    }
    if !request.preconditions.is_empty() {
        return refuse("preconditions", "the sets are applied one after the other");
    }
    Ok(())
}

/// The change sets: upserts after what they refer to, then deletes after what refers to them. Unchanged resources are in none.
fn divide(whole: &Plan, asked: Asked) -> Vec<Asked> {
    let order = |kind: Kind| Kind::ALL.iter().position(|known| *known == kind);
    let changes = whole.changes.iter().map(|change| change.action() != Action::Unchanged);
    let mut upserts: Vec<Resource> =
        asked.upserts.into_iter().zip(changes).filter_map(|(resource, is_changed)| is_changed.then_some(resource)).collect();
    upserts.sort_by_key(|resource| Kind::of(resource).and_then(order));
    let mut deletes = asked.deletes;
    deletes.sort_by_key(|(kind, _)| std::cmp::Reverse(order(*kind)));
    let mut sets: Vec<Asked> = Vec::new();
    let (mut current, mut bytes) = (Asked::default(), 0);
    for resource in upserts {
        let size = resource.encoded_len();
        if current.upserts.len() == CHANGE_SET_RESOURCES || (bytes + size > CHANGE_SET_BYTES && bytes > 0) {
            sets.push(std::mem::take(&mut current));
            bytes = 0;
        }
        bytes += size;
        current.upserts.push(resource);
    }
    for delete in deletes {
        if current.upserts.len() + current.deletes.len() == CHANGE_SET_RESOURCES {
            sets.push(std::mem::take(&mut current));
        }
        current.deletes.push(delete);
    }
    sets.push(current);
    if let Some(first) = sets.first_mut() {
        first.if_revision = asked.if_revision;
    }
    sets
}
