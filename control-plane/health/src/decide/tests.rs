use proptest::prelude::*;
use waybill_proto::sync::v1::{EndpointCounts, ProxyState};

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn places(endpoints: &[(&str, &str, &str)]) -> Places {
    let place = |model: &str, account: &str| Place { model: model.to_owned(), provider: "p".to_owned(), account: account.to_owned() };
    Places::new(1, endpoints.iter().map(|(name, model, account)| ((*name).to_owned(), place(model, account))))
}

/// Endpoint, class, and how many each of the proxies counted.
type Row<'a> = (&'a str, ErrorClass, &'a [u64]);

/// A fold of proxies that counted so much in the last second.
fn fold(rows: &[Row<'_>], places: &Places) -> Fold {
    let states = |scale: u64| -> Vec<ProxyState> {
        let proxies = rows.iter().map(|(.., counts)| counts.len()).max().unwrap_or(0);
        let of = |proxy: usize| {
            let mut counts: BTreeMap<&str, Vec<ClassCount>> = BTreeMap::new();
            for (endpoint, class, by_proxy) in rows {
                let count = by_proxy.get(proxy).copied().unwrap_or(0) * scale;
                counts.entry(*endpoint).or_default().push(ClassCount { class: (*class).into(), count });
            }
            let counts =
                counts.into_iter().map(|(endpoint, counts)| EndpointCounts { endpoint: endpoint.to_owned(), counts, open_breakers: 0 });
            ProxyState {
                proxy: format!("p{proxy}"),
                process: 1,
                connected: true,
                since_ms: 60_000,
                counts: counts.collect(),
                ..ProxyState::default()
            }
        };
        (0..proxies).map(of).collect()
    };
    let mut fold = Fold::new();
    fold.observe(&states(0), places, NOW - 1_000);
    fold.observe(&states(1), places, NOW);
    fold
}

fn record(endpoint: &str, weight_permille: u32, since_unix_ms: i64) -> (String, EndpointHealth) {
    let until_unix_ms = since_unix_ms + EJECTED_MS;
    (
        endpoint.to_owned(),
        EndpointHealth { endpoint: endpoint.to_owned(), weight_permille, since_unix_ms, until_unix_ms, ..EndpointHealth::default() },
    )
}

/// What is decided, as (endpoint, weight).
fn decided(rows: &[Row<'_>], records: &[(String, EndpointHealth)], places: &Places) -> Vec<(String, u32)> {
    let transitions = decide(&fold(rows, places), &records.iter().cloned().collect(), places, NOW);
    let weight = |record: Option<EndpointHealth>| record.map_or(WHOLE, |record| record.weight_permille);
    transitions.into_iter().map(|transition| (transition.endpoint, weight(transition.record))).collect()
}

#[test]
fn a_limit_and_a_fault_of_the_caller_eject_nobody_and_every_other_failure_does() {
    let places = places(&[("m@a", "lab/m", "a"), ("m@b", "lab/m", "b")]);
    let classes = (2..).map_while(|number| ErrorClass::try_from(number).ok());
    let mut seen = 0;
    for class in classes {
        let ejects = !matches!(class, ErrorClass::RateLimited | ErrorClass::Caller);
        let expected = if ejects { vec![("m@a".to_owned(), 0)] } else { Vec::new() };
        assert_eq!(decided(&[("m@a", class, &[30, 30, 30])], &[], &places), expected, "{class:?}");
        seen += 1;
    }
    assert_eq!(seen, 12);
}

#[test]
fn half_of_a_model_stays_and_the_worst_go_first() {
    let places = places(&[
        ("m@a", "lab/m", "a"),
        ("m@b", "lab/m", "b"),
        ("m@c", "lab/m", "c"),
        ("m@d", "lab/m", "d"),
        ("m@e", "lab/m", "e"),
        ("n@a", "lab/n", "n"),
    ]);
    let good = ErrorClass::None;
    let bad = ErrorClass::Server;
    let rows: Vec<Row<'_>> = vec![
        ("m@a", bad, &[50, 50]),
        ("m@a", good, &[50, 50]),
        ("m@b", bad, &[80, 80]),
        ("m@b", good, &[20, 20]),
        ("m@c", bad, &[70, 70]),
        ("m@c", good, &[30, 30]),
        ("m@d", bad, &[60, 60]),
        ("m@d", good, &[40, 40]),
        // The only one of its model.
        ("n@a", bad, &[100, 100]),
    ];
    assert_eq!(decided(&rows, &[], &places), [("m@b".to_owned(), 0), ("m@c".to_owned(), 0)]);
    let ejected = [record("m@e", 0, NOW)];
    assert_eq!(decided(&rows, &ejected, &places), [("m@b".to_owned(), 0)]);
}

#[test]
fn a_refused_credential_ejects_the_accounts_endpoints_also_those_that_hardly_saw_it() {
    let places = places(&[("m@a", "lab/m", "acme"), ("m@b", "lab/m", "b"), ("n@a", "lab/n", "acme"), ("n@b", "lab/n", "b")]);
    let rows: [Row<'_>; 2] = [("m@a", ErrorClass::Credential, &[30, 30]), ("n@a", ErrorClass::Credential, &[1, 0])];
    assert_eq!(decided(&rows, &[], &places), [("m@a".to_owned(), 0), ("n@a".to_owned(), 0)]);
    // A model that is denied to the account, which is good for another.
    let rows: [Row<'_>; 2] = [("m@a", ErrorClass::Credential, &[30, 30]), ("n@a", ErrorClass::None, &[300, 300])];
    assert_eq!(decided(&rows, &[], &places), [("m@a".to_owned(), 0)]);
}

#[test]
fn the_course_of_an_ejection() {
    let places = places(&[("m@a", "lab/m", "a"), ("m@b", "lab/m", "b")]);
    let (good, bad) = (ErrorClass::None, ErrorClass::Cut);
    let rows: [(u32, i64, &[Row<'_>], Option<u32>); 9] = [
        (0, TRIAL_AFTER_MS - 1, &[], None),
        (0, TRIAL_AFTER_MS, &[], Some(TRIAL_PERMILLE)),
        (0, EJECTED_MS, &[], Some(WHOLE)),
        (0, 5_000, &[("m@a", good, &[2, 1])], Some(WHOLE)),
        (TRIAL_PERMILLE, 5_000, &[("m@a", good, &[1, 1])], None),
        (TRIAL_PERMILLE, 5_000, &[("m@a", good, &[2, 1])], Some(WHOLE)),
        (TRIAL_PERMILLE, 5_000, &[("m@a", bad, &[2, 1])], Some(0)),
        // One proxy alone neither ends a trial nor keeps the others from its end.
        (TRIAL_PERMILLE, 5_000, &[("m@a", bad, &[900, 0])], None),
        (TRIAL_PERMILLE, 5_000, &[("m@a", bad, &[900, 0]), ("m@a", good, &[0, 3])], Some(WHOLE)),
    ];
    for (weight, age_ms, counted, expected) in rows {
        let expected: Vec<(String, u32)> = expected.map(|weight| ("m@a".to_owned(), weight)).into_iter().collect();
        assert_eq!(decided(counted, &[record("m@a", weight, NOW - age_ms)], &places), expected, "{weight} {age_ms} {counted:?}");
    }
}

#[test]
fn what_the_configuration_took_away_is_given_back() {
    // Two of four are ejected, and then the operator takes one of the others out of service.
    let left = places(&[("m@a", "lab/m", "a"), ("m@b", "lab/m", "b"), ("m@c", "lab/m", "c")]);
    let records = [record("m@a", 0, NOW - 2_000), record("m@b", 0, NOW - 1_000), record("m@gone", 0, NOW)];
    assert_eq!(decided(&[], &records, &left), [("m@gone".to_owned(), WHOLE), ("m@a".to_owned(), WHOLE)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever was recorded and counted: no more than ten transitions, and no model left with less than half that had it.
    #[test]
    fn capacity_stays(
        weights in prop::collection::vec(prop::option::of(prop::sample::select(vec![0, TRIAL_PERMILLE])), 40),
        bad in prop::collection::vec(0_u64..60, 40),
        of in prop::collection::vec(0_usize..9, 40),
    ) {
        let names: Vec<String> = (0..40).map(|number| format!("e{number:02}")).collect();
        let models: Vec<String> = of.iter().map(|model| format!("lab/m{model}")).collect();
        let rows: Vec<(&str, &str, &str)> = names.iter().zip(&models).map(|(name, model)| (name.as_str(), model.as_str(), name.as_str())).collect();
        let places = places(&rows);
        let counts: Vec<[u64; 3]> = bad.iter().map(|bad| [*bad; 3]).collect();
        let counted: Vec<Row<'_>> = names.iter().zip(&counts).map(|(name, counts)| (name.as_str(), ErrorClass::Connect, &counts[..])).collect();
        let mut records: BTreeMap<String, EndpointHealth> = names.iter().zip(&weights)
            .filter_map(|(name, weight)| Some(record(name, (*weight)?, NOW - 1_000))).collect();
        let fold = fold(&counted, &places);
        for turn in 0..8 {
            let transitions = decide(&fold, &records, &places, NOW);
            prop_assert!(transitions.len() <= MOST_TRANSITIONS);
            for transition in transitions {
                match transition.record {
                    Some(record) => drop(records.insert(transition.endpoint, record)),
                    None => drop(records.remove(&transition.endpoint)),
                }
            }
            // What there was too much of takes a few turns at ten a time.
            if turn == 7 {
                for model in &models {
                    let of_model: Vec<u32> = places.iter().filter(|(_, place)| place.model == *model)
                        .map(|(name, _)| records.get(name).map_or(WHOLE, |record| record.weight_permille)).collect();
                    prop_assert!(2 * of_model.iter().sum::<u32>() as usize >= of_model.len() * WHOLE as usize, "{}: {:?}", model, of_model);
                }
            }
        }
    }
}
