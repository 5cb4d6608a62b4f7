//! The walk over the world.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
};

use prost::Message;
use waybill_proto::model::v1::{Endpoint, Resource, resource::Spec};

use super::{
    endpoint, guardrail, limits, name,
    nearest::{nearest, or_nothing},
    price, provider,
    reference::references,
    violation::{Code, Faults, Violation},
};
use crate::{
    pattern::author_of,
    resource::{Kind, metadata},
};

/// All faults of a world: of each resource by itself, of names, of references, of endpoints with their accounts and prices, of totals.
#[must_use]
pub fn check<R: Borrow<Resource>>(resources: &[R]) -> Vec<Violation> {
    let index = Index::of(resources);
    let mut found = Vec::new();
    let mut seen = HashSet::with_capacity(resources.len());
    let mut counts: HashMap<Kind, usize> = HashMap::new();
    let mut suggestions = limits::SUGGESTIONS;
    let mut scopes = guardrail::Counts::new();
    for (position, resource) in resources.iter().map(Borrow::borrow).enumerate() {
        let mut faults = faults(position, resource, &mut found);
        check_one(resource, &mut faults);
        let Some(kind) = Kind::of(resource) else {
            continue;
        };
        let resource_name = name_of(resource);
        if !resource_name.is_empty() && !seen.insert((kind, resource_name)) {
            faults.add("metadata.name", Code::NameDuplicate, format!("another {kind} has this name"));
        }
        check_references(resource, &index, &mut suggestions, &mut faults);
        if let Some(Spec::Endpoint(endpoint)) = &resource.spec {
            check_endpoint(endpoint, &index, &mut faults);
        }
        if let Some(Spec::Guardrail(spec)) = &resource.spec {
            guardrail::check_in_world(spec, &index, &mut suggestions, &mut scopes, &mut faults);
        }
        let count = counts.entry(kind).or_default();
        *count += 1;
        check_count(kind, *count, &mut faults);
    }
    found
}

/// The faults of a resource that show without the others: no references, no duplicates, no totals.
#[must_use]
pub fn alone(resource: &Resource) -> Vec<Violation> {
    let mut found = Vec::new();
    check_one(resource, &mut faults(0, resource, &mut found));
    found
}

fn faults<'a>(position: usize, resource: &'a Resource, found: &'a mut Vec<Violation>) -> Faults<'a> {
    Faults::of(position, Kind::of(resource).map(Kind::name).unwrap_or_default(), name_of(resource), found)
}

fn name_of(resource: &Resource) -> &str {
    &metadata(resource).name
}

fn check_one(resource: &Resource, faults: &mut Faults<'_>) {
    match &resource.metadata {
        Some(metadata) => name::check(metadata, faults),
        None => faults.add("metadata.name", Code::NameMissing, "a name is needed"),
    }
    let bytes = resource.encoded_len();
    if bytes > limits::RESOURCE_BYTES {
        let message = format!("the resource has {bytes} bytes in binary form: at most {}; divide it", limits::RESOURCE_BYTES);
        faults.add("spec", Code::ResourceTooLarge, message);
    }
    match &resource.spec {
        None => faults.add("spec", Code::SpecMissing, "a spec is needed"),
        Some(Spec::Org(_) | Spec::Workspace(_)) => {}
        Some(Spec::Guardrail(spec)) => guardrail::check(spec, faults),
        Some(Spec::ApiKey(key)) => {
            if let Some(secret) = &key.key_from {
                provider::check_secret(secret, "spec.keyFrom", faults);
            }
            if let Some(fault) = key.expire_time.as_ref().and_then(price::time_fault) {
                faults.add("spec.expireTime", Code::TimeMalformed, fault);
            }
            if !key.member.is_empty() {
                guardrail::check_member(&key.member, "spec.member", faults);
            }
        }
        Some(Spec::Provider(spec)) => provider::check(spec, faults),
        Some(Spec::ProviderAccount(account)) => provider::check_account(account, faults),
        Some(Spec::Model(model)) => endpoint::check_model(model, faults),
        Some(Spec::Endpoint(spec)) => endpoint::check_endpoint(spec, faults),
        Some(Spec::RoutePolicy(policy)) => endpoint::check_policy(policy, faults),
        Some(Spec::PriceBook(book)) => price::check(book, faults),
    }
}

