//! Resources as the code sees them: their kinds, and what every one of them has.

use std::{fmt, str::FromStr};

use waybill_proto::model::v1::{Metadata, Resource, resource::Spec};

/// The kind of a resource.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A tenant.
    Org,
    /// A group of keys within a tenant.
    Workspace,
    /// What lets an application in.
    ApiKey,
    /// A host that answers calls.
    Provider,
    /// An account at a provider.
    ProviderAccount,
    /// What callers ask for.
    Model,
    /// One model at one provider through one account.
    Endpoint,
    /// Bounds and order of the choice of endpoints.
    RoutePolicy,
    /// Dated prices of a provider's items.
    PriceBook,
    /// Bounds of what keys may call.
    Guardrail,
}

impl Kind {
    /// All kinds, each after the kinds it refers to: the order in which upserts are safe.
    pub const ALL: [Self; 10] = [
        Self::Org,
        Self::Provider,
        Self::RoutePolicy,
        Self::Workspace,
        Self::ApiKey,
        Self::ProviderAccount,
        Self::Model,
        Self::Guardrail,
        Self::PriceBook,
        Self::Endpoint,
    ];

    /// The name in documents, on the command line and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Org => "Org",
            Self::Workspace => "Workspace",
            Self::ApiKey => "ApiKey",
            Self::Provider => "Provider",
            Self::ProviderAccount => "ProviderAccount",
            Self::Model => "Model",
            Self::Endpoint => "Endpoint",
            Self::RoutePolicy => "RoutePolicy",
            Self::PriceBook => "PriceBook",
            Self::Guardrail => "Guardrail",
        }
    }

    /// The kind of a resource; `None` if it has no spec.
    #[must_use]
    pub const fn of(resource: &Resource) -> Option<Self> {
        Some(match resource.spec {
            Some(Spec::Org(_)) => Self::Org,
            Some(Spec::Workspace(_)) => Self::Workspace,
            Some(Spec::ApiKey(_)) => Self::ApiKey,
            Some(Spec::Provider(_)) => Self::Provider,
            Some(Spec::ProviderAccount(_)) => Self::ProviderAccount,
            Some(Spec::Model(_)) => Self::Model,
            Some(Spec::Endpoint(_)) => Self::Endpoint,
            Some(Spec::RoutePolicy(_)) => Self::RoutePolicy,
            Some(Spec::PriceBook(_)) => Self::PriceBook,
            Some(Spec::Guardrail(_)) => Self::Guardrail,
            None => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The word names no kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a kind: use one of Org, Workspace, ApiKey, Provider, ProviderAccount, Model, Endpoint, RoutePolicy, PriceBook, Guardrail"
)]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads a kind as people write it: any case, singular or plural (`apikeys`, `Model`).
    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        let folded = word.to_ascii_lowercase();
        let matches = |kind: &Self| {
            let name = kind.name().to_ascii_lowercase();
            let plural =
                name.strip_suffix('y').filter(|_| name == "routepolicy").map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"));
            folded == name || folded == plural
        };
        Self::ALL.into_iter().find(matches).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// The metadata of a resource; an absent one reads as empty.
#[must_use]
pub fn metadata(resource: &Resource) -> &Metadata {
    static EMPTY: Metadata =
        Metadata { name: String::new(), uid: String::new(), generation: 0, labels: std::collections::BTreeMap::new(), create_time: None };
    resource.metadata.as_ref().unwrap_or(&EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_people_write_them() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
        for (word, kind) in [("apikeys", Kind::ApiKey), ("routepolicies", Kind::RoutePolicy), ("endpoints", Kind::Endpoint)] {
            assert_eq!(word.parse(), Ok(kind));
        }
        assert!("pod".parse::<Kind>().is_err());
    }
}
