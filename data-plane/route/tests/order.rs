//! The order of the attempts, and what is said where there are none.

mod support;

use support::{NOW, Row, names, place, policy, row, snapshot};
use waybill_model::{
    guardrail::{Breach, Rule, unbounded},
    price::Tariff,
    snapshot::{Endpoint, RoutePolicy, Snapshot},
};
use waybill_route::{Class, Code, Health, Outcome, Refusal, Verdict, Wishes, plan};

fn tried(wishes: &Wishes<'_>, snapshot: &Snapshot, policy: &RoutePolicy, health: &Health, seed: u64) -> Vec<String> {
    let plan = plan(wishes, snapshot, policy, &unbounded, health, NOW, seed).expect("a plan");
    let ranks: Vec<u32> = plan.attempts.iter().map(|attempt| attempt.rank).collect();
    assert_eq!(ranks, (1..=plan.attempts.len() as u32).collect::<Vec<_>>());
    plan.attempts.iter().map(|attempt| attempt.endpoint.name.to_string()).collect()
}

fn three() -> Vec<Row> {
    vec![row("lab/m", "a", "3", "3"), row("lab/m", "b", "1", "1"), row("lab/m", "c", "2", "2")]
}

fn broken(endpoints: &[&str]) -> Health {
    let mut health = Health::new();
    for endpoint in endpoints {
        for _ in 0..waybill_route::FAILURES_TO_OPEN {
            health.ended(place(endpoint), Outcome::Failure(Class::Server), NOW, 9);
        }
    }
    health
}

fn refused(wishes: &Wishes<'_>, rows: &[Row]) -> Refusal {
    plan(wishes, &snapshot(rows), &policy(), &unbounded, &Health::new(), NOW, 1).expect_err("no plan")
}

