//! A small world in which all is right, and every way in which it may be wrong.

use std::time::Duration;

use super::*;
use crate::oracle::load::Seen;
use crate::oracle::provider::Usage;
use crate::oracle::shown::{Shown, Told};

const USAGE: Usage = Usage { prompt: 1200, completion: 30, cached: 0, reasoning: 0 };
const COST: i128 = 1200 * 150_000 + 30 * 600_000;
const BYTES: u64 = 1500;

/// Numbers of `kill/plain` (not streamed) and `kill/error` (not streamed).
const PLAIN: u64 = 1;
const ERROR: u64 = 23;

struct World {
    sent: Vec<Sent>,
    records: Vec<Record>,
    remains: Remains,
    ledger: Ledger,
    told: usize,
}

fn reservation() -> i128 {
    let call = Call::of(PLAIN);
    Endpoint::find("plain").unwrap().reservation(BYTES, call.answers(), call.max_output())
}

fn row(sequence: u64, number: u64, kind: Kind, endpoint: &str, amount: i128) -> Row {
    let call = Call::of(number);
    let reservation = Endpoint::find(endpoint).unwrap().reservation(BYTES, call.answers(), call.max_output());
    let (attempt, marker) = ([number as u8; 16], call::marker(1, number));
    Row {
        incarnation: 7,
        sequence,
        kind,
        attempt,
        generation: [9; 16],
        marker,
        endpoint: endpoint.to_owned(),
        amount,
        reservation,
        lines: amount,
        is_shed: false,
        is_overrun: false,
        revision: 1,
        decided: None,
        start_us: 0,
    }
}

fn record(number: u64, model: &str, status: u16, usage: Option<Usage>) -> Record {
    let (attempts, marker) = (vec![[number as u8; 16]], call::marker(1, number));
    Record { attempts, marker, model: model.to_owned(), status: Some(status), usage, usage_sent: usage, said_bytes: 0 }
}

fn sent(number: u64, seen: Seen) -> Sent {
    Sent {
        number,
        life: 0,
        place: 0,
        at: Duration::ZERO,
        took: Duration::ZERO,
        body_bytes: BYTES,
        generation: Some([9; 16]),
        seen,
        told: None,
    }
}

fn told(code: u16) -> Told {
    Told { code, kind: "server".to_owned(), reason: String::new(), message: "m".to_owned() }
}

/// One settled request that was seen, one cut and settled, one cut and orphaned, one that failed, one that never became an attempt.
fn world() -> World {
    let shown = Shown { usage: Some(USAGE), cost: Some(COST) };
    // Twelve models in turn, two numbers each: the same model comes again after 24.
    let (cut, orphan) = (PLAIN + 8, PLAIN + 24);
    let rows = vec![
        row(1, PLAIN, Kind::Settled, "plain", COST),
        row(2, cut, Kind::Settled, "plain", COST),
        row(3, ERROR, Kind::Failed, "error", 0),
        row(4, orphan, Kind::Orphaned, "plain", reservation()),
    ];
    let end = Row { sequence: 5, kind: Kind::Closed, marker: String::new(), endpoint: String::new(), ..rows[0].clone() };
    let suspended = reservation();
    let balances = [
        ("receivable/kill", 2 * COST),
        ("usage_revenue", -2 * COST),
        ("provider_cost/scripted", 2 * COST),
        ("provider_payable/scripted", -2 * COST),
        ("suspense/kill", suspended),
        ("provider_payable_unconfirmed/scripted", -suspended),
    ];
    let plain = "sandbox/usage-1200-30";
    World {
        sent: vec![
            sent(PLAIN, Seen::End(shown)),
            sent(3, Seen::Cut),
            sent(cut, Seen::Cut),
            Sent { told: Some(told(502)), ..sent(ERROR, Seen::Error(502)) },
            sent(orphan, Seen::Cut),
        ],
        records: vec![
            record(PLAIN, plain, 200, Some(USAGE)),
            record(cut, plain, 200, Some(USAGE)),
            record(ERROR, "sandbox/error-500", 500, None),
            record(orphan, plain, 200, Some(USAGE)),
        ],
        remains: Remains {
            attempts: HashMap::from([([cut as u8; 16], Left::Ended(Kind::Settled)), ([orphan as u8; 16], Left::Open)]),
            ..Remains::default()
        },
        ledger: Ledger {
            rows,
            closed: vec![end],
            balances: balances.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect(),
            faults: Vec::new(),
            differences: Vec::new(),
            repriced: 4,
        },
        told: 1,
    }
}

