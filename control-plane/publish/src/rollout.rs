//! A rollout: a change set that reaches the proxies ring by ring before it is everybody's. What is stored of it, and the world of those that have it.
//!
//! The world that everybody else holds does not change until it is done, so a halt has nothing to restore. Every step is a change set with a
//! revision of its own, so what a proxy holds is a function of (revision, its name).

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use prost::Message;
use waybill_model::{
    resource::{Kind, metadata},
    world::{Key, World},
};
use waybill_proto::model::v1::Resource;

use crate::stored::Unreadable;

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum State {
    /// A build that knows more states wrote it.
    Unknown = 0,
    /// It is on its way.
    Baking = 1,
    /// Its change is everybody's.
    Done = 2,
    /// It was taken back.
    Halted = 3,
}

/// A rollout as stored. Part of the stored format: fields are added, never changed.
#[derive(Clone, PartialEq, Message)]
pub struct Rollout {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Where it stands.
    #[prost(enumeration = "State", tag = "2")]
    pub state: i32,
    /// Resources as they shall be; empty once it has ended.
    #[prost(message, repeated, tag = "3")]
    pub upserts: Vec<Resource>,
    /// Resources that shall go; empty once it has ended.
    #[prost(message, repeated, tag = "4")]
    pub deletes: Vec<Target>,
    /// All that it changes, also once it has ended.
    #[prost(message, repeated, tag = "5")]
    pub targets: Vec<Target>,
    /// The proxies that have it; those that had it, once it has ended.
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<Member>,
    /// The ring, from 1; 0 = nobody has it yet.
    #[prost(uint32, tag = "7")]
    pub ring: u32,
    /// How long a ring is watched, milliseconds.
    #[prost(uint64, tag = "8")]
    pub bake_ms: u64,
    /// When it began, milliseconds since 1970.
    #[prost(int64, tag = "9")]
    pub begin_unix_ms: i64,
    /// When it ended; 0 = it has not.
    #[prost(int64, tag = "10")]
    pub end_unix_ms: i64,
    /// Why it was halted.
    #[prost(string, tag = "11")]
    pub reason: String,
    /// The revision it began with.
    #[prost(uint64, tag = "12")]
    pub revision: u64,
    /// The revision of its last step: what its members hold at least.
    #[prost(uint64, tag = "13")]
    pub step_revision: u64,
}

/// A resource that a rollout changes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Target {
    /// Its kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its uid.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// A proxy that has the change, and how it was before.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Member {
    /// Its name.
    #[prost(string, tag = "1")]
    pub proxy: String,
    /// Its process: another one has been started since.
    #[prost(fixed64, tag = "2")]
    pub process: u64,
    /// What it refused already, as `kind/uid/code`.
    #[prost(string, repeated, tag = "3")]
    pub refused: Vec<String>,
}

impl Target {
    /// The place of a resource; `None` if it has none.
    #[must_use]
    pub fn of(resource: &Resource) -> Option<Self> {
        let metadata = metadata(resource);
        let kind = Kind::of(resource)?.name().to_owned();
        Some(Self { kind, uid: metadata.uid.clone(), name: metadata.name.clone() })
    }

    /// The place in a world; `None` for a kind that this build does not know.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(Key { kind: self.kind.parse().ok()?, uid: self.uid.as_str().into() })
    }
}

impl Rollout {
    /// As stored.
    #[must_use]
    pub fn to_value(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// # Errors
    /// The value is no rollout.
    pub fn from_value(value: &[u8]) -> Result<Self, Unreadable> {
        Self::decode(value).map_err(|source| Unreadable { what: "rollout", source })
    }

    /// It is on its way.
    #[must_use]
    pub fn is_baking(&self) -> bool {
        self.state() == State::Baking
    }

    /// It holds a resource: others may not write it meanwhile.
    #[must_use]
    pub fn holds(&self, kind: Kind, name: &str) -> bool {
        self.is_baking() && self.targets.iter().any(|target| target.kind == kind.name() && target.name == name)
    }

    /// The world with its change.
    #[must_use]
    pub fn change(&self, world: &World) -> World {
        let mut changed = world.clone();
        for resource in &self.upserts {
            changed.put(Arc::new(resource.clone()));
        }
        for key in self.deletes.iter().filter_map(Target::key) {
            changed.remove(&key);
        }
        changed
    }

    /// The places of all that it changes.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Key> {
        self.targets.iter().filter_map(Target::key).collect()
    }

    /// The same at its end, without what nobody needs any more.
    #[must_use]
    pub fn ended(&self, state: State, reason: &str, unix_ms: i64) -> Self {
        Self {
            state: state.into(),
            upserts: Vec::new(),
            deletes: Vec::new(),
            reason: reason.to_owned(),
            end_unix_ms: unix_ms,
            ..self.clone()
        }
    }
}
