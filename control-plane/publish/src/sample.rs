//! Resources and worlds for the tests of this crate.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use waybill_model::{
    resource::Kind,
    world::{Key, World},
};
use waybill_proto::model::v1::{ApiKey, Metadata, Org, Resource, Workspace, resource::Spec};

pub fn resource(uid: &str, spec: Spec) -> Arc<Resource> {
    let metadata = Metadata { name: format!("name-{uid}"), uid: uid.to_owned(), generation: 1, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}

pub fn org(uid: &str, text: &str) -> Arc<Resource> {
    resource(uid, Spec::Org(Org { display_name: text.to_owned() }))
}

pub fn api_key(uid: &str, disabled: bool, hash: u8) -> Arc<Resource> {
    resource(uid, Spec::ApiKey(ApiKey { disabled, hash: vec![hash; 16].into(), ..ApiKey::default() }))
}

pub fn key(kind: Kind, uid: &str) -> Key {
    Key { kind, uid: uid.into() }
}

/// What a world holds, without its own hashes: what tests compare.
pub fn content(world: &World) -> BTreeMap<(&'static str, String), Resource> {
    world.iter().map(|(kind, entry)| ((kind.name(), entry.uid().into_owned()), Arc::unwrap_or_clone(entry.resource()))).collect()
}

/// Some resource out of few, so that two worlds share some, differ in some, and some share a shard.
pub fn any_resource() -> impl Strategy<Value = Arc<Resource>> {
    (0..3_u8, 0..600_u16, 0..3_u8).prop_map(|(kind, uid, text)| {
        let (uid, text) = (format!("u{uid}"), text.to_string());
        match kind {
            0 => org(&uid, &text),
            1 => resource(&uid, Spec::Workspace(Workspace { org: text, ..Workspace::default() })),
            _ => api_key(&uid, text == "0", 7),
        }
    })
}

pub fn any_world() -> impl Strategy<Value = World> {
    (1..1000_u64, prop::collection::vec(any_resource(), 0..60)).prop_map(|(revision, resources)| World::new(revision, resources))
}

/// A small generator for simulations: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
