//! Every reason for which an endpoint can lose: a table of one loser each, beside a winner where the reason needs one.

mod support;

use std::{collections::BTreeSet, sync::Arc};

use support::{NOW, Row, names, place, policy, row, snapshot_of};
use waybill_model::{
    guardrail::{Breach, Rule, unbounded},
    price::Tariff,
    snapshot::{Endpoint, RoutePolicy, Snapshot},
};
use waybill_proto::{
    sync::v1::{ClassCount, EndpointHealth, ErrorClass},
    usage::v1::Reason,
};
use waybill_route::{Advice, Class, Ejected, Health, Loss, MaxPrice, Outcome, Refusal, Verdict, Why, Wishes, plan};

const MODEL: &str = "lab/m";
const USD: i64 = 1_000_000_000_000;

/// One endpoint (the last of `rows`) that loses, and what by.
struct Case {
    rows: Vec<Row>,
    output_modalities: &'static [&'static str],
    wishes: Wishes<'static>,
    policy: RoutePolicy,
    broken: bool,
    ejected: bool,
    /// What the only Guardrail says of the loser.
    rule: Option<Rule>,
    loss: Loss,
    detail: &'static str,
}

fn case(loser: Row, wishes: Wishes<'static>, loss: Loss, detail: &'static str) -> Case {
    Case { rows: vec![loser], output_modalities: &[], wishes, policy: policy(), broken: false, rule: None, ejected: false, loss, detail }
}

fn wish() -> Wishes<'static> {
    Wishes::of_model(MODEL)
}

fn at(provider: &'static str) -> Row {
    row(MODEL, provider, "2", "8")
}

/// Leaked once per row of a table: wishes borrow.
fn list(words: &[&str]) -> &'static [Box<str>] {
    Box::leak(names(words).into_boxed_slice())
}

fn guarded() -> Vec<Case> {
    let rows = [
        (Rule::AllowedModels, "serves `lab/m`, which is not in allowedModels of the Guardrail `strict`"),
        (Rule::IgnoredModels, "serves `lab/m`, which is in ignoredModels of"),
        (Rule::AllowedProviders, "is of `p`, which is not in allowedProviders of"),
        (Rule::IgnoredProviders, "is of `p`, which is in ignoredProviders of"),
        (
            Rule::MaxPromptPrice { price: 2 * USD, limit: USD },
            "has a prompt price of 2 USD per million tokens, and the Guardrail `strict` allows at most 1",
        ),
        (Rule::MaxCompletionPrice { price: 8 * USD, limit: 7 * USD }, "completion price of 8 USD"),
        (Rule::UnpricedPrompt, "has no price in force, so maxPromptPrice of"),
        (Rule::UnpricedCompletion, "has no price in force, so maxCompletionPrice of"),
        (Rule::ZeroDataRetention, "the Guardrail `strict` wants zeroDataRetention"),
        (Rule::NoTraining, "may train on prompts, and the Guardrail `strict` wants noTraining"),
    ];
    let row = |(rule, detail)| Case { rule: Some(rule), ..case(at("p"), wish(), Loss::Guardrail(Breach { guardrail: 0, rule }), detail) };
    rows.into_iter().map(row).collect()
}

fn in_service() -> Vec<Case> {
    vec![
        case(at("p").with(|spec| spec.disabled = true), wish(), Loss::Disabled, "out of service"),
        case(at("p").secret("ABSENT"), wish(), Loss::NoSecret, "no credential"),
        case(
            at("p").secret("SET"),
            Wishes { dialects: &["anthropic"], ..wish() },
            Loss::Dialect,
            "dialect `openai`, which a request in `anthropic`",
        ),
    ]
}

