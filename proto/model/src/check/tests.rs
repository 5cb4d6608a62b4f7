use std::collections::HashSet;

use pbjson_types::Timestamp;
use waybill_proto::model::v1::{
    ApiKey, Endpoint, Guardrail, Metadata, Model, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, RoutePolicy,
    SecretHeader, SecretRef, Workspace, resource::Spec,
};

use super::{Code, DIALECTS, REASONING_CONTROLS, REFERENCES, Violation, check, limits, name_fault, nearest, provider::base_url_fault};
use crate::{compile::parse_base_url, resource::Kind};

fn named(name: &str, spec: Spec) -> Resource {
    Resource { metadata: Some(Metadata { name: name.to_owned(), ..Metadata::default() }), spec: Some(spec) }
}

fn rate(meter: &str, usd_per_million: &str) -> Rate {
    Rate { meter: meter.to_owned(), usd_per_million: usd_per_million.to_owned(), ..Rate::default() }
}

fn entry(item: &str, rates: Vec<Rate>) -> PriceEntry {
    PriceEntry { item: item.to_owned(), effective_from: None, rates }
}

const PROVIDER: usize = 4;
const ENDPOINT: usize = 8;

/// A world without faults, one resource of each kind.
fn world() -> Vec<Resource> {
    let provider = Provider {
        dialect: "openai".to_owned(),
        base_url: "https://api.acme.example/v1".to_owned(),
        free_statuses: vec![429],
        headers: [("x-acme-version".to_owned(), "2".to_owned())].into(),
        ..Provider::default()
    };
    let secret = SecretRef { env: "ACME_KEY".to_owned(), file: String::new() };
    let model = Model { input_modalities: vec!["text".to_owned()], output_modalities: vec!["text".to_owned()], ..Model::default() };
    let book = PriceBook {
        currency: "USD".to_owned(),
        as_of: "2026-08-21".to_owned(),
        entries: vec![entry("one", vec![rate("input", "2.50"), rate("output", "10")])],
        ..PriceBook::default()
    };
    let endpoint = Endpoint {
        model: "acme/one".to_owned(),
        provider: "acme".to_owned(),
        account: "acme".to_owned(),
        provider_model: "one".to_owned(),
        price_book: "acme".to_owned(),
        supported_parameters: vec!["tools".to_owned()],
        ..Endpoint::default()
    };
    let guardrail = Guardrail {
        workspaces: vec!["team".to_owned()],
        members: vec!["ann@example.com".to_owned()],
        api_keys: vec!["app".to_owned()],
        allowed_models: vec!["acme/*".to_owned()],
        allowed_providers: vec!["acme".to_owned()],
        max_prompt_price: "3".to_owned(),
        ..Guardrail::default()
    };
    vec![
        named("main", Spec::Org(waybill_proto::model::v1::Org::default())),
        named("cheap", Spec::RoutePolicy(RoutePolicy { order: vec!["acme".to_owned()], ..RoutePolicy::default() })),
        named("team", Spec::Workspace(Workspace { org: "main".to_owned(), route_policy: "cheap".to_owned(), ..Workspace::default() })),
        named("app", Spec::ApiKey(ApiKey { workspace: "team".to_owned(), ..ApiKey::default() })),
        named("acme", Spec::Provider(provider)),
        named(
            "acme",
            Spec::ProviderAccount(ProviderAccount { provider: "acme".to_owned(), secret: Some(secret), ..ProviderAccount::default() }),
        ),
        named("acme/one", Spec::Model(model)),
        named("acme", Spec::PriceBook(book)),
        named("acme/one", Spec::Endpoint(endpoint)),
        named("strict", Spec::Guardrail(guardrail)),
    ]
}

macro_rules! reach {
    ($($function:ident: $kind:ident),+) => {
        $(fn $function(world: &mut [Resource]) -> &mut $kind {
            let spec = world.iter_mut().find_map(|resource| match &mut resource.spec {
                Some(Spec::$kind(spec)) => Some(spec),
                _ => None,
            });
            spec.expect("the world has one of each kind")
        })+
    };
}

