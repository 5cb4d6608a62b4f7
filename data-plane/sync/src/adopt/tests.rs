use waybill_model::{compile::compile, key::KeyHash, snapshot::Found};
use waybill_proto::model::v1::{OnError, resource::Spec};

use super::*;
use crate::sample::{account, api_key, endpoint, guardrail, key, model, org, policy, provider, workspace};

const HASH: [u8; 16] = [7; 16];

fn compiler(world: &World) -> Compiled {
    compile(world, &|_| None)
}

/// A compiler that panics while a resource of this name and generation is in the world.
fn poisoned(name: &'static str, generation: u64) -> impl Fn(&World) -> Compiled {
    move |world| {
        let hit = world.resources().any(|resource| {
            let metadata = metadata(&resource);
            metadata.name == name && metadata.generation == generation
        });
        assert!(!hit, "poison in {name}");
        compiler(world)
    }
}

fn good() -> Vec<Arc<Resource>> {
    vec![provider(1, "https://a.example/v1"), account(), model("x/m"), endpoint("e", 1, "x/m", "m-1")]
}

fn world(revision: u64, resources: impl IntoIterator<Item = Arc<Resource>>) -> Arc<World> {
    Arc::new(World::new(revision, resources))
}

fn held(resources: impl IntoIterator<Item = Arc<Resource>>) -> Held {
    adopt(&Held::default(), world(1, resources), &compiler).unwrap().held
}

fn rejected(outcome: &Outcome) -> Vec<(Kind, &str, &str)> {
    outcome.rejected.iter().map(|fault| (fault.kind, &*fault.name, fault.code)).collect()
}

/// Endpoints in force: (name, provider's host, provider's model).
fn serves(outcome: &Outcome) -> Vec<(&str, &str, &str)> {
    outcome
        .snapshot
        .endpoints()
        .iter()
        .map(|endpoint| (&*endpoint.name, &*endpoint.provider.origin.host, &*endpoint.provider_model))
        .collect()
}

#[test]
fn a_rejected_resource_keeps_its_last_good_version_and_the_rest_of_the_change_applies() {
    let before = held(good());
    let next = world(
        2,
        [provider(2, "ftp://b"), account(), model("x/m"), model("x/new"), endpoint("e", 2, "x/m", "m-2"), endpoint("f", 1, "x/new", "n")],
    );
    let outcome = adopt(&before, Arc::clone(&next), &compiler).unwrap();
    // The endpoints only refer to the provider: they are the new ones, on its last good version.
    assert_eq!(serves(&outcome), [("e", "a.example", "m-2"), ("f", "a.example", "n")]);
    assert_eq!(rejected(&outcome), [(Kind::Provider, "prov", "bad_base_url")]);
    assert_eq!((outcome.snapshot.revision, outcome.held.desired()), (2, &next));
    // It stays so while the desired version does, also after a restart, and ends when that is mended.
    let stored = Held::stored(Arc::clone(outcome.held.desired()), outcome.held.instead().clone());
    let again = adopt(&stored, Arc::clone(&next), &compiler).unwrap();
    assert_eq!((serves(&again), rejected(&again)), (serves(&outcome), rejected(&outcome)));
    let mended = adopt(
        &outcome.held,
        world(3, [provider(3, "https://c.example"), account(), model("x/m"), endpoint("e", 2, "x/m", "m-2")]),
        &compiler,
    );
    let mended = mended.unwrap();
    assert_eq!((serves(&mended), rejected(&mended)), (vec![("e", "c.example", "m-2")], vec![]));
    assert!(mended.held.instead().is_empty());
}

#[test]
fn a_new_resource_that_is_rejected_is_not_in_force_and_blocks_no_other() {
    let before = held(good());
    let next = world(2, good().into_iter().chain([policy("cheap", "not a price"), endpoint("f", 1, "x/none", "m")]));
    let outcome = adopt(&before, next, &compiler).unwrap();
    assert_eq!(rejected(&outcome), [(Kind::Endpoint, "f", "dangling_reference"), (Kind::RoutePolicy, "cheap", "bad_price")]);
    assert_eq!(serves(&outcome), [("e", "a.example", "m-1")]);
    // Its last good version is none, not the rejected one: a second bad version does not bring the first one in.
    let worse = world(3, good().into_iter().chain([policy("cheap", "worse"), endpoint("f", 2, "x/none", "m")]));
    assert_eq!(adopt(&outcome.held, worse, &compiler).unwrap().held.instead(), outcome.held.instead());
}

#[test]
fn what_refers_to_a_deleted_resource_is_out_even_if_it_was_good_before() {
    let before = held(good());
    let outcome =
        adopt(&before, world(2, [provider(1, "https://a.example/v1"), account(), endpoint("e", 2, "x/m", "m-2")]), &compiler).unwrap();
    assert_eq!((serves(&outcome), rejected(&outcome)), (vec![], vec![(Kind::Endpoint, "e", "dangling_reference")]));
}

