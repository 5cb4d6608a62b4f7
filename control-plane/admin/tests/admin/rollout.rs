//! Rollouts: what they hold, who gets their change, how they end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use waybill_admin::{Admin, Answer, Backlog, Error, Fleet, Running};
use waybill_model::id::GenerationId;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, EndpointHealthRow, GetRequest, HaltRolloutRequest, RefusalRow, RolloutPlan, RolloutRow},
    model::v1::{Resource, resource::Spec},
    sync::v1::{ProxyState, Verdict},
};
use waybill_publish::conduct::Conductor;
use waybill_store::{Candidacy, Election, Leadership, Store, keys};

use crate::sample::{Sample, book, key, model, named, org, workspace};

/// Proxies that take every revision when the test says so.
#[derive(Default)]
struct Proxies(Mutex<Vec<ProxyState>>);

impl Proxies {
    fn of(count: usize) -> Arc<Self> {
        let state = |number: usize| ProxyState { proxy: format!("p{number}"), process: 1, connected: true, ..ProxyState::default() };
        Arc::new(Self(Mutex::new((0..count).map(state).collect())))
    }

    fn change(&self, change: impl Fn(&mut ProxyState)) {
        self.0.lock().expect("proxies").iter_mut().for_each(change);
    }
}

impl Running for Proxies {
    fn fleet(&self) -> Answer<'_, Fleet> {
        let states = self.0.lock().expect("proxies").clone();
        Box::pin(async move { Fleet { states, ..Fleet::default() } })
    }

    fn refusal(&self, _: GenerationId) -> Option<RefusalRow> {
        None
    }

    fn health(&self, _: &str) -> Vec<EndpointHealthRow> {
        Vec::new()
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }
}

fn asked(upserts: Vec<Resource>, deletes: &[(&str, &str)]) -> ApplyChangeSetRequest {
    ApplyChangeSetRequest {
        upserts,
        deletes: deletes.iter().map(|(kind, name)| named(kind, name)).collect(),
        rollout: Some(RolloutPlan { bake_ms: 1_000 }),
        ..ApplyChangeSetRequest::default()
    }
}

async fn leader(store: &dyn Store) -> Leadership {
    let job = Candidacy { key: keys::leader("rollout", 0), holder: "test".into(), ttl: Duration::from_secs(60) };
    match store.lead(&job).await.expect("an election") {
        Election::Won(leadership) => leadership,
        Election::Held(_) => panic!("nobody else stands"),
    }
}

fn reason(result: Result<impl Sized, Error>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Error::Precondition { reason, .. }) => reason.to_owned(),
        Err(Error::Malformed { field, .. }) => format!("malformed {field}"),
        Err(error) => error.to_string(),
    }
}

async fn display_name(admin: &Admin, name: &str) -> Option<String> {
    let found = admin.get(&GetRequest { kind: "Org".to_owned(), name: name.to_owned() }).await.ok()?.resource?;
    if let Some(Spec::Org(org)) = found.spec { Some(org.display_name) } else { None }
}

/// The newest rollout: its state, its ring, how many proxies have it.
async fn newest(admin: &Admin) -> (RolloutRow, (String, u32, usize)) {
    let row = admin.rollouts().await.expect("rollouts").rollouts.into_iter().next().expect("a rollout");
    let short = (row.state.clone(), row.ring, row.proxies.len());
    (row, short)
}