reach!(policy: RoutePolicy, workspace: Workspace, key: ApiKey, provider: Provider, account: ProviderAccount, model: Model, book: PriceBook, endpoint: Endpoint, guardrail: Guardrail);

fn first(world: &mut [Resource]) -> &mut Metadata {
    world.first_mut().and_then(|resource| resource.metadata.as_mut()).expect("metadata")
}

fn first_rate(world: &mut [Resource]) -> &mut Rate {
    book(world).entries.first_mut().and_then(|entry| entry.rates.first_mut()).expect("a rate")
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn secret(env: &str, file: &str) -> Option<SecretRef> {
    Some(SecretRef { env: env.to_owned(), file: file.to_owned() })
}

type Row = (Code, fn(&mut Vec<Resource>), &'static [&'static str]);

/// One fault each: the code, how the world is broken, the paths it is reported at.
const ROWS: &[Row] = &[
    (Code::NameMissing, |world| world.push(named("", Spec::Org(Default::default()))), &["metadata.name"]),
    (Code::NameMissing, |world| world.push(Resource { metadata: None, spec: Some(Spec::Org(Default::default())) }), &["metadata.name"]),
    (Code::NameMalformed, |world| world.push(named("Main", Spec::Org(Default::default()))), &["metadata.name"]),
    (Code::NameTooLong, |world| world.push(named(&"a".repeat(129), Spec::Org(Default::default()))), &["metadata.name"]),
    (Code::NameDuplicate, |world| world.push(world[0].clone()), &["metadata.name"]),
    (
        Code::SpecMissing,
        |world| world.push(Resource { metadata: Some(Metadata { name: "x".to_owned(), ..Metadata::default() }), spec: None }),
        &["spec"],
    ),
    (
        Code::LabelsTooMany,
        |world| first(world).labels = (0..17).map(|number| (format!("l{number}"), String::new())).collect(),
        &["metadata.labels"],
    ),
    (Code::LabelMalformed, |world| first(world).labels = [(String::new(), "v".to_owned())].into(), &["metadata.labels."]),
    (Code::LabelMalformed, |world| first(world).labels = [("k".to_owned(), "v".repeat(64))].into(), &["metadata.labels.k"]),
    (Code::ResourceTooLarge, |world| model(world).description = "x".repeat(limits::RESOURCE_BYTES), &["spec"]),
    (
        Code::KeysTooMany,
        |world| {
            let spec = world[3].spec.clone().expect("a key");
            world.extend((0..=limits::KEYS).map(|number| named(&format!("k{number}"), spec.clone())));
        },
        &["metadata.name"],
    ),
    (
        Code::EndpointsTooMany,
        |world| {
            let spec = world[ENDPOINT].spec.clone().expect("an endpoint");
            world.extend((0..=limits::ENDPOINTS).map(|number| named(&format!("e{number}"), spec.clone())));
        },
        &["metadata.name"],
    ),
    (Code::FieldMissing, |world| workspace(world).org.clear(), &["spec.org"]),
    (Code::FieldMissing, |world| key(world).workspace.clear(), &["spec.workspace"]),
    (Code::FieldMissing, |world| account(world).provider.clear(), &["spec.provider"]),
    (Code::FieldMissing, |world| policy(world).only = vec![String::new()], &["spec.only[0]"]),
    (Code::ReferenceDangling, |world| workspace(world).route_policy = "cheep".to_owned(), &["spec.routePolicy"]),
    (Code::ReferenceDangling, |world| policy(world).ignore = vec!["acme".to_owned(), "acne".to_owned()], &["spec.ignore[1]"]),
    (Code::ReferenceDangling, |world| endpoint(world).price_book = "other".to_owned(), &["spec.priceBook"]),
    (
        Code::ReferenceDangling,
        |world| {
            world.remove(PROVIDER);
        },
        &["spec.order[0]", "spec.provider", "spec.provider", "spec.allowedProviders[0]"],
    ),
    (Code::SecretSource, |world| account(world).secret = secret("", ""), &["spec.secret"]),
    (Code::SecretSource, |world| key(world).key_from = secret("A", "/b"), &["spec.keyFrom"]),
    (Code::SecretMalformed, |world| account(world).secret = secret("sk-1234", ""), &["spec.secret.env"]),
    (Code::SecretMalformed, |world| account(world).secret = secret("", "a\0b"), &["spec.secret.file"]),
    (Code::DialectUnknown, |world| provider(world).dialect = "open-ai".to_owned(), &["spec.dialect"]),
    (Code::DialectUnknown, |world| provider(world).dialect.clear(), &["spec.dialect"]),
    (Code::DialectUnknown, |world| provider(world).dialect = "Anthropic".to_owned(), &["spec.dialect"]),
    (Code::BaseUrlMalformed, |world| provider(world).base_url.push('/'), &["spec.baseUrl"]),
    (
        Code::HeaderReserved,
        |world| provider(world).headers = [("Authorization".to_owned(), "Bearer x".to_owned())].into(),
        &["spec.headers.Authorization"],
    ),
    (Code::HeaderMalformed, |world| provider(world).headers = [("x-a".to_owned(), "a\r\nb: c".to_owned())].into(), &["spec.headers.x-a"]),
    (Code::HeaderMalformed, |world| provider(world).headers = [("x a".to_owned(), "b".to_owned())].into(), &["spec.headers.x a"]),
    (
        Code::HeadersTooMany,
        |world| provider(world).headers = (0..17).map(|number| (format!("x-{number}"), String::new())).collect(),
        &["spec.headers"],
    ),
    (Code::StatusNotError, |world| provider(world).free_statuses = vec![429, 200, 600], &["spec.freeStatuses[1]", "spec.freeStatuses[2]"]),
    (Code::EnumUnknown, |world| provider(world).asks_usage = 9, &["spec.asksUsage"]),
    (Code::EnumUnknown, |world| provider(world).hang_up = -1, &["spec.hangUp"]),
    (Code::EnumUnknown, |world| account(world).secret_header = 3, &["spec.secretHeader"]),
    (Code::ModalityUnknown, |world| model(world).input_modalities.push("pdf".to_owned()), &["spec.inputModalities[1]"]),
    (Code::ModalityUnknown, |world| model(world).output_modalities.push("video".to_owned()), &["spec.outputModalities[1]"]),
    (Code::ParameterUnknown, |world| endpoint(world).supported_parameters.push("tool".to_owned()), &["spec.supportedParameters[1]"]),
    (
        Code::ReasoningControlUnknown,
        |world| endpoint(world).reasoning_controls = vec!["effort".to_owned(), "budget".to_owned()],
        &["spec.reasoningControls[1]"],
    ),
    (Code::QuantizationUnknown, |world| endpoint(world).quantization = "fp7".to_owned(), &["spec.quantization"]),
    (Code::SortUnknown, |world| policy(world).sort = "throughput".to_owned(), &["spec.sort"]),
    (Code::AttemptsTooMany, |world| policy(world).max_attempts = 17, &["spec.maxAttempts"]),
    (
        Code::AccountOfOtherProvider,
        |world| {
            let mut other = world[PROVIDER].clone();
            other.metadata = Some(Metadata { name: "other".to_owned(), ..Metadata::default() });
            world.push(other);
            account(world).provider = "other".to_owned();
        },
        &["spec.account"],
    ),
    (Code::EndpointUnpriced, |world| endpoint(world).price_book.clear(), &["spec.priceBook"]),
    (Code::EndpointUnpriced, |world| endpoint(world).price_item = "two".to_owned(), &["spec.priceItem"]),
    (Code::EndpointUnpriced, |world| endpoint(world).provider_model = "two".to_owned(), &["spec.providerModel"]),
    (
        Code::FieldMissing,
        |world| {
            let endpoint = endpoint(world);
            endpoint.provider_model.clear();
            endpoint.price_item = "one".to_owned();
        },
        &["spec.providerModel"],
    ),
    (Code::CurrencyUnknown, |world| book(world).currency = "EUR".to_owned(), &["spec.currency"]),
    (Code::DateMalformed, |world| book(world).as_of = "2026-02-29".to_owned(), &["spec.asOf"]),
    (
        Code::TimeMalformed,
        |world| book(world).entries[0].effective_from = Some(Timestamp { seconds: 0, nanos: -1 }),
        &["spec.entries[0].effectiveFrom"],
    ),
    (Code::TimeMalformed, |world| key(world).expire_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 }), &["spec.expireTime"]),
    (
        Code::EntryDuplicate,
        |world| {
            let entry = book(world).entries[0].clone();
            book(world).entries.push(entry);
        },
        &["spec.entries[1].item"],
    ),
    (Code::EntryEmpty, |world| book(world).entries.push(entry("two", vec![])), &["spec.entries[1].rates"]),
    (Code::FieldMissing, |world| book(world).entries.push(entry("", vec![rate("input", "1")])), &["spec.entries[1].item"]),
    (Code::MeterUnknown, |world| first_rate(world).meter = "inputs".to_owned(), &["spec.entries[0].rates[0].meter"]),
    (Code::TierMalformed, |world| first_rate(world).tier = "-".to_owned(), &["spec.entries[0].rates[0].tier"]),
    (Code::TierMalformed, |world| first_rate(world).tier = "a b".to_owned(), &["spec.entries[0].rates[0].tier"]),
    (Code::RateDuplicate, |world| book(world).entries[0].rates.push(rate("input", "3")), &["spec.entries[0].rates[2].meter"]),
    (Code::RatePrices, |world| first_rate(world).usd_each = "1".to_owned(), &["spec.entries[0].rates[0]"]),
    (Code::RatePrices, |world| first_rate(world).usd_per_million.clear(), &["spec.entries[0].rates[0]"]),
    (Code::PriceMalformed, |world| first_rate(world).usd_per_million = "1e-6".to_owned(), &["spec.entries[0].rates[0].usdPerMillion"]),
    (
        Code::PriceMalformed,
        |world| first_rate(world).usd_per_million = "0.0000000000001".to_owned(),
        &["spec.entries[0].rates[0].usdPerMillion"],
    ),
    (
        Code::PriceMalformed,
        |world| *first_rate(world) = Rate { meter: "request".to_owned(), usd_each: "9.3".to_owned(), ..Rate::default() },
        &["spec.entries[0].rates[0].usdEach"],
    ),
    (Code::PriceMalformed, |world| policy(world).max_prompt_price = "cheap".to_owned(), &["spec.maxPromptPrice"]),
    (Code::PriceNegative, |world| first_rate(world).usd_per_million = "-0.01".to_owned(), &["spec.entries[0].rates[0].usdPerMillion"]),
    (Code::PriceNegative, |world| policy(world).max_completion_price = "-1".to_owned(), &["spec.maxCompletionPrice"]),
    (Code::PriceNegative, |world| guardrail(world).max_prompt_price = "-1".to_owned(), &["spec.maxPromptPrice"]),
    (Code::PriceMalformed, |world| guardrail(world).max_completion_price = "free".to_owned(), &["spec.maxCompletionPrice"]),
    (Code::EnumUnknown, |world| guardrail(world).on_error = 3, &["spec.onError"]),
    (Code::ReferenceDangling, |world| guardrail(world).workspaces.push("teem".to_owned()), &["spec.workspaces[1]"]),
    (Code::ReferenceDangling, |world| guardrail(world).api_keys.push("gone".to_owned()), &["spec.apiKeys[1]"]),
    (Code::ReferenceDangling, |world| guardrail(world).ignored_providers = texts(&["acne"]), &["spec.ignoredProviders[0]"]),
    (Code::ReferenceDangling, |world| guardrail(world).allowed_models = texts(&["acme/*", "acme/two"]), &["spec.allowedModels[1]"]),
    (Code::ReferenceDangling, |world| guardrail(world).ignored_models = texts(&["acne/*"]), &["spec.ignoredModels[0]"]),
    (
        Code::PatternMalformed,
        |world| guardrail(world).allowed_models = texts(&["acme/*", "*", "", "acme/o*"]),
        &["spec.allowedModels[1]", "spec.allowedModels[2]", "spec.allowedModels[3]"],
    ),
    (Code::ListContradiction, |world| guardrail(world).ignored_models = texts(&["acme/*"]), &["spec.allowedModels[0]"]),
    // Each entry leaves something of the list, and all together nothing.
    (Code::ListContradiction, |world| guardrail(world).ignored_models = texts(&["acme/one"]), &["spec.allowedModels"]),
    (
        Code::ListContradiction,
        |world| {
            guardrail(world).allowed_models = texts(&["acme/one"]);
            guardrail(world).ignored_models = texts(&["acme/*"]);
        },
        &["spec.allowedModels[0]"],
    ),
    (Code::ListContradiction, |world| guardrail(world).ignored_providers = texts(&["acme"]), &["spec.allowedProviders[0]"]),
    (
        Code::MemberMalformed,
        |world| guardrail(world).members = texts(&["", " ann", "a\nb"]),
        &["spec.members[0]", "spec.members[1]", "spec.members[2]"],
    ),
    (Code::MemberMalformed, |world| key(world).member = "ann ".to_owned(), &["spec.member"]),
    (
        Code::GuardrailsTooMany,
        |world| {
            let spec = Spec::Guardrail(Guardrail { members: texts(&["bob", "ann@example.com"]), ..Guardrail::default() });
            world.extend((0..limits::GUARDRAILS_PER_SCOPE).map(|number| named(&format!("g{number}"), spec.clone())));
        },
        &["spec.members[1]"],
    ),
    (
        Code::GuardrailsTooMany,
        |world| {
            let spec = Spec::Guardrail(Guardrail::default());
            world.extend((0..limits::GUARDRAILS).map(|number| named(&format!("g{number}"), spec.clone())));
        },
        &["metadata.name"],
    ),
];

