//! The key layout. Nothing else in the product spells a key.
//!
//! | key | value |
//! |---|---|
//! | `/wb/1/c/r/<kind>/<shard>/<uid>` | a resource |
//! | `/wb/1/c/n/<kind>/<org>/<name>` | the uid that bears the name |
//! | `/wb/1/c/b/<kind>/current` | which bundle is in force |
//! | `/wb/1/c/rollout/<id>` | a rollout on its way |
//! | `/wb/1/c/head` | revision and hash of the last change set; every change of configuration touches it |
//! | `/wb/1/b/<kind>/<sha256>/<chunk>` | a piece of an immutable bundle |
//! | `/wb/1/log/<revision>` | a change set |
//! | `/wb/1/idem/<client key>` | the result of a finished call |
//! | `/wb/1/lead/<job>/<shard>` | who leads a job |
//! | `/wb/1/replica/<name>` | where a replica of the control plane is to be reached, as long as it lives |
//! | `/wb/1/health/<endpoint>` | the last transition of a provider endpoint's health |
//! | `/wb/1/pepper/<id>` | fingerprint of a pepper that key records are made with |
//! | `/wb/1/schema` | which schema the stored values have |
//!
//! Everything under `/wb/1/c/` is one watch. A shard is two hex digits, so that a kind is listed
//! in 256 independent ranges. Numbers are padded, so that the order of keys is theirs. In every
//! segment but the last `/` and `%` are escaped, which makes each key the key of one thing only.

use std::borrow::Cow;

use crate::{Key, Range};

const CONFIG: &str = "/wb/1/c/";
const RESOURCE: &str = "/wb/1/c/r/";
const NAME: &str = "/wb/1/c/n/";
const BUNDLE_POINTER: &str = "/wb/1/c/b/";
const ROLLOUT: &str = "/wb/1/c/rollout/";
const HEAD: &str = "/wb/1/c/head";
const BUNDLE: &str = "/wb/1/b/";
const LOG: &str = "/wb/1/log/";
const IDEMPOTENCY: &str = "/wb/1/idem/";
const LEADER: &str = "/wb/1/lead/";
const REPLICA: &str = "/wb/1/replica/";
const HEALTH: &str = "/wb/1/health/";
const PEPPER: &str = "/wb/1/pepper/";
const SCHEMA: &str = "/wb/1/schema";
const EVERYTHING: &str = "/wb/1/";

/// What a key is the key of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A resource.
    Resource {
        /// Its kind.
        kind: String,
        /// Its uid.
        uid: String,
    },
    /// A name of a resource.
    Name {
        /// The kind within which the name is unique.
        kind: String,
        /// The org within which it is unique; empty for what belongs to no org.
        org: String,
        /// The name.
        name: String,
    },
    /// The pointer to the bundle in force.
    BundlePointer {
        /// The bundle's kind.
        kind: String,
    },
    /// The head.
    Head,
    /// A chunk of a bundle.
    BundleChunk {
        /// The bundle's kind.
        kind: String,
        /// Its content's hash, in hex.
        sha256: String,
        /// Which piece, from 0.
        chunk: u32,
    },
    /// A change set in the log.
    Log {
        /// The revision it made.
        revision: u64,
    },
    /// The result of a call.
    Idempotency {
        /// The key the client chose.
        client_key: String,
    },
    /// The leader of a job.
    Leader {
        /// The job.
        job: String,
        /// Which part of it; 0 for a job that is not divided.
        shard: u8,
    },
    /// A rollout.
    Rollout {
        /// Its id.
        id: String,
    },
    /// A replica of the control plane.
    Replica {
        /// The replica's name.
        name: String,
    },
    /// The health of a provider endpoint.
    Health {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The fingerprint of a pepper.
    Pepper {
        /// The pepper's id.
        id: u8,
    },
    /// The schema of the stored values.
    Schema,
}

/// The key of a resource.
pub fn resource(kind: &str, uid: &str) -> Key {
    key(format!("{RESOURCE}{}/{:02x}/{uid}", escape(kind), shard(uid)))
}

