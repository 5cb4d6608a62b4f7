//! Between our types and etcd's. Positions are etcd's revisions of modification.

use bytes::Bytes;
use etcd_client::proto::{PbEvent, PbKeyValue, PbTxnOpResponse, PbTxnResponse};
use etcd_client::{CompareOp, DeleteOptions, GetOptions, Txn, TxnOp};

use crate::{Compare, Done, Entry, Error, Event, Key, Operation, Outcome, Position, Range, Relation, Target, Transaction};

/// What etcd takes for "to the last key".
const NO_END: &[u8] = b"\0";

/// Where a range ends, as etcd has it.
pub(super) fn end(range: &Range) -> &[u8] {
    range.end().unwrap_or(NO_END)
}

/// etcd's revisions have a sign. No cluster reaches the bound, so that a position beyond it is in the future either way.
pub(super) fn revision(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

pub(super) fn position(revision: i64) -> Position {
    Position(u64::try_from(revision).unwrap_or(0))
}

pub(super) fn entry(kv: PbKeyValue) -> Entry {
    Entry {
        key: Key::from_bytes(kv.key),
        value: Bytes::from(kv.value),
        created: position(kv.create_revision),
        modified: position(kv.mod_revision),
        version: u64::try_from(kv.version).unwrap_or(0),
    }
}

/// An event and the position of its commit. None for a message that etcd never sends.
pub(super) fn event(event: PbEvent) -> Option<(Position, Event)> {
    const PUT: i32 = 0;
    const DELETE: i32 = 1;
    let kv = event.kv?;
    let at = position(kv.mod_revision);
    let previous = event.prev_kv.map(entry);
    match event.r#type {
        PUT => Some((at, Event::Put { entry: entry(kv), previous })),
        DELETE => Some((at, Event::Delete { key: Key::from_bytes(kv.key), previous })),
        _ => None,
    }
}

/// The request for a transaction. `lease` is attached to everything that is put; 0 is none.
pub(super) fn txn(transaction: &Transaction, lease: i64) -> Txn {
    let operations = |branch: &[Operation]| -> Vec<TxnOp> { branch.iter().map(|step| operation(step, lease)).collect() };
    Txn::new()
        .when(transaction.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(operations(&transaction.then))
        .or_else(operations(&transaction.otherwise))
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let key = compare.key.as_bytes();
    let relation = match compare.relation {
        Relation::Equal => CompareOp::Equal,
        Relation::NotEqual => CompareOp::NotEqual,
        Relation::Less => CompareOp::Less,
        Relation::Greater => CompareOp::Greater,
    };
    match &compare.target {
        Target::Modified(at) => etcd_client::Compare::mod_revision(key, relation, revision(*at)),
        Target::Created(at) => etcd_client::Compare::create_revision(key, relation, revision(*at)),
        Target::Version(version) => etcd_client::Compare::version(key, relation, revision(Position(*version))),
        Target::Value(value) => etcd_client::Compare::value(key, relation, &value[..]),
    }
}

fn operation(operation: &Operation, lease: i64) -> TxnOp {
    match operation {
        Operation::Put(key, value) => {
            let options = (lease != 0).then(|| etcd_client::PutOptions::new().with_lease(lease));
            TxnOp::put(key.as_bytes(), &value[..], options)
        }
        Operation::Delete(range) => TxnOp::delete(range.start(), Some(DeleteOptions::new().with_range(end(range)))),
        Operation::Get(key) => TxnOp::get(key.as_bytes(), Some(GetOptions::new())),
    }
}

pub(super) fn outcome(response: PbTxnResponse) -> Result<Outcome, Error> {
    let revision = response.header.map_or(0, |header| header.revision);
    let results = response.responses.into_iter().map(|response| done(response.response)).collect::<Result<_, _>>()?;
    Ok(Outcome { succeeded: response.succeeded, position: position(revision), results })
}

fn done(response: Option<PbTxnOpResponse>) -> Result<Done, Error> {
    match response {
        Some(PbTxnOpResponse::ResponsePut(_)) => Ok(Done::Put),
        Some(PbTxnOpResponse::ResponseRange(found)) => Ok(Done::Got(found.kvs.into_iter().next().map(entry))),
        Some(PbTxnOpResponse::ResponseDeleteRange(deleted)) => Ok(Done::Deleted(u64::try_from(deleted.deleted).unwrap_or(0))),
        other => Err(Error::Corrupt { what: format!("etcd answered a step of a transaction with {other:?}") }),
    }
}
