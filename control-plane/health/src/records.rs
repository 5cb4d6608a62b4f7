//! The transitions as they are stored, one record for each endpoint that is not healthy, and what a replica knows of them.

use std::collections::BTreeMap;

use prost::Message;
use waybill_proto::sync::v1::EndpointHealth;
use waybill_store::{Entry, Event, Listing, Operation, Position, keys};

use crate::decide::Transition;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Records {
    known: BTreeMap<String, Known>,
}

/// The last thing that is known of an endpoint. That it is healthy is kept as well: an older message must not make it ill again.
#[derive(Clone, Debug)]
struct Known {
    record: Option<EndpointHealth>,
    at: Position,
}

impl Records {
    /// Takes a listing of all records, and names the endpoints that changed by it.
    pub fn list(&mut self, listing: &Listing) -> Vec<String> {
        let listed: BTreeMap<String, (EndpointHealth, Position)> = listing
            .entries
            .iter()
            .filter_map(|entry| read(entry).map(|record| (record.endpoint.clone(), (record, entry.modified))))
            .collect();
        let gone: Vec<String> = self.known.keys().filter(|endpoint| !listed.contains_key(*endpoint)).cloned().collect();
        let mut changed: Vec<String> = gone.into_iter().filter(|endpoint| self.take(endpoint, None, listing.position)).collect();
        for (endpoint, (record, at)) in listed {
            if self.take(&endpoint, Some(record), at) {
                changed.push(endpoint);
            }
        }
        changed
    }

    /// Takes what a commit did, and names the endpoints that changed by it.
    pub fn follow(&mut self, events: &[Event], at: Position) -> Vec<String> {
        let told = events.iter().filter_map(|event| match event {
            Event::Put { entry, .. } => read(entry).map(|record| (record.endpoint.clone(), Some(record))),
            Event::Delete { key, .. } => match keys::place(key) {
                Some(keys::Place::Health { endpoint }) => Some((endpoint, None)),
                _ => None,
            },
        });
        let told: Vec<(String, Option<EndpointHealth>)> = told.collect();
        told.into_iter().filter_map(|(endpoint, record)| self.take(&endpoint, record, at).then_some(endpoint)).collect()
    }

    /// Takes a transition of our own that was committed.
    pub fn done(&mut self, transition: &Transition, at: Position) {
        self.take(&transition.endpoint, transition.record.clone(), at);
    }

    fn take(&mut self, endpoint: &str, record: Option<EndpointHealth>, at: Position) -> bool {
        let known = self.known.get(endpoint);
        if known.is_some_and(|known| known.at >= at) {
            return false;
        }
        let changed = known.and_then(|known| known.record.as_ref()) != record.as_ref();
        self.known.insert(endpoint.to_owned(), Known { record, at });
        changed
    }

    /// Records that stand, by endpoint.
    #[must_use]
    pub fn standing(&self) -> BTreeMap<String, EndpointHealth> {
        self.known.iter().filter_map(|(endpoint, known)| Some((endpoint.clone(), known.record.clone()?))).collect()
    }

    /// What is to be advised at an instant (milliseconds since 1970): records that have not ended by themselves.
    #[must_use]
    pub fn advice(&self, now_ms: i64) -> Vec<EndpointHealth> {
        let records = self.known.values().filter_map(|known| known.record.as_ref());
        records.filter(|record| now_ms < record.until_unix_ms).cloned().collect()
    }
}

fn read(entry: &Entry) -> Option<EndpointHealth> {
    let record = EndpointHealth::decode(entry.value.clone());
    let record = record.inspect_err(|error| tracing::error!(key = %entry.key, %error, "a health record cannot be read and is passed over"));
    record.ok().filter(|record| keys::health(&record.endpoint) == entry.key)
}

/// The write of a transition.
pub fn operation(transition: &Transition) -> Operation {
    let key = keys::health(&transition.endpoint);
    match &transition.record {
        Some(record) => Operation::Put(key, record.encode_to_vec().into()),
        None => Operation::delete(&key),
    }
}
