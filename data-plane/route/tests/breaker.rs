//! The breaker as a table of steps.

mod support;

use proptest::prelude::*;
use support::NOW;
use waybill_route::{
    Breaker, Class, FAILURES_TO_OPEN, LONGEST_COOL_DOWN_MS, LONGEST_OPEN_MS, OPEN_STEP_MS, Outcome, PROBE_LAPSE_MS,
    RATE_LIMIT_COOL_DOWN_MS, SLOW_START_MS, SLOW_START_PERMILLE, State, WHOLE_PERMILLE,
};

const FAILED: Outcome = Outcome::Failure(Class::Server);
const LIMITED: Outcome = Outcome::Failure(Class::RateLimited { retry_after_ms: Some(7_000) });
const ALL: [Class; 12] = [
    Class::Connect,
    Class::FirstToken,
    Class::Stall,
    Class::Server,
    Class::Overloaded,
    Class::RateLimited { retry_after_ms: None },
    Class::Credential,
    Class::NotServed,
    Class::Malformed,
    Class::Cut,
    Class::Empty,
    Class::Caller,
];

/// Fails as often as it takes.
fn opened() -> Breaker {
    (0..FAILURES_TO_OPEN).fold(Breaker::default(), |breaker, _| breaker.ended(FAILED, NOW, 1))
}

fn until(breaker: &Breaker) -> i64 {
    let State::Open { until_unix_ms } = breaker.state() else { panic!("{breaker:?} is not open") };
    until_unix_ms
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let four = (1..FAILURES_TO_OPEN).fold(Breaker::default(), |breaker, _| breaker.ended(FAILED, NOW, 1));
    assert!(four.admits(NOW));
    assert!(!four.ended(FAILED, NOW, 1).admits(NOW));
    assert!(four.ended(Outcome::Success, NOW, 1).ended(FAILED, NOW, 1).admits(NOW));
    for class in ALL {
        let fifth = four.ended(Outcome::Failure(class), NOW, 1);
        let counts = !matches!(class, Class::Caller | Class::RateLimited { .. });
        assert_eq!(matches!(fifth.state(), State::Open { .. }), counts, "{class:?}");
    }
}

#[test]
fn an_open_one_lets_one_request_through_and_its_end_decides() {
    let open = opened();
    let half = until(&open);
    assert!((NOW + OPEN_STEP_MS * 4 / 5..=NOW + OPEN_STEP_MS).contains(&half));
    assert!(!open.admits(half - 1) && open.admits(half));
    let probing = open.started(half);
    assert!(!probing.admits(half));
    let rows = [
        (Outcome::Success, true, State::Closed { failures: 0 }),
        (Outcome::Unknown, true, State::Open { until_unix_ms: half + 5 }),
        (Outcome::Failure(Class::Caller), true, State::Open { until_unix_ms: half + 5 }),
        (LIMITED, false, State::Open { until_unix_ms: half + 5 }),
    ];
    for (outcome, admits, state) in rows {
        let ended = probing.ended(outcome, half + 5, 1);
        assert_eq!((ended.admits(half + 5), ended.state()), (admits, state), "{outcome:?}");
    }
    let again = probing.ended(FAILED, half + 5, 1);
    assert!(until(&again) - half - 5 > OPEN_STEP_MS, "the second time is longer: {again:?}");
    for older in [FAILED, Outcome::Success] {
        assert_eq!(open.ended(older, NOW + 1, 1), open, "the end of an older request neither prolongs it nor ends it");
    }
}

#[test]
fn a_request_that_never_ends_does_not_bar_the_endpoint_for_ever() {
    let open = opened();
    let half = until(&open);
    let probing = open.started(half);
    assert!(!probing.admits(half + PROBE_LAPSE_MS - 1) && probing.admits(half + PROBE_LAPSE_MS));
    assert!(!probing.started(half + PROBE_LAPSE_MS).admits(half + PROBE_LAPSE_MS));
}

#[test]
fn the_open_time_grows_to_its_longest_and_is_short_again_once_the_endpoint_has_stayed() {
    let mut breaker = opened();
    let mut now = NOW;
    for times in 2..80 {
        now = until(&breaker);
        breaker = breaker.started(now).ended(FAILED, now, times);
        let longest = (OPEN_STEP_MS * i64::try_from(times).expect("small")).min(LONGEST_OPEN_MS);
        let open = until(&breaker) - now;
        assert!(open <= longest && open >= longest * 4 / 5, "{times}: {open}");
    }
    let closed = breaker.started(now).ended(Outcome::Success, now, 1);
    let failing = |breaker: Breaker, now| (0..FAILURES_TO_OPEN).fold(breaker, |breaker, _| breaker.ended(FAILED, now, 1));
    assert!(until(&failing(closed, now)) > now + OPEN_STEP_MS, "one success is not much");
    let stayed = closed.ended(Outcome::Success, now + SLOW_START_MS, 1);
    assert!(until(&failing(stayed, now)) <= now + OPEN_STEP_MS);
}

