use std::sync::Arc;

use waybill_proto::model::v1::{
    ApiKey, Endpoint, Guardrail, Metadata, Model, Provider, ProviderAccount, Resource, SecretHeader, SecretRef, Workspace, resource::Spec,
};

use super::compile;
use crate::{
    guardrail::{closed, is_closed},
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
    let mut resources: Vec<_> = world("openai", None, SecretHeader::Unspecified, &[]).resources().collect();
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

fn named(kind: &str, name: &str, spec: Spec) -> Arc<Resource> {
    let metadata = Metadata { name: name.to_owned(), uid: format!("{kind}-{name}"), generation: 3, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}

/// Three keys: `a` and `b` in the workspace `w`, `b` of the member `ann`, `c` in the workspace `v`.
fn keys() -> Vec<Arc<Resource>> {
    let key = |number: u8, workspace: &str, member: &str| {
        Spec::ApiKey(ApiKey {
            workspace: workspace.to_owned(),
            member: member.to_owned(),
            hash: vec![number; 16].into(),
            ..ApiKey::default()
        })
    };
    let workspace = || Spec::Workspace(Workspace { org: "o".to_owned(), ..Workspace::default() });
    vec![
        named("workspace", "w", workspace()),
        named("workspace", "v", workspace()),
        named("key", "a", key(1, "w", "")),
        named("key", "b", key(2, "w", "ann")),
        named("key", "c", key(3, "v", "")),
    ]
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The Guardrails of each of the three keys, and `!` with the name of one that closes it.
fn held(compiled: &super::Compiled) -> [String; 3] {
    [1_u8, 2, 3].map(|number| {
        let bounds = &compiled.snapshot.key(&[number; 16]).expect("a key").bounds;
        let names = bounds.guardrails.iter().map(|guardrail| guardrail.name.to_string());
        let closed = bounds.unusable.iter().map(|name| format!("!{name}"));
        names.chain(closed).collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn the_guardrails_of_a_key_are_those_of_its_workspace_its_member_and_its_own() {
    let guardrail = |name: &str, workspaces: &[&str], members: &[&str], api_keys: &[&str]| {
        let spec = Guardrail { workspaces: texts(workspaces), members: texts(members), api_keys: texts(api_keys), ..Guardrail::default() };
        named("guardrail", name, Spec::Guardrail(spec))
    };
    let mut resources = keys();
    resources.extend([
        guardrail("nobody", &[], &["", "eve"], &[]),
        guardrail("all", &["v", "w"], &["ann"], &["a", "a"]),
        guardrail("one", &[], &[], &["c"]),
        guardrail("ann", &[], &["ann"], &[]),
    ]);
    let compiled = compile(&World::new(1, resources), &secrets);
    assert_eq!(compiled.rejected, []);
    assert_eq!(held(&compiled), ["all", "all ann", "all one"]);
    let names: Vec<_> = compiled.snapshot.guardrails().iter().map(|guardrail| (&*guardrail.name, guardrail.index)).collect();
    assert_eq!(names, [("all", 0), ("ann", 1), ("nobody", 2), ("one", 3)]);
    assert_eq!(held(&compile(&World::new(1, keys()), &secrets)), ["", "", ""]);
}

#[test]
fn keys_with_the_same_guardrails_share_their_bounds() {
    let mut resources = keys();
    resources.push(named("guardrail", "g", Spec::Guardrail(Guardrail { workspaces: texts(&["w"]), ..Guardrail::default() })));
    let compiled = compile(&World::new(1, resources), &secrets);
    let bounds = |number: u8| compiled.snapshot.key(&[number; 16]).expect("a key").bounds.clone();
    assert!(Arc::ptr_eq(&bounds(1), &bounds(2)) && !Arc::ptr_eq(&bounds(1), &bounds(3)));
}

#[test]
fn a_guardrail_that_cannot_be_compiled_closes_its_scope() {
    type Break = fn(&mut Guardrail);
    let rows: [(Break, &str, &str); 7] = [
        (|spec| spec.allowed_models = texts(&["lab/*", "*"]), "bad_pattern", "allowedModels"),
        (|spec| spec.ignored_models = texts(&["lab/*", ""]), "bad_pattern", "ignoredModels"),
        (|spec| spec.allowed_providers = texts(&["p", ""]), "bad_pattern", "allowedProviders"),
        (|spec| spec.ignored_providers = texts(&[""]), "bad_pattern", "ignoredProviders"),
        (|spec| spec.max_prompt_price = "cheap".to_owned(), "bad_price", "maxPromptPrice"),
        (|spec| spec.max_completion_price = "1e3".to_owned(), "bad_price", "maxCompletionPrice"),
        (|spec| spec.on_error = 9, "unknown_value", "onError"),
    ];
    for (break_it, code, field) in rows {
        let mut spec = Guardrail { workspaces: texts(&["w"]), api_keys: texts(&["a"]), ..Guardrail::default() };
        break_it(&mut spec);
        let good = Guardrail { workspaces: texts(&["w", "v"]), ..Guardrail::default() };
        let broken = named("guardrail", "broken", Spec::Guardrail(spec));
        let mut resources = keys();
        resources.extend([Arc::clone(&broken), named("guardrail", "good", Spec::Guardrail(good))]);
        let compiled = compile(&World::new(1, resources.clone()), &secrets);
        let faults: Vec<_> = compiled.rejected.iter().map(|fault| (fault.kind, &*fault.name, fault.code, fault.field)).collect();
        assert_eq!(faults, [(Kind::Guardrail, "broken", code, field)]);
        assert_eq!(held(&compiled), ["good !broken", "good !broken", "good"], "{field}");
        // What stands in its place closes the same scope, and is no fault of its own.
        assert!(!is_closed(&broken));
        let instead = closed(&broken).expect("a Guardrail");
        assert!(is_closed(&instead));
        resources[5] = Arc::new(instead);
        let compiled = compile(&World::new(1, resources), &secrets);
        assert_eq!((held(&compiled), compiled.rejected), (["good !broken", "good !broken", "good"].map(str::to_owned), vec![]));
    }
    assert_eq!(closed(&keys()[0]), None);
}
