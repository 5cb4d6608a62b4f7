//! From resources to the runtime snapshot. Pure, and it never fails as a whole: what cannot be compiled is left out with a [`Fault`].

use std::{collections::HashMap, sync::Arc};

use waybill_proto::model::v1::{self as wire, Resource, SecretRef, resource::Spec};

use crate::{
    key::KeyHash,
    money::Picousd,
    price::{Rate, Tariff},
    resource::{Kind, metadata},
    snapshot::{
        Account, Credential, DEFAULT_MAX_ATTEMPTS, DatedTariff, Endpoint, Keys, Model, Provider, RoutePolicy, Secret, Snapshot, Workspace,
    },
    world::{Held, Shard, World},
};

mod guardrail;
mod provider;
#[cfg(test)]
mod tests;

pub(crate) use guardrail::Scopes;
pub use provider::parse_base_url;
use provider::{account, provider};

/// Resolves references to secrets in the process that uses them.
pub type Secrets<'a> = &'a dyn Fn(&SecretRef) -> Option<Secret>;

/// Why a resource is not in the snapshot as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Its kind.
    pub kind: Kind,
    /// Its uid.
    pub uid: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its generation.
    pub generation: u64,
    /// A stable word.
    pub code: &'static str,
    /// Path of the field within the spec.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// A snapshot with what was wrong.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What is in force.
    pub snapshot: Snapshot,
    /// Resources that are left out.
    pub rejected: Vec<Fault>,
    /// Resources that are in, but will not serve as they are.
    pub warnings: Vec<Fault>,
}

/// Compiles a world.
#[must_use]
pub fn compile(world: &World, secrets: Secrets<'_>) -> Compiled {
    let mut faults = Faults::default();
    let policies = named(world, Kind::RoutePolicy, &mut faults, |name, spec| match spec {
        Spec::RoutePolicy(spec) => route_policy(name, spec),
        _ => wrong_kind(),
    });
    let workspaces = named(world, Kind::Workspace, &mut faults, |name, spec| match spec {
        Spec::Workspace(spec) => workspace(name, spec, &policies),
        _ => wrong_kind(),
    });
    let providers = named(world, Kind::Provider, &mut faults, |name, spec| match spec {
        Spec::Provider(spec) => provider(name, spec),
        _ => wrong_kind(),
    });
    let accounts = named(world, Kind::ProviderAccount, &mut faults, |name, spec| match spec {
        Spec::ProviderAccount(spec) => {
            let provider = providers.get(spec.provider.as_str()).map(|provider| &**provider);
            Ok((spec.provider.clone(), Arc::new(account(name, spec, provider, secrets))))
        }
        _ => wrong_kind(),
    });
    warn_of_missing_secrets(world, &accounts, &mut faults);
    let books = named(world, Kind::PriceBook, &mut faults, |_, spec| match spec {
        Spec::PriceBook(spec) => price_book(spec),
        _ => wrong_kind(),
    });
    let models = named(world, Kind::Model, &mut faults, |_, spec| match spec {
        Spec::Model(spec) => Ok(spec.clone()),
        _ => wrong_kind(),
    });
    let parts = Parts { providers: &providers, accounts: &accounts, books: &books, models: &models };
    let endpoints = named(world, Kind::Endpoint, &mut faults, |name, spec| match spec {
        Spec::Endpoint(spec) => endpoint(name, spec, &parts),
        _ => wrong_kind(),
    });
    let scopes = Scopes::of(world, &mut faults);
    let keys = keys(world, workspaces, scopes, &mut faults);
    let guardrails = keys.scopes().guardrails();
    let snapshot = Snapshot { keys: Box::new(keys), guardrails, ..assemble(world.revision(), models, endpoints) };
    Compiled { snapshot, rejected: faults.rejected, warnings: faults.warnings }
}

#[derive(Default)]
struct Faults {
    rejected: Vec<Fault>,
    warnings: Vec<Fault>,
}

/// A fault without the resource it is of.
struct Cause {
    code: &'static str,
    field: &'static str,
    message: String,
}

impl Cause {
    fn new(code: &'static str, field: &'static str, message: impl Into<String>) -> Self {
        Self { code, field, message: message.into() }
    }

    fn dangling(field: &'static str, kind: Kind, name: &str) -> Self {
        Self::new("dangling_reference", field, format!("there is no usable {kind} `{name}`"))
    }

