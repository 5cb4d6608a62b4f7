//! The health of many endpoints in one worker: what it remembers, what it counts, and what it makes of advice.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::{NOW, place, policy, row, snapshot};
use waybill_model::guardrail::unbounded;
use waybill_proto::sync::v1::{EndpointHealth, ErrorClass};
use waybill_route::{
    Advice, Class, FAILURES_TO_OPEN, Health, OPEN_STEP_MS, Outcome, Place, SLOW_START_MS, SLOW_START_PERMILLE, WHOLE_PERMILLE,
    WINDOW_LEAST, Why, Wishes, plan,
};

const FAILED: Outcome = Outcome::Failure(Class::Server);
const REFUSED: Outcome = Outcome::Failure(Class::Credential);

fn at<'a>(endpoint: &'a str, account: &'a str) -> Place<'a> {
    Place { endpoint, account }
}

#[test]
fn it_remembers_only_what_is_bad_and_only_of_endpoints_that_are() {
    let mut health = Health::new();
    health.ended(place("m@a"), Outcome::Success, NOW, 1);
    health.ended(place("m@a"), Outcome::Failure(Class::Caller), NOW, 1);
    assert!(health.is_quiet(NOW));
    for name in ["m@a", "m@gone"] {
        for _ in 0..FAILURES_TO_OPEN {
            health.started(place(name), NOW);
            health.ended(place(name), FAILED, NOW, 1);
        }
    }
    assert!(!health.admits(place("m@a"), NOW) && !health.admits(place("m@gone"), NOW) && health.admits(place("m@b"), NOW));
    health.keep_of(&snapshot(&[row("lab/m", "a", "1", "1")]));
    assert_eq!(health.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["m@a"]);
    let half = NOW + OPEN_STEP_MS;
    assert!(health.admits(place("m@a"), half));
    health.started(place("m@a"), half);
    assert!(!health.admits(place("m@a"), half));
    health.ended(place("m@a"), Outcome::Success, half, 1);
    assert_eq!(health.standing(place("m@a"), half).why, Some(Why::SlowStart));
    health.ended(place("m@a"), Outcome::Success, half + SLOW_START_MS, 1);
    assert!(health.is_quiet(half + SLOW_START_MS));
}

#[test]
fn more_than_half_of_enough_failures_open_it_also_when_not_in_a_row() {
    // What comes again and again, and with which end the breaker opens, if it does.
    let rows = [("sf", None), ("ssf", None), ("sff", Some(WINDOW_LEAST)), ("sffff", Some(WINDOW_LEAST))];
    for (ends, opens) in rows {
        let mut health = Health::new();
        let ended = ends.chars().cycle().zip(1_u32..=500).find_map(|(end, ended)| {
            health.ended(place("m@a"), if end == 'f' { FAILED } else { Outcome::Success }, NOW + i64::from(ended), 1);
            (!health.admits(place("m@a"), NOW + 500)).then_some(ended)
        });
        assert_eq!(ended, opens, "{ends}");
    }
}

#[test]
fn the_window_that_opened_it_does_not_open_it_again() {
    let mut health = Health::new();
    for number in 0..WINDOW_LEAST {
        health.ended(place("m@a"), if number % 3 == 0 { Outcome::Success } else { FAILED }, NOW, 1);
    }
    assert!(!health.admits(place("m@a"), NOW));
    let half = NOW + OPEN_STEP_MS * 4 / 5;
    let half = (half..half + OPEN_STEP_MS).find(|now| health.admits(place("m@a"), *now)).expect("it is let through");
    health.started(place("m@a"), half);
    health.ended(place("m@a"), Outcome::Success, half, 1);
    health.ended(place("m@a"), FAILED, half, 1);
    assert_eq!(health.standing(place("m@a"), half).weight_permille, SLOW_START_PERMILLE);
}

#[test]
fn a_credential_that_several_endpoints_refuse_is_the_accounts() {
    let mut health = Health::new();
    for _ in 0..3 * FAILURES_TO_OPEN {
        health.ended(at("m@a", "acme"), REFUSED, NOW, 1);
    }
    assert!(!health.admits(at("m@a", "acme"), NOW), "its own breaker");
    assert!(health.admits(at("n@a", "acme"), NOW), "a model that is denied says nothing of the others");
    health.ended(at("n@a", "acme"), REFUSED, NOW, 1);
    for name in ["n@a", "o@a"] {
        assert_eq!(health.standing(at(name, "acme"), NOW).why, Some(Why::Account), "{name}");
    }
    assert!(health.admits(at("n@b", "other"), NOW));
    let half = NOW + OPEN_STEP_MS;
    health.started(at("o@a", "acme"), half);
    assert!(!health.admits(at("n@a", "acme"), half), "one request finds out for all");
    health.ended(at("o@a", "acme"), FAILED, half, 1);
    assert!(health.admits(at("n@a", "acme"), half), "another fault says nothing of the credential");
    health.started(at("o@a", "acme"), half);
    health.ended(at("o@a", "acme"), Outcome::Success, half, 1);
    let standing = health.standing(at("n@a", "acme"), half);
    assert_eq!((standing.weight_permille, standing.why), (SLOW_START_PERMILLE, Some(Why::Account)));
    health.ended(at("n@a", "acme"), Outcome::Success, half + SLOW_START_MS, 1);
    assert_eq!(health.standing(at("n@a", "acme"), half + SLOW_START_MS).weight_permille, WHOLE_PERMILLE);
}