#[test]
fn what_has_just_come_back_gets_its_share_little_by_little() {
    let half = until(&opened());
    let closed = opened().started(half).ended(Outcome::Success, half, 1);
    let rows = [(0, SLOW_START_PERMILLE), (SLOW_START_MS / 2, 550), (SLOW_START_MS - 1, 1000), (SLOW_START_MS, WHOLE_PERMILLE), (-1, 1000)];
    for (passed, expected) in rows {
        assert_eq!(closed.weight_permille(half + passed), expected, "{passed} ms");
        assert_eq!(
            closed.ended(Outcome::Success, half + passed, 1).weight_permille(half + passed),
            expected,
            "a success does not hasten it"
        );
    }
    assert!(!closed.is_clean(half + SLOW_START_MS - 1) && closed.is_clean(half + SLOW_START_MS));
    assert_eq!((opened().weight_permille(NOW), Breaker::default().weight_permille(NOW)), (0, WHOLE_PERMILLE));
}

#[test]
fn a_closed_one_can_be_tripped_and_no_other() {
    let tripped = Breaker::default().tripped(NOW, 1);
    assert!(!tripped.admits(NOW) && tripped.admits(NOW + OPEN_STEP_MS));
    let probing = opened().started(NOW);
    for breaker in [opened(), probing] {
        assert_eq!(breaker.tripped(NOW, 1), breaker);
    }
}

#[test]
fn a_rate_limit_cools_down_for_as_long_as_the_provider_says_and_is_no_failure() {
    let rows = [(Some(7_000), 7_000), (None, RATE_LIMIT_COOL_DOWN_MS), (Some(i64::MAX), LONGEST_COOL_DOWN_MS), (Some(-5), 0)];
    for (retry_after_ms, wait) in rows {
        let mut breaker = Breaker::default();
        for _ in 0..2 * FAILURES_TO_OPEN {
            breaker = breaker.ended(Outcome::Failure(Class::RateLimited { retry_after_ms }), NOW, 1);
        }
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
        assert!(breaker.admits(NOW + wait), "{retry_after_ms:?}");
        assert!(wait == 0 || !breaker.admits(NOW + wait - 1), "{retry_after_ms:?}");
    }
    let cooling = Breaker::default().ended(LIMITED, NOW, 1);
    assert!(!cooling.ended(Outcome::Success, NOW + 1, 1).admits(NOW + 1), "the provider's word outlives the success of another request");
}

#[test]
fn statuses_fall_into_their_classes() {
    let limited = Class::RateLimited { retry_after_ms: Some(3) };
    let rows: [(u16, Option<Class>); 15] = [
        (200, None),
        (302, None),
        (400, Some(Class::Caller)),
        (401, Some(Class::Credential)),
        (402, Some(Class::Credential)),
        (403, Some(Class::Credential)),
        (404, Some(Class::NotServed)),
        (408, Some(Class::FirstToken)),
        (413, Some(Class::Caller)),
        (422, Some(Class::Caller)),
        (429, Some(limited)),
        (500, Some(Class::Server)),
        (503, Some(Class::Overloaded)),
        (524, Some(Class::Server)),
        (529, Some(Class::Overloaded)),
    ];
    for (status, class) in rows {
        assert_eq!(Class::of_status(status, Some(3)), class, "{status}");
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let class = prop::sample::select(ALL.to_vec()).prop_map(Outcome::Failure);
    prop_oneof![3 => class, 1 => Just(Outcome::Success), 1 => Just(Outcome::Unknown)]
}

fn history(passed: std::ops::Range<i64>) -> impl Strategy<Value = (Breaker, i64)> {
    prop::collection::vec((outcome(), any::<bool>(), passed, any::<u64>()), 0..60).prop_map(|steps| {
        steps.into_iter().fold((Breaker::default(), NOW), |(breaker, before), (outcome, start, passed, seed)| {
            let now = before + passed;
            let left = if start { breaker.started(now) } else { breaker };
            (left.ended(outcome, now, seed), now)
        })
    })
}

proptest! {
    /// Whatever happened, an endpoint is let through again after the longest wait without news.
    #[test]
    fn no_history_bars_an_endpoint_for_ever((breaker, now) in history(0..400_000)) {
        prop_assert!(breaker.admits(now + LONGEST_OPEN_MS.max(LONGEST_COOL_DOWN_MS).max(PROBE_LAPSE_MS)));
    }

    /// Nor does a clock that was set back, by however much: breaker and cool-down each bar for their longest time at most.
    #[test]
    fn no_clock_bars_an_endpoint_for_ever((breaker, now) in history(-400_000..400_000), back in 0_i64..4_000_000_000) {
        let mut instants = (now - back..).step_by(1000).take(usize::try_from((LONGEST_OPEN_MS + LONGEST_COOL_DOWN_MS) / 1000 + 1).expect("small"));
        prop_assert!(instants.any(|instant| breaker.admits(instant)));
    }

    #[test]
    fn the_success_of_a_request_that_was_let_through_closes_whatever_was((breaker, now) in history(-400_000..400_000), seed: u64) {
        let closed = breaker.started(now).ended(Outcome::Success, now, seed).state();
        prop_assert_eq!(closed, State::Closed { failures: 0 });
    }

    #[test]
    fn it_has_a_share_when_it_admits_and_the_whole_when_nothing_is_remembered((breaker, now) in history(-400_000..400_000)) {
        let weight = breaker.weight_permille(now);
        prop_assert_eq!(weight > 0, breaker.admits(now));
        prop_assert!(weight == 0 || (SLOW_START_PERMILLE..=WHOLE_PERMILLE).contains(&weight));
        prop_assert!(!breaker.is_clean(now) || weight == WHOLE_PERMILLE);
    }
}
