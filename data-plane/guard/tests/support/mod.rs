//! A small world to guard, built the way a proxy gets it: resources → compile → snapshot and the bounds of its one key.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use waybill_model::{compile::compile, guardrail::Bounds, snapshot::Snapshot, world::World};
use waybill_proto::model::v1::{
    ApiKey, Endpoint, Guardrail, Metadata, Model, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, Workspace,
    resource::Spec,
};

/// The instant at which the tests judge, milliseconds since 1970.
pub const NOW: i64 = 1_800_000_000_000;

/// pico-USD of one USD.
pub const USD: i64 = 1_000_000_000_000;

/// An endpoint of the world, called `model@provider`.
#[derive(Clone, Debug)]
pub struct Row {
    pub model: &'static str,
    pub provider: &'static str,
    /// USD per million tokens, prompt and completion; `None` = no price.
    pub price: Option<(i64, i64)>,
    pub zero_data_retention: bool,
    pub trains_on_prompts: bool,
}

/// What there is to call. A prompt of `lab/a@p` above 200,000 tokens costs twice as much.
pub fn endpoints() -> Vec<Row> {
    let row = |model, provider, price, zero_data_retention, trains_on_prompts| Row {
        model,
        provider,
        price,
        zero_data_retention,
        trains_on_prompts,
    };
    vec![
        row("lab/a", "p", Some((3, 15)), false, false),
        row("lab/a", "q/eu", Some((1, 2)), true, false),
        row("lab/b", "q", Some((2, 14)), false, true),
        row("own/x", "q", None, false, false),
    ]
}

pub fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub fn guardrail(name: &str, spec: Guardrail) -> Arc<Resource> {
    resource(name, Spec::Guardrail(spec))
}

/// The world with these Guardrails, and what holds for its key `k` of the member `ann` in the workspace `w`.
pub fn snapshot(guardrails: &[Arc<Resource>]) -> (Snapshot, Arc<Bounds>) {
    let mut resources = guardrails.to_vec();
    let key = ApiKey { workspace: "w".into(), member: "ann".into(), hash: vec![1; 16].into(), ..ApiKey::default() };
    resources.push(resource("w", Spec::Workspace(Workspace { org: "o".into(), ..Workspace::default() })));
    resources.push(resource("k", Spec::ApiKey(key)));
    for row in endpoints() {
        let provider = Provider { dialect: "openai".into(), base_url: "http://127.0.0.1:9/v1".into(), ..Provider::default() };
        resources.push(resource(row.provider, Spec::Provider(provider)));
        resources
            .push(resource(row.provider, Spec::ProviderAccount(ProviderAccount { provider: row.provider.into(), ..Default::default() })));
        resources.push(resource(row.model, Spec::Model(Model::default())));
        let name = format!("{}@{}", row.model, row.provider);
        let endpoint = Endpoint {
            model: row.model.into(),
            provider: row.provider.into(),
            account: row.provider.into(),
            provider_model: name.clone(),
            price_book: row.price.map(|_| name.clone()).unwrap_or_default(),
            allow_unpriced: row.price.is_none(),
            zero_data_retention: row.zero_data_retention,
            trains_on_prompts: row.trains_on_prompts,
            ..Endpoint::default()
        };
        resources.push(resource(&name, Spec::Endpoint(endpoint)));
        if let Some((prompt, completion)) = row.price {
            let rate = |meter: &str, above_input_tokens, usd: i64| Rate {
                meter: meter.into(),
                above_input_tokens,
                usd_per_million: usd.to_string(),
                ..Rate::default()
            };
            let rates = vec![rate("input", 0, prompt), rate("input", 200_000, prompt * 2), rate("output", 0, completion)];
            let entries = vec![PriceEntry { item: name.clone(), effective_from: None, rates }];
            resources.push(resource(&name, Spec::PriceBook(PriceBook { currency: "USD".into(), entries, ..PriceBook::default() })));
        }
    }
    let snapshot = compile(&World::new(1, resources), &|_| None).snapshot;
    let bounds = Arc::clone(&snapshot.key(&[1; 16]).expect("the key").bounds);
    (snapshot, bounds)
}

fn resource(name: &str, spec: Spec) -> Arc<Resource> {
    let metadata = Metadata { name: name.into(), uid: format!("{}:{name}", kind(&spec)), generation: 1, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}

fn kind(spec: &Spec) -> &'static str {
    match spec {
        Spec::Provider(_) => "provider",
        Spec::ProviderAccount(_) => "account",
        Spec::Model(_) => "model",
        Spec::Endpoint(_) => "endpoint",
        Spec::Guardrail(_) => "guardrail",
        Spec::Workspace(_) => "workspace",
        Spec::ApiKey(_) => "key",
        _ => "book",
    }
}
