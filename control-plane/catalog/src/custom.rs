//! A base URL of the operator's own → resources, with the models that it lists and without prices.

use std::collections::HashSet;

use waybill_model::check::name_fault;
use waybill_proto::model::v1::{Endpoint, Model, Resource, resource::Spec};

use crate::{
    environment::Found,
    resources::{account, provider, resource},
};

/// Provider, account, models and endpoints of a found provider at a base URL of its operator's own; `ids` are what its `GET /models` lists.
///
/// An id with an author keeps it (`qwen/qwen3-8b`), another gets the provider's name in its place. The endpoints are unpriced and say so.
/// Of ids that differ only in letter case or in letters that no name may have, the first counts.
#[must_use]
pub fn custom(found: &Found, ids: &[String]) -> Vec<Resource> {
    let name = found.name();
    let mut made = vec![
        resource(name.clone(), "environment", Spec::Provider(provider(found))),
        resource(name.clone(), "environment", Spec::ProviderAccount(account(found))),
    ];
    let mut seen = HashSet::new();
    let served: Vec<(String, &String)> =
        ids.iter().map(|id| (slug(id, &name), id)).filter(|(slug, _)| is_new(slug, &name, &mut seen)).collect();
    for (slug, id) in &served {
        let text = vec!["text".to_owned()];
        let model = Model { display_name: (*id).clone(), input_modalities: text.clone(), output_modalities: text, ..Model::default() };
        made.push(resource(slug.clone(), "environment", Spec::Model(model)));
    }
    for (slug, id) in served {
        let endpoint = Endpoint {
            model: slug.clone(),
            provider: name.clone(),
            account: name.clone(),
            provider_model: id.clone(),
            allow_unpriced: true,
            ..Endpoint::default()
        };
        made.push(resource(endpoint_name(&slug, &name), "environment", Spec::Endpoint(endpoint)));
    }
    made
}

fn endpoint_name(slug: &str, provider: &str) -> String {
    format!("{slug}@{provider}")
}

fn is_new(slug: &str, provider: &str, seen: &mut HashSet<String>) -> bool {
    !slug.ends_with('/') && name_fault(&endpoint_name(slug, provider)).is_none() && seen.insert(slug.to_owned())
}

fn slug(id: &str, provider: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-:/@~".contains(letter);
    let plain: String = id.trim().chars().map(|letter| if fits(letter) { letter.to_ascii_lowercase() } else { '-' }).collect();
    match plain.split_once('/') {
        Some((author, own)) if !author.is_empty() && !own.is_empty() && !own.contains('/') => plain,
        // One slash divides author and slug, so the other ones become colons.
        _ => format!("{provider}/{}", plain.trim_matches('/').replace('/', ":")),
    }
}
