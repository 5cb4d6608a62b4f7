use std::sync::Arc;

use waybill_proto::model::v1::{Endpoint, Metadata, Model, Provider, ProviderAccount, Resource, SecretHeader, SecretRef, resource::Spec};

use super::compile;
use crate::{
    resource::Kind,
    snapshot::{Credential, Found, Secret},
    world::World,
};

fn world(dialect: &str, secret: Option<&str>, secret_header: SecretHeader, reasoning_controls: &[&str]) -> World {
    let resource = |name: &str, spec| {
        let metadata = Metadata { name: name.to_owned(), uid: name.to_owned(), generation: 1, ..Metadata::default() };
        Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
    };
    let base_url = "https://api.acme.example/v1".to_owned();
    let secret = secret.map(|env| SecretRef { env: env.to_owned(), file: String::new() });
    let endpoint = Endpoint {
        model: "acme/one".to_owned(),
        provider: "acme".to_owned(),
        account: "acme".to_owned(),
        provider_model: "one".to_owned(),
        allow_unpriced: true,
        reasoning_controls: reasoning_controls.iter().map(|word| (*word).to_owned()).collect(),
        ..Endpoint::default()
    };
    let account = ProviderAccount { provider: "acme".to_owned(), secret, secret_header: secret_header.into() };
    World::new(
        1,
        vec![
            resource("acme", Spec::Provider(Provider { dialect: dialect.to_owned(), base_url, ..Provider::default() })),
            resource("acme", Spec::ProviderAccount(account)),
            resource("acme/one", Spec::Model(Model::default())),
            resource("acme/one@acme", Spec::Endpoint(endpoint)),
        ],
    )
}

fn secrets(reference: &SecretRef) -> Option<Secret> {
    (reference.env == "SET").then(|| Secret::new("s"))
}

#[test]
fn a_secret_goes_out_in_the_header_of_the_account_or_else_of_the_dialect() {
    let bearer = || Credential::Bearer(Secret::new("s"));
    let header = || Credential::ApiKeyHeader(Secret::new("s"));
    for (dialect, secret, said, expected) in [
        ("openai", Some("SET"), SecretHeader::Unspecified, bearer()),
        ("openai", Some("SET"), SecretHeader::Bearer, bearer()),
        ("openai", Some("SET"), SecretHeader::XApiKey, header()),
        ("anthropic", Some("SET"), SecretHeader::Unspecified, header()),
        ("anthropic", Some("SET"), SecretHeader::XApiKey, header()),
        ("anthropic", Some("SET"), SecretHeader::Bearer, bearer()),
        ("anthropic", Some("UNSET"), SecretHeader::XApiKey, Credential::Missing),
        ("openai", Some("UNSET"), SecretHeader::Unspecified, Credential::Missing),
        ("anthropic", None, SecretHeader::XApiKey, Credential::None),
        ("openai", None, SecretHeader::Unspecified, Credential::None),
    ] {
        let compiled = compile(&world(dialect, secret, said, &[]), &secrets);
        let got: Vec<_> = compiled.snapshot.endpoints().iter().map(|endpoint| endpoint.account.credential.clone()).collect();
        assert_eq!(got, [expected], "{dialect} {secret:?} {said:?}: {:?}", compiled.rejected);
    }
}

#[test]
fn a_provider_of_another_dialect_is_left_out_with_its_field() {
    for (dialect, served) in [("openai", true), ("anthropic", true), ("", false), ("Anthropic", false), ("gemini", false)] {
        let compiled = compile(&world(dialect, None, SecretHeader::Unspecified, &[]), &secrets);
        assert_eq!(compiled.snapshot.endpoints().len(), usize::from(served), "{dialect}");
        let faults: Vec<_> = compiled.rejected.iter().map(|fault| (fault.kind, fault.code, fault.field)).collect();
        let expected = [(Kind::Provider, "unknown_dialect", "dialect"), (Kind::Endpoint, "dangling_reference", "provider")];
        assert_eq!(faults, if served { &[][..] } else { &expected[..] }, "{dialect}");
    }
}

#[test]
fn a_model_is_found_by_its_names_and_by_its_providers_own() {
    let resource = |name: &str, spec| {
        let metadata = Metadata { name: name.to_owned(), uid: name.to_owned(), generation: 1, ..Metadata::default() };
        Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
    };
    let mut resources: Vec<_> =
        world("openai", None, SecretHeader::Unspecified, &[]).iter().map(|(_, entry)| Arc::clone(&entry.resource)).collect();
    for (model, own) in [
        ("a/x-4.5", "x-4-5"),
        ("b/x-4.5", "host/x-4-5"),
        ("a/y", "shared"),
        ("b/z", "shared"),
        ("a/taken", "one"),
        ("b/w.1", "w-1"),
        ("b/w.1", "w-one"),
    ] {
        resources.push(resource(model, Spec::Model(Model::default())));
        let endpoint = Endpoint {
            model: model.to_owned(),
            provider: "acme".to_owned(),
            account: "acme".to_owned(),
            provider_model: own.to_owned(),
            allow_unpriced: true,
            ..Endpoint::default()
        };
        resources.push(resource(&format!("{model}:{own}@acme").replace("host/", ""), Spec::Endpoint(endpoint)));
    }
    let compiled = compile(&World::new(1, resources), &secrets);
    assert_eq!(compiled.rejected, []);
    for (asked, expected) in [
        ("a/x-4.5", "a/x-4.5"),
        ("x-4.5", "ambiguous"),
        ("x-4-5", "a/x-4.5"),
        ("a/x-4-5", "a/x-4.5"),
        ("b/x-4-5", "none"),
        ("host/x-4-5", "none"),
        ("shared", "ambiguous"),
        ("a/shared", "a/y"),
        ("b/shared", "b/z"),
        // A slug is never another model's other name.
        ("one", "acme/one"),
        ("acme/one", "acme/one"),
        ("a/one", "a/taken"),
        ("w-1", "b/w.1"),
        ("w-one", "b/w.1"),
        ("w", "none"),
    ] {
        let found = match compiled.snapshot.model(asked) {
            Found::Model(model) => &*model.name,
            Found::Ambiguous => "ambiguous",
            Found::None => "none",
        };
        assert_eq!(found, expected, "{asked}");
    }
}

#[test]
fn reasoning_controls_reach_the_snapshot_in_order() {
    for (said, expected) in [(&["toggle", "adaptive", "effort"][..], "adaptive effort toggle"), (&[][..], "")] {
        let compiled = compile(&world("anthropic", None, SecretHeader::Unspecified, said), &secrets);
        let got: Vec<_> = compiled.snapshot.endpoints().iter().map(|endpoint| endpoint.reasoning_controls.join(" ")).collect();
        assert_eq!(got, [expected]);
    }
}