#[test]
fn a_key_that_cannot_be_compiled_denies_its_own_scope() {
    let hash = KeyHash::try_from(&HASH[..]).unwrap();
    let before = held([workspace("ws", ""), api_key("k", "ws", &HASH, false)]);
    // The key moves to a workspace that is not there: its old version would still admit it.
    let moved = adopt(&before, world(2, [workspace("ws", ""), api_key("k", "gone", &HASH, false)]), &compiler).unwrap();
    assert!(moved.snapshot.key(&hash).unwrap().workspace.is_none());
    // Its workspace's new version is bad: that one keeps its last good version, and the key serves.
    let outcome = adopt(&before, world(2, [workspace("ws", "no-policy"), api_key("k", "ws", &HASH, false)]), &compiler).unwrap();
    assert!(outcome.snapshot.key(&hash).unwrap().workspace.is_some());
    assert_eq!(rejected(&outcome), [(Kind::Workspace, "ws", "dangling_reference")]);
    let unreadable = adopt(&before, world(2, [workspace("ws", ""), api_key("k", "ws", &[1], false)]), &compiler).unwrap();
    assert!(unreadable.snapshot.key(&hash).is_none());
}

#[test]
fn a_panic_is_pinned_on_the_resource_that_causes_it() {
    let before = held(good());
    let next = world(2, [provider(1, "https://a.example/v1"), account(), model("x/m"), endpoint("e", 2, "x/m", "m-2"), org("o", "new")]);
    let outcome = adopt(&before, next, &poisoned("e", 2)).unwrap();
    assert_eq!(serves(&outcome), [("e", "a.example", "m-1")]);
    assert_eq!(rejected(&outcome), [(Kind::Endpoint, "e", "compile_panicked")]);
    assert!(outcome.rejected[0].message.contains("poison in e"));
}

#[test]
fn a_change_with_two_causes_of_panic_waits_as_a_whole_but_keys_go_through() {
    let hash = KeyHash::try_from(&HASH[..]).unwrap();
    let before = held(good().into_iter().chain([workspace("ws", "")]));
    let next = world(
        2,
        good().into_iter().chain([workspace("ws", ""), org("o", "1"), org("p", "1"), model("x/new"), api_key("k", "ws", &HASH, false)]),
    );
    let (one, other) = (poisoned("o", 1), poisoned("p", 1));
    let both = |world: &World| {
        one(world);
        other(world)
    };
    let outcome = adopt(&before, next, &both).unwrap();
    assert_eq!(rejected(&outcome).len(), 3);
    assert!(matches!(outcome.snapshot.model("x/new"), Found::None));
    assert!(outcome.snapshot.key(&hash).is_some());
    assert_eq!(outcome.held.instead().get(&key(Kind::Org, "o")), Some(&None));
}

#[test]
fn a_compiler_that_always_panics_changes_nothing() {
    let never = |_: &World| -> Compiled { panic!("bug") };
    assert_eq!(adopt(&held(good()), world(2, []), &never).unwrap_err(), Panicked("bug".to_owned()));
}

#[test]
fn a_deleted_key_stays_deleted_even_if_the_change_panics() {
    let hash = KeyHash::try_from(&HASH[..]).unwrap();
    let before = held([workspace("ws", ""), api_key("k", "ws", &HASH, false)]);
    let outcome = adopt(&before, world(2, [workspace("ws", ""), org("o", "1")]), &poisoned("o", 1)).unwrap();
    assert!(outcome.snapshot.key(&hash).is_none());
    assert_eq!(rejected(&outcome), [(Kind::Org, "o", "compile_panicked")]);
}

/// What bounds the key `k` of the workspace `ws`: the prompt price limits of its Guardrails in USD, or that it is closed.
fn bounds(outcome: &Outcome) -> String {
    let bounds = &outcome.snapshot.key(&HASH).expect("the key").bounds;
    let limits = bounds.guardrails.iter().filter_map(|guardrail| guardrail.max_prompt_price);
    let limits: Vec<String> = limits.map(|limit| (limit / 1_000_000_000_000).to_string()).collect();
    if bounds.unusable.is_some() { "closed".to_owned() } else { limits.join(" ") }
}

fn bounded(revision: u64, guardrail: Option<Arc<Resource>>) -> Arc<World> {
    world(revision, [workspace("ws", ""), api_key("k", "ws", &HASH, false)].into_iter().chain(guardrail))
}

