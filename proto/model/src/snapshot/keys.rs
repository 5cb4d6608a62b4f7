//! The keys that may call, by their hash: a table of places in the world's shards. A key is compiled when it is first asked for, and the ones that
//! were asked for last are kept.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use hashbrown::HashTable;
use waybill_proto::model::v1::resource::Spec;

use super::{ApiKey, Workspace};
use crate::{
    compile::Scopes,
    key::KeyHash,
    resource::metadata,
    world::{Entry, Held, Shard},
};

/// How many compiled keys are kept. A power of two.
const RECENT: usize = 8192;

/// Bits of a place within a shard; the ones above are the shard's number.
const PLACE_BITS: u32 = 24;

type Recent = RwLock<Option<(KeyHash, Arc<ApiKey>)>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    table: HashTable<u32>,
    shards: Vec<Arc<Shard>>,
    workspaces: HashMap<Box<str>, Arc<Workspace>>,
    scopes: Scopes,
    recent: Box<[Recent]>,
}

impl Keys {
    pub(crate) fn new(shards: Vec<Arc<Shard>>, workspaces: HashMap<Box<str>, Arc<Workspace>>, scopes: Scopes) -> Self {
        let count = shards.iter().map(|shard| shard.entries().len()).sum();
        let mut keys = Self {
            table: HashTable::with_capacity(count),
            shards,
            workspaces,
            scopes,
            recent: (0..RECENT).map(|_| Recent::default()).collect(),
        };
        for (number, shard) in (0_u32..).zip(&keys.shards) {
            for (place, entry) in (0..1 << PLACE_BITS).zip(shard.entries()) {
                let Ok(hash) = KeyHash::try_from(entry.key_hash()) else { continue };
                let shards = &keys.shards;
                let found = keys.table.entry(prefix(&hash), is(shards, &hash), |place| prefix(hash_at(shards, *place)));
                found.insert(number << PLACE_BITS | place);
            }
        }
        keys
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub(crate) fn get(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        let recent = self.recent.get(usize::from(u16::from_le_bytes([hash[14], hash[15]])) & (RECENT - 1))?;
        // Nobody waits for another: a key is quickly compiled.
        if let Ok(kept) = recent.try_read()
            && let Some((_, key)) = kept.as_ref().filter(|(of, _)| of == hash)
        {
            return Some(Arc::clone(key));
        }
        let place = self.table.find(prefix(hash), is(&self.shards, hash))?;
        let key = Arc::new(self.compiled(entry_at(&self.shards, *place)?)?);
        if let Ok(mut kept) = recent.try_write() {
            *kept = Some((*hash, Arc::clone(&key)));
        }
        Some(key)
    }

    fn compiled(&self, entry: &Entry) -> Option<ApiKey> {
        let workspace = |name: &str| self.workspaces.get(name).map(Arc::clone);
        Some(match entry.held() {
            Held::Packed(packed) => {
                let row = packed.row();
                ApiKey {
                    uid: row.uid().into(),
                    name: row.name.into(),
                    display_name: row.display_name.into(),
                    prefix: row.prefix().into(),
                    workspace: workspace(row.workspace),
                    expire_unix_ms: row.expire_unix_s().map(|seconds| seconds.saturating_mul(1000)),
                    disabled: row.is_disabled(),
                    omit_cost: row.omits_cost(),
                    bounds: self.scopes.bounds(row.name, row.workspace, row.member),
                }
            }
            Held::Whole(resource) => {
                let (metadata, Some(Spec::ApiKey(spec))) = (metadata(resource), &resource.spec) else { return None };
                ApiKey {
                    uid: metadata.uid.as_str().into(),
                    name: metadata.name.as_str().into(),
                    display_name: spec.display_name.as_str().into(),
                    prefix: spec.prefix.as_str().into(),
                    workspace: workspace(&spec.workspace),
                    expire_unix_ms: spec.expire_time.as_ref().map(|time| time.seconds.saturating_mul(1000)),
                    disabled: spec.disabled,
                    omit_cost: spec.omit_cost,
                    bounds: self.scopes.bounds(&metadata.name, &spec.workspace, &spec.member),
                }
            }
        })
    }
}

fn entry_at(shards: &[Arc<Shard>], place: u32) -> Option<&Entry> {
    shards.get((place >> PLACE_BITS) as usize)?.entries().get((place & ((1 << PLACE_BITS) - 1)) as usize)
}

fn hash_at(shards: &[Arc<Shard>], place: u32) -> &[u8] {
    entry_at(shards, place).map_or(&[], Entry::key_hash)
}

fn is<'a>(shards: &'a [Arc<Shard>], hash: &'a KeyHash) -> impl Fn(&u32) -> bool + 'a {
    move |place| hash_at(shards, *place) == hash
}

/// A keyed hash is as good as any, and no caller chooses it.
fn prefix(hash: &[u8]) -> u64 {
    hash.first_chunk().map_or(0, |prefix| u64::from_le_bytes(*prefix))
}