fn findings(world: &World) -> Vec<Promise> {
    let World { sent, records, remains, ledger, told } = world;
    let verdict = judge(&Evidence { seed: 1, sent, records, remains, ledger, told: Some(*told), is_over: true }, 2);
    verdict.findings.iter().map(|finding| finding.promise).collect()
}

#[test]
fn a_right_world_has_no_findings_and_is_counted() {
    let world = world();
    assert_eq!(findings(&world), []);
    let World { sent, records, remains, ledger, told } = &world;
    let verdict = judge(&Evidence { seed: 1, sent, records, remains, ledger, told: Some(*told), is_over: true }, 2);
    let tally =
        Tally { requests: 5, seen: 1, errors: 1, cut: 3, cut_and_settled: 1, without_attempt: 1, settled: 2, orphaned: 1, failed: 1 };
    assert_eq!(verdict.tallies, [tally, Tally::default()]);
}

/// The attempt was written down, its caller hung up, and the provider was never asked.
#[test]
fn a_caller_who_hangs_up_before_the_provider_is_asked_owes_nothing() {
    let mut world = world();
    world.records.remove(2);
    world.sent[3].seen = Seen::Cut;
    assert_eq!(findings(&world), []);
}

/// The first request as one whose stream the provider has broken off after 40 bytes of words, which are ten tokens.
fn broken_off(world: &mut World) {
    let number = (call::BROKEN..).find(|number| Call::of(*number).ending == Ending::Broken).unwrap();
    let delivered = 1200 * 150_000 + 10 * 600_000;
    let marker = call::marker(1, number);
    world.sent.remove(0);
    world.sent.push(Sent { told: Some(told(502)), ..sent(number, Seen::Cut) });
    world.records[0] = Record {
        attempts: vec![[1; 16]],
        marker: marker.clone(),
        usage_sent: None,
        said_bytes: 40,
        ..record(PLAIN, "sandbox/close-midway-3", 200, Some(USAGE))
    };
    let reservation = Endpoint::find("closed").unwrap().reservation(BYTES, 1, None);
    let event = &mut world.ledger.rows[0];
    *event = Row { kind: Kind::Partial, marker, endpoint: "closed".to_owned(), reservation, ..event.clone() };
    bill(world, delivered);
}

/// Another amount of the first event, its lines and the accounts.
fn bill(world: &mut World, amount: i128) {
    let more = amount - world.ledger.rows[0].amount;
    (world.ledger.rows[0].amount, world.ledger.rows[0].lines) = (amount, amount);
    for (account, sign) in [("receivable/kill", 1), ("usage_revenue", -1), ("provider_cost/scripted", 1), ("provider_payable/scripted", -1)]
    {
        *world.ledger.balances.get_mut(account).unwrap() += sign * more;
    }
}

