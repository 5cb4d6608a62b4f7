//! A change on its way in: what stands between Begin and Commit. Nothing of it is visible before it is whole and leads where it says.

use std::sync::Arc;

use waybill_model::{
    resource::Kind,
    world::{Entry, Key, World},
};
use waybill_proto::sync::v1::{Begin, Commit, Put, Remove};

/// Most resources of one change; a whole fleet's keys fit.
pub const MAX_RESOURCES: usize = 2_000_000;

/// Why a change is not taken. The answer to all of them is a resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// Put, Remove or Commit outside of Begin … Commit, or of another change.
    #[error("a message of change {nonce} came outside of it")]
    Outside {
        /// The change it names.
        nonce: u64,
    },
    /// A kind, a shard or a resource that this build does not know.
    #[error("the change holds what this build does not know")]
    Unknown,
    /// More than [`MAX_RESOURCES`].
    #[error("the change holds more than {MAX_RESOURCES} resources")]
    TooLarge,
    /// Begin and Commit name different revisions.
    #[error("the change began for revision {began} and ended for {committed}")]
    Revision {
        /// In Begin.
        began: u64,
        /// In Commit.
        committed: u64,
    },
    /// What came out is not what the control plane has.
    #[error("the root hash after revision {revision} is not the one that was sent")]
    Hash {
        /// The revision it leads to.
        revision: u64,
    },
}

/// An open change.
#[derive(Debug)]
pub struct Change {
    nonce: u64,
    revision: u64,
    replace: Vec<(Kind, u8)>,
    puts: Vec<Entry>,
    removes: Vec<Key>,
}

impl Change {
    /// Opens a change.
    pub fn begin(begin: &Begin) -> Result<Self, Disorder> {
        let shard = |shard: &waybill_proto::sync::v1::ShardHash| Some((shard.kind.parse().ok()?, u8::try_from(shard.shard).ok()?));
        let replace = begin.replace.iter().map(shard).collect::<Option<Vec<_>>>().ok_or(Disorder::Unknown)?;
        Ok(Self { nonce: begin.nonce, revision: begin.revision, replace, puts: Vec::new(), removes: Vec::new() })
    }

    /// Its number.
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Takes a resource.
    pub fn put(&mut self, put: Put) -> Result<(), Disorder> {
        self.belongs(put.nonce)?;
        let entry = put.resource.and_then(|resource| Entry::new(Arc::new(resource))).ok_or(Disorder::Unknown)?;
        self.puts.push(entry);
        self.bounded()
    }

    /// Takes a resource away.
    pub fn remove(&mut self, remove: &Remove) -> Result<(), Disorder> {
        self.belongs(remove.nonce)?;
        let kind = remove.kind.parse().map_err(|_| Disorder::Unknown)?;
        self.removes.push(Key { kind, uid: remove.uid.as_str().into() });
        self.bounded()
    }

    /// Closes the change: the world it leads to from `base`.
    pub fn commit(&mut self, commit: &Commit, base: &World) -> Result<World, Disorder> {
        self.belongs(commit.nonce)?;
        let (began, committed) = (self.revision, commit.revision);
        if began != committed {
            return Err(Disorder::Revision { began, committed });
        }
        let world = base.change(self.revision, &self.replace, std::mem::take(&mut self.puts), &self.removes);
        if world.root_hash()[..] != commit.root_hash[..] {
            return Err(Disorder::Hash { revision: committed });
        }
        Ok(world)
    }

    const fn belongs(&self, nonce: u64) -> Result<(), Disorder> {
        if nonce == self.nonce { Ok(()) } else { Err(Disorder::Outside { nonce }) }
    }

    fn bounded(&self) -> Result<(), Disorder> {
        if self.puts.len() + self.removes.len() > MAX_RESOURCES { Err(Disorder::TooLarge) } else { Ok(()) }
    }
}
