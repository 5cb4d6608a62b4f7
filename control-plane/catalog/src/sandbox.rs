//! The sandbox's resources.

use waybill_proto::model::v1::{
    AsksUsage, Endpoint, HangUp, Model, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, resource::Spec,
};

use crate::resources::resource;

/// Name of the Provider, its account and its price book.
const NAME: &str = "sandbox";

/// The tariff of every model of the sandbox: meter and USD per million tokens. Invented, so that bills are not zero: nobody charges it.
const TARIFF: [(&str, &str); 4] = [("input", "0.10"), ("cache_read", "0.01"), ("output", "0.40"), ("reasoning", "0.40")];

/// A model that the sandbox answers to.
#[derive(Clone, Copy, Debug)]
pub struct SandboxModel<'a> {
    /// Its whole name, `sandbox/chat`.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// Tokens of input and output together.
    pub context_window: u64,
}

/// Provider, account, price book, models and endpoints of the sandbox at a base URL.
#[must_use]
pub fn sandbox(base_url: &str, models: &[SandboxModel<'_>]) -> Vec<Resource> {
    let provider = Provider {
        display_name: "Sandbox".to_owned(),
        dialect: "openai".to_owned(),
        base_url: base_url.trim_end_matches('/').to_owned(),
        asks_usage: AsksUsage::StreamOptions.into(),
        hang_up: HangUp::Drain.into(),
        source: "part of Waybill".to_owned(),
        ..Provider::default()
    };
    let book = PriceBook {
        currency: "USD".to_owned(),
        source: "invented, so that bills of the sandbox are not zero".to_owned(),
        as_of: String::new(),
        entries: models.iter().map(|model| PriceEntry { item: model.name.to_owned(), effective_from: None, rates: tariff() }).collect(),
    };
    let mut made = vec![
        resource(NAME.to_owned(), NAME, Spec::Provider(provider)),
        resource(NAME.to_owned(), NAME, Spec::ProviderAccount(ProviderAccount { provider: NAME.to_owned(), ..ProviderAccount::default() })),
        resource(NAME.to_owned(), NAME, Spec::PriceBook(book)),
    ];
    made.extend(models.iter().map(|model| resource(model.name.to_owned(), NAME, Spec::Model(of(model)))));
    made.extend(models.iter().map(|model| resource(format!("{}@{NAME}", model.name), NAME, Spec::Endpoint(endpoint(model)))));
    made
}

fn tariff() -> Vec<Rate> {
    let rate = |(meter, usd_per_million): (&str, &str)| Rate {
        meter: meter.to_owned(),
        usd_per_million: usd_per_million.to_owned(),
        ..Rate::default()
    };
    TARIFF.into_iter().map(rate).collect()
}

fn of(model: &SandboxModel<'_>) -> Model {
    let text = vec!["text".to_owned()];
    Model {
        display_name: model.name.to_owned(),
        description: model.description.to_owned(),
        context_window: model.context_window,
        input_modalities: text.clone(),
        output_modalities: text,
        ..Model::default()
    }
}

fn endpoint(model: &SandboxModel<'_>) -> Endpoint {
    Endpoint {
        model: model.name.to_owned(),
        provider: NAME.to_owned(),
        account: NAME.to_owned(),
        provider_model: model.name.to_owned(),
        price_book: NAME.to_owned(),
        ..Endpoint::default()
    }
}