#[test]
fn an_estimate_lies_between_what_was_delivered_and_what_was_reserved() {
    let mut world = world();
    broken_off(&mut world);
    assert_eq!(findings(&world), []);
    let (delivered, reservation) = (world.ledger.rows[0].amount, world.ledger.rows[0].reservation);
    for (amount, is_right) in [(delivered - 1, false), (delivered + 1, true), (reservation, true), (reservation + 1, false)] {
        bill(&mut world, amount);
        assert_eq!(findings(&world).is_empty(), is_right, "{amount}");
    }
    type Wrong = (fn(&mut World), Promise);
    let wrongs: [Wrong; 5] = [
        (|w| w.sent.last_mut().unwrap().told = None, Promise::Shown),
        (|w| w.sent.last_mut().unwrap().seen = Seen::End(Shown::default()), Promise::Shown),
        (|w| w.records[0].attempts = vec![[77; 16]], Promise::Kinds),
        (|w| w.ledger.rows[0].kind = Kind::Orphaned, Promise::Kinds),
        (|w| w.ledger.rows[0].is_overrun = true, Promise::Amounts),
    ];
    for (place, (wrong, promise)) in wrongs.into_iter().enumerate() {
        let mut world = self::world();
        broken_off(&mut world);
        wrong(&mut world);
        assert!(findings(&world).contains(&promise), "{place}: {:?}", findings(&world));
    }
}

#[test]
fn what_a_machine_has_forgotten_is_held_in_suspense() {
    let mut world = world();
    world.ledger.rows[0] = Row { kind: Kind::Orphaned, amount: reservation(), lines: reservation(), ..world.ledger.rows[0].clone() };
    for (account, more) in [
        ("receivable/kill", -COST),
        ("usage_revenue", COST),
        ("provider_cost/scripted", -COST),
        ("provider_payable/scripted", COST),
        ("suspense/kill", reservation()),
        ("provider_payable_unconfirmed/scripted", -reservation()),
    ] {
        *world.ledger.balances.get_mut(account).unwrap() += more;
    }
    assert_eq!(findings(&world), [Promise::NothingLost]);
    world.remains.torn.insert([1; 16]);
    world.remains.attempts.insert([1; 16], Left::Open);
    assert_eq!(findings(&world), []);
}

/// Near its bound the spool holds no titles.
#[test]
fn an_event_without_a_title_is_known_by_its_attempt_or_its_generation() {
    let mut world = world();
    for place in [0, 2] {
        let row = &mut world.ledger.rows[place];
        (row.is_shed, row.marker) = (true, String::new());
    }
    assert_eq!(findings(&world), []);
    world.ledger.rows[0].is_shed = false;
    assert!(findings(&world).contains(&Promise::NothingForeign));
}

type Wrong = (&'static str, fn(&mut World), &'static [Promise]);