/// All resources of a kind.
pub fn resources(kind: &str) -> Range {
    Range::prefix(format!("{RESOURCE}{}/", escape(kind)))
}

/// One of the 256 parts of a kind.
pub fn resources_in(kind: &str, shard: u8) -> Range {
    Range::prefix(format!("{RESOURCE}{}/{shard:02x}/", escape(kind)))
}

/// Which part of its kind a resource lies in. Part of the stored format: it never changes.
pub fn shard(uid: &str) -> u8 {
    blake3::hash(uid.as_bytes()).as_bytes()[0]
}

/// The key that makes a name unique. The org is empty for what belongs to none.
pub fn name(kind: &str, org: &str, name: &str) -> Key {
    key(format!("{NAME}{}/{}/{name}", escape(kind), escape(org)))
}

/// All names of a kind in an org.
pub fn names(kind: &str, org: &str) -> Range {
    Range::prefix(format!("{NAME}{}/{}/", escape(kind), escape(org)))
}

/// The pointer to the bundle of a kind that is in force.
pub fn bundle_pointer(kind: &str) -> Key {
    key(format!("{BUNDLE_POINTER}{}/current", escape(kind)))
}

/// The head: revision and hash of the last change set.
pub fn head() -> Key {
    key(HEAD.to_owned())
}

/// The whole configuration: what an index watches.
pub fn config() -> Range {
    Range::prefix(CONFIG)
}

/// A piece of a bundle.
pub fn bundle_chunk(kind: &str, sha256: &str, chunk: u32) -> Key {
    key(format!("{BUNDLE}{}/{}/{chunk:08}", escape(kind), escape(sha256)))
}

/// All pieces of all bundles of a kind.
pub fn bundles(kind: &str) -> Range {
    Range::prefix(format!("{BUNDLE}{}/", escape(kind)))
}

/// All pieces of a bundle, in order.
pub fn bundle(kind: &str, sha256: &str) -> Range {
    Range::prefix(format!("{BUNDLE}{}/{}/", escape(kind), escape(sha256)))
}

/// The change set that made a revision.
pub fn log(revision: u64) -> Key {
    key(format!("{LOG}{revision:020}"))
}

/// All change sets, oldest first.
pub fn logs() -> Range {
    Range::prefix(LOG)
}

/// The change sets from one revision, inclusive, to another, exclusive.
pub fn logs_between(from: u64, until: u64) -> Range {
    Range::between(&log(from), &log(until))
}

/// The result of a finished call.
pub fn idempotency(client_key: &str) -> Key {
    key(format!("{IDEMPOTENCY}{client_key}"))
}

/// All results of finished calls.
pub fn idempotency_all() -> Range {
    Range::prefix(IDEMPOTENCY)
}

/// The fingerprint of a pepper that key records are made with.
pub fn pepper(id: u8) -> Key {
    key(format!("{PEPPER}{id:02x}"))
}

/// The leader of a job; `shard` is 0 for a job that is not divided.
pub fn leader(job: &str, shard: u8) -> Key {
    key(format!("{LEADER}{}/{shard:02x}", escape(job)))
}

/// All leaders.
pub fn leaders() -> Range {
    Range::prefix(LEADER)
}

/// A rollout on its way. It lies inside the one watch, so that its steps arrive in order with what they release.
pub fn rollout(id: &str) -> Key {
    key(format!("{ROLLOUT}{id}"))
}

/// All rollouts.
pub fn rollouts() -> Range {
    Range::prefix(ROLLOUT)
}

/// Where a replica of the control plane is to be reached. A candidacy on this key keeps it alive.
pub fn replica(name: &str) -> Key {
    key(format!("{REPLICA}{name}"))
}

/// All replicas that are alive.
pub fn replicas() -> Range {
    Range::prefix(REPLICA)
}

/// The last transition of a provider endpoint's health.
pub fn health(endpoint: &str) -> Key {
    key(format!("{HEALTH}{endpoint}"))
}

/// The health of all endpoints.
pub fn health_all() -> Range {
    Range::prefix(HEALTH)
}