fn allowed() -> Vec<Case> {
    let policed = |change: fn(&mut RoutePolicy), loss, detail| {
        let mut case = case(at("p"), wish(), loss, detail);
        change(&mut case.policy);
        case
    };
    vec![
        policed(|policy| policy.only = names(&["q"]).into(), Loss::PolicyOnly, "`p`, which the workspace's policy does not allow"),
        policed(|policy| policy.ignore = names(&["P"]).into(), Loss::PolicyIgnored, "forbids"),
        case(at("p"), Wishes { only: list(&["q", "p2", "p/x"]), ..wish() }, Loss::NotOnly, "not in provider.only"),
        case(at("p/eu"), Wishes { ignore: list(&["p"]), ..wish() }, Loss::Ignored, "`p/eu`, which is in provider.ignore"),
        case(at("p"), Wishes { order: list(&["q"]), allow_fallbacks: false, ..wish() }, Loss::NotInOrder, "not in provider.order"),
        case(at("p").with(|spec| spec.trains_on_prompts = true), Wishes { deny_data_collection: true, ..wish() }, Loss::Trains, "train"),
        case(at("p"), Wishes { zero_data_retention: true, ..wish() }, Loss::Retains, "zero data retention"),
    ]
}

fn able() -> Vec<Case> {
    let quantized = at("p").with(|spec| spec.quantization = "int4".into());
    let text_only = row("lab/text-only", "p", "2", "8");
    let text_only_wish = Wishes { input_modalities: &["image"], ..Wishes::of_model("text-only") };
    let bare = || at("p").with(|spec| spec.supported_parameters = vec!["stop".into(), "seed".into()]);
    let mut no_image = case(at("p"), Wishes { output_modalities: &["image"], ..wish() }, Loss::OutputModality { missing: 1 }, "give image");
    no_image.output_modalities = &["text"];
    let mut soft = case(
        bare(),
        Wishes { parameters: &["stop", "tools"], ..wish() },
        Loss::SupportedElsewhere { missing: 0b10 },
        "tools, which another",
    );
    soft.rows.insert(0, at("a").with(|spec| spec.supported_parameters = vec!["tools".into()]));
    vec![
        case(quantized, Wishes { quantizations: list(&["fp8"]), ..wish() }, Loss::Quantization, "quantization `int4`"),
        case(text_only, text_only_wish, Loss::InputModality { missing: 1 }, "take image"),
        no_image,
        case(
            bare(),
            Wishes { parameters: &["seed", "tools", "top_k"], require_parameters: true, ..wish() },
            Loss::Parameters { missing: 0b110 },
            "support tools, top_k, and",
        ),
        soft,
        case(
            at("p").with(|spec| spec.context_window = 1000),
            Wishes { least_input_tokens: 1001, ..wish() },
            Loss::ContextLength { at_least: 1001, window: 1000 },
            "window of 1000 tokens, and the prompt has at least 1001",
        ),
        case(
            at("p").with(|spec| spec.max_output = 500),
            Wishes { max_output: Some(501), ..wish() },
            Loss::MaxOutput { asked: 501, limit: 500 },
            "at most 500 tokens, and 501 were asked for",
        ),
        case(
            at("p").with(|spec| spec.context_window = 500),
            Wishes { max_output: Some(501), ..wish() },
            Loss::MaxOutput { asked: 501, limit: 500 },
            "at most 500 tokens",
        ),
    ]
}

fn priced() -> Vec<Case> {
    let most = |max_price| Wishes { max_price, ..wish() };
    let policed = |change: fn(&mut RoutePolicy), loss, detail| {
        let mut case = case(at("p"), wish(), loss, detail);
        change(&mut case.policy);
        case
    };
    let none = MaxPrice::default();
    vec![
        case(at("p").unpriced(), wish(), Loss::Unpriced, "no price"),
        case(
            at("p").unpriced().with(|spec| spec.allow_unpriced = true),
            most(MaxPrice { prompt: Some(USD), ..none }),
            Loss::UnpricedUnderLimit,
            "cannot be kept",
        ),
        policed(
            |policy| policy.max_prompt_price = Some(2 * USD - 1),
            Loss::PolicyPromptPrice { price: 2 * USD, limit: 2 * USD - 1 },
            "prompt price of 2 USD per million tokens, and the workspace's policy allows at most 1.999999999999",
        ),
        policed(
            |policy| policy.max_completion_price = Some(USD),
            Loss::PolicyCompletionPrice { price: 8 * USD, limit: USD },
            "completion price of 8 USD",
        ),
        case(
            at("p"),
            most(MaxPrice { prompt: Some(USD), ..none }),
            Loss::PromptPrice { price: 2 * USD, limit: USD },
            "provider.max_price allows at most 1",
        ),
        case(
            at("p"),
            most(MaxPrice { completion: Some(7 * USD), ..none }),
            Loss::CompletionPrice { price: 8 * USD, limit: 7 * USD },
            "at most 7",
        ),
        case(
            at("p").fee("0.01"),
            most(MaxPrice { request: Some(USD / 1000), ..none }),
            Loss::RequestPrice { price: USD / 100, limit: USD / 1000 },
            "request price of 0.01 USD, and",
        ),
    ]
}

