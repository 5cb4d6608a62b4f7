//! What several Guardrails let through together, against an oracle that first makes one set of rules of them, by the sentence of the contract: allow
//! lists intersect, deny lists add, the lowest price counts, zero retention and no training are wanted if one wants them.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::{NOW, Row, endpoints, guardrail, snapshot, texts};
use waybill_guard::Guard;
use waybill_proto::model::v1::Guardrail;

const MODELS: [&str; 5] = ["lab/*", "own/*", "lab/a", "lab/b", "own/x"];
const PROVIDERS: [&str; 3] = ["p", "q", "q/eu"];

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![2 => Just(Vec::new()), 3 => prop::sample::subsequence(words.to_vec(), 1..=2).prop_map(|words| texts(&words))]
}

/// Where it holds: the key is `k` of `ann` in `w`.
fn scope() -> impl Strategy<Value = [bool; 4]> {
    prop::sample::select(vec![
        [true, false, false, false],
        [false, true, false, false],
        [false, false, true, false],
        [true, true, true, false],
        // Not for this key.
        [false, false, false, true],
    ])
}

fn rules() -> impl Strategy<Value = Guardrail> {
    let price = || prop::sample::select(vec!["", "", "1", "2", "3", "14"]);
    (some_of(&MODELS), some_of(&MODELS), some_of(&PROVIDERS), some_of(&PROVIDERS), price(), price(), any::<[bool; 4]>(), scope()).prop_map(
        |(
            allowed_models,
            ignored_models,
            allowed_providers,
            ignored_providers,
            prompt,
            completion,
            flags,
            [workspace, member, key, other],
        )| {
            let named = |named: bool, name: &str| if named { texts(&[name]) } else { Vec::new() };
            let mut workspaces = named(workspace, "w");
            workspaces.extend(named(other, "v"));
            Guardrail {
                workspaces,
                members: named(member, "ann"),
                api_keys: named(key, "k"),
                allowed_models,
                // One deny list in three, else little is left.
                ignored_models: if flags[0] { ignored_models } else { Vec::new() },
                allowed_providers,
                ignored_providers: if flags[1] { ignored_providers } else { Vec::new() },
                max_prompt_price: prompt.to_owned(),
                max_completion_price: completion.to_owned(),
                zero_data_retention: flags[2] && flags[3],
                no_training: flags[3],
                ..Guardrail::default()
            }
        },
    )
}

/// The rows that an entry of a list of models or of providers names.
fn named(entry: &str, rows: &[Row]) -> BTreeSet<usize> {
    let means = |row: &Row| match entry.strip_suffix('*') {
        Some(author) => row.model.starts_with(author),
        None => row.model == entry || row.provider == entry || row.provider.split('/').next() == Some(entry),
    };
    (0..rows.len()).filter(|place| means(&rows[*place])).collect()
}

fn union(entries: &[String], rows: &[Row]) -> BTreeSet<usize> {
    entries.iter().flat_map(|entry| named(entry, rows)).collect()
}

/// One set of rules of many, then what passes it.
fn oracle(guardrails: &[Guardrail]) -> BTreeSet<usize> {
    let rows = endpoints();
    let held: Vec<&Guardrail> = guardrails
        .iter()
        .filter(|one| one.workspaces.contains(&"w".to_owned()) || !one.members.is_empty() || !one.api_keys.is_empty())
        .collect();
    let mut allowed: BTreeSet<usize> = (0..rows.len()).collect();
    let mut ignored = BTreeSet::new();
    let lowest = |price: fn(&Guardrail) -> &str| held.iter().filter_map(|one| price(one).parse::<i64>().ok()).min();
    for one in &held {
        for list in [&one.allowed_models, &one.allowed_providers] {
            if !list.is_empty() {
                allowed = allowed.intersection(&union(list, &rows)).copied().collect();
            }
        }
        for list in [&one.ignored_models, &one.ignored_providers] {
            ignored.extend(union(list, &rows));
        }
    }
    let (prompt, completion) = (lowest(|one| &one.max_prompt_price), lowest(|one| &one.max_completion_price));
    let (zero, no_training) = (held.iter().any(|one| one.zero_data_retention), held.iter().any(|one| one.no_training));
    let passes = |row: &Row| {
        let cheap = match row.price {
            None => prompt.is_none() && completion.is_none(),
            Some((of_prompt, of_completion)) => {
                prompt.is_none_or(|most| of_prompt <= most) && completion.is_none_or(|most| of_completion <= most)
            }
        };
        cheap && (!zero || row.zero_data_retention) && !(no_training && row.trains_on_prompts)
    };
    allowed.difference(&ignored).copied().filter(|place| passes(&rows[*place])).collect()
}

/// What the guard lets through, and that each refusal has a Guardrail which refuses the endpoint also alone.
fn guarded(guardrails: &[Guardrail]) -> BTreeSet<usize> {
    let name = |place: usize| format!("g{place}");
    let resources: Vec<_> = guardrails.iter().enumerate().map(|(place, spec)| guardrail(&name(place), spec.clone())).collect();
    let (snapshot, bounds) = snapshot(&resources);
    let mut passed = BTreeSet::new();
    for (place, row) in endpoints().iter().enumerate() {
        let wanted = format!("{}@{}", row.model, row.provider);
        let endpoint = snapshot.endpoints().iter().find(|endpoint| *endpoint.name == *wanted).expect("an endpoint");
        match Guard::new(&bounds, 0).endpoint(endpoint, endpoint.tariff(NOW).map(AsRef::as_ref)) {
            Ok(()) => drop(passed.insert(place)),
            Err(breach) => {
                let by = &snapshot.guardrails()[breach.guardrail as usize].name;
                let alone = guardrails.iter().enumerate().find(|(place, _)| *name(*place) == **by).expect("a Guardrail of the key").1;
                assert!(!oracle(std::slice::from_ref(alone)).contains(&place), "{by} does not refuse {wanted}: {breach:?}");
            }
        }
    }
    passed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn many_guardrails_are_one_of_intersected_allows_and_added_denies(guardrails in prop::collection::vec(rules(), 0..4)) {
        prop_assert_eq!(guarded(&guardrails), oracle(&guardrails));
    }

    #[test]
    fn one_more_guardrail_never_lets_more_through(guardrails in prop::collection::vec(rules(), 0..3), more in rules(), at: prop::sample::Index) {
        let before = guarded(&guardrails);
        let mut after = guardrails.clone();
        after.insert(at.index(guardrails.len() + 1), more);
        prop_assert!(guarded(&after).is_subset(&before));
    }
}
