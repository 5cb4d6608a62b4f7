use std::collections::BTreeMap;

use bytes::Bytes;
use waybill_proto::model::v1::Resource;
use waybill_store::Position;

use super::*;
use crate::{
    sample::{Dice, api_key, content, key, org},
    stored::resource_value,
};

fn entry(key: waybill_store::Key, value: Bytes) -> Entry {
    Entry { key, value, created: Position(1), modified: Position(1), version: 1 }
}

fn stored(resource: &Resource) -> Entry {
    let place = Key::of(resource).unwrap();
    entry(keys::resource(place.kind.name(), &place.uid), resource_value(resource))
}

fn head(revision: u64) -> Entry {
    entry(keys::head(), Head { revision, log_hash: vec![] }.to_value())
}

fn put(entry: Entry) -> Event {
    Event::Put { entry, previous: None }
}

fn delete(kind: Kind, uid: &str) -> Event {
    Event::Delete { key: keys::resource(kind.name(), uid), previous: None }
}

#[test]
fn a_change_set_is_shown_when_its_head_has_come_and_not_before() {
    let mut index = Index::new(&[stored(&org("a", "1")), head(4)]).unwrap();
    assert_eq!(index.world().revision(), 4);
    assert!(index.follow(&[put(stored(&org("b", "1")))]).unwrap().is_none());
    assert!(index.follow(&[delete(Kind::Org, "a")]).unwrap().is_none());
    assert_eq!(content(index.world()).len(), 1);
    let step = index.follow(&[put(stored(&org("c", "1"))), put(head(5))]).unwrap().unwrap();
    assert_eq!((step.before.revision(), step.world.revision()), (4, 5));
    assert_eq!(step.changed, ["a", "b", "c"].map(|uid| key(Kind::Org, uid)).into());
    assert_eq!(content(&step.world).into_keys().map(|(_, uid)| uid).collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn an_empty_store_is_revision_0_and_resources_without_a_head_are_a_contradiction() {
    assert_eq!(Index::new(&[]).unwrap().world().revision(), 0);
    assert_eq!(Index::new(&[stored(&org("a", "1"))]).unwrap_err(), Error::Headless { resources: 1 });
}

#[test]
fn a_head_that_does_not_go_forward_or_cannot_be_read_is_said() {
    for revision in [0, 3, 4] {
        let mut index = Index::new(&[head(4)]).unwrap();
        assert_eq!(index.follow(&[put(head(revision))]).unwrap_err(), Error::Backwards { from: 4, to: revision });
    }
    let mut index = Index::new(&[head(4)]).unwrap();
    let damaged = entry(keys::head(), Bytes::from_static(&[0xff]));
    assert!(matches!(index.follow(&[put(damaged)]), Err(Error::Head(_))));
    assert_eq!(index.relist(&[head(3)]).unwrap_err(), Error::Backwards { from: 4, to: 3 });
}

#[test]
fn what_cannot_be_read_keeps_its_last_version_and_is_named() {
    let mut index = Index::new(&[stored(&org("a", "good")), head(1)]).unwrap();
    let bad = [
        entry(keys::resource("Org", "a"), Bytes::from_static(&[0xff])),
        entry(keys::resource("Org", "x"), resource_value(&org("y", "of another uid"))),
        entry(keys::resource("Robot", "r"), resource_value(&Resource::default())),
    ];
    let events: Vec<Event> = bad.into_iter().map(put).chain([put(stored(&org("b", "good"))), put(head(2))]).collect();
    let step = index.follow(&events).unwrap().unwrap();
    assert_eq!(content(&step.world).into_keys().map(|(_, uid)| uid).collect::<Vec<_>>(), ["a", "b"]);
    let named: Vec<_> = index.faults().map(|fault| (fault.kind, fault.uid)).collect();
    assert_eq!(named, [("Org", "a"), ("Org", "x"), ("Robot", "r")].map(|(kind, uid)| (kind.to_owned(), uid.to_owned())));
    index.follow(&[put(stored(&org("a", "mended"))), delete(Kind::Org, "x"), put(head(3))]).unwrap();
    assert_eq!(index.faults().count(), 1);
}

#[test]
fn listing_anew_shows_exactly_what_the_watch_did_not_tell() {
    let listing = |text: &str, revision| vec![stored(&org("a", text)), stored(&api_key("k", false, 1)), head(revision)];
    let mut index = Index::new(&listing("1", 4)).unwrap();
    assert!(index.relist(&listing("1", 4)).unwrap().is_none());
    let repaired = index.relist(&listing("2", 4)).unwrap().unwrap();
    assert_eq!((repaired.world.revision(), repaired.changed), (4, [key(Kind::Org, "a")].into()));
    let moved = index.relist(&[stored(&org("a", "2")), head(9)]).unwrap().unwrap();
    assert_eq!((moved.world.revision(), moved.changed), (9, [key(Kind::ApiKey, "k")].into()));
}

/// Against a model that keeps a map and copies it whenever a head comes.
#[test]
fn any_history_in_any_batches_shows_the_sets_as_they_were_committed() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut index = Index::new(&[]).unwrap();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        for revision in 1..30 {
            let mut batch = Vec::new();
            for _ in 0..dice.below(6) {
                let uid = format!("u{}", dice.below(12));
                if dice.below(3) == 0 {
                    model.remove(&uid);
                    batch.push(delete(Kind::Org, &uid));
                } else {
                    let text = dice.below(4).to_string();
                    batch.push(put(stored(&org(&uid, &text))));
                    model.insert(uid, text);
                }
                if dice.below(3) == 0 {
                    assert!(index.follow(&std::mem::take(&mut batch)).unwrap().is_none());
                }
            }
            batch.insert(dice.below(batch.len() as u64 + 1) as usize, put(head(revision)));
            let step = index.follow(&batch).unwrap().unwrap();
            let shown: BTreeMap<String, Resource> = content(&step.world).into_iter().map(|((_, uid), resource)| (uid, resource)).collect();
            let expected = model.iter().map(|(uid, text)| (uid.clone(), Resource::clone(&org(uid, text)))).collect();
            assert_eq!((step.world.revision(), shown), (revision, expected), "seed {seed}");
        }
    }
}