fn behind() -> Vec<Case> {
    let second = |wishes, change: fn(&mut RoutePolicy), loss, detail| {
        let mut case = case(row(MODEL, "p", "900", "900"), wishes, loss, detail);
        case.wishes.sort_by_price = true;
        case.rows.insert(0, at("a"));
        change(&mut case.policy);
        case
    };
    let unchanged: fn(&mut RoutePolicy) = |_| {};
    let one: fn(&mut RoutePolicy) = |policy| policy.max_attempts = 1;
    let mut broken = second(wish(), one, Loss::BreakerOpen(Why::Breaker), "failed of late");
    broken.broken = true;
    let advised = Ejected { weight_permille: 0, class: ErrorClass::Server, agreeing: 2, reporters: 3 };
    let mut ejected = second(wish(), one, Loss::Ejected(advised), "failures mostly of class `server`, seen by 2 of 3 proxies");
    ejected.ejected = true;
    vec![
        second(Wishes { allow_fallbacks: false, ..wish() }, unchanged, Loss::NoFallbacks, "allow_fallbacks is false"),
        second(wish(), |policy| policy.no_fallbacks = true, Loss::PolicyNoFallbacks, "the workspace's policy"),
        second(wish(), |policy| policy.max_attempts = 1, Loss::MaxAttempts { most: 1 }, "the 1 attempts"),
        broken,
        ejected,
    ]
}

fn cases() -> Vec<Case> {
    [guarded(), in_service(), allowed(), able(), priced(), behind()].into_iter().flatten().collect()
}