const WRONGS: &[Wrong] = &[
    ("an event is lost", |w| _ = w.ledger.rows.remove(0), &[Promise::NothingLost]),
    ("an event is there twice", |w| w.ledger.rows.push(Row { sequence: 1, ..w.ledger.rows[0].clone() }), &[Promise::NothingTwice]),
    (
        "an orphan is also settled",
        |w| w.ledger.rows.push(Row { kind: Kind::Settled, ..w.ledger.rows[3].clone() }),
        &[Promise::NothingTwice],
    ),
    ("one pico-dollar too much", |w| w.ledger.rows[0].amount += 1, &[Promise::Amounts]),
    (
        "one pico-dollar too much, in its line too",
        |w| (w.ledger.rows[0].amount, w.ledger.rows[0].lines) = (COST + 1, COST + 1),
        &[Promise::Amounts],
    ),
    ("an orphan is less than its reservation", |w| (w.ledger.rows[3].amount, w.ledger.rows[3].lines) = (COST, COST), &[Promise::Amounts]),
    ("a reservation is another", |w| w.ledger.rows[0].reservation -= 1, &[Promise::Amounts]),
    ("what costs more than the reservation", |w| w.records[3].usage = Some(Usage { prompt: 1 << 20, ..USAGE }), &[Promise::Amounts]),
    ("a failed attempt costs something", |w| (w.ledger.rows[2].amount, w.ledger.rows[2].lines) = (1, 1), &[Promise::Amounts]),
    ("failed, though the provider answered", |w| w.records[2].status = Some(200), &[Promise::Kinds]),
    ("failed, though the provider was asked", |w| (w.records[2].status, w.sent[3].seen) = (None, Seen::Cut), &[Promise::Kinds]),
    ("failed, and nobody hung up or was asked", |w| _ = w.records.remove(2), &[Promise::Kinds]),
    (
        "seen, and orphaned",
        |w| (w.ledger.rows[0].kind, w.ledger.rows[0].amount, w.ledger.rows[0].lines) = (Kind::Orphaned, reservation(), reservation()),
        &[Promise::NothingLost],
    ),
    ("cut and settled, though no usage was sent", |w| w.records[1].usage_sent = None, &[Promise::Kinds]),
    ("settled, though its process died before", |w| _ = w.remains.attempts.insert([9; 16], Left::Open), &[Promise::Kinds]),
    ("orphaned, though an end was left", |w| _ = w.remains.attempts.insert([25; 16], Left::Ended(Kind::Settled)), &[Promise::Kinds]),
    ("an end that changed", |w| w.remains.changed.push([9; 16]), &[Promise::Kinds]),
    ("an estimate without a hang-up", |w| w.ledger.rows[1].kind = Kind::Partial, &[Promise::Kinds]),
    ("an intent without an event", |w| _ = w.remains.attempts.insert([77; 16], Left::Open), &[Promise::NothingLost]),
    ("the provider was asked without an event", |w| w.records[0].attempts = vec![[88; 16]], &[Promise::NothingLost]),
    ("the provider was asked twice", |w| w.records.push(w.records[0].clone()), &[Promise::NothingTwice]),
    ("the provider was asked without an attempt", |w| w.records[0].attempts.clear(), &[Promise::NothingForeign]),
    ("an event of nobody", |w| w.ledger.rows[0].marker = "kill-2-1".to_owned(), &[Promise::NothingForeign]),
    ("an event of another generation", |w| w.ledger.rows[0].generation = [8; 16], &[Promise::NothingForeign]),
    ("an event at another model's endpoint", |w| w.ledger.rows[0].endpoint = "burst".to_owned(), &[Promise::NothingForeign]),
    ("the provider was asked for another model", |w| w.records[0].model = "sandbox/chat".to_owned(), &[Promise::NothingForeign]),
    ("another cost was shown", |w| w.sent[0].seen = Seen::End(Shown { usage: Some(USAGE), cost: Some(COST - 1) }), &[Promise::Shown]),
    ("no cost was shown", |w| w.sent[0].seen = Seen::End(Shown { usage: Some(USAGE), cost: None }), &[Promise::Shown]),
    ("another usage was shown", |w| w.sent[0].seen = Seen::End(Shown { usage: None, cost: Some(COST) }), &[Promise::Shown]),
    ("a sequence number is missing", |w| w.ledger.rows[3].sequence = 6, &[Promise::NothingLost]),
    ("the first sequence number is not 1", |w| w.ledger.rows[0].sequence = 2, &[Promise::NothingTwice, Promise::NothingLost]),
    ("an incarnation has no end", |w| w.ledger.closed.clear(), &[Promise::NothingLost]),
    ("an account is wrong", |w| *w.ledger.balances.get_mut("suspense/kill").unwrap() += 1, &[Promise::Accounts]),
    ("the product finds a fault", |w| w.ledger.faults.push("f".to_owned()), &[Promise::Verified]),
    ("pricing again differs", |w| w.ledger.differences.push("d".to_owned()), &[Promise::Recomputed]),
    ("not all was priced again", |w| w.ledger.repriced = 3, &[Promise::Recomputed]),
    ("refused", |w| w.sent[1].seen = Seen::Error(503), &[Promise::Answered]),
    ("no answer", |w| w.sent[1].seen = Seen::Stuck, &[Promise::Answered]),
    ("an error that cost something", |w| w.sent[2].seen = Seen::Error(502), &[Promise::Kinds, Promise::Answered]),
    ("cut while it ended", |w| w.told = 0, &[Promise::Drained]),
];

#[test]
fn everything_that_may_be_wrong_is_found() {
    for (what, make_wrong, expected) in WRONGS {
        let mut world = world();
        make_wrong(&mut world);
        let found = findings(&world);
        for promise in *expected {
            assert!(found.contains(promise), "{what}: {promise:?} is not among {found:?}");
        }
    }
}