#[test]
fn a_world_without_faults_has_none() {
    assert_eq!(check(&world()), []);
    assert_eq!(check::<Resource>(&[]), []);
}

#[test]
fn every_known_word_is_taken() {
    for dialect in DIALECTS {
        let mut world = world();
        provider(&mut world).dialect = (*dialect).to_owned();
        endpoint(&mut world).reasoning_controls = REASONING_CONTROLS.iter().map(|word| (*word).to_owned()).collect();
        account(&mut world).secret_header = SecretHeader::XApiKey.into();
        assert_eq!(check(&world), [], "{dialect}");
    }
}

#[test]
fn each_broken_rule_is_reported_at_its_field_and_nothing_else_is() {
    for (row, (code, break_it, paths)) in ROWS.iter().enumerate() {
        let mut world = world();
        break_it(&mut world);
        let found = check(&world);
        let got: Vec<_> = found.iter().map(|violation| (violation.code, violation.path.as_str())).collect();
        let expected: Vec<_> = paths.iter().map(|path| (*code, *path)).collect();
        assert_eq!(got, expected, "row {row}: {found:?}");
        for Violation { message, .. } in &found {
            assert!(!message.is_empty() && !message.contains('\n'), "row {row}: {message}");
        }
    }
}

#[test]
fn every_code_has_a_row() {
    let covered: HashSet<Code> = ROWS.iter().map(|(code, ..)| *code).collect();
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !covered.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len(), "two codes have one name");
    assert!(Code::ALL.iter().all(|code| code.name().parse() == Ok(*code)));
}

