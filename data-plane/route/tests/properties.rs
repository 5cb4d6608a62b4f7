//! What holds for every world and every wish. The oracle is written from the documents' fields, not from the code under test.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::{NOW, Row, names, place, row, snapshot};
use waybill_model::{
    guardrail::unbounded,
    snapshot::{RoutePolicy, Snapshot},
};
use waybill_proto::sync::v1::EndpointHealth;
use waybill_route::{Advice, Class, Health, Loss, MaxPrice, Outcome, Plan, Record, Refusal, Verdict, Wishes, plan};

const MODELS: [&str; 2] = ["lab/m", "lab/n"];
const PROVIDERS: [&str; 5] = ["a", "b", "c", "d/eu", "e"];
const PRICES: [&str; 4] = ["0", "0.5", "1", "30"];
const PARAMETERS: [&str; 4] = ["seed", "stop", "tools", "top_k"];
const PATTERNS: [&str; 6] = ["a", "B", "c", "d", "d/eu", "e/fp8"];

/// A wish that owns what it borrows.
#[derive(Clone, Debug)]
struct Request {
    models: Vec<Box<str>>,
    order: Vec<Box<str>>,
    only: Vec<Box<str>>,
    ignore: Vec<Box<str>>,
    quantizations: Vec<Box<str>>,
    parameters: Vec<&'static str>,
    flags: [bool; 5],
    most: [Option<i64>; 2],
    max_output: Option<u64>,
    least_input_tokens: u64,
}

impl Request {
    fn wishes(&self) -> Wishes<'_> {
        let [allow_fallbacks, require_parameters, sort_by_price, deny_data_collection, zero_data_retention] = self.flags;
        Wishes {
            models: &self.models,
            order: &self.order,
            only: &self.only,
            ignore: &self.ignore,
            quantizations: &self.quantizations,
            parameters: &self.parameters,
            allow_fallbacks,
            require_parameters,
            sort_by_price,
            deny_data_collection,
            zero_data_retention,
            max_price: MaxPrice { prompt: self.most[0], completion: self.most[1], request: None },
            max_output: self.max_output,
            least_input_tokens: self.least_input_tokens,
            ..Wishes::of_model("m")
        }
    }
}

fn some_of(words: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(words.to_vec(), 0..=most.min(words.len())).prop_shuffle()
}

fn rarely_some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![2 => Just(Vec::new()), 1 => some_of(words, 3)]
}

fn endpoint(model: &'static str, provider: &'static str) -> impl Strategy<Value = Row> {
    let price = prop::option::weighted(0.9, (prop::sample::select(&PRICES[..]), prop::sample::select(&PRICES[..])));
    let flags = any::<[bool; 6]>();
    let limits = (prop::sample::select(vec![0_u64, 100, 1_000]), prop::sample::select(vec![0_u64, 50, 500]));
    let quantization = prop::sample::select(vec!["", "fp8", "int4"]);
    (price, flags, limits, quantization, some_of(&PARAMETERS, 4)).prop_map(
        move |(price, flags, (window, output), quantization, parameters)| {
            let mut built = row(model, provider, "0", "0").with(|spec| {
                spec.allow_unpriced = flags[0];
                spec.disabled = flags[1] && flags[2];
                spec.trains_on_prompts = flags[3];
                spec.zero_data_retention = flags[4];
                spec.context_window = window;
                spec.max_output = output;
                spec.quantization = quantization.into();
                spec.supported_parameters = parameters.iter().map(|name| (*name).into()).collect();
            });
            built.price = price.map(|(prompt, completion)| (prompt, completion, "0"));
            built.secret = Some(if flags[5] && flags[2] { "ABSENT" } else { "SET" });
            built
        },
    )
}

