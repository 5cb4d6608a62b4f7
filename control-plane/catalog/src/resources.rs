//! Found providers → resources with built-in models and prices.

use std::collections::{BTreeMap, HashMap};

use waybill_proto::model::v1::{Endpoint, Metadata, Model, PriceBook, Provider, ProviderAccount, Resource, SecretRef, resource::Spec};

use crate::{
    data::{Data, Item, Malformed, parse},
    environment::Found,
};

/// The label on everything that this crate makes, with the value `catalog`, `environment` or `sandbox`.
pub const ORIGIN: &str = "waybill/origin";

pub(crate) fn resource(name: String, origin: &str, spec: Spec) -> Resource {
    let labels = [(ORIGIN.to_owned(), origin.to_owned())].into();
    Resource { metadata: Some(Metadata { name, labels, ..Metadata::default() }), spec: Some(spec) }
}

/// Provider, account, price book, models and endpoints of every found provider that is not custom, in the order in which they refer to one
/// another.
///
/// A model that several serve is one Model; windows that differ stand at the endpoints.
///
/// # Errors
/// If the compiled-in data cannot be read; a test reads all of it.
pub fn resources(found: &[Found]) -> Result<Vec<Resource>, Malformed> {
    let mut catalogue = Vec::new();
    for one in found.iter().filter(|one| !one.custom) {
        catalogue.push((one, parse(one.row.name, one.row.data)?));
    }
    let models = models(&catalogue);
    let mut made: Vec<Resource> = Vec::new();
    for (one, data) in &catalogue {
        made.push(resource(one.name(), "catalog", Spec::Provider(provider(one))));
        made.push(resource(one.name(), "catalog", Spec::ProviderAccount(account(one))));
        made.push(resource(one.name(), "catalog", Spec::PriceBook(price_book(data))));
    }
    made.extend(models.iter().map(|(slug, model)| resource((*slug).to_owned(), "catalog", Spec::Model(model.clone()))));
    for (one, data) in &catalogue {
        made.extend(endpoints(one, data, &models));
    }
    Ok(made)
}

/// The Provider of a found row. A custom one has no quirks: nobody knows what answers there.
pub(crate) fn provider(found: &Found) -> Provider {
    let row = found.row;
    let common =
        Provider { dialect: row.dialect.to_owned(), base_url: found.base_url.clone(), custom: found.custom, ..Provider::default() };
    if found.custom {
        let source = format!("{} of the environment", row.base_url_variable);
        return Provider { display_name: format!("{} at {}", row.display_name, row.base_url_variable), source, ..common };
    }
    Provider {
        display_name: row.display_name.to_owned(),
        asks_usage: row.asks_usage.into(),
        hang_up: row.hang_up.into(),
        free_statuses: row.free_statuses.to_vec(),
        takes_gateway_fields: row.takes_gateway_fields,
        source: row.source.to_owned(),
        ..common
    }
}

pub(crate) fn account(found: &Found) -> ProviderAccount {
    let secret = found.key_variable.map(|variable| SecretRef { env: variable.to_owned(), file: String::new() });
    ProviderAccount { provider: found.name(), secret, secret_header: found.secret_header().into() }
}

fn price_book(data: &Data) -> PriceBook {
    PriceBook {
        currency: "USD".to_owned(),
        source: data.source.clone(),
        as_of: data.as_of.clone(),
        entries: data.items.iter().map(Item::price_entry).collect(),
    }
}

/// One Model per slug: the widest windows, the first name, and the modalities that all who serve it take, so that what a Model promises
/// holds at each of its endpoints.
fn models<'a>(catalogue: &'a [(&Found, Data)]) -> BTreeMap<&'a str, Model> {
    let mut models: BTreeMap<&str, Model> = BTreeMap::new();
    for item in catalogue.iter().flat_map(|(_, data)| &data.items) {
        let model = models.entry(&item.model).or_insert_with(|| Model { display_name: item.name.clone(), ..Model::default() });
        model.context_window = model.context_window.max(item.context);
        model.max_output = model.max_output.max(item.output);
        model.created = if model.created == 0 { item.created } else { model.created };
        meet(&mut model.input_modalities, &item.inputs);
        meet(&mut model.output_modalities, &item.outputs);
    }
    for model in models.values_mut() {
        for modalities in [&mut model.input_modalities, &mut model.output_modalities] {
            if modalities.is_empty() {
                modalities.push("text".to_owned());
            }
        }
    }
    models
}

/// What is in both; a list without words says nothing.
fn meet(known: &mut Vec<String>, more: &[String]) {
    if known.is_empty() {
        known.extend_from_slice(more);
    } else if !more.is_empty() {
        known.retain(|word| more.contains(word));
    }
}

fn endpoints(found: &Found, data: &Data, models: &BTreeMap<&str, Model>) -> Vec<Resource> {
    let provider = found.name();
    let mut offers: HashMap<&str, usize> = HashMap::new();
    for item in &data.items {
        *offers.entry(&item.model).or_default() += 1;
    }
    data.items
        .iter()
        .map(|item| {
            let several = offers.get(item.model.as_str()).is_some_and(|count| *count > 1);
            let name = endpoint_name(item, &provider, several);
            let model = models.get(item.model.as_str());
            let differing = |own: u64, of: fn(&Model) -> u64| if model.map(of) == Some(own) { 0 } else { own };
            let endpoint = Endpoint {
                model: item.model.clone(),
                provider: provider.clone(),
                account: provider.clone(),
                provider_model: item.item.clone(),
                price_book: provider.clone(),
                context_window: differing(item.context, |model| model.context_window),
                max_output: differing(item.output, |model| model.max_output),
                supported_parameters: item.parameters.clone(),
                reasoning_controls: item.reasoning.clone(),
                ..Endpoint::default()
            };
            resource(name, "catalog", Spec::Endpoint(endpoint))
        })
        .collect()
}

/// `author/slug@provider`, and the host behind the last colon where a provider has several for one model.
fn endpoint_name(item: &Item, provider: &str, several: bool) -> String {
    match item.item.rsplit_once(':') {
        Some((_, host)) if several => format!("{}@{provider}:{}", item.model, host.to_ascii_lowercase()),
        _ => format!("{}@{provider}", item.model),
    }
}
