use waybill_proto::sync::v1::{ClassCount, EndpointCounts};

use super::*;

const BAKE_MS: u64 = 30_000;

fn proxy(name: &str) -> ProxyState {
    ProxyState { proxy: name.to_owned(), process: 7, connected: true, applied_revision: 10, ..ProxyState::default() }
}

fn fleet(count: usize) -> Vec<ProxyState> {
    (0..count).map(|number| proxy(&format!("p{number:03}"))).collect()
}

fn member(name: &str) -> Member {
    Member { proxy: name.to_owned(), process: 7, refused: vec!["Org/o/old".to_owned()] }
}

/// A rollout of one proxy, `p000`, since revision 10.
fn first_ring() -> Rollout {
    Rollout {
        id: "r".to_owned(),
        state: crate::rollout::State::Baking.into(),
        ring: 1,
        members: vec![member("p000")],
        bake_ms: BAKE_MS,
        step_revision: 10,
        ..Rollout::default()
    }
}

fn counted(good: u64, failed: u64, by_caller: u64) -> Vec<EndpointCounts> {
    let counts =
        [(ErrorClass::None, good), (ErrorClass::Server, failed), (ErrorClass::Caller, by_caller), (ErrorClass::RateLimited, 1_000)];
    let counts = counts.map(|(class, count)| ClassCount { class: class.into(), count }).into();
    vec![EndpointCounts { endpoint: "e".to_owned(), counts, open_breakers: 0 }]
}

fn refuses(uid: &str, code: &str) -> Verdict {
    Verdict {
        kind: "Org".to_owned(),
        uid: uid.to_owned(),
        name: uid.to_owned(),
        code: code.to_owned(),
        message: "too bad".to_owned(),
        ..Verdict::default()
    }
}

#[test]
fn rings_grow_from_one_to_five_to_twenty_five_percent_to_all() {
    let rows: [(usize, &[(u32, usize)]); 7] = [
        (0, &[]),
        (1, &[(1, 1)]),
        (2, &[(1, 1), (4, 2)]),
        (3, &[(1, 1), (4, 3)]),
        (5, &[(1, 1), (3, 2), (4, 5)]),
        (40, &[(1, 1), (2, 2), (3, 10), (4, 40)]),
        (1_000, &[(1, 1), (2, 50), (3, 250), (4, 1_000)]),
    ];
    for (count, expected) in rows {
        let fleet = fleet(count);
        let mut rollout = Rollout { ring: 0, members: Vec::new(), ..first_ring() };
        let mut rings = Vec::new();
        let last = loop {
            match widen(&rollout, &fleet) {
                Decision::Widen { ring, members } => {
                    assert!(members.starts_with(&rollout.members), "nobody is taken out");
                    let names: BTreeSet<&str> = members.iter().map(|member| member.proxy.as_str()).collect();
                    assert_eq!(names.len(), members.len());
                    rings.push((ring, members.len()));
                    rollout = Rollout { ring, members, ..rollout };
                }
                last => break last,
            }
        };
        assert_eq!((rings.as_slice(), last), (expected, if count == 0 { Decision::Wait } else { Decision::Finish }), "{count}");
    }
}

