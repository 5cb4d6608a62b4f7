//! The runtime snapshot: what a proxy decides by. Immutable, compiled from a [`World`](crate::world::World), shared by reference count.

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{
    guardrail::{Bounds, Guardrail},
    key::KeyHash,
    price::Tariff,
};

mod keys;

pub(crate) use keys::Keys;

/// A secret in memory. It never prints itself.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// How usage is asked of a provider in a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AsksUsage {
    /// By `stream_options.include_usage`.
    StreamOptions,
    /// It comes unasked; `stream_options` is spliced out.
    Always,
    /// It never comes; `stream_options` is spliced out.
    Never,
}

/// What happens upstream when the client hangs up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HangUp {
    /// The answer is read to its end.
    Drain,
    /// The connection is closed, for the provider stops billing then.
    Cancel,
}

/// Where requests of a provider go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    /// TLS or clear text.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Value of the `Host` header.
    pub authority: Box<str>,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub name: Box<str>,
    /// For people.
    pub display_name: Box<str>,
    /// The dialect it speaks: a word of [`DIALECTS`](crate::check::DIALECTS).
    pub dialect: Box<str>,
    /// Where requests go.
    pub origin: Origin,
    /// Path before `/chat/completions` or `/messages`, without a slash at its end.
    pub path: Box<str>,
    /// How usage is asked.
    pub asks_usage: AsksUsage,
    /// What happens on a hang-up.
    pub hang_up: HangUp,
    /// Statuses that are not billed; empty = every 4xx and 5xx without usage.
    pub free_statuses: Box<[u16]>,
    /// OpenRouter's request fields stay in.
    pub takes_gateway_fields: bool,
    /// Added to every request.
    pub headers: Box<[(Box<str>, Box<str>)]>,
}

/// An account at a provider.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: Box<str>,
    /// What it authenticates with.
    pub credential: Credential,
}

/// What an account authenticates with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// The provider wants none.
    None,
    /// Goes out as `Authorization: Bearer`.
    Bearer(Secret),
    /// Goes out as `x-api-key`.
    ApiKeyHeader(Secret),
    /// The reference leads nowhere in this process.
    Missing,
}

/// A tariff with the instant it is in force from.
#[derive(Clone, Debug)]
pub struct DatedTariff {
    /// Milliseconds since 1970.
    pub from_unix_ms: i64,
    /// The prices.
    pub tariff: Arc<Tariff>,
}

/// One model served by one provider through one account.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: Box<str>,
    /// Position in [`Snapshot::endpoints`].
    pub index: u32,
    /// Name of the model.
    pub model: Box<str>,
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// Through which account.
    pub account: Arc<Account>,
    /// What goes upstream.
    pub provider_model: Box<str>,
    /// By instant, ascending.
    pub tariffs: Box<[DatedTariff]>,
    /// Served without a price.
    pub allow_unpriced: bool,
    /// Tokens; 0 = unknown.
    pub context_window: u64,
    /// Tokens; 0 = unknown.
    pub max_output: u64,
    /// Sorted names; empty = unknown, taken as all.
    pub parameters: Box<[Box<str>]>,
    /// Sorted words of [`REASONING_CONTROLS`](crate::check::REASONING_CONTROLS); empty = unknown.
    pub reasoning_controls: Box<[Box<str>]>,
    /// Sorted names; empty = unknown, taken as all.
    pub input_modalities: Box<[Box<str>]>,
    /// `unknown` if not said.
    pub quantization: Box<str>,
    /// Keeps nothing of the prompts.
    pub zero_data_retention: bool,
    /// May train on the prompts.
    pub trains_on_prompts: bool,
    /// Out of service.
    pub disabled: bool,
}

impl Endpoint {
    /// The tariff in force at an instant (milliseconds since 1970).
    #[must_use]
    pub fn tariff(&self, now_unix_ms: i64) -> Option<&Arc<Tariff>> {
        self.tariffs.iter().rev().find(|dated| dated.from_unix_ms <= now_unix_ms).map(|dated| &dated.tariff)
    }
}

