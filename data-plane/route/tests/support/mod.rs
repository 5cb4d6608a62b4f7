//! Worlds to route in, built the way a proxy gets them: resources → compile → snapshot.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use waybill_model::{
    compile::compile,
    snapshot::{RoutePolicy, Secret, Snapshot},
    world::World,
};
use waybill_proto::model::v1::{
    Endpoint, Guardrail, Metadata, Model, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, SecretRef, resource::Spec,
};
use waybill_route::Place;

/// The instant at which the tests route, milliseconds since 1970.
pub const NOW: i64 = 1_800_000_000_000;

/// An endpoint as a row of a table; the model's name is `author/slug`, and the endpoint is called `slug@provider`.
#[derive(Clone, Debug)]
pub struct Row {
    pub model: &'static str,
    pub provider: &'static str,
    /// USD per million tokens, prompt and completion, and USD per request; `None` = no price.
    pub price: Option<(&'static str, &'static str, &'static str)>,
    pub spec: Endpoint,
    pub secret: Option<&'static str>,
}

pub fn row(model: &'static str, provider: &'static str, prompt: &'static str, completion: &'static str) -> Row {
    Row { model, provider, price: Some((prompt, completion, "0")), spec: Endpoint::default(), secret: None }
}

impl Row {
    pub fn with(mut self, change: impl FnOnce(&mut Endpoint)) -> Self {
        change(&mut self.spec);
        self
    }

    pub fn unpriced(mut self) -> Self {
        self.price = None;
        self
    }

    pub fn fee(mut self, each: &'static str) -> Self {
        self.price = self.price.map(|(prompt, completion, _)| (prompt, completion, each));
        self
    }

    pub fn secret(mut self, variable: &'static str) -> Self {
        self.secret = Some(variable);
        self
    }

    pub fn name(&self) -> String {
        let (_, slug) = self.model.split_once('/').expect("author/slug");
        format!("{slug}@{}", self.provider)
    }
}

/// The snapshot of these endpoints. Secrets of variables that begin with `SET` are there, all others are missing.
pub fn snapshot(rows: &[Row]) -> Snapshot {
    snapshot_of(rows, &[])
}

/// As [`snapshot`], with output modalities for all models.
pub fn snapshot_of(rows: &[Row], output_modalities: &[&str]) -> Snapshot {
    let mut resources = vec![resource("strict", Spec::Guardrail(Guardrail::default()))];
    for row in rows {
        resources.push(resource(
            row.provider,
            Spec::Provider(Provider { dialect: "openai".into(), base_url: "http://127.0.0.1:9/v1".into(), ..Provider::default() }),
        ));
        let secret = row.secret.map(|variable| SecretRef { env: variable.into(), file: String::new() });
        resources.push(resource(
            &row.name(),
            Spec::ProviderAccount(ProviderAccount { provider: row.provider.into(), secret, ..Default::default() }),
        ));
        let modalities = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let input_modalities = if row.model.ends_with("text-only") { modalities(&["text"]) } else { Vec::new() };
        resources.push(resource(
            row.model,
            Spec::Model(Model { input_modalities, output_modalities: modalities(output_modalities), ..Model::default() }),
        ));
        resources.push(resource(
            &row.name(),
            Spec::Endpoint(Endpoint {
                model: row.model.into(),
                provider: row.provider.into(),
                account: row.name(),
                provider_model: row.model.into(),
                price_book: row.price.map(|_| row.name()).unwrap_or_default(),
                ..row.spec.clone()
            }),
        ));
        if let Some((prompt, completion, request)) = row.price {
            let rates = vec![
                per_million("input", prompt),
                per_million("output", completion),
                Rate { meter: "request".into(), usd_each: request.into(), ..Rate::default() },
            ];
            let entries = vec![PriceEntry { item: row.model.into(), effective_from: None, rates }];
            resources.push(resource(&row.name(), Spec::PriceBook(PriceBook { currency: "USD".into(), entries, ..PriceBook::default() })));
        }
    }
    let secrets = |reference: &SecretRef| reference.env.starts_with("SET").then(|| Secret::new("s3cret"));
    let compiled = compile(&World::new(7, resources), &secrets);
    assert_eq!(compiled.rejected, [], "the world of the test compiles");
    compiled.snapshot
}

/// An endpoint by its name alone. In these worlds each has an account of its own, which is called as it is.
pub fn place(endpoint: &str) -> Place<'_> {
    Place { endpoint, account: endpoint }
}

pub fn policy() -> RoutePolicy {
    RoutePolicy { max_attempts: 4, ..RoutePolicy::default() }
}

pub fn names(words: &[&str]) -> Vec<Box<str>> {
    words.iter().map(|word| (*word).into()).collect()
}

fn per_million(meter: &str, usd: &str) -> Rate {
    Rate { meter: meter.into(), usd_per_million: usd.into(), ..Rate::default() }
}

fn resource(name: &str, spec: Spec) -> Arc<Resource> {
    let kind = match &spec {
        Spec::Provider(_) => "provider",
        Spec::ProviderAccount(_) => "account",
        Spec::Model(_) => "model",
        Spec::Endpoint(_) => "endpoint",
        Spec::Guardrail(_) => "guardrail",
        _ => "book",
    };
    let metadata = Metadata { name: name.into(), uid: format!("{kind}:{name}"), generation: 1, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}
