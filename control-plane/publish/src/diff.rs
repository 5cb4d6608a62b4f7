//! How one world becomes another.

use std::collections::BTreeMap;

use waybill_model::{
    resource::Kind,
    world::{Delta, Entry, Hash, Key, SHARDS, World},
};

/// Hash of every shard that is not empty.
pub type ShardHashes = BTreeMap<(Kind, u8), Hash>;

/// The least delta between two worlds: `a.apply(&diff(&a, &b)) == b`.
#[must_use]
pub fn diff(a: &World, b: &World) -> Delta {
    diff_keys(b, &a.differing(b))
}

/// The delta to `world` from any world that differs from it in these resources at most.
#[must_use]
pub fn diff_keys<'a>(world: &World, keys: impl IntoIterator<Item = &'a Key>) -> Delta {
    let mut delta = Delta { revision: world.revision(), ..Delta::default() };
    for key in keys {
        match world.get(key) {
            Some(entry) => delta.puts.push(entry.resource()),
            None => delta.removes.push(key.clone()),
        }
    }
    delta
}

/// The delta to `world` from a world of which only the shard hashes are known: shards that differ are sent whole.
#[must_use]
pub fn diff_shards(held: &ShardHashes, world: &World) -> Delta {
    let wanted = world.shard_hashes();
    let places = held.keys().chain(wanted.keys());
    let mut replace: Vec<(Kind, u8)> = places.filter(|place| held.get(place) != wanted.get(place)).copied().collect();
    replace.sort_unstable();
    replace.dedup();
    whole_shards(world, replace)
}

/// The delta to `world` from a world of which nothing is known.
#[must_use]
pub fn diff_whole(world: &World) -> Delta {
    let shards = 0..=u8::try_from(SHARDS - 1).unwrap_or(u8::MAX);
    whole_shards(world, Kind::ALL.into_iter().flat_map(|kind| shards.clone().map(move |shard| (kind, shard))).collect())
}

fn whole_shards(world: &World, mut replace: Vec<(Kind, u8)>) -> Delta {
    replace.sort_unstable();
    let puts = replace.iter().flat_map(|(kind, shard)| world.of_shard(*kind, *shard)).map(Entry::resource).collect();
    Delta { revision: world.revision(), replace, puts, removes: Vec::new() }
}

#[cfg(test)]
mod tests;