#[test]
fn it_counts_every_end_by_its_class_until_the_counts_are_taken() {
    let mut health = Health::new();
    let ends = [
        ("m@b", Outcome::Success),
        ("m@a", Outcome::Success),
        ("m@a", Outcome::Success),
        ("m@a", Outcome::Failure(Class::RateLimited { retry_after_ms: None })),
        ("m@a", Outcome::Unknown),
        ("m@a", Outcome::Failure(Class::Caller)),
    ];
    for (endpoint, outcome) in ends {
        health.ended(place(endpoint), outcome, NOW, 1);
    }
    type Counted = (String, Vec<(ErrorClass, u64)>, u32);
    let counted = |health: &mut Health| -> Vec<Counted> {
        let counts = health.take_counts().into_iter();
        counts.map(|of| (of.endpoint, of.counts.iter().map(|count| (count.class(), count.count)).collect(), of.open_breakers)).collect()
    };
    let a = vec![(ErrorClass::None, 2), (ErrorClass::RateLimited, 1), (ErrorClass::Caller, 1)];
    assert_eq!(counted(&mut health), [("m@a".to_owned(), a, 0), ("m@b".to_owned(), vec![(ErrorClass::None, 1)], 0)]);
    assert_eq!(counted(&mut health), []);
    for _ in 0..FAILURES_TO_OPEN {
        health.ended(place("m@a"), FAILED, NOW, 1);
    }
    assert_eq!(counted(&mut health), [("m@a".to_owned(), vec![(ErrorClass::Server, 5)], 1)]);
    assert_eq!(counted(&mut health), [("m@a".to_owned(), vec![], 1)], "an open breaker is told as long as it is open");
}

fn advised(weights: &[(&str, u32)]) -> Health {
    let said = weights.iter().map(|(endpoint, weight_permille)| EndpointHealth {
        endpoint: (*endpoint).to_owned(),
        weight_permille: *weight_permille,
        ..EndpointHealth::default()
    });
    let mut health = Health::new();
    health.advise(Arc::new(Advice::new(&said.collect::<Vec<_>>(), NOW + 30_000)));
    health
}

#[test]
fn a_part_of_a_share_is_the_chance_to_stand_in_ones_place() {
    let snapshot = snapshot(&[row("lab/m", "a", "1", "1"), row("lab/m", "b", "2", "2"), row("lab/m", "c", "3", "3")]);
    let health = advised(&[("m@a", 200)]);
    let wishes = Wishes { sort_by_price: true, ..Wishes::of_model("m") };
    let first =
        |seed| plan(&wishes, &snapshot, &policy(), &unbounded, &health, NOW, seed).expect("a plan").attempts[0].endpoint.name.clone();
    let cheapest = (0..10_000).filter(|seed| &*first(*seed) == "m@a").count();
    // Binomial(10000, 0.2): one standard deviation is 40.
    assert!(cheapest.abs_diff(2_000) < 200, "{cheapest}");
}

proptest! {
    /// min(what this worker saw, what the fleet advises), and the reason is the one that decides.
    #[test]
    fn a_standing_is_the_worse_of_both(failures in 0_u32..8, success: bool, weight in 0_u32..1200, passed in 0_i64..120_000) {
        let mut health = advised(&[("m@a", weight)]);
        for _ in 0..failures {
            health.ended(place("m@a"), FAILED, NOW, 1);
        }
        if success {
            health.started(place("m@a"), NOW);
            health.ended(place("m@a"), Outcome::Success, NOW, 1);
        }
        let now = NOW + passed;
        let advised = if passed < 30_000 { u16::try_from(weight.min(1000)).expect("small") } else { WHOLE_PERMILLE };
        let local = health.local(place("m@a"), now).weight_permille;
        let standing = health.standing(place("m@a"), now);
        prop_assert_eq!(standing.weight_permille, local.min(advised));
        prop_assert_eq!(standing.why.is_none(), standing.weight_permille == WHOLE_PERMILLE);
        prop_assert_eq!(matches!(standing.why, Some(Why::Ejected(_))), advised < local);
    }
}