#[test]
fn the_duplicate_is_told_by_its_place() {
    let mut world = world();
    world.push(world[0].clone());
    let found = check(&world);
    assert_eq!(found.iter().map(|violation| (violation.index, violation.kind)).collect::<Vec<_>>(), [(10, "Org")]);
}

#[test]
fn all_faults_are_reported_at_once() {
    let mut world = world();
    for (code, break_it, _) in ROWS {
        // These replace or multiply what the others break.
        if !matches!(
            code,
            Code::KeysTooMany | Code::EndpointsTooMany | Code::GuardrailsTooMany | Code::ReferenceDangling | Code::AccountOfOtherProvider
        ) {
            break_it(&mut world);
        }
    }
    let codes: HashSet<Code> = check(&world).into_iter().map(|violation| violation.code).collect();
    assert!(codes.len() >= 25, "{codes:?}");
}

#[test]
fn a_secret_is_never_repeated() {
    let mut world = world();
    account(&mut world).secret = secret("sk-very-secret", "");
    let text = format!("{:?}", check(&world));
    assert!(!text.contains("very-secret"), "{text}");
}

#[test]
fn references_go_to_kinds_that_come_first() {
    let order = |kind: Kind| Kind::ALL.iter().position(|other| *other == kind);
    for reference in REFERENCES {
        // A policy may stand before the providers that it names.
        assert!(reference.from == Kind::RoutePolicy || order(reference.to) < order(reference.from), "{reference:?}");
    }
}

