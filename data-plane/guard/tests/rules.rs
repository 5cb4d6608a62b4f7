//! Each rule by itself: a table of Guardrails, what they are held against, and the rule by which that is refused.

mod support;

use support::{NOW, USD, endpoints, guardrail, snapshot, texts};
use waybill_guard::{Closed, Guard};
use waybill_model::{
    guardrail::{Breach, Rule},
    snapshot::Found,
};
use waybill_proto::model::v1::Guardrail;

/// What is written in the Guardrail, and the endpoints that it shuts out: the name of each, and the rule.
type Row = (fn(&mut Guardrail), &'static [(&'static str, Rule)]);

const PROMPT: Rule = Rule::MaxPromptPrice { price: 3 * USD, limit: 2 * USD };
const COMPLETION: Rule = Rule::MaxCompletionPrice { price: 15 * USD, limit: 14 * USD };

/// The endpoints are those of [`support::endpoints`].
const ROWS: &[Row] = &[
    (|_| {}, &[]),
    (|spec| spec.allowed_models = texts(&["lab/*"]), &[("own/x@q", Rule::AllowedModels)]),
    (|spec| spec.allowed_models = texts(&["lab/a", "own/x"]), &[("lab/b@q", Rule::AllowedModels)]),
    (
        |spec| spec.ignored_models = texts(&["lab/*"]),
        &[("lab/a@p", Rule::IgnoredModels), ("lab/a@q/eu", Rule::IgnoredModels), ("lab/b@q", Rule::IgnoredModels)],
    ),
    // A deny list wins over the allow list beside it.
    (
        |spec| {
            spec.allowed_models = texts(&["lab/*"]);
            spec.ignored_models = texts(&["lab/a"]);
        },
        &[("lab/a@p", Rule::IgnoredModels), ("lab/a@q/eu", Rule::IgnoredModels), ("own/x@q", Rule::AllowedModels)],
    ),
    // A base slug means its variants too, and a variant not its base.
    (|spec| spec.allowed_providers = texts(&["q"]), &[("lab/a@p", Rule::AllowedProviders)]),
    (
        |spec| spec.allowed_providers = texts(&["q/eu"]),
        &[("lab/a@p", Rule::AllowedProviders), ("lab/b@q", Rule::AllowedProviders), ("own/x@q", Rule::AllowedProviders)],
    ),
    (
        |spec| spec.ignored_providers = texts(&["Q"]),
        &[("lab/a@q/eu", Rule::IgnoredProviders), ("lab/b@q", Rule::IgnoredProviders), ("own/x@q", Rule::IgnoredProviders)],
    ),
    // At the limit is within it; what has no price is not.
    (|spec| spec.max_prompt_price = "3".to_owned(), &[("own/x@q", Rule::UnpricedPrompt)]),
    (|spec| spec.max_prompt_price = "2".to_owned(), &[("lab/a@p", PROMPT), ("own/x@q", Rule::UnpricedPrompt)]),
    (|spec| spec.max_completion_price = "14".to_owned(), &[("lab/a@p", COMPLETION), ("own/x@q", Rule::UnpricedCompletion)]),
    (
        |spec| spec.zero_data_retention = true,
        &[("lab/a@p", Rule::ZeroDataRetention), ("lab/b@q", Rule::ZeroDataRetention), ("own/x@q", Rule::ZeroDataRetention)],
    ),
    (|spec| spec.no_training = true, &[("lab/b@q", Rule::NoTraining)]),
];

#[test]
fn each_rule_shuts_out_what_it_is_about_and_nothing_else() {
    for (place, (write, expected)) in ROWS.iter().enumerate() {
        let mut spec = Guardrail { workspaces: texts(&["w"]), ..Guardrail::default() };
        write(&mut spec);
        let (snapshot, bounds) = snapshot(&[guardrail("g", spec)]);
        let guard = Guard::new(&bounds, 0);
        let judged = snapshot.endpoints().iter().filter_map(|endpoint| {
            let Breach { guardrail: 0, rule } = guard.endpoint(endpoint, endpoint.tariff(NOW).map(AsRef::as_ref)).err()? else {
                panic!("there is one Guardrail")
            };
            Some((&*endpoint.name, rule))
        });
        assert_eq!(judged.collect::<Vec<_>>(), *expected, "row {place}");
    }
    assert_eq!(endpoints().len(), 4);
}

#[test]
fn a_price_is_that_of_the_band_which_the_prompt_reaches() {
    let spec = Guardrail { workspaces: texts(&["w"]), max_prompt_price: "3".to_owned(), ..Guardrail::default() };
    let (snapshot, bounds) = snapshot(&[guardrail("g", spec)]);
    let endpoint = snapshot.endpoints().iter().find(|endpoint| &*endpoint.name == "lab/a@p").expect("an endpoint");
    for (tokens, passes) in [(0, true), (200_000, true), (200_001, false)] {
        let judged = Guard::new(&bounds, tokens).endpoint(endpoint, endpoint.tariff(NOW).map(AsRef::as_ref));
        assert_eq!(judged.is_ok(), passes, "{tokens}: {judged:?}");
    }
}

#[test]
fn models_are_refused_by_name_only_if_none_of_them_may_be_called() {
    let first = Guardrail { workspaces: texts(&["w"]), allowed_models: texts(&["lab/*"]), ..Guardrail::default() };
    let second = Guardrail { workspaces: texts(&["w"]), ignored_models: texts(&["lab/b"]), ..Guardrail::default() };
    let (snapshot, bounds) = snapshot(&[guardrail("second", second), guardrail("first", first)]);
    let guard = Guard::new(&bounds, 0);
    let said = |names: &[&str]| {
        let models = names.iter().map(|name| match snapshot.model(name) {
            Found::Model(model) => model,
            _ => panic!("{name}"),
        });
        guard.models(&models.collect::<Vec<_>>()).map_err(|refusal| refusal.to_string())
    };
    let not_allowed = "this key may not call the model `own/x`: it is not in allowedModels of the Guardrail `first`";
    let ignored = "this key may not call the model `lab/b`: it is in ignoredModels of the Guardrail `second`";
    for (names, expected) in [
        (&[][..], Ok(())),
        (&["lab/a"], Ok(())),
        (&["own/x", "lab/a"], Ok(())),
        (&["own/x"], Err(not_allowed)),
        (&["own/x", "lab/b"], Err(not_allowed)),
        (&["lab/b", "own/x"], Err(ignored)),
    ] {
        assert_eq!(said(names), expected.map_err(str::to_owned), "{names:?}");
    }
}

#[test]
fn a_guardrail_that_cannot_be_kept_closes_the_key() {
    let broken = Guardrail { workspaces: texts(&["w"]), max_prompt_price: "?".to_owned(), ..Guardrail::default() };
    let (_, bounds) = snapshot(&[guardrail("broken", broken)]);
    assert_eq!(Guard::open(&bounds), Err(Closed { guardrail: "broken".into() }));
    let elsewhere = Guardrail { workspaces: texts(&["v"]), max_prompt_price: "?".to_owned(), ..Guardrail::default() };
    assert_eq!(Guard::open(&snapshot(&[guardrail("broken", elsewhere)]).1), Ok(()));
}
