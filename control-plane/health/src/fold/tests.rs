use super::*;

const NOW: i64 = 1_800_000_000_000;

fn state(process: u64, connected: bool, since_ms: u64, total: u64) -> ProxyState {
    let counts = vec![ClassCount { class: ErrorClass::Cut.into(), count: total }];
    let counts = vec![EndpointCounts { endpoint: "m@a".to_owned(), counts, open_breakers: 1 }];
    ProxyState { proxy: "p".to_owned(), process, connected, since_ms, counts, ..ProxyState::default() }
}

#[test]
fn a_total_counts_by_what_it_grew_within_one_stream_of_one_process() {
    // Seconds from the last look, the state then, and what it adds.
    let rows = [
        ("the first look at a stream that is there", 0, state(1, true, 60_000, 500), 0),
        ("it grows", 1, state(1, true, 61_000, 507), 7),
        ("it stands", 1, state(1, true, 62_000, 507), 0),
        ("another replica has its stream, and has seen less of it", 1, state(1, true, 500, 30), 0),
        ("and goes on from there", 1, state(1, true, 1_500, 33), 3),
        ("back at the first replica, which has seen more", 1, state(1, true, 400, 520), 0),
        ("a total that shrank within a stream", 1, state(1, true, 1_400, 9), 0),
        ("a new process, just begun", 1, state(2, true, 900, 4), 4),
        ("it is away", 1, state(2, false, 100, 10), 0),
        ("it is back", 1, state(2, true, 100, 12), 0),
    ];
    let (mut fold, places) = (Fold::new(), Places::default());
    let mut now = NOW;
    for (name, seconds, state, added) in rows {
        now += seconds * 1_000;
        let before = fold.verdict("m@a", now).sum.bad;
        fold.observe(&[state], &places, now);
        assert_eq!(fold.verdict("m@a", now).sum.bad - before, added, "{name}");
    }
    assert_eq!(fold.verdict("m@a", now + 60_000), Verdict::default(), "a minute later nothing of it counts");
}

#[test]
fn what_was_before_a_transition_decides_nothing_and_is_still_shown() {
    let (mut fold, places) = (Fold::new(), Places::default());
    fold.observe(&[state(1, true, 60_000, 0)], &places, NOW);
    fold.observe(&[state(1, true, 61_000, 40)], &places, NOW + 1_000);
    fold.forget("m@a", &places);
    assert_eq!(fold.verdict("m@a", NOW + 1_000), Verdict::default());
    let row = fold.row("m@a", &places, NOW + 1_000);
    assert_eq!((row.last_minute[0].count, row.reporters, row.open_breakers), (40, 1, 1));
    assert_eq!(fold.known().collect::<Vec<_>>(), ["m@a", "m@a"]);
}