/// What callers ask for.
#[derive(Clone, Debug)]
pub struct Model {
    /// Canonical `author/slug`.
    pub name: Box<str>,
    /// For people.
    pub display_name: Box<str>,
    /// For people.
    pub description: Box<str>,
    /// Tokens; 0 = unknown.
    pub context_window: u64,
    /// Tokens; 0 = unknown.
    pub max_output: u64,
    /// Names of modalities.
    pub input_modalities: Box<[Box<str>]>,
    /// Names of modalities.
    pub output_modalities: Box<[Box<str>]>,
    /// Seconds since 1970; 0 = unknown.
    pub created: i64,
    /// Its endpoints, by name.
    pub endpoints: Box<[Arc<Endpoint>]>,
}

/// Bounds and order of the choice of endpoints.
#[derive(Clone, Debug, Default)]
pub struct RoutePolicy {
    /// Its name; empty = the defaults.
    pub name: Box<str>,
    /// Providers to try first.
    pub order: Box<[Box<str>]>,
    /// Only these providers; empty = all.
    pub only: Box<[Box<str>]>,
    /// Never these.
    pub ignore: Box<[Box<str>]>,
    /// By price instead of by weight.
    pub sort_by_price: bool,
    /// One attempt only.
    pub no_fallbacks: bool,
    /// Serve what has no price.
    pub allow_unpriced: bool,
    /// Most attempts of a request.
    pub max_attempts: u32,
    /// Dearest prompt price, pico-USD per million tokens.
    pub max_prompt_price: Option<i64>,
    /// Dearest completion price, pico-USD per million tokens.
    pub max_completion_price: Option<i64>,
}

/// Most attempts of a request where no policy says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 4;

/// A workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its name.
    pub name: Box<str>,
    /// Name of its org.
    pub org: Box<str>,
    /// How its requests are routed.
    pub policy: Arc<RoutePolicy>,
}

/// A key that may call.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its uid.
    pub uid: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// For people.
    pub display_name: Box<str>,
    /// First characters of its text.
    pub prefix: Box<str>,
    /// Where it belongs; `None` = the resource could not be compiled, so the key is refused as a fault of ours.
    pub workspace: Option<Arc<Workspace>>,
    /// Milliseconds since 1970 after which it is refused.
    pub expire_unix_ms: Option<i64>,
    /// Switched off.
    pub disabled: bool,
    /// Leave `usage.cost` out.
    pub omit_cost: bool,
    /// What the Guardrails in whose scope it is let through.
    pub bounds: Arc<Bounds>,
}

/// Outcome of looking a model up.
#[derive(Clone, Copy, Debug)]
pub enum Found<'snapshot> {
    /// The one it is.
    Model(&'snapshot Model),
    /// A bare slug that more than one author has, or a provider's own name that stands for more than one model.
    Ambiguous,
    /// There is none.
    None,
}

/// Everything a proxy decides by, at one revision.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The revision it was compiled from.
    pub revision: u64,
    pub(crate) keys: Box<Keys>,
    pub(crate) models: Vec<Model>,
    pub(crate) by_name: HashMap<Box<str>, u32>,
    /// Bare slug, or a provider's own name of the model → position, or `None` if ambiguous.
    pub(crate) by_slug: HashMap<Box<str>, Option<u32>>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) guardrails: Vec<Arc<Guardrail>>,
}

impl Snapshot {
    /// The key with this hash.
    #[must_use]
    pub fn key(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        self.keys.get(hash)
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// All models, by name.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// All endpoints, by position.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// All Guardrails that can be kept, by position.
    #[must_use]
    pub fn guardrails(&self) -> &[Arc<Guardrail>] {
        &self.guardrails
    }

    /// A model by its canonical name, by a bare slug that is unique, or by a provider's own name that means one model only.
    #[must_use]
    pub fn model(&self, name: &str) -> Found<'_> {
        let at = |position: u32| self.models.get(position as usize).map_or(Found::None, Found::Model);
        match self.by_name.get(name).or_else(|| self.by_slug.get(name)?.as_ref()) {
            Some(position) => at(*position),
            None if self.by_slug.contains_key(name) => Found::Ambiguous,
            None => Found::None,
        }
    }
}