/// Which schema the stored values have.
pub fn schema() -> Key {
    key(SCHEMA.to_owned())
}

/// All that the product stores.
pub fn everything() -> Range {
    Range::prefix(EVERYTHING)
}

/// Reads a key back. None for a key that this layout does not know, as a newer build may write.
pub fn place(key: &Key) -> Option<Place> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    match text {
        HEAD => return Some(Place::Head),
        SCHEMA => return Some(Place::Schema),
        _ => {}
    }
    if let Some(id) = text.strip_prefix(ROLLOUT) {
        return Some(Place::Rollout { id: id.to_owned() });
    }
    if let Some(name) = text.strip_prefix(REPLICA) {
        return Some(Place::Replica { name: name.to_owned() });
    }
    if let Some(endpoint) = text.strip_prefix(HEALTH) {
        return Some(Place::Health { endpoint: endpoint.to_owned() });
    }
    if let Some(id) = text.strip_prefix(PEPPER) {
        return Some(Place::Pepper { id: u8::from_str_radix(id, 16).ok()? });
    }
    if let Some(rest) = text.strip_prefix(RESOURCE) {
        let (kind, rest) = segment(rest)?;
        let (_, uid) = rest.split_once('/')?;
        return Some(Place::Resource { kind, uid: uid.to_owned() });
    }
    if let Some(rest) = text.strip_prefix(NAME) {
        let (kind, rest) = segment(rest)?;
        let (org, name) = segment(rest)?;
        return Some(Place::Name { kind, org, name: name.to_owned() });
    }
    if let Some(rest) = text.strip_prefix(BUNDLE_POINTER) {
        let (kind, rest) = segment(rest)?;
        return (rest == "current").then_some(Place::BundlePointer { kind });
    }
    if let Some(rest) = text.strip_prefix(BUNDLE) {
        let (kind, rest) = segment(rest)?;
        let (sha256, chunk) = segment(rest)?;
        return Some(Place::BundleChunk { kind, sha256, chunk: chunk.parse().ok()? });
    }
    if let Some(rest) = text.strip_prefix(LOG) {
        return Some(Place::Log { revision: rest.parse().ok()? });
    }
    if let Some(rest) = text.strip_prefix(IDEMPOTENCY) {
        return Some(Place::Idempotency { client_key: rest.to_owned() });
    }
    let (job, shard) = segment(text.strip_prefix(LEADER)?)?;
    Some(Place::Leader { job, shard: u8::from_str_radix(shard, 16).ok()? })
}

fn key(text: String) -> Key {
    Key::from_bytes(text)
}

fn escape(segment: &str) -> Cow<'_, str> {
    if segment.contains(['/', '%']) { Cow::Owned(segment.replace('%', "%25").replace('/', "%2F")) } else { Cow::Borrowed(segment) }
}

