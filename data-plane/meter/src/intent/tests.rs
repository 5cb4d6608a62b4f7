use std::sync::Arc;

use prost::Message;
use waybill_model::{
    compile::compile,
    meter::Meter,
    price::Rate,
    snapshot::{Found, Secret},
    world::World,
};
use waybill_proto::{
    model::v1::{self as model, resource::Spec},
    usage::v1::{Attempt, Candidate, Lane, Line, Reason},
};

use super::*;

fn resource(name: &str, spec: Spec) -> Arc<model::Resource> {
    let metadata = model::Metadata { name: name.into(), uid: format!("uid-{name}"), generation: 1, ..model::Metadata::default() };
    Arc::new(model::Resource { metadata: Some(metadata), spec: Some(spec) })
}

/// One with a name for everything.
fn endpoint() -> Arc<Endpoint> {
    let provider = model::Provider { dialect: "openai".into(), base_url: "http://127.0.0.1:1/v1".into(), ..model::Provider::default() };
    let secret = model::SecretRef { env: "X".into(), file: String::new() };
    let endpoint = model::Endpoint {
        model: "author/slug".into(),
        provider: "provider".into(),
        account: "account".into(),
        provider_model: "theirs".into(),
        ..model::Endpoint::default()
    };
    let resources = [
        resource("provider", Spec::Provider(provider)),
        resource(
            "account",
            Spec::ProviderAccount(model::ProviderAccount {
                provider: "provider".into(),
                secret: Some(secret),
                ..model::ProviderAccount::default()
            }),
        ),
        resource("author/slug", Spec::Model(model::Model::default())),
        resource("endpoint", Spec::Endpoint(endpoint)),
    ];
    let snapshot = compile(&World::new(1, resources), &|_| Some(Secret::new("secret"))).snapshot;
    let Found::Model(model) = snapshot.model("author/slug") else { panic!("the model was compiled") };
    Arc::clone(&model.endpoints[0])
}

fn key() -> ApiKey {
    ApiKey {
        uid: "uid".into(),
        name: "key".into(),
        display_name: "".into(),
        prefix: "".into(),
        workspace: None,
        expire_unix_ms: None,
        disabled: false,
        omit_cost: false,
        bounds: Arc::default(),
    }
}

/// Writes an intent and reads it back with the generated code; also its length.
fn written(decision: Decision, requested_model: &str, bound: &Bill, tariff: &Tariff, shed: bool) -> (usize, Attempt) {
    let workspace = Workspace { name: "workspace".into(), org: "org".into(), policy: Arc::default() };
    let intent = Intent {
        generation: &[2; 16],
        number: 300,
        workspace: &workspace,
        key: &key(),
        endpoint: &endpoint(),
        revision: 1 << 40,
        unbounded: vec!["image_url", "file"],
        decision: Some(decision),
        requested_model,
        streamed: true,
        surface: "/v1",
        http_referer: "https://example.com",
        app_title: "title",
        dialect: "anthropic",
        lane: Lane::Translated,
        notices: 3,
    };
    let mut payload = Vec::new();
    intent.write(Reserved { attempt: &[1; 16], start_unix_us: 5, tariff: Some(tariff), bound, shed }, &mut payload);
    (payload.len(), Attempt::decode(&payload[..]).expect("an attempt"))
}

#[test]
fn every_field_is_read_back_as_the_generated_code_has_it() {
    let rate = |meter, tier: &str, picousd_per_million| Rate { meter, tier: tier.into(), above_input_tokens: 0, picousd_per_million };
    let tariff = Tariff::new([rate(Meter::Input, "", 2_000_000), rate(Meter::Output, "flex", 8_000_000)]);
    let candidate = |endpoint: &str, rank, score| Candidate {
        endpoint: endpoint.to_owned(),
        reason: Reason::ContextLength.into(),
        rank,
        score,
        detail: "detail".repeat(10),
    };
    let candidates = vec![candidate("a", 1, 1 << 20), candidate("b", 0, 0)];
    let decision = Decision { revision: 1, deny_epoch: 2, seed: u64::MAX, candidates, more: 9 };
    let line = |meter: &str, tier: &str, quantity, rate_picousd, amount_picousd| Line {
        meter: meter.to_owned(),
        tier: tier.to_owned(),
        above_input_tokens: 0,
        quantity,
        rate_picousd,
        amount_picousd,
    };
    let expected = Attempt {
        shed: false,
        attempt_id: vec![1; 16].into(),
        generation_id: vec![2; 16].into(),
        number: 300,
        org: "org".into(),
        workspace: "workspace".into(),
        api_key: "key".into(),
        endpoint: "endpoint".into(),
        model: "author/slug".into(),
        provider: "provider".into(),
        account: "account".into(),
        provider_model: "theirs".into(),
        price_version: tariff.version().as_str().into(),
        revision: 1 << 40,
        start_unix_us: 5,
        reservation_picousd: 600,
        bound: vec![line("input", "", 100, 2_000_000, 200), line("output", "flex", 50, 8_000_000, 400)],
        unbounded: vec!["image_url".into(), "file".into()],
        decision: Some(decision.clone()),
        requested_model: "asked".into(),
        streamed: true,
        surface: "/v1".into(),
        http_referer: "https://example.com".into(),
        app_title: "title".into(),
        caller_dialect: "anthropic".into(),
        endpoint_dialect: "openai".into(),
        lane: Lane::Translated.into(),
        notices: 3,
    };
    assert_eq!(written(decision.clone(), "asked", &tariff.bound(100, 50), &tariff, false).1, expected);
    let shed = Attempt { shed: true, decision: None, http_referer: String::new(), app_title: String::new(), ..expected };
    assert_eq!(written(decision, "asked", &tariff.bound(100, 50), &tariff, true).1, shed, "identity and money stay");
}

#[test]
fn a_long_decision_is_cut_and_what_is_cut_is_counted() {
    let candidate = Candidate { endpoint: "e".repeat(100), detail: "d".repeat(500), ..Candidate::default() };
    let decision = Decision { candidates: vec![candidate; 64], more: 3, ..Decision::default() };
    let (bytes, attempt) = written(decision, &"ü".repeat(500), &Bill::default(), &Tariff::new([]), false);
    assert!(bytes <= PAYLOAD_BYTES - EVENT_BYTES);
    assert_eq!(attempt.requested_model, "ü".repeat(64));
    let decision = attempt.decision.expect("kept");
    assert!(!decision.candidates.is_empty());
    assert_eq!(decision.candidates.len() as u32 + decision.more, 67);
}
