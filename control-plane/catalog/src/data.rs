//! The compiled-in data of one provider.

use serde::Deserialize;
use waybill_proto::model::v1::{PriceEntry, Rate};

/// The data of a provider cannot be read: a fault of this build.
#[derive(Debug, thiserror::Error)]
#[error("the built-in data of {provider} cannot be read: {cause}")]
pub struct Malformed {
    provider: &'static str,
    #[source]
    cause: serde_json::Error,
}

/// What `import/build.py` writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    #[serde(rename = "provider")]
    pub(crate) _provider: String,
    pub(crate) source: String,
    pub(crate) as_of: String,
    pub(crate) items: Vec<Item>,
}

/// One model at the provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// Canonical slug.
    pub(crate) model: String,
    pub(crate) name: String,
    /// The provider's own name of the model.
    pub(crate) item: String,
    pub(crate) context: u64,
    pub(crate) output: u64,
    pub(crate) created: i64,
    #[serde(rename = "in")]
    pub(crate) inputs: Vec<String>,
    #[serde(rename = "out")]
    pub(crate) outputs: Vec<String>,
    pub(crate) parameters: Vec<String>,
    /// How reasoning is steered; empty = unknown.
    #[serde(default)]
    pub(crate) reasoning: Vec<String>,
    /// Meter, tier, band, USD per million units.
    pub(crate) rates: Vec<(String, String, u64, String)>,
    /// The collection that the prices were taken from, where it is not the one of the whole file.
    #[serde(rename = "from", default)]
    pub(crate) _from: String,
    /// What a reader of the file should know about the prices.
    #[serde(rename = "note", default)]
    pub(crate) _note: String,
}

impl Item {
    pub(crate) fn price_entry(&self) -> PriceEntry {
        let rate = |(meter, tier, above_input_tokens, usd_per_million): &(String, String, u64, String)| Rate {
            meter: meter.clone(),
            tier: tier.clone(),
            above_input_tokens: *above_input_tokens,
            usd_per_million: usd_per_million.clone(),
            usd_each: String::new(),
        };
        PriceEntry { item: self.item.clone(), effective_from: None, rates: self.rates.iter().map(rate).collect() }
    }
}

pub(crate) fn parse(provider: &'static str, text: &'static str) -> Result<Data, Malformed> {
    serde_json::from_str(text).map_err(|cause| Malformed { provider, cause })
}