#[test]
fn a_guardrail_that_cannot_be_compiled_denies_its_scope_unless_its_last_good_version_is_to_go_on() {
    use OnError::{Deny, KeepLast, Unspecified};
    // Versions one after another (price limit, what is to hold on an error), and what bounds the key after each.
    type Steps = &'static [(&'static str, OnError, &'static str)];
    let rows: &[Steps] = &[
        &[("3", Deny, "3"), ("?", Deny, "closed"), ("2", Deny, "2")],
        &[("3", Unspecified, "3"), ("?", Unspecified, "closed")],
        &[("3", Deny, "3"), ("?", KeepLast, "3"), ("??", KeepLast, "3"), ("?", Deny, "closed"), ("1", KeepLast, "1")],
        // There is no good version: neither at first, nor behind one that was denied.
        &[("?", KeepLast, "closed"), ("3", KeepLast, "3")],
        &[("3", KeepLast, "3"), ("?", Deny, "closed"), ("??", KeepLast, "closed")],
    ];
    for (row, steps) in rows.iter().enumerate() {
        let mut before = held([]);
        for (revision, (price, on_error, expected)) in (2..).zip(*steps) {
            let desired = bounded(revision, Some(guardrail(revision, price, *on_error)));
            let outcome = adopt(&before, Arc::clone(&desired), &compiler).unwrap();
            assert_eq!(bounds(&outcome), *expected, "row {row}, revision {revision}");
            let broken = price.contains('?');
            let expected_faults: &[_] = if broken { &[(Kind::Guardrail, "rail", "bad_price")] } else { &[] };
            assert_eq!((rejected(&outcome), outcome.held.instead().len()), (expected_faults.to_vec(), usize::from(broken)));
            assert!(outcome.rejected.iter().all(|fault| fault.generation == revision), "the verdict is on what was desired");
            // The same after a restart from what was stored.
            let stored = Held::stored(desired.clone(), outcome.held.instead().clone());
            let again = adopt(&stored, desired, &compiler).unwrap();
            assert_eq!((bounds(&again), rejected(&again)), (bounds(&outcome), rejected(&outcome)), "row {row}, revision {revision}");
            before = outcome.held;
        }
        // A Guardrail that is taken away bounds nothing.
        assert_eq!(bounds(&adopt(&before, bounded(99, None), &compiler).unwrap()), "");
    }
}

#[test]
fn a_guardrail_that_makes_the_compiler_panic_denies_its_scope_too() {
    for (on_error, before, expected) in [
        (OnError::Deny, Some("3"), "closed"),
        (OnError::KeepLast, Some("3"), "3"),
        (OnError::KeepLast, None, "closed"),
        (OnError::Deny, None, "closed"),
    ] {
        let before = before.map(|price| guardrail(1, price, OnError::Deny));
        let before = adopt(&held([]), bounded(1, before), &compiler).unwrap().held;
        // Other resources of the change are set aside with it, but never a Guardrail for nothing.
        for others in [0, 1, MAX_SUSPECTS + 1] {
            let orgs = (0..others).map(|number| org(&format!("o{number}"), "new"));
            let desired = bounded(2, Some(guardrail(2, "1", on_error)));
            let all: Vec<_> = desired.resources().chain(orgs).collect();
            let poison = |world: &World| {
                let hit = world
                    .of_kind(Kind::Guardrail)
                    .any(|resource| matches!(&resource.spec, Some(Spec::Guardrail(spec)) if spec.max_prompt_price == "1"));
                assert!(!hit, "poison");
                compiler(world)
            };
            let outcome = adopt(&before, world(2, all), &poison).unwrap();
            assert_eq!(bounds(&outcome), expected, "{on_error:?} {others}");
            assert!(rejected(&outcome).contains(&(Kind::Guardrail, "rail", "compile_panicked")));
        }
    }
}

#[test]
fn a_last_good_version_that_this_build_cannot_compile_denies_the_scope_as_well() {
    let before = adopt(&held([]), bounded(1, Some(guardrail(1, "3", OnError::Deny))), &compiler).unwrap().held;
    // A newer build that knows no prices above 2.
    let stricter = |world: &World| {
        let dear = world
            .of_kind(Kind::Guardrail)
            .filter(|resource| matches!(&resource.spec, Some(Spec::Guardrail(spec)) if matches!(&*spec.max_prompt_price, "3" | "?")));
        let mut mapped = World::clone(world);
        for resource in dear {
            let Some(Spec::Guardrail(spec)) = resource.spec.clone() else { continue };
            let spec = waybill_proto::model::v1::Guardrail { max_prompt_price: "?".to_owned(), ..spec };
            mapped.put(Arc::new(Resource { metadata: resource.metadata.clone(), spec: Some(Spec::Guardrail(spec)) }));
        }
        compiler(&mapped)
    };
    let outcome = adopt(&before, bounded(2, Some(guardrail(2, "?", OnError::KeepLast))), &stricter).unwrap();
    assert_eq!((bounds(&outcome), rejected(&outcome)), ("closed".to_owned(), vec![(Kind::Guardrail, "rail", "bad_price")]));
    assert_eq!(outcome.rejected.first().map(|fault| fault.generation), Some(2));
}