    fn of(self, kind: Kind, resource: &Resource) -> Fault {
        let metadata = metadata(resource);
        Fault {
            kind,
            uid: metadata.uid.as_str().into(),
            name: metadata.name.as_str().into(),
            generation: metadata.generation,
            code: self.code,
            field: self.field,
            message: self.message,
        }
    }
}

/// A world files resources by the kind of their spec, so this is never seen; it is a rejection rather than a panic all the same.
fn wrong_kind<T>() -> Result<T, Cause> {
    Err(Cause::new("wrong_kind", "", "the spec is of another kind"))
}

type ByName<T> = HashMap<Box<str>, T>;

fn named<T>(world: &World, kind: Kind, faults: &mut Faults, build: impl Fn(&str, &Spec) -> Result<T, Cause>) -> ByName<T> {
    let mut built = HashMap::new();
    for resource in world.of_kind(kind) {
        let (name, Some(spec)) = (metadata(&resource).name.as_str(), &resource.spec) else { continue };
        match build(name, spec) {
            Ok(value) => drop(built.insert(name.into(), value)),
            Err(cause) => faults.rejected.push(cause.of(kind, &resource)),
        }
    }
    built
}

fn boxed(names: &[String]) -> Box<[Box<str>]> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn sorted(names: &[String]) -> Box<[Box<str>]> {
    let mut names = boxed(names);
    names.sort_unstable();
    names
}

fn price_limit(text: &str, field: &'static str) -> Result<Option<i64>, Cause> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<Picousd>().map(|price| Some(price.0)).map_err(|error| Cause::new("bad_price", field, error.to_string()))
}

fn route_policy(name: &str, spec: &wire::RoutePolicy) -> Result<Arc<RoutePolicy>, Cause> {
    Ok(Arc::new(RoutePolicy {
        name: name.into(),
        order: boxed(&spec.order),
        only: boxed(&spec.only),
        ignore: boxed(&spec.ignore),
        sort_by_price: spec.sort == "price",
        no_fallbacks: spec.no_fallbacks,
        allow_unpriced: spec.allow_unpriced,
        max_attempts: if spec.max_attempts == 0 { DEFAULT_MAX_ATTEMPTS } else { spec.max_attempts },
        max_prompt_price: price_limit(&spec.max_prompt_price, "maxPromptPrice")?,
        max_completion_price: price_limit(&spec.max_completion_price, "maxCompletionPrice")?,
    }))
}

fn workspace(name: &str, spec: &wire::Workspace, policies: &ByName<Arc<RoutePolicy>>) -> Result<Arc<Workspace>, Cause> {
    let policy = if spec.route_policy.is_empty() {
        Arc::new(RoutePolicy { max_attempts: DEFAULT_MAX_ATTEMPTS, ..RoutePolicy::default() })
    } else {
        // A policy bounds what may be spent, so a workspace whose policy is unusable is closed rather than opened wide.
        let policy = policies.get(spec.route_policy.as_str());
        Arc::clone(policy.ok_or_else(|| Cause::dangling("routePolicy", Kind::RoutePolicy, &spec.route_policy))?)
    };
    Ok(Arc::new(Workspace { name: name.into(), org: spec.org.as_str().into(), policy }))
}

fn warn_of_missing_secrets(world: &World, accounts: &ByName<(String, Arc<Account>)>, faults: &mut Faults) {
    for resource in world.of_kind(Kind::ProviderAccount) {
        let missing = accounts.get(metadata(&resource).name.as_str()).is_some_and(|(_, account)| account.credential == Credential::Missing);
        let Some(Spec::ProviderAccount(wire::ProviderAccount { secret: Some(reference), .. })) = &resource.spec else { continue };
        if missing {
            let place = if reference.env.is_empty() { format!("file {}", reference.file) } else { format!("variable {}", reference.env) };
            let message = format!("the secret is not to be had from the {place} in this process: its endpoints are not served");
            faults.warnings.push(Cause::new("secret_missing", "secret", message).of(Kind::ProviderAccount, &resource));
        }
    }
}

type Book = ByName<Box<[DatedTariff]>>;

