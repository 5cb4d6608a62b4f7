use proptest::prelude::*;

use super::*;
use crate::sample::{any_world, content};

proptest! {
    #[test]
    fn a_diff_leads_from_one_world_to_the_other(a in any_world(), b in any_world()) {
        let delta = diff(&a, &b);
        let reached = a.apply(&delta);
        prop_assert_eq!(content(&reached), content(&b));
        prop_assert_eq!(&reached, &b);
        // Least: nothing is put that was there already, nothing removed that was not.
        let held = content(&a);
        for resource in &delta.puts {
            prop_assert!(!held.values().any(|other| *other == **resource));
        }
        prop_assert!(delta.removes.iter().all(|key| held.contains_key(&(key.kind.name(), key.uid.to_string()))));
        let none = diff(&b, &reached);
        prop_assert!(none.puts.is_empty() && none.removes.is_empty());
    }

    #[test]
    fn shard_hashes_are_enough_to_lead_to_the_other_world(a in any_world(), b in any_world()) {
        let delta = diff_shards(&a.shard_hashes(), &b);
        prop_assert_eq!(content(&a.apply(&delta)), content(&b));
        // A shard that is the same on both sides is not sent.
        let shard = |world: &World, place: (Kind, u8)| -> Vec<_> {
            world.of_shard(place.0, place.1).map(|entry| entry.resource()).collect()
        };
        for place in &delta.replace {
            prop_assert_ne!(shard(&a, *place), shard(&b, *place));
        }
        prop_assert!(delta.puts.iter().filter_map(|resource| Key::of(resource)).all(|key| delta.replace.contains(&(key.kind, key.shard()))));
    }

    #[test]
    fn a_whole_world_replaces_whatever_is_there(a in any_world(), b in any_world()) {
        prop_assert_eq!(content(&a.apply(&diff_whole(&b))), content(&b));
    }

    #[test]
    fn keys_that_may_differ_are_enough_even_if_some_do_not(a in any_world(), b in any_world(), c in any_world()) {
        let all: Vec<Key> = a.iter().chain(b.iter()).chain(c.iter()).map(|(_, entry)| entry.key()).collect();
        prop_assert_eq!(content(&a.apply(&diff_keys(&b, &all))), content(&b));
    }
}