#[test]
fn it_is_not_always_the_same_proxy_that_tries_first() {
    let firsts: BTreeSet<String> = (0..50)
        .filter_map(|number| match widen(&Rollout { id: number.to_string(), ring: 0, members: Vec::new(), ..first_ring() }, &fleet(10)) {
            Decision::Widen { members, .. } => members.first().map(|member| member.proxy.clone()),
            _ => None,
        })
        .collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn each_trouble_of_a_member_halts_and_that_of_another_does_not() {
    type Spoil = fn(&mut ProxyState);
    let rows: [(Spoil, Option<&str>); 9] = [
        (|_| {}, None),
        (|state| state.rejected = vec![refuses("o", "old")], None),
        (|state| state.rejected = vec![refuses("o", "old"), refuses("n", "new")], Some("refuses Org n: too bad")),
        (|state| state.rejected = vec![refuses("o", "worse")], Some("refuses Org o")),
        (|state| state.process = 8, Some("was started anew")),
        (|state| (state.connected, state.since_ms) = (false, AWAY_MS - 1), None),
        (|state| (state.connected, state.since_ms) = (false, AWAY_MS), Some("has been away for 20 s")),
        (|state| state.proxy = "other".to_owned(), Some("is gone")),
        // What it refused before it had the change is judged when it has it.
        (|state| (state.applied_revision, state.rejected) = (9, vec![refuses("n", "new")]), None),
    ];
    for (spoil, expected) in rows {
        let mut seen = fleet(4);
        spoil(&mut seen[0]);
        let decision = Conductor::default().decide(&first_ring(), &seen, 0);
        match expected {
            None => assert_eq!(decision, Decision::Wait),
            Some(says) => {
                assert!(matches!(&decision, Decision::Halt(why) if why.starts_with("p000 ") && why.contains(says)), "{decision:?}")
            }
        }
        // The same at one that does not have it is no reason.
        let mut seen = fleet(4);
        spoil(&mut seen[1]);
        assert_eq!(Conductor::default().decide(&first_ring(), &seen, 0), Decision::Wait);
    }
}

#[test]
fn a_ring_is_watched_for_its_time_from_when_all_have_the_change() {
    let (mut conductor, mut seen) = (Conductor::default(), fleet(4));
    seen[0].applied_revision = 9;
    assert_eq!(conductor.decide(&first_ring(), &seen, 1_000), Decision::Wait);
    assert_eq!(conductor.decide(&first_ring(), &seen, 40_000), Decision::Wait);
    seen[0].applied_revision = 10;
    assert_eq!(conductor.decide(&first_ring(), &seen, 50_000), Decision::Wait);
    assert_eq!(conductor.decide(&first_ring(), &seen, 50_000 + BAKE_MS - 1), Decision::Wait);
    // Who is away then may have died of it.
    (seen[0].connected, seen[0].since_ms) = (false, 1);
    assert_eq!(conductor.decide(&first_ring(), &seen, 50_000 + BAKE_MS), Decision::Wait);
    seen[0].connected = true;
    assert!(matches!(conductor.decide(&first_ring(), &seen, 50_000 + BAKE_MS), Decision::Widen { ring: 4, .. }));
    // Who takes over watches the ring anew.
    assert_eq!(Conductor::default().decide(&first_ring(), &seen, 50_000 + BAKE_MS), Decision::Wait);
}

#[test]
fn a_member_that_does_not_take_the_change_halts() {
    let (mut conductor, mut seen) = (Conductor::default(), fleet(4));
    seen[0].applied_revision = 9;
    assert_eq!(conductor.decide(&first_ring(), &seen, 5), Decision::Wait);
    assert_eq!(conductor.decide(&first_ring(), &seen, 4 + APPLY_MS), Decision::Wait);
    let Decision::Halt(reason) = conductor.decide(&first_ring(), &seen, 5 + APPLY_MS) else { panic!("it is late") };
    assert_eq!(reason, "p000 has not applied revision 10 after 60 s");
}

#[test]
fn members_that_fail_more_often_than_the_others_beyond_chance_halt() {
    /// Attempts that were good and that failed, since the ring has the change.
    type Since = (u64, u64);
    // At the member, at the three others together, and whether that halts.
    let rows: [(Since, Since, bool); 9] = [
        ((100, 0), (300, 0), false),
        ((60, 40), (300, 0), true),
        // A provider that fails for all is no fault of the change.
        ((60, 40), (180, 120), false),
        ((75, 25), (270, 30), true),
        ((88, 12), (270, 30), false),
        // Too few to say anything.
        ((10, 9), (300, 0), false),
        ((98, 2), (300, 0), false),
        ((60, 40), (19, 0), false),
        ((9_700, 300), (29_700, 300), true),
    ];
    for ((good, failed), (others_good, others_failed), halts) in rows {
        let (mut conductor, mut seen) = (Conductor::default(), fleet(4));
        // What was before the ring does not count.
        seen.iter_mut().for_each(|state| state.counts = counted(10, 1_000, 0));
        assert_eq!(conductor.decide(&first_ring(), &seen, 0), Decision::Wait);
        seen[0].counts = counted(10 + good, 1_000 + failed, 5_000);
        for state in &mut seen[1..] {
            state.counts = counted(10 + others_good / 3, 1_000 + others_failed / 3, 0);
        }
        seen[3].counts = counted(10 + others_good - others_good / 3 * 2, 1_000 + others_failed - others_failed / 3 * 2, 0);
        let decision = conductor.decide(&first_ring(), &seen, 1_000);
        assert_eq!(matches!(decision, Decision::Halt(_)), halts, "{good}/{failed} {others_good}/{others_failed}: {decision:?}");
    }
}
