//! Resources and worlds for the tests of this crate.

use std::{collections::BTreeMap, sync::Arc};

use waybill_model::{
    resource::Kind,
    world::{Key, World},
};
use waybill_proto::model::v1::{
    ApiKey, Endpoint, Guardrail, Metadata, Model, OnError, Org, Provider, ProviderAccount, Resource, RoutePolicy, Workspace, resource::Spec,
};

pub fn resource(name: &str, generation: u64, spec: Spec) -> Arc<Resource> {
    let metadata = Metadata { name: name.to_owned(), uid: format!("uid-{name}"), generation, ..Metadata::default() };
    Arc::new(Resource { metadata: Some(metadata), spec: Some(spec) })
}

pub fn key(kind: Kind, name: &str) -> Key {
    Key { kind, uid: format!("uid-{name}").into() }
}

pub fn org(name: &str, text: &str) -> Arc<Resource> {
    resource(name, 1, Spec::Org(Org { display_name: text.to_owned() }))
}

pub fn provider(generation: u64, base_url: &str) -> Arc<Resource> {
    let spec = Provider { dialect: "openai".to_owned(), base_url: base_url.to_owned(), ..Provider::default() };
    resource("prov", generation, Spec::Provider(spec))
}

pub fn account() -> Arc<Resource> {
    resource("acc", 1, Spec::ProviderAccount(ProviderAccount { provider: "prov".to_owned(), ..ProviderAccount::default() }))
}

pub fn model(name: &str) -> Arc<Resource> {
    resource(name, 1, Spec::Model(Model { context_window: 1000, ..Model::default() }))
}

pub fn endpoint(name: &str, generation: u64, model: &str, provider_model: &str) -> Arc<Resource> {
    let spec = Endpoint {
        model: model.to_owned(),
        provider: "prov".to_owned(),
        account: "acc".to_owned(),
        provider_model: provider_model.to_owned(),
        ..Endpoint::default()
    };
    resource(name, generation, Spec::Endpoint(spec))
}

pub fn policy(name: &str, max_prompt_price: &str) -> Arc<Resource> {
    resource(name, 1, Spec::RoutePolicy(RoutePolicy { max_prompt_price: max_prompt_price.to_owned(), ..RoutePolicy::default() }))
}

pub fn workspace(name: &str, route_policy: &str) -> Arc<Resource> {
    resource(name, 1, Spec::Workspace(Workspace { org: "org".to_owned(), route_policy: route_policy.to_owned(), ..Workspace::default() }))
}

/// A Guardrail of the workspace `ws` with this limit of the prompt price.
pub fn guardrail(generation: u64, max_prompt_price: &str, on_error: OnError) -> Arc<Resource> {
    let spec = Guardrail {
        workspaces: vec!["ws".to_owned()],
        max_prompt_price: max_prompt_price.to_owned(),
        on_error: on_error.into(),
        ..Guardrail::default()
    };
    resource("rail", generation, Spec::Guardrail(spec))
}

pub fn api_key(name: &str, workspace: &str, hash: &[u8], disabled: bool) -> Arc<Resource> {
    let spec = ApiKey { workspace: workspace.to_owned(), hash: hash.to_vec().into(), disabled, ..ApiKey::default() };
    resource(name, 1, Spec::ApiKey(spec))
}

/// What a world holds, without its own hashes: what tests compare.
pub fn content(world: &World) -> BTreeMap<(&'static str, String), Resource> {
    world.iter().map(|(kind, entry)| ((kind.name(), entry.uid().into_owned()), Arc::unwrap_or_clone(entry.resource()))).collect()
}

/// A small generator for simulations: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
