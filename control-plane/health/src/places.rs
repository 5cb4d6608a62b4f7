//! What the configuration says of endpoints, as far as their health is concerned.

use std::collections::BTreeMap;

use waybill_model::{
    resource::{Kind, metadata},
    world::World,
};
use waybill_proto::model::v1::resource::Spec;

/// One endpoint in service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Name of its Model.
    pub model: String,
    /// Name of its Provider.
    pub provider: String,
    /// Name of its ProviderAccount.
    pub account: String,
}

/// The endpoints in service, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Places {
    /// The revision they are of.
    pub revision: u64,
    by_name: BTreeMap<String, Place>,
}

impl Places {
    /// Those of a world.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let endpoints = world.of_kind(Kind::Endpoint).filter_map(|resource| match &resource.spec {
            Some(Spec::Endpoint(endpoint)) if !endpoint.disabled => {
                let (model, provider, account) = (endpoint.model.clone(), endpoint.provider.clone(), endpoint.account.clone());
                Some((metadata(&resource).name.clone(), Place { model, provider, account }))
            }
            _ => None,
        });
        Self { revision: world.revision(), by_name: endpoints.collect() }
    }

    /// Those of a list.
    #[must_use]
    pub fn new(revision: u64, endpoints: impl IntoIterator<Item = (String, Place)>) -> Self {
        Self { revision, by_name: endpoints.into_iter().collect() }
    }

    /// One endpoint.
    #[must_use]
    pub fn get(&self, endpoint: &str) -> Option<&Place> {
        self.by_name.get(endpoint)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.by_name.iter().map(|(name, place)| (name.as_str(), place))
    }
}
