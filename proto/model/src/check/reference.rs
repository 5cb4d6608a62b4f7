//! Which field names a resource of which kind: the one table of references.

use std::slice;

use waybill_proto::model::v1::{Resource, resource::Spec};

use crate::resource::Kind;

/// A field that names resources of another kind.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The kind that has the field.
    pub from: Kind,
    /// The field, as documents spell it.
    pub field: &'static str,
    /// The kind that is named.
    pub to: Kind,
    /// It may not be empty.
    pub required: bool,
    /// It is a list.
    pub repeated: bool,
    /// Reads the field; nothing of another kind.
    names: fn(&Spec) -> &[String],
}

macro_rules! one {
    ($kind:ident.$field:ident, $path:literal, $to:ident, required: $required:literal) => {
        Reference {
            from: Kind::$kind,
            field: $path,
            to: Kind::$to,
            required: $required,
            repeated: false,
            names: |spec| if let Spec::$kind(spec) = spec { slice::from_ref(&spec.$field) } else { &[] },
        }
    };
}

macro_rules! many {
    ($kind:ident.$field:ident, $path:literal, $to:ident) => {
        Reference {
            from: Kind::$kind,
            field: $path,
            to: Kind::$to,
            required: false,
            repeated: true,
            names: |spec| if let Spec::$kind(spec) = spec { &spec.$field } else { &[] },
        }
    };
}

/// All references but those that may be patterns: a Guardrail's lists of models have rules of their own.
pub const REFERENCES: &[Reference] = &[
    one!(Workspace.org, "spec.org", Org, required: true),
    one!(Workspace.route_policy, "spec.routePolicy", RoutePolicy, required: false),
    one!(ApiKey.workspace, "spec.workspace", Workspace, required: true),
    one!(ProviderAccount.provider, "spec.provider", Provider, required: true),
    one!(Endpoint.model, "spec.model", Model, required: true),
    one!(Endpoint.provider, "spec.provider", Provider, required: true),
    one!(Endpoint.account, "spec.account", ProviderAccount, required: true),
    one!(Endpoint.price_book, "spec.priceBook", PriceBook, required: false),
    many!(RoutePolicy.order, "spec.order", Provider),
    many!(RoutePolicy.only, "spec.only", Provider),
    many!(RoutePolicy.ignore, "spec.ignore", Provider),
    many!(Guardrail.workspaces, "spec.workspaces", Workspace),
    many!(Guardrail.api_keys, "spec.apiKeys", ApiKey),
    many!(Guardrail.allowed_providers, "spec.allowedProviders", Provider),
    many!(Guardrail.ignored_providers, "spec.ignoredProviders", Provider),
];

impl Reference {
    /// The names in the field of this spec, empty ones too. A spec of another kind has none.
    #[must_use]
    pub fn names<'a>(&self, spec: &'a Spec) -> &'a [String] {
        (self.names)(spec)
    }

    /// The path of the field, or of its element if it is a list.
    #[must_use]
    pub fn path(&self, position: usize) -> String {
        if self.repeated { format!("{}[{position}]", self.field) } else { self.field.to_owned() }
    }
}

/// What a resource names: each reference with the position within its field and the name, without empty optional ones.
pub fn references(resource: &Resource) -> impl Iterator<Item = (&'static Reference, usize, &str)> {
    let spec = resource.spec.as_ref();
    let own = Kind::of(resource);
    REFERENCES.iter().filter(move |reference| Some(reference.from) == own).flat_map(move |reference| {
        let names = spec.map(|spec| reference.names(spec)).unwrap_or_default();
        let wanted = move |name: &str| reference.required || reference.repeated || !name.is_empty();
        names.iter().enumerate().map(move |(position, name)| (reference, position, name.as_str())).filter(move |(_, _, name)| wanted(name))
    })
}
