//! What a transaction does to the keys it touches: a pure function, for stores that have to
//! work it out themselves.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{Compare, Done, Entry, Key, Operation, Outcome, Position, Relation, Target, Transaction};

/// The keys a transaction touches, as they stand before it.
pub(crate) type Held = BTreeMap<Key, Entry>;

/// One row of history: a key was put, or deleted.
#[derive(Debug)]
pub(crate) enum Change {
    Put(Entry),
    Delete(Key),
}

/// The outcome, and what has to be written for it.
#[derive(Debug)]
pub(crate) struct Decision {
    pub outcome: Outcome,
    pub changes: Vec<Change>,
}

/// Decides a transaction that was checked against the limits. `held` has every key that the
/// transaction names and that exists, at `current`.
pub(crate) fn decide(transaction: &Transaction, mut held: Held, current: Position) -> Decision {
    let succeeded = transaction.compares.iter().all(|compare| holds(compare, held.get(&compare.key)));
    let branch = if succeeded { &transaction.then } else { &transaction.otherwise };
    let next = Position(current.0 + 1);
    let mut changes = Vec::new();
    let results = branch.iter().map(|operation| perform(operation, &mut held, next, &mut changes)).collect();
    let position = if changes.is_empty() { current } else { next };
    Decision { outcome: Outcome { succeeded, position, results }, changes }
}

fn holds(compare: &Compare, entry: Option<&Entry>) -> bool {
    let order = match &compare.target {
        Target::Modified(position) => entry.map_or(Position::NONE, |entry| entry.modified).cmp(position),
        Target::Created(position) => entry.map_or(Position::NONE, |entry| entry.created).cmp(position),
        Target::Version(version) => entry.map_or(0, |entry| entry.version).cmp(version),
        Target::Value(value) => match entry {
            Some(entry) => entry.value.cmp(value),
            None => return false,
        },
    };
    match compare.relation {
        Relation::Equal => order == Ordering::Equal,
        Relation::NotEqual => order != Ordering::Equal,
        Relation::Less => order == Ordering::Less,
        Relation::Greater => order == Ordering::Greater,
    }
}

fn perform(operation: &Operation, held: &mut Held, next: Position, changes: &mut Vec<Change>) -> Done {
    match operation {
        Operation::Get(key) => Done::Got(held.get(key).cloned()),
        Operation::Put(key, value) => {
            let before = held.get(key);
            let entry = Entry {
                key: key.clone(),
                value: value.clone(),
                created: before.map_or(next, |before| before.created),
                modified: next,
                version: before.map_or(0, |before| before.version) + 1,
            };
            held.insert(key.clone(), entry.clone());
            changes.push(Change::Put(entry));
            Done::Put
        }
        Operation::Delete(range) => {
            let gone: Vec<Key> = held.keys().filter(|key| range.contains(key)).cloned().collect();
            for key in &gone {
                held.remove(key);
                changes.push(Change::Delete(key.clone()));
            }
            Done::Deleted(gone.len() as u64)
        }
    }
}