fn routed(case: &Case) -> (Snapshot, waybill_route::Record, Option<Refusal>) {
    let snapshot = snapshot_of(&case.rows, case.output_modalities);
    let mut health = Health::new();
    if case.broken {
        let loser = case.rows.last().expect("a loser").name();
        for _ in 0..waybill_route::FAILURES_TO_OPEN {
            health.ended(place(&loser), Outcome::Failure(Class::Connect), NOW, 1);
        }
    }
    if case.ejected {
        let causes = [(ErrorClass::None, 30), (ErrorClass::Cut, 3), (ErrorClass::Server, 9)];
        let causes = causes.map(|(class, count)| ClassCount { class: class.into(), count }).into();
        let endpoint = case.rows.last().expect("a loser").name();
        let said = EndpointHealth { endpoint, causes, agreeing: 2, reporters: 3, ..EndpointHealth::default() };
        health.advise(Arc::new(Advice::new(&[said], NOW + 1)));
    }
    let guard = |_: &Endpoint, _: Option<&Tariff>| case.rule.map_or(Ok(()), |rule| Err(Breach { guardrail: 0, rule }));
    match plan(&case.wishes, &snapshot, &case.policy, &guard, &health, NOW, 1) {
        Ok(plan) => (snapshot, plan.record, None),
        Err(Refusal::NoEndpoints(none)) => (snapshot, none.record.clone(), Some(Refusal::NoEndpoints(none))),
        Err(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn each_loser_loses_for_its_reason_and_says_by_what() {
    for case in cases() {
        let (snapshot, record, refusal) = routed(&case);
        let loser = case.rows.last().expect("a loser").name();
        let index = snapshot.endpoints().iter().find(|endpoint| *endpoint.name == *loser).expect("the loser is there").index;
        let candidate = record.candidates.iter().find(|candidate| candidate.endpoint == index).expect("it is a candidate");
        assert_eq!(candidate.verdict, Verdict::Lost(case.loss), "{:?}", case.rows);
        let decision = record.decision(&snapshot, &case.wishes, 3);
        assert_eq!((decision.revision, decision.deny_epoch, decision.seed, decision.more), (7, 3, 1, 0));
        let shown = decision.candidates.iter().find(|candidate| candidate.endpoint == loser).expect("it is in the decision");
        assert_eq!((shown.reason(), shown.rank, shown.score), (case.loss.reason(), 0, case.loss.limit()), "{shown:?}");
        assert!(shown.detail.contains(case.detail), "{:?}: {}", case.loss, shown.detail);
        assert_eq!(refusal.is_none(), case.rows.len() == 2, "{:?} leaves exactly the other one", case.loss);
        if let Some(refusal) = refusal {
            assert!(refusal.to_string().contains(case.detail), "{refusal}");
            assert_eq!(refusal.excluded_by(), [case.loss.word()]);
        }
    }
}

#[test]
fn every_reason_and_every_loss_has_a_row() {
    let rows: Vec<Loss> = cases().iter().map(|case| case.loss).collect();
    let had: BTreeSet<i32> =
        rows.iter().map(|loss| loss.reason().into()).chain([Reason::Planned.into(), Reason::Guardrail.into()]).collect();
    let known: BTreeSet<i32> = (1..1000).filter(|number| Reason::try_from(*number).is_ok()).collect();
    assert_eq!(had, known, "the contract's reasons");
    let source = include_str!("../src/loss.rs");
    let body = source.split_once("pub enum Loss {").and_then(|(_, rest)| rest.split_once("\n}")).expect("the enum").0;
    let variants: BTreeSet<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| line.split([',', ' ', '(']).next().unwrap_or_default())
        .collect();
    let written: Vec<String> = rows.iter().map(|loss| format!("{loss:?}")).collect();
    let written: BTreeSet<&str> = written.iter().map(|text| text.split([' ', '(']).next().unwrap_or_default()).collect();
    assert!(variants.len() > 20);
    assert_eq!(written, variants, "the enum's variants");
}

#[test]
fn limits_are_inclusive_and_unknown_limits_exclude_nothing() {
    let rows = [
        (at("p").with(|spec| spec.max_output = 500), Wishes { max_output: Some(500), ..wish() }),
        (at("p").with(|spec| spec.context_window = 1000), Wishes { least_input_tokens: 1000, ..wish() }),
        (at("p"), Wishes { least_input_tokens: u64::MAX, max_output: Some(u64::MAX), ..wish() }),
        (
            at("p"),
            Wishes {
                parameters: &["tools"],
                require_parameters: true,
                input_modalities: &["image"],
                output_modalities: &["audio"],
                ..wish()
            },
        ),
        (at("p"), Wishes { max_price: MaxPrice { prompt: Some(2 * USD), completion: Some(8 * USD), request: Some(0) }, ..wish() }),
        (
            at("p").with(|spec| spec.supported_parameters = vec!["max_tokens".into()]),
            Wishes { parameters: &["max_completion_tokens"], require_parameters: true, ..wish() },
        ),
        (at("p").with(|spec| spec.quantization = "mxfp8".into()), Wishes { quantizations: list(&["fp8"]), ..wish() }),
        (at("p").with(|spec| spec.quantization = "fp8".into()), Wishes { only: list(&["p/fp8"]), ..wish() }),
        (at("p/eu"), Wishes { only: list(&["P"]), ignore: list(&["p/us", "p/e", "/"]), ..wish() }),
        (at("p").unpriced().with(|spec| spec.allow_unpriced = true), wish()),
        (at("p").secret("SET"), wish()),
        (at("p"), Wishes { dialects: &["anthropic", "openai"], ..wish() }),
        (at("p").with(|spec| spec.zero_data_retention = true), Wishes { zero_data_retention: true, deny_data_collection: true, ..wish() }),
        (at("p").with(|spec| spec.supported_parameters = vec!["stop".into()]), Wishes { parameters: &["tools"], ..wish() }),
    ];
    for (only, wishes) in rows {
        let snapshot = snapshot_of(std::slice::from_ref(&only), &[]);
        let plan = plan(&wishes, &snapshot, &policy(), &unbounded, &Health::new(), NOW, 1);
        assert_eq!(plan.map(|plan| plan.attempts.len()), Ok(1), "{only:?} {wishes:?}");
    }
}