fn price_book(spec: &wire::PriceBook) -> Result<Book, Cause> {
    let mut items: HashMap<Box<str>, Vec<DatedTariff>> = HashMap::new();
    for entry in &spec.entries {
        let rates: Result<Vec<Rate>, Cause> = entry.rates.iter().map(rate).collect();
        let from_unix_ms =
            entry.effective_from.as_ref().map_or(i64::MIN, |time| time.seconds.saturating_mul(1000) + i64::from(time.nanos) / 1_000_000);
        items.entry(entry.item.as_str().into()).or_default().push(DatedTariff { from_unix_ms, tariff: Arc::new(Tariff::new(rates?)) });
    }
    for dated in items.values_mut() {
        dated.sort_by_key(|dated| dated.from_unix_ms);
    }
    Ok(items.into_iter().map(|(item, dated)| (item, dated.into())).collect())
}

/// A price book holds what is no price. The check of the whole world refuses such a book, so its writer has gone round it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the price book cannot be read: {0}")]
pub struct Unpriceable(String);

/// All tariffs of a price book: what the ledger remembers so that every bill can be computed again.
///
/// # Errors
/// A rate cannot be read.
pub fn tariffs(book: &wire::PriceBook) -> Result<Vec<Tariff>, Unpriceable> {
    let tariff = |entry: &wire::PriceEntry| {
        let rates: Result<Vec<Rate>, Cause> = entry.rates.iter().map(rate).collect();
        rates.map(Tariff::new).map_err(|cause| Unpriceable(format!("{}: {}", entry.item, cause.message)))
    };
    book.entries.iter().map(tariff).collect()
}

/// Reads one rate of a price book.
fn rate(spec: &wire::Rate) -> Result<Rate, Cause> {
    let bad = |message: String| Cause::new("bad_price", "entries.rates", message);
    let meter = spec.meter.parse().map_err(|error: crate::meter::UnknownMeter| bad(error.to_string()))?;
    let (text, factor) = if spec.usd_each.is_empty() { (&spec.usd_per_million, 1) } else { (&spec.usd_each, 1_000_000) };
    let price: Picousd = text.parse().map_err(|error: crate::money::Error| bad(error.to_string()))?;
    let picousd_per_million =
        price.0.checked_mul(factor).filter(|price| *price >= 0).ok_or_else(|| bad(format!("`{text}` is negative or too large")))?;
    Ok(Rate { meter, tier: spec.tier.as_str().into(), above_input_tokens: spec.above_input_tokens, picousd_per_million })
}

struct Parts<'a> {
    providers: &'a ByName<Arc<Provider>>,
    accounts: &'a ByName<(String, Arc<Account>)>,
    books: &'a ByName<Book>,
    models: &'a ByName<wire::Model>,
}

fn endpoint(name: &str, spec: &wire::Endpoint, parts: &Parts<'_>) -> Result<Endpoint, Cause> {
    let model = parts.models.get(spec.model.as_str()).ok_or_else(|| Cause::dangling("model", Kind::Model, &spec.model))?;
    let provider =
        parts.providers.get(spec.provider.as_str()).ok_or_else(|| Cause::dangling("provider", Kind::Provider, &spec.provider))?;
    let account = parts.accounts.get(spec.account.as_str()).filter(|(of, _)| *of == spec.provider);
    let (_, account) = account.ok_or_else(|| Cause::dangling("account", Kind::ProviderAccount, &spec.account))?;
    let tariffs = if spec.price_book.is_empty() {
        Box::default()
    } else {
        let book =
            parts.books.get(spec.price_book.as_str()).ok_or_else(|| Cause::dangling("priceBook", Kind::PriceBook, &spec.price_book))?;
        let item = if spec.price_item.is_empty() { &spec.provider_model } else { &spec.price_item };
        book.get(item.as_str()).cloned().unwrap_or_default()
    };
    let either = |own: u64, models: u64| if own == 0 { models } else { own };
    Ok(Endpoint {
        name: name.into(),
        index: 0,
        model: spec.model.as_str().into(),
        provider: Arc::clone(provider),
        account: Arc::clone(account),
        provider_model: spec.provider_model.as_str().into(),
        tariffs,
        allow_unpriced: spec.allow_unpriced,
        context_window: either(spec.context_window, model.context_window),
        max_output: either(spec.max_output, model.max_output),
        parameters: sorted(&spec.supported_parameters),
        reasoning_controls: sorted(&spec.reasoning_controls),
        input_modalities: sorted(&model.input_modalities),
        quantization: if spec.quantization.is_empty() { "unknown".into() } else { spec.quantization.as_str().into() },
        zero_data_retention: spec.zero_data_retention,
        trains_on_prompts: spec.trains_on_prompts,
        disabled: spec.disabled,
    })
}