#[test]
fn wishes_and_policy_set_the_order() {
    let snapshot = snapshot(&[three(), vec![row("lab/n", "a", "0.1", "0.1"), row("other/n2", "c", "0", "0")]].concat());
    let lists = [names(&["c", "a"]), names(&["a"]), names(&["lab/n", "n", "lab/m"]), names(&["C"]), names(&["n2"])];
    let [ca, a, models, c, free] = &lists;
    let by_price = Wishes { sort_by_price: true, ..Wishes::of_model("lab/m") };
    let policed = |change: fn(&mut RoutePolicy)| {
        let mut policy = policy();
        change(&mut policy);
        policy
    };
    let plain = policy();
    let rows: [(Wishes<'_>, RoutePolicy, &[&str], &[&str]); 13] = [
        (by_price, plain.clone(), &[], &["m@b", "m@c", "m@a"]),
        (Wishes { order: ca, ..by_price }, plain.clone(), &[], &["m@c", "m@a", "m@b"]),
        (Wishes { order: a, ..by_price }, plain.clone(), &[], &["m@a", "m@b", "m@c"]),
        (Wishes { order: ca, allow_fallbacks: false, ..by_price }, plain.clone(), &[], &["m@c", "m@a"]),
        (Wishes { allow_fallbacks: false, ..by_price }, plain.clone(), &[], &["m@b"]),
        (Wishes { only: ca, ..by_price }, plain.clone(), &[], &["m@c", "m@a"]),
        (Wishes { models, ..by_price }, plain.clone(), &[], &["m@b", "m@c", "m@a", "n@a"]),
        (Wishes { models: free, order: c, ..by_price }, policed(|policy| policy.max_attempts = 2), &[], &["m@c", "m@b"]),
        (by_price, policed(|policy| policy.order = names(&["a"]).into()), &[], &["m@a", "m@b", "m@c"]),
        (Wishes::of_model("m"), policed(|policy| policy.sort_by_price = true), &["m@b"], &["m@c", "m@a", "m@b"]),
        (Wishes { models, ..by_price }, plain.clone(), &["m@a", "m@b", "m@c"], &["n@a", "m@b", "m@c", "m@a"]),
        (by_price, policed(|policy| policy.no_fallbacks = true), &["m@a", "m@b", "m@c"], &["m@b"]),
        (Wishes { order: a, allow_fallbacks: false, ..by_price }, policed(|policy| policy.max_attempts = 0), &["m@a"], &["m@a"]),
    ];
    for (wishes, policy, open, expected) in rows {
        assert_eq!(tried(&wishes, &snapshot, &policy, &broken(open), 5), expected, "{wishes:?} {policy:?} {open:?}");
    }
}

#[test]
fn the_free_come_before_the_priced_and_those_before_the_unpriced() {
    let rows = [
        row("lab/m", "a", "1", "1"),
        row("lab/m", "b", "0", "0"),
        row("lab/m", "c", "1", "1").unpriced().with(|spec| spec.allow_unpriced = true),
        row("lab/m", "d", "0", "0"),
    ];
    let snapshot = snapshot(&rows);
    let mut first = [0_i32; 2];
    for seed in 0..2_000 {
        let order = tried(&Wishes::of_model("m"), &snapshot, &policy(), &Health::new(), seed);
        first[usize::from(order[0] == "m@d")] += 1;
        assert_eq!(order[2..], ["m@a", "m@c"], "{seed}");
    }
    // Binomial(2000, 1/2): five standard deviations are 112.
    assert!(first[0].abs_diff(1_000) < 112, "{first:?}");
}

#[test]
fn the_draw_follows_the_inverse_square_of_the_price() {
    let snapshot = snapshot(&[row("lab/m", "one", "0.5", "0.5"), row("lab/m", "three", "1", "2")]);
    let mut first_at_one = 0_i32;
    for seed in 0..10_000 {
        let order = tried(&Wishes::of_model("m"), &snapshot, &policy(), &Health::new(), seed);
        assert_eq!(order.len(), 2);
        first_at_one += i32::from(order[0] == "m@one");
    }
    // Binomial(10000, 0.9): one standard deviation is 30.
    assert!(first_at_one.abs_diff(9_000) < 150, "{first_at_one}");
    let plan = plan(&Wishes::of_model("m"), &snapshot, &policy(), &unbounded, &Health::new(), NOW, 1).expect("a plan");
    let mut shares: Vec<u32> = plan
        .record
        .candidates
        .iter()
        .map(|candidate| match candidate.verdict {
            Verdict::Planned { share_ppm, .. } => share_ppm,
            Verdict::Lost(loss) => panic!("{loss:?}"),
        })
        .collect();
    shares.sort_unstable();
    assert!(shares[0].abs_diff(100_000) <= 1 && shares[1].abs_diff(900_000) <= 1, "{shares:?}");
}

#[test]
fn names_lead_to_models_or_to_better_names() {
    let rows = [row("lab/gpt-large", "a", "1", "1"), row("forge/gpt-large", "a", "1", "1"), row("lab/gpt-small", "a", "1", "1")];
    let refusal = refused(&Wishes::of_model("gpt-large"), &rows);
    assert_eq!((refusal.code(), refusal.error_type(), refusal.retryable()), (Code::ModelAmbiguous, "invalid_request", false));
    assert_eq!(refusal.to_string(), "the model `gpt-large` is ambiguous: say which of `forge/gpt-large`, `lab/gpt-large` is meant");
    let refusal = refused(&Wishes::of_model("lab/gpt-smal"), &rows);
    assert_eq!((refusal.code().name(), refusal.error_type()), ("model_not_found", "not_found"));
    assert!(refusal.to_string().starts_with("there is no model `lab/gpt-smal`: did you mean `lab/gpt-small`"), "{refusal}");
    let fallbacks = names(&["zzz"]);
    let refusal = refused(&Wishes { models: &fallbacks, ..Wishes::of_model("lab/gpt-small") }, &rows);
    assert_eq!(refusal.to_string(), "there is no model `zzz`");
    assert_eq!(refused(&Wishes::of_model(&"gpt-large".repeat(20)), &rows).code(), Code::ModelNotFound);
}

#[test]
fn a_refusal_says_who_can_change_it_and_what_would_do() {
    let longest = |row: Row, tokens: u64| row.with(|spec| spec.max_output = tokens);
    let all = three();
    let [a, b, c] = [&all[0], &all[1], &all[2]].map(Clone::clone);
    let long = Wishes { max_output: Some(100_000), ..Wishes::of_model("m") };
    let only = names(&["a", "b"]);
    let off = |row: Row| row.with(|spec| spec.disabled = true);
    let rows: [(Wishes<'_>, Vec<Row>, Code, &str, &str); 6] = [
        (
            long,
            vec![longest(a.clone(), 8_192), longest(b.clone(), 16_384)],
            Code::ConstraintFiltered,
            "max_tokens_exceeded",
            "no endpoint of `lab/m` can take this request: each of 2 endpoints (a, b), the nearest of which answers with at most 16384 tokens, and 100000 were asked for",
        ),
        (
            Wishes { only: &only, ..long },
            vec![longest(a.clone(), 8_192), longest(b.clone(), 16_384), c.clone()],
            Code::ConstraintFiltered,
            "not_found",
            "no endpoint of `lab/m` can take this request: each of 2 endpoints (a, b), the nearest of which answers with at most 16384 tokens, and 100000 were asked for; \
             1 endpoint (c) is of `c`, which is not in provider.only",
        ),
        (
            Wishes { zero_data_retention: true, ..Wishes::of_model("m") },
            vec![a.clone()],
            Code::PrivacyRestricted,
            "not_found",
            "no endpoint of `lab/m` can take this request: 1 endpoint (a) is not known to keep nothing of the prompt, and zero data retention was asked for",
        ),
        (
            Wishes::of_model("m"),
            vec![off(a.clone()), b.clone().secret("ABSENT")],
            Code::TemporarilyUnavailable,
            "provider_unavailable",
            "no endpoint of `lab/m` can take this request: 1 endpoint (a) is out of service; 1 endpoint (b) has no credential in this proxy",
        ),
        (
            Wishes { deny_data_collection: true, ..Wishes::of_model("m") },
            vec![off(a), b.with(|spec| spec.trains_on_prompts = true)],
            Code::ConstraintFiltered,
            "not_found",
            "no endpoint of `lab/m` can take this request: 1 endpoint (a) is out of service; 1 endpoint (b) may train on prompts, and provider.data_collection is deny",
        ),
        (
            Wishes { least_input_tokens: 10, ..Wishes::of_model("m") },
            vec![c.with(|spec| spec.context_window = 9)],
            Code::ConstraintFiltered,
            "context_length_exceeded",
            "no endpoint of `lab/m` can take this request: 1 endpoint (c) has a context window of 9 tokens, and the prompt has at least 10",
        ),
    ];
    for (wishes, rows, code, error_type, text) in rows {
        let refusal = refused(&wishes, &rows);
        assert_eq!((refusal.code(), refusal.error_type(), &*refusal.to_string()), (code, error_type, text));
        assert_eq!(refusal.retryable(), code == Code::TemporarilyUnavailable);
    }
}

/// A guard that shuts out these providers.
fn forbids(providers: &[&str], endpoint: &Endpoint) -> Result<(), Breach> {
    let shut_out = providers.contains(&&*endpoint.provider.name);
    if shut_out { Err(Breach { guardrail: 0, rule: Rule::IgnoredProviders }) } else { Ok(()) }
}

#[test]
fn a_guardrail_is_to_blame_where_what_it_leaves_is_not_what_was_asked_for() {
    let only_a = names(&["a"]);
    let only_a = Wishes { only: &only_a, ..Wishes::of_model("m") };
    let off = || row("lab/m", "b", "1", "1").with(|spec| spec.disabled = true);
    /// How the refusal is told: its code, its error type, what excluded.
    type Told<'a> = Option<(Code, &'a str, &'a [&'a str])>;
    let rows: [(&[&str], Wishes<'_>, Row, Told<'_>); 6] = [
        (&["a"], Wishes::of_model("m"), row("lab/m", "b", "1", "1"), None),
        (
            &["a", "b"],
            Wishes::of_model("m"),
            row("lab/m", "b", "1", "1"),
            Some((Code::GuardrailRestricted, "permission_denied", &["guardrail:providers"])),
        ),
        (
            &["a"],
            only_a,
            row("lab/m", "b", "1", "1"),
            Some((Code::GuardrailRestricted, "permission_denied", &["guardrail:providers", "allowed_providers"])),
        ),
        // What the Guardrail leaves comes back some day.
        (
            &["a"],
            Wishes::of_model("m"),
            off(),
            Some((Code::TemporarilyUnavailable, "provider_unavailable", &["guardrail:providers", "disabled"])),
        ),
        (&["b"], only_a, off(), None),
        (&["b"], Wishes { order: only_a.only, ..only_a }, row("lab/m", "b", "1", "1"), None),
    ];
    for (forbidden, wishes, other, expected) in rows {
        let snapshot = snapshot(&[row("lab/m", "a", "1", "1"), other]);
        let guard = |endpoint: &Endpoint, _: Option<&Tariff>| forbids(forbidden, endpoint);
        let refusal = plan(&wishes, &snapshot, &policy(), &guard, &Health::new(), NOW, 1).err();
        let got = refusal.as_ref().map(|refusal| (refusal.code(), refusal.error_type(), refusal.excluded_by()));
        assert_eq!(got, expected.map(|(code, error_type, words)| (code, error_type, words.to_vec())), "{forbidden:?}");
        let breach = Breach { guardrail: 0, rule: Rule::IgnoredProviders };
        assert_eq!(refusal.and_then(|refusal| refusal.breach()), expected.map(|_| breach));
    }
}

#[test]
fn a_decision_names_at_most_64_candidates_the_planned_first() {
    let rows: Vec<Row> = (0..70).map(|number| row("lab/m", Box::leak(format!("p{number:02}").into_boxed_str()), "1", "1")).collect();
    let snapshot = snapshot(&rows);
    let wishes = Wishes::of_model("m");
    let plan = plan(&wishes, &snapshot, &policy(), &unbounded, &Health::new(), NOW, 3).expect("a plan");
    let decision = plan.record.decision(&snapshot, &wishes, 0);
    assert_eq!((decision.candidates.len(), decision.more), (64, 6));
    let ranks: Vec<u32> = decision.candidates.iter().take(5).map(|candidate| candidate.rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4, 0]);
    for (candidate, attempt) in decision.candidates.iter().zip(&plan.attempts) {
        assert_eq!(*candidate.endpoint, *attempt.endpoint.name);
    }
}