#[test]
fn a_rollout_is_shown_with_its_head_and_touches_what_it_changes_at_each_step() {
    use crate::rollout::{Member, Rollout, State, Target};
    let record = |state: State, members: &[&str]| Rollout {
        id: "r".to_owned(),
        state: state.into(),
        targets: Target::of(&org("a", "2")).into_iter().collect(),
        members: members.iter().map(|proxy| Member { proxy: (*proxy).to_owned(), ..Member::default() }).collect(),
        ..Rollout::default()
    };
    let stored_rollout = |record: &Rollout| entry(keys::rollout("r"), record.to_value());
    let touched: BTreeSet<Key> = [key(Kind::Org, "a")].into();
    let begun = record(State::Baking, &[]);
    let mut index = Index::new(&[stored(&org("a", "1")), head(1)]).unwrap();
    assert!(index.follow(&[put(stored_rollout(&begun))]).unwrap().is_none() && index.rollout().is_none());
    let step = index.follow(&[put(head(2))]).unwrap().unwrap();
    assert_eq!((step.changed, step.rollout.as_deref()), (touched.clone(), Some(&begun)));
    // A change of something else touches only that.
    let step = index.follow(&[put(stored(&org("b", "1"))), put(head(3))]).unwrap().unwrap();
    assert_eq!((step.changed, step.rollout.as_deref()), ([key(Kind::Org, "b")].into(), Some(&begun)));
    let wider = record(State::Baking, &["p"]);
    let listing = [stored(&org("a", "1")), stored(&org("b", "1")), stored_rollout(&wider), head(4)];
    let step = index.relist(&listing).unwrap().unwrap();
    assert_eq!((step.changed, step.rollout.as_deref()), (touched.clone(), Some(&wider)));
    assert!(index.relist(&listing).unwrap().is_none());
    let ended = index.follow(&[put(stored_rollout(&record(State::Halted, &["p"]))), put(head(5))]).unwrap().unwrap();
    assert_eq!((ended.changed, ended.rollout), (touched, None));
    let forgotten = Event::Delete { key: keys::rollout("r"), previous: None };
    let step = index.follow(&[forgotten, put(head(6))]).unwrap().unwrap();
    assert_eq!(content(&step.world).len(), 2);
    assert_eq!(Index::new(&listing).unwrap().rollout().map(|rollout| &**rollout), Some(&wider));
}