fn world() -> impl Strategy<Value = Vec<Row>> {
    let of = |model: usize, provider: usize| endpoint(MODELS[model], PROVIDERS[provider]);
    let all = (of(0, 0), of(0, 1), of(0, 2), of(0, 3), of(0, 4), of(1, 0), of(1, 1), of(1, 4));
    (all, any::<[bool; 6]>()).prop_map(|((a, b, c, d, e, f, g, h), present)| {
        let optional = [b, c, d, e, g, h].into_iter().zip(present).filter(|(_, present)| *present).map(|(row, _)| row);
        // One endpoint of each model is always there, so that the models are.
        [a, f].into_iter().chain(optional).collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let price = || prop::option::weighted(0.2, prop::sample::select(vec![0, 500_000_000_000, 1_000_000_000_000_i64]));
    let providers = (rarely_some_of(&PATTERNS), rarely_some_of(&PATTERNS), rarely_some_of(&PATTERNS));
    let models = prop::sample::select(vec![&[][..], &["lab/n"], &["n", "m", "n"]]);
    let rest = (
        price(),
        price(),
        prop::option::of(prop::sample::select(vec![1_u64, 50, 51, 501])),
        prop::sample::select(vec![0_u64, 100, 101, 1_001]),
    );
    (models, providers, rarely_some_of(&["fp8", "int4"]), some_of(&PARAMETERS, 4), any::<[bool; 10]>(), rest).prop_map(
        |(models, (order, only, ignore), quantizations, parameters, flags, (prompt, completion, max_output, least_input_tokens))| Request {
            models: names(models),
            order: names(&order),
            only: names(&only),
            ignore: names(&ignore),
            quantizations: names(&quantizations),
            parameters,
            // Each restriction is rare, so that most requests keep some endpoint.
            flags: [flags[0], flags[1] && flags[2], flags[3], flags[4] && flags[5], flags[6] && flags[7]],
            most: [prompt, completion],
            max_output,
            least_input_tokens: if flags[8] && flags[9] { least_input_tokens } else { 0 },
        },
    )
}

fn policy() -> impl Strategy<Value = RoutePolicy> {
    (rarely_some_of(&PATTERNS), some_of(&PATTERNS, 1), any::<[bool; 5]>(), 1_u32..6).prop_map(|(order, ignore, flags, max_attempts)| {
        RoutePolicy {
            order: names(&order).into(),
            ignore: if flags[0] { names(&ignore).into() } else { Box::default() },
            sort_by_price: flags[1] && flags[2],
            no_fallbacks: flags[2] && flags[3],
            allow_unpriced: flags[4],
            max_prompt_price: (flags[0] && flags[3]).then_some(1_000_000_000_000),
            max_attempts,
            ..RoutePolicy::default()
        }
    })
}

fn health(rows: &[Row], broken: u8) -> Health {
    let mut health = Health::new();
    for (number, row) in rows.iter().enumerate().filter(|(number, _)| broken >> number & 1 == 1) {
        for _ in 0..waybill_route::FAILURES_TO_OPEN {
            health.ended(place(&row.name()), Outcome::Failure(Class::Cut), NOW, number as u64);
        }
    }
    health
}

fn advice(rows: &[Row], ejected: u8, until_unix_ms: i64) -> Arc<Advice> {
    let chosen = rows.iter().enumerate().filter(|(place, _)| ejected >> place & 1 == 1);
    let said: Vec<EndpointHealth> = chosen.map(|(_, row)| EndpointHealth { endpoint: row.name(), ..EndpointHealth::default() }).collect();
    Arc::new(Advice::new(&said, until_unix_ms))
}

/// Whether a pattern means a row, from the names alone.
fn means(pattern: &str, row: &Row) -> bool {
    let pattern = pattern.to_lowercase();
    let quantized = format!("{}/{}", row.provider, row.spec.quantization);
    row.provider == pattern || row.provider.split('/').next() == Some(&pattern) || quantized == pattern
}

/// Whether a row passes every hard filter.
fn passes(row: &Row, request: &Request, policy: &RoutePolicy) -> bool {
    let any = |patterns: &[Box<str>]| patterns.iter().any(|pattern| means(pattern, row));
    let [allow_fallbacks, require_parameters, _, deny, zdr] = request.flags;
    let usd = |text: &str| (text.parse::<f64>().expect("a number") * 1e12) as i64;
    let limits = [(0, request.most[0]), (1, request.most[1]), (0, policy.max_prompt_price)];
    let price_ok = match row.price {
        None => (row.spec.allow_unpriced || policy.allow_unpriced) && limits.iter().all(|(_, limit)| limit.is_none()),
        Some((prompt, completion, _)) => {
            let prices = [usd(prompt), usd(completion)];
            limits.iter().all(|(of, limit)| limit.is_none_or(|limit| prices[*of] <= limit))
        }
    };
    let supported = &row.spec.supported_parameters;
    let longest = if row.spec.max_output == 0 { row.spec.context_window } else { row.spec.max_output };
    let quantization = if row.spec.quantization.is_empty() { "unknown" } else { &row.spec.quantization };
    !row.spec.disabled
        && row.secret == Some("SET")
        && !any(&policy.ignore)
        && (request.only.is_empty() || any(&request.only))
        && !any(&request.ignore)
        && (allow_fallbacks || request.order.is_empty() || any(&request.order))
        && !(deny && row.spec.trains_on_prompts)
        && (!zdr || row.spec.zero_data_retention)
        && (request.quantizations.is_empty() || request.quantizations.iter().any(|wanted| **wanted == *quantization))
        && !(require_parameters && !supported.is_empty() && request.parameters.iter().any(|name| !supported.iter().any(|had| had == name)))
        && (row.spec.context_window == 0 || request.least_input_tokens <= row.spec.context_window)
        && (longest == 0 || request.max_output.is_none_or(|asked| asked <= longest))
        && price_ok
}

fn record(outcome: &Result<Plan, Refusal>) -> &Record {
    match outcome {
        Ok(plan) => &plan.record,
        Err(Refusal::NoEndpoints(none)) => &none.record,
        Err(refusal) => panic!("{refusal}"),
    }
}

fn tried(plan: &Plan) -> Vec<String> {
    plan.attempts.iter().map(|attempt| attempt.endpoint.name.to_string()).collect()
}

fn asked(rows: &[Row], request: &Request) -> Vec<Row> {
    rows.iter().filter(|row| row.model == "lab/m" || !request.models.is_empty()).cloned().collect()
}

fn name_of(snapshot: &Snapshot, index: u32) -> String {
    snapshot.endpoints()[index as usize].name.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_plan_is_a_function_and_keeps_every_hard_filter(rows in world(), request in request(), policy in policy(), broken: u8, seed: u64) {
        let (snapshot, health) = (snapshot(&rows), health(&rows, broken));
        let outcome = plan(&request.wishes(), &snapshot, &policy, &unbounded, &health, NOW, seed);
        let again = plan(&request.wishes(), &support::snapshot(&rows), &policy, &unbounded, &health.clone(), NOW, seed);
        prop_assert_eq!(record(&outcome), record(&again));
        prop_assert_eq!(outcome.as_ref().ok().map(tried), again.as_ref().ok().map(tried));

        let asked = asked(&rows, &request);
        let passing: Vec<String> = asked.iter().filter(|row| passes(row, &request, &policy)).map(Row::name).collect();
        let Ok(plan) = &outcome else {
            prop_assert!(passing.is_empty(), "{:?} pass, and yet {:?}", passing, outcome);
            return Ok(());
        };
        let tried = tried(plan);
        prop_assert!(tried.iter().all(|name| passing.contains(name)), "{:?} of {:?}", tried, passing);
        let most = if policy.no_fallbacks || (!request.flags[0] && request.order.is_empty()) { 1 } else { policy.max_attempts as usize };
        prop_assert!(!tried.is_empty() && tried.len() <= most);
        let admitted: Vec<bool> = tried.iter().map(|name| health.admits(place(name), NOW)).collect();
        prop_assert!(admitted.is_sorted_by_key(|admitted| !admitted), "open ones come last");
        for attempt in &plan.attempts {
            prop_assert_eq!(attempt.tariff.is_some(), !attempt.endpoint.tariffs.is_empty());
        }
    }

    #[test]
    fn every_endpoint_of_the_models_has_one_verdict_and_ranks_are_the_attempts(rows in world(), request in request(), policy in policy(), broken: u8, seed: u64) {
        let snapshot = snapshot(&rows);
        let outcome = plan(&request.wishes(), &snapshot, &policy, &unbounded, &health(&rows, broken), NOW, seed);
        let record = record(&outcome);
        let mut looked_at: Vec<String> = record.candidates.iter().map(|candidate| name_of(&snapshot, candidate.endpoint)).collect();
        let mut expected: Vec<String> = asked(&rows, &request).iter().map(Row::name).collect();
        looked_at.sort();
        expected.sort();
        prop_assert_eq!(looked_at, expected);
        let mut planned: Vec<(u32, String)> = Vec::new();
        for candidate in &record.candidates {
            if let Verdict::Planned { rank, .. } = candidate.verdict {
                planned.push((rank, name_of(&snapshot, candidate.endpoint)));
            }
        }
        planned.sort();
        let attempts = outcome.as_ref().map(tried).unwrap_or_default();
        let ranked: Vec<(u32, String)> = (1..).zip(attempts).collect();
        prop_assert_eq!(planned, ranked);
        for shown in record.decision(&snapshot, &request.wishes(), 0).candidates {
            prop_assert!(!shown.detail.is_empty() || shown.rank > 0, "{:?}", shown);
            prop_assert!(shown.reason > 0);
        }
    }

    #[test]
    fn taking_an_endpoint_away_leaves_no_trace_of_it_and_every_other_with_a_reason(rows in world(), gone: prop::sample::Index, request in request(), policy in policy(), seed: u64) {
        // The first two are there so that both models are.
        prop_assume!(rows.len() > 2);
        let mut fewer = rows.clone();
        let gone = fewer.remove(2 + gone.index(rows.len() - 2));
        let snapshot = snapshot(&fewer);
        let outcome = plan(&request.wishes(), &snapshot, &policy, &unbounded, &Health::new(), NOW, seed);
        let decision = record(&outcome).decision(&snapshot, &request.wishes(), 0);
        prop_assert!(decision.candidates.iter().all(|candidate| candidate.endpoint != gone.name() && candidate.reason > 0));
        prop_assert_eq!(decision.candidates.len(), asked(&fewer, &request).len());
        prop_assert!(outcome.map_or(true, |plan| !plan.attempts.is_empty()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn advice_moves_endpoints_behind_and_takes_none_away(rows in world(), request in request(), policy in policy(), broken: u8, ejected: u8, seed: u64) {
        let snapshot = snapshot(&rows);
        let local = health(&rows, broken);
        let mut advised = local.clone();
        let is_ejected = |name: &str| rows.iter().position(|row| row.name() == name).is_some_and(|place| ejected >> place & 1 == 1);
        advised.advise(advice(&rows, ejected, NOW + 30_000));
        let of = |health: &Health| plan(&request.wishes(), &snapshot, &policy, &unbounded, health, NOW, seed);
        let (outcome, without) = (of(&advised), of(&local));
        // An advice that has expired, or that no clock can have given, is none.
        for until in [NOW, NOW - 1, NOW + waybill_route::LONGEST_ADVICE_MS + 1] {
            let mut expired = local.clone();
            expired.advise(advice(&rows, ejected, until));
            let expired = of(&expired);
            prop_assert_eq!(record(&expired), record(&without));
        }
        let Ok(plan) = &outcome else {
            prop_assert_eq!(record(&outcome), record(&without));
            return Ok(());
        };
        let contends = |verdict: Verdict| match verdict {
            Verdict::Planned { .. } => true,
            Verdict::Lost(loss) => matches!(loss.word(), "breaker_open" | "ejected" | "no_fallbacks" | "max_attempts"),
        };
        for model in MODELS {
            let candidates = plan.record.candidates.iter().filter(|candidate| snapshot.endpoints()[candidate.endpoint as usize].model.as_ref() == model);
            let contenders: Vec<String> = candidates.filter(|candidate| contends(candidate.verdict)).map(|candidate| name_of(&snapshot, candidate.endpoint)).collect();
            let left = contenders.iter().filter(|name| !is_ejected(name)).count();
            let panics = 2 * left < contenders.len();
            for name in &contenders {
                let candidate = plan.record.candidates.iter().find(|candidate| name_of(&snapshot, candidate.endpoint) == *name).expect("it is there");
                let behind = match candidate.verdict {
                    Verdict::Planned { behind, .. } => behind.map(Loss::word),
                    Verdict::Lost(loss) => Some(loss.word()).filter(|word| matches!(*word, "breaker_open" | "ejected")),
                };
                let expected = match (local.admits(place(name), NOW), is_ejected(name) && !panics) {
                    (false, _) => Some("breaker_open"),
                    (true, true) => Some("ejected"),
                    (true, false) => None,
                };
                prop_assert_eq!(behind, expected, "{} of {:?}", name, contenders);
            }
        }
        let standing: Vec<u8> = plan.attempts.iter().map(|attempt| {
            let verdict = plan.record.candidates.iter().find(|candidate| candidate.endpoint == attempt.endpoint.index).expect("it is there").verdict;
            match verdict {
                Verdict::Planned { behind: None, .. } => 0,
                Verdict::Planned { behind: Some(Loss::Ejected(_)), .. } => 1,
                _ => 2,
            }
        }).collect();
        prop_assert!(standing.is_sorted(), "{:?}", standing);
    }
}