#[tokio::test]
async fn a_rollout_goes_through_its_rings_and_lands_as_one_change_set() {
    let sample = Sample::new().await;
    sample.upsert(&[org("acme", "old"), org("gone", "old")]).await.expect("a base");
    let proxies = Proxies::of(40);
    let admin = sample.beside(Arc::clone(&proxies) as Arc<dyn Running>);
    let response = admin.apply(asked(vec![org("acme", "new"), org("made", "new")], &[("Org", "gone")]), "ada").await.expect("it begins");
    assert!(!response.rollout.is_empty());
    assert_eq!((response.revision, display_name(&admin, "acme").await.as_deref()), (2, Some("old")));
    let leadership = leader(&*sample.store).await;
    let (mut conductor, mut seen) = (Conductor::default(), Vec::new());
    for second in 0..60 {
        admin.look_at_rollout(&mut conductor, second * 1_000, &leadership.fence()).await.expect("a look");
        let (row, short) = newest(&admin).await;
        if seen.last() != Some(&short) {
            seen.push(short);
        }
        if row.state != "baking" {
            break;
        }
        // Whoever asks another replica sees the same.
        let revision = sample.replica().status().await.expect("a status").revision;
        proxies.change(|state| state.applied_revision = revision);
    }
    let ends = [("baking", 1, 1), ("baking", 2, 2), ("baking", 3, 10), ("baking", 4, 40), ("done", 4, 40)];
    assert_eq!(seen, ends.map(|(state, ring, proxies)| (state.to_owned(), ring, proxies)));
    assert_eq!(display_name(&admin, "acme").await.as_deref(), Some("new"));
    assert_eq!(display_name(&admin, "made").await.as_deref(), Some("new"));
    assert_eq!(display_name(&admin, "gone").await, None);
    let log = sample.log().await;
    let said: Vec<(&str, usize)> =
        log.iter().skip(1).map(|entry| (entry.rollout.split_once(' ').map_or("", |(_, said)| said), entry.changes.len())).collect();
    assert_eq!(said, [("ring 0", 0), ("ring 1", 0), ("ring 2", 0), ("ring 3", 0), ("ring 4", 0), ("done", 3)]);
    // What it held is free again.
    assert_eq!(
        reason(admin.apply(ApplyChangeSetRequest { upserts: vec![org("acme", "newer")], ..Default::default() }, "ada").await),
        "done"
    );
}

#[tokio::test]
async fn a_rollout_that_a_proxy_refuses_is_taken_back_at_the_first_ring() {
    let sample = Sample::new().await;
    sample.upsert(&[org("acme", "old")]).await.expect("a base");
    let proxies = Proxies::of(10);
    let admin = sample.beside(Arc::clone(&proxies) as Arc<dyn Running>);
    admin.apply(asked(vec![org("acme", "poison")], &[]), "ada").await.expect("it begins");
    let leadership = leader(&*sample.store).await;
    let mut conductor = Conductor::default();
    admin.look_at_rollout(&mut conductor, 0, &leadership.fence()).await.expect("a look");
    let (row, short) = newest(&admin).await;
    assert_eq!(short, ("baking".to_owned(), 1, 1));
    let revision = admin.status().await.expect("a status").revision;
    proxies.change(|state| {
        state.applied_revision = revision;
        if row.proxies.contains(&state.proxy) {
            state.rejected =
                vec![Verdict { kind: "Org".to_owned(), name: "acme".to_owned(), message: "poison".to_owned(), ..Verdict::default() }];
        }
    });
    admin.look_at_rollout(&mut conductor, 1_000, &leadership.fence()).await.expect("a look");
    let (row, short) = newest(&admin).await;
    assert_eq!(short, ("halted".to_owned(), 1, 1));
    assert!(row.reason.ends_with("refuses Org acme: poison"), "{}", row.reason);
    assert_eq!(display_name(&admin, "acme").await.as_deref(), Some("old"));
    // The next look has nothing to do.
    admin.look_at_rollout(&mut conductor, 2_000, &leadership.fence()).await.expect("a look");
    assert_eq!(sample.log().await.len(), 4);
}

