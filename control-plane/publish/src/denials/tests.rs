use std::sync::Arc;

use waybill_proto::model::v1::Resource;

use super::*;
use crate::sample::{api_key, key, org};

fn step(denials: &mut Denials, revision: u64, before: &[Arc<Resource>], after: &[Arc<Resource>]) -> bool {
    let (before, after) = (World::new(revision - 1, before.to_vec()), World::new(revision, after.to_vec()));
    let changed = before.iter().chain(after.iter()).map(|(_, entry)| entry.key()).collect();
    denials.follow(&before, &after, &changed)
}

fn told(denials: &Denials, epoch: u64) -> Vec<(u64, String, bool)> {
    denials.after(epoch).into_iter().map(|deny| (deny.epoch, deny.api_key_uid, deny.lift)).collect()
}

#[test]
fn a_key_that_stops_is_denied_and_urgent_whatever_stops_it() {
    let good = api_key("k", false, 1);
    // After, denied, urgent.
    let rows: [(&[Arc<Resource>], bool, bool); 4] = [
        (&[], true, true),
        (&[api_key("k", true, 1)], true, true),
        (&[api_key("k", false, 2)], false, true),
        (&[good.clone(), org("o", "new"), api_key("other", false, 1)], false, false),
    ];
    for (after, denied, urgent) in rows {
        let mut denials = Denials::default();
        assert_eq!(step(&mut denials, 9, std::slice::from_ref(&good), after), urgent, "{after:?}");
        assert_eq!(!denials.after(0).is_empty(), denied, "{after:?}");
    }
}

#[test]
fn epochs_grow_with_the_revision_and_the_newest_entry_of_a_key_is_told() {
    let (on, off) = (|uid| api_key(uid, false, 1), |uid| api_key(uid, true, 1));
    let mut denials = Denials::default();
    step(&mut denials, 3, &[on("a"), on("b")], &[off("a"), off("b")]);
    assert_eq!(told(&denials, 0), [(3 << 8, "a".to_owned(), false), ((3 << 8) | 1, "b".to_owned(), false)]);
    step(&mut denials, 5, &[off("a"), off("b")], &[on("a"), off("b")]);
    assert_eq!(told(&denials, 0), [((3 << 8) | 1, "b".to_owned(), false), (5 << 8, "a".to_owned(), true)]);
    assert_eq!((told(&denials, (3 << 8) | 1).len(), told(&denials, denials.epoch()).len()), (1, 0));
    // A key that was off from the start may have been denied by another replica; one that is new to the world was not.
    step(&mut denials, 6, &[off("c")], &[on("c"), on("d")]);
    assert_eq!(told(&denials, 5 << 8), [(6 << 8, "c".to_owned(), true)]);
}

#[test]
fn a_denial_this_replica_never_saw_is_lifted_only_for_a_good_key() {
    let world = World::new(4, [api_key("good", false, 1), api_key("off", true, 1)]);
    let lifted = |uid: &str| lift_of_unknown(&world, uid).map(|deny| (deny.epoch, deny.lift));
    assert_eq!((lifted("good"), lifted("off"), lifted("gone")), (Some(((4 << 8) | 255, true)), None, None));
    assert!(usable(&world, &key(Kind::ApiKey, "good")));
}

#[test]
fn a_step_that_merges_many_revisions_denies_every_key() {
    let keys: Vec<_> = (0..600).map(|number| api_key(&format!("k{number}"), false, 1)).collect();
    let mut denials = Denials::default();
    step(&mut denials, 2, &keys, &[]);
    assert_eq!(denials.after(0).len(), 600);
}