fn check_references(resource: &Resource, index: &Index<'_>, suggestions: &mut usize, faults: &mut Faults<'_>) {
    for (reference, position, name) in references(resource) {
        if name.is_empty() {
            faults.add(reference.path(position), Code::FieldMissing, format!("name a {}", reference.to));
            continue;
        }
        if index.has(reference.to, name) {
            continue;
        }
        let guess = match suggestions.checked_sub(1) {
            Some(left) => {
                *suggestions = left;
                or_nothing(nearest(name, index.names(reference.to)))
            }
            None => String::new(),
        };
        faults.add(reference.path(position), Code::ReferenceDangling, format!("there is no {} `{name}`{guess}", reference.to));
    }
}

/// An endpoint against its account and its price book. What is dangling was reported as such.
fn check_endpoint(endpoint: &Endpoint, index: &Index<'_>, faults: &mut Faults<'_>) {
    if let Some(provider) = index.providers_of_accounts.get(endpoint.account.as_str())
        && *provider != endpoint.provider
        && !provider.is_empty()
        && !endpoint.provider.is_empty()
    {
        let message = format!("the account `{}` is one at `{provider}`, not at `{}`", endpoint.account, endpoint.provider);
        faults.add("spec.account", Code::AccountOfOtherProvider, message);
    }
    if endpoint.allow_unpriced {
        return;
    }
    let remedy = "add it, or say allowUnpriced: true";
    if endpoint.price_book.is_empty() {
        faults.add("spec.priceBook", Code::EndpointUnpriced, format!("the endpoint has no price book: {remedy}"));
        return;
    }
    let (field, item) = match endpoint.price_item.as_str() {
        "" => ("spec.providerModel", endpoint.provider_model.as_str()),
        item => ("spec.priceItem", item),
    };
    if let Some(items) = index.items_of_books.get(endpoint.price_book.as_str())
        && !items.contains(item)
    {
        faults.add(field, Code::EndpointUnpriced, format!("the price book `{}` has no item `{item}`: {remedy}", endpoint.price_book));
    }
}

/// Totals are said once, at the first resource too many.
fn check_count(kind: Kind, count: usize, faults: &mut Faults<'_>) {
    match kind {
        Kind::ApiKey if count == limits::KEYS + 1 => {
            faults.add("metadata.name", Code::KeysTooMany, format!("more than {} keys", limits::KEYS));
        }
        Kind::Endpoint if count == limits::ENDPOINTS + 1 => {
            faults.add("metadata.name", Code::EndpointsTooMany, format!("more than {} endpoints", limits::ENDPOINTS));
        }
        Kind::Guardrail if count == limits::GUARDRAILS + 1 => {
            faults.add("metadata.name", Code::GuardrailsTooMany, format!("more than {} Guardrails", limits::GUARDRAILS));
        }
        _ => {}
    }
}

/// What endpoints and references are looked up in.
pub(super) struct Index<'a> {
    names: HashMap<Kind, HashSet<&'a str>>,
    providers_of_accounts: HashMap<&'a str, &'a str>,
    items_of_books: HashMap<&'a str, HashSet<&'a str>>,
    models_of_authors: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Index<'a> {
    fn of<R: Borrow<Resource>>(resources: &'a [R]) -> Self {
        let mut index = Self {
            names: HashMap::new(),
            providers_of_accounts: HashMap::new(),
            items_of_books: HashMap::new(),
            models_of_authors: HashMap::new(),
        };
        for resource in resources.iter().map(Borrow::borrow) {
            let name = name_of(resource);
            if let Some(kind) = Kind::of(resource) {
                index.names.entry(kind).or_default().insert(name);
            }
            match &resource.spec {
                Some(Spec::ProviderAccount(account)) => {
                    index.providers_of_accounts.insert(name, &account.provider);
                }
                Some(Spec::PriceBook(book)) => {
                    index.items_of_books.entry(name).or_default().extend(book.entries.iter().map(|entry| entry.item.as_str()));
                }
                Some(Spec::Model(_)) => {
                    if let Some(author) = author_of(name) {
                        index.models_of_authors.entry(author).or_default().push(name);
                    }
                }
                _ => {}
            }
        }
        index
    }

    pub(super) fn has(&self, kind: Kind, name: &str) -> bool {
        self.names.get(&kind).is_some_and(|names| names.contains(name))
    }

    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &'a str> {
        self.names.get(&kind).into_iter().flatten().copied()
    }

    pub(super) fn models_of(&self, author: &str) -> impl Iterator<Item = &'a str> {
        self.models_of_authors.get(author).into_iter().flatten().copied()
    }

    pub(super) fn authors(&self) -> impl Iterator<Item = &'a str> {
        self.models_of_authors.keys().copied()
    }
}