#[test]
fn names_have_a_rule() {
    for (name, good) in [
        ("a", true),
        ("openai/gpt-4o", true),
        ("~acme/one@2:free", true),
        (&"a".repeat(128), true),
        ("", false),
        ("A", false),
        ("a b", false),
        ("ä", false),
        ("a\n", false),
        (&"a".repeat(129), false),
    ] {
        assert_eq!(name_fault(name).is_none(), good, "{name}");
    }
}

#[test]
fn base_urls_have_a_rule_and_a_good_one_can_be_called() {
    for (url, good) in [
        ("https://api.openai.com/v1", true),
        ("http://127.0.0.1:8080", true),
        ("http://[::1]:8080/v1", true),
        ("https://api.acme.example:443/a/b-c", true),
        ("", false),
        ("api.openai.com/v1", false),
        ("ftp://a/b", false),
        ("https://", false),
        ("https:///v1", false),
        ("https://a/v1/", false),
        ("https://a/", false),
        ("https://u:p@a/v1", false),
        ("https://a/v1?x=1", false),
        ("https://a#b", false),
        ("https://a b", false),
        ("https://a:0/v1", false),
        ("https://a:70000", false),
        ("https://a:", false),
        ("https://a:+1", false),
        ("https://[::1/v1", false),
        ("https://ä/v1", false),
    ] {
        assert_eq!(base_url_fault(url).is_none(), good, "{url}: {:?}", base_url_fault(url));
        assert!(!good || parse_base_url(url).is_ok(), "{url}");
    }
}