#[tokio::test]
async fn what_a_rollout_holds_waits_and_what_it_does_not_must_stand_beside_both_worlds() {
    let sample = Sample::new().await;
    let base = [org("acme", "old"), org("other", "old"), workspace("w", "acme"), book("b", "1")];
    sample.upsert(&base).await.expect("a base");
    let admin = &sample.admin;
    let plain = |upserts: Vec<Resource>, deletes: &[(&str, &str)]| ApplyChangeSetRequest { rollout: None, ..asked(upserts, deletes) };
    for (request, expected) in [
        (asked(vec![key("k", "w", None)], &[]), "malformed rollout"),
        (ApplyChangeSetRequest { in_sets: true, ..asked(vec![org("acme", "new")], &[]) }, "malformed rollout"),
        (asked(vec![workspace("w", "none")], &[]), "Workspace `w`: spec.org: there is no Org `none`"),
        (ApplyChangeSetRequest { dry_run: true, ..asked(vec![org("acme", "new")], &[]) }, "done"),
        // Nothing changes, so nothing begins.
        (asked(vec![org("acme", "old")], &[]), "done"),
        (asked(vec![workspace("w", "other")], &[("Org", "acme")]), "done"),
        (asked(vec![org("other", "new")], &[]), "rollout_active"),
        (plain(vec![workspace("w", "acme")], &[]), "done"),
        (plain(vec![workspace("w", "other")], &[]), "rollout_holds"),
        (plain(vec![org("acme", "newer")], &[]), "rollout_holds"),
        (plain(vec![], &[("Workspace", "w")]), "rollout_holds"),
        // It is good in the world that everybody holds, and not in the one that may come.
        (plain(vec![workspace("v", "acme")], &[]), "Workspace `v`: spec.org: there is no Org `acme`"),
        (plain(vec![workspace("v", "other")], &[]), "done"),
        (plain(vec![model("lab/m")], &[]), "done"),
    ] {
        let got = reason(admin.apply(request.clone(), "ada").await);
        assert!(got.starts_with(expected), "{request:?}: {got}");
    }
    let (row, short) = newest(admin).await;
    assert_eq!((short, row.resources.len()), (("baking".to_owned(), 0, 0), 2));
    let halt = |id: &str| HaltRolloutRequest { id: id.to_owned(), reason: "second thoughts".to_owned() };
    let other = sample.replica();
    assert!(other.halt_rollout(&halt("nothing"), "bob").await.is_err());
    let halted = other.halt_rollout(&halt(&row.id), "bob").await.expect("halted").rollout.expect("a row");
    assert_eq!((halted.state.as_str(), halted.reason.as_str()), ("halted", "second thoughts (bob)"));
    assert_eq!(reason(other.halt_rollout(&halt(&row.id), "bob").await), "rollout_ended");
    assert_eq!(reason(admin.apply(plain(vec![workspace("w", "other")], &[]), "ada").await), "done");
    sample.log().await;
}

#[tokio::test]
async fn who_leads_no_longer_writes_no_step() {
    let sample = Sample::new().await;
    let admin = sample.beside(Proxies::of(3) as Arc<dyn Running>);
    admin.apply(asked(vec![org("acme", "new")], &[]), "ada").await.expect("it begins");
    let leadership = leader(&*sample.store).await;
    let fence = leadership.fence();
    sample.store.resign(leadership).await.expect("resigned");
    admin.look_at_rollout(&mut Conductor::default(), 0, &fence).await.expect("a look");
    assert_eq!((newest(&admin).await.1, sample.log().await.len()), (("baking".to_owned(), 0, 0), 1));
}

#[tokio::test]
async fn the_last_ends_are_remembered_and_no_more() {
    let sample = Sample::new().await;
    for number in 0..25 {
        let begun = sample.admin.apply(asked(vec![org("acme", &number.to_string())], &[]), "ada").await.expect("it begins");
        let halt = HaltRolloutRequest { id: begun.rollout, reason: String::new() };
        sample.admin.halt_rollout(&halt, "ada").await.expect("halted");
    }
    let known = sample.admin.rollouts().await.expect("rollouts").rollouts;
    assert!((20..=21).contains(&known.len()), "{}", known.len());
    assert!(known.is_sorted_by_key(|row| std::cmp::Reverse(row.revision)));
    assert_eq!(sample.replica().rollouts().await.expect("rollouts").rollouts, known);
}