fn segment(text: &str) -> Option<(String, &str)> {
    let (segment, rest) = text.split_once('/')?;
    Some((segment.replace("%2F", "/").replace("%25", "%"), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_spelt_as_the_layout_says() {
        let rows = [
            (resource("Model", "u1"), format!("/wb/1/c/r/Model/{:02x}/u1", shard("u1"))),
            (name("Model", "acme", "openai/gpt-4o"), "/wb/1/c/n/Model/acme/openai/gpt-4o".to_owned()),
            (name("Model", "", "gpt"), "/wb/1/c/n/Model//gpt".to_owned()),
            (name("Key", "a/b%", "n"), "/wb/1/c/n/Key/a%2Fb%25/n".to_owned()),
            (bundle_pointer("prices"), "/wb/1/c/b/prices/current".to_owned()),
            (head(), "/wb/1/c/head".to_owned()),
            (bundle_chunk("prices", "ab12", 7), "/wb/1/b/prices/ab12/00000007".to_owned()),
            (log(42), "/wb/1/log/00000000000000000042".to_owned()),
            (idempotency("x/y"), "/wb/1/idem/x/y".to_owned()),
            (leader("health", 3), "/wb/1/lead/health/03".to_owned()),
            (rollout("r-1"), "/wb/1/c/rollout/r-1".to_owned()),
            (replica("control-0"), "/wb/1/replica/control-0".to_owned()),
            (health("openai/gpt-4o"), "/wb/1/health/openai/gpt-4o".to_owned()),
            (pepper(10), "/wb/1/pepper/0a".to_owned()),
            (schema(), "/wb/1/schema".to_owned()),
        ];
        for (key, expected) in rows {
            assert_eq!(key.to_string(), expected);
        }
    }

    #[test]
    fn the_shard_of_a_uid_is_part_of_the_format() {
        // The first is the published hash of nothing.
        for (uid, expected) in [("", 0xaf), ("u1", 0xaa), ("01k0000000000000000000000a", 0x8f)] {
            assert_eq!(shard(uid), expected, "{uid}");
        }
    }

    #[test]
    fn the_order_of_log_keys_is_that_of_revisions() {
        for (smaller, larger) in [(0, 1), (9, 10), (99, 100), (10_000, u64::MAX)] {
            assert!(log(smaller) < log(larger));
            assert!(logs_between(smaller, larger).contains(&log(smaller)));
            assert!(!logs_between(smaller, larger).contains(&log(larger)));
        }
    }

    #[test]
    fn what_is_configuration_is_under_the_one_watch_and_nothing_else_is() {
        for key in [resource("K", "u"), name("K", "o", "n"), bundle_pointer("K"), head(), rollout("r")] {
            assert!(config().contains(&key), "{key}");
        }
        for key in [bundle_chunk("K", "00", 0), log(1), idempotency("k"), leader("j", 0), replica("r"), health("e"), pepper(1), schema()] {
            assert!(!config().contains(&key), "{key}");
            assert!(everything().contains(&key), "{key}");
        }
        for (range, key) in [(rollouts(), rollout("r")), (replicas(), replica("r")), (health_all(), health("e"))] {
            assert!(range.contains(&key) && !range.contains(&head()), "{key}");
        }
    }

    fn any_place() -> impl Strategy<Value = Place> {
        let text = "[a%/F25]{0,6}";
        prop_oneof![
            (text, text).prop_map(|(kind, uid)| Place::Resource { kind, uid }),
            (text, text, text).prop_map(|(kind, org, name)| Place::Name { kind, org, name }),
            text.prop_map(|kind| Place::BundlePointer { kind }),
            Just(Place::Head),
            (text, text, 0..=u32::from(u16::MAX)).prop_map(|(kind, sha256, chunk)| Place::BundleChunk { kind, sha256, chunk }),
            any::<u64>().prop_map(|revision| Place::Log { revision }),
            text.prop_map(|client_key| Place::Idempotency { client_key }),
            (text, any::<u8>()).prop_map(|(job, shard)| Place::Leader { job, shard }),
            text.prop_map(|id| Place::Rollout { id }),
            text.prop_map(|name| Place::Replica { name }),
            text.prop_map(|endpoint| Place::Health { endpoint }),
            any::<u8>().prop_map(|id| Place::Pepper { id }),
            Just(Place::Schema),
        ]
    }

    fn spell(place: &Place) -> Key {
        match place {
            Place::Resource { kind, uid } => resource(kind, uid),
            Place::Name { kind, org, name } => super::name(kind, org, name),
            Place::BundlePointer { kind } => bundle_pointer(kind),
            Place::Head => head(),
            Place::BundleChunk { kind, sha256, chunk } => bundle_chunk(kind, sha256, *chunk),
            Place::Log { revision } => log(*revision),
            Place::Idempotency { client_key } => idempotency(client_key),
            Place::Leader { job, shard } => leader(job, *shard),
            Place::Rollout { id } => rollout(id),
            Place::Replica { name } => replica(name),
            Place::Health { endpoint } => health(endpoint),
            Place::Pepper { id } => pepper(*id),
            Place::Schema => schema(),
        }
    }

    proptest! {
        #[test]
        fn every_key_reads_back_as_what_it_was_made_of(place in any_place()) {
            prop_assert_eq!(super::place(&spell(&place)), Some(place));
        }
    }
}