#[test]
fn the_nearest_word_is_the_one_with_the_fewest_errors() {
    let kinds = || Kind::ALL.iter().map(|kind| kind.name());
    for (word, expected) in
        [("Provder", Some("Provider")), ("endpoint", Some("Endpoint")), ("APIKey", Some("ApiKey")), ("Pod", None), ("", None)]
    {
        assert_eq!(nearest(word, kinds()), expected, "{word}");
    }
    assert_eq!(nearest(&"x".repeat(1000), kinds()), None);
}

#[test]
fn the_work_grows_with_the_world_and_not_with_its_square() {
    let of = |count: usize| {
        let mut world = world();
        let spec = world[ENDPOINT].spec.clone().expect("an endpoint");
        world.extend((0..count).map(|number| {
            let mut spec = spec.clone();
            if let Spec::Endpoint(endpoint) = &mut spec {
                endpoint.model = format!("nowhere/{number}");
            }
            named(&format!("e{number}"), spec)
        }));
        world
    };
    // Every one of them has a dangling reference: the dearest case, since near names are looked for.
    let found = check(&of(limits::ENDPOINTS - 1));
    assert_eq!(found.len(), limits::ENDPOINTS - 1);
    assert!(found.iter().all(|violation| violation.code == Code::ReferenceDangling));
}