/// Keys are compiled when they are asked for; what is wrong with one is found here.
fn keys(world: &World, workspaces: ByName<Arc<Workspace>>, mut scopes: Scopes, faults: &mut Faults) -> Keys {
    let shards: Vec<Arc<Shard>> = world.shards_of(Kind::ApiKey).map(|(_, shard)| Arc::clone(shard)).collect();
    for entry in shards.iter().flat_map(|shard| shard.entries()) {
        let mut look = |name: &str, workspace: &str, member: &str| {
            if entry.key_hash().len() != size_of::<KeyHash>() {
                faults.rejected.push(Cause::new("bad_hash", "hash", "the hash must be 16 bytes").of(Kind::ApiKey, &entry.resource()));
            } else if !workspaces.contains_key(workspace) {
                // The key stays known, and refused as a fault of ours: a caller must not read of it as an unknown key.
                faults.rejected.push(Cause::dangling("workspace", Kind::Workspace, workspace).of(Kind::ApiKey, &entry.resource()));
            }
            scopes.remember(name, workspace, member);
        };
        match entry.held() {
            Held::Packed(packed) => {
                let row = packed.row();
                look(row.name, row.workspace, row.member);
            }
            Held::Whole(resource) => {
                let Some(Spec::ApiKey(spec)) = &resource.spec else { continue };
                look(&metadata(resource).name, &spec.workspace, &spec.member);
            }
        }
    }
    Keys::new(shards, workspaces, scopes)
}

fn assemble(revision: u64, models: ByName<wire::Model>, endpoints: ByName<Endpoint>) -> Snapshot {
    let mut endpoints: Vec<Endpoint> = endpoints.into_values().collect();
    endpoints.sort_by(|a, b| (&a.model, &a.name).cmp(&(&b.model, &b.name)));
    let endpoints: Vec<Arc<Endpoint>> =
        endpoints.into_iter().zip(0..).map(|(endpoint, index)| Arc::new(Endpoint { index, ..endpoint })).collect();
    let mut of_model: HashMap<Box<str>, Vec<Arc<Endpoint>>> = HashMap::new();
    for endpoint in &endpoints {
        of_model.entry(endpoint.model.clone()).or_default().push(Arc::clone(endpoint));
    }
    let mut models: Vec<Model> =
        models.into_iter().map(|(name, spec)| model(of_model.remove(&name).unwrap_or_default(), name, &spec)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let mut by_name = HashMap::new();
    let mut by_slug: HashMap<Box<str>, Option<u32>> = HashMap::new();
    let mut by_own_name: HashMap<Box<str>, Option<u32>> = HashMap::new();
    for (model, position) in models.iter().zip(0_u32..) {
        by_name.insert(model.name.clone(), position);
        if let Some((_, slug)) = model.name.split_once('/') {
            by_slug.entry(slug.into()).and_modify(|known| *known = None).or_insert(Some(position));
        }
    }
    for endpoint in &endpoints {
        let position = by_name.get(&endpoint.model).copied();
        for name in own_names(endpoint).into_iter().filter(|name| !by_name.contains_key(name)) {
            by_own_name.entry(name).and_modify(|known| *known = known.filter(|known| Some(*known) == position)).or_insert(position);
        }
    }
    for (name, position) in by_own_name {
        by_slug.entry(name).or_insert(position);
    }
    Snapshot { revision, models, by_name, by_slug, endpoints, ..Snapshot::default() }
}

/// The provider's own name of the model where it differs from the slug (`claude-sonnet-4-5`), bare and behind the author: what that
/// provider's clients send.
fn own_names(endpoint: &Endpoint) -> Vec<Box<str>> {
    let Some((author, slug)) = endpoint.model.split_once('/') else { return Vec::new() };
    let own = &*endpoint.provider_model;
    if own.contains('/') || own == slug {
        return Vec::new();
    }
    vec![own.into(), format!("{author}/{own}").into()]
}

fn model(endpoints: Vec<Arc<Endpoint>>, name: Box<str>, spec: &wire::Model) -> Model {
    Model {
        display_name: if spec.display_name.is_empty() { name.clone() } else { spec.display_name.as_str().into() },
        name,
        description: spec.description.as_str().into(),
        context_window: spec.context_window,
        max_output: spec.max_output,
        input_modalities: boxed(&spec.input_modalities),
        output_modalities: boxed(&spec.output_modalities),
        created: spec.created,
        endpoints: endpoints.into(),
    }
}
