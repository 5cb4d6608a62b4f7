//! What `up` finds to answer with: providers of the environment, of the operator's files, and the sandbox.

use std::{
    collections::BTreeSet,
    env,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use waybill_catalog::{Found, SandboxModel};
use waybill_model::{
    compile::parse_base_url,
    resource::{Kind, metadata},
    world::World,
};
use waybill_proto::model::v1::{Resource, SecretHeader, resource::Spec};
use waybill_sandbox::{Listen, Options, Sandbox, models};

/// How long a base URL of the operator's own may take to list its models at start.
const MODELS_TIME: Duration = Duration::from_secs(5);

/// Longest list of models that is read.
const MODELS_BYTES: usize = 4 << 20;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// When the sandbox answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum SandboxMode {
    /// When no provider is configured.
    #[default]
    Auto,
    On,
    Off,
}

/// Lines of the banner about providers, and the resources they make.
#[derive(Default)]
pub struct Discovered {
    pub resources: Vec<Resource>,
    pub lines: Vec<String>,
    pub sandbox: Option<Sandbox>,
}

/// Looks into the environment. Base URLs that lead back to our own listeners are refused.
pub fn discover(listeners: &[SocketAddr]) -> Result<Discovered> {
    let (found, refused) = waybill_catalog::from_environment(&|name| env::var(name).ok());
    let mut discovered = Discovered::default();
    discovered.lines.extend(refused.into_iter().map(|refused| format!("{}: {} — ignored", refused.variable, refused.message)));
    let (own, found): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| waybill_catalog::is_own(&found.base_url, listeners));
    discovered.lines.extend(
        own.iter().map(|found| format!("{} leads back to this gateway ({}) — ignored", found.row.base_url_variable, found.base_url)),
    );
    let (custom, built_in): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| found.custom);
    discovered.resources = waybill_catalog::resources(&built_in)?;
    for found in &built_in {
        let (models, as_of) = served(&discovered.resources, &found.name());
        discovered.lines.push(format!(
            "{} ({} models, prices as of {as_of}; key in {})",
            found.row.display_name,
            models,
            found.key_variable.unwrap_or("none")
        ));
    }
    for found in &custom {
        let key = found.key_variable.and_then(|name| env::var(name).ok());
        match list_models(found, key.as_deref()) {
            Ok(ids) => {
                let made = waybill_catalog::custom(found, &ids);
                let (models, _) = served(&made, &found.name());
                discovered.lines.push(format!(
                    "{} at {} ({models} models, no prices: their cost is shown as 0)",
                    found.name(),
                    found.base_url
                ));
                discovered.resources.extend(made);
            }
            Err(error) => discovered.lines.push(format!(
                "{} at {} does not list its models, so it serves none: {error:#}",
                found.name(),
                found.base_url
            )),
        }
    }
    Ok(discovered)
}

/// How many models a provider serves, and the date of its prices.
fn served(resources: &[Resource], provider: &str) -> (usize, String) {
    let mut models = BTreeSet::new();
    let mut as_of = "an unknown date".to_owned();
    for resource in resources {
        match &resource.spec {
            Some(Spec::Endpoint(endpoint)) if endpoint.provider == provider => drop(models.insert(endpoint.model.as_str())),
            Some(Spec::PriceBook(book)) if metadata(resource).name == provider => as_of.clone_from(&book.as_of),
            _ => {}
        }
    }
    (models.len(), as_of)
}

/// Starts the sandbox if it is wanted. Its port is kept in the state folder, so that a second start changes no configuration.
pub fn sandbox(mode: SandboxMode, state: &Path, discovered: &mut Discovered, world: &World, documents: &[Resource]) -> Result<()> {
    let is_provider = |resource: &Resource| Kind::of(resource) == Some(Kind::Provider) && !is_sandbox(resource);
    let configured = discovered.resources.iter().any(is_provider)
        || documents.iter().any(is_provider)
        || world.of_kind(Kind::Provider).any(|resource| is_provider(&resource) && !is_discovered(&resource));
    let wanted = match mode {
        SandboxMode::Auto => !configured,
        SandboxMode::On => true,
        SandboxMode::Off => false,
    };
    if !wanted {
        return Ok(());
    }
    let kept = state.join("sandbox-port");
    let port = std::fs::read_to_string(&kept).ok().and_then(|text| text.trim().parse::<u16>().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    let listener = listener.context("the sandbox finds no free port on loopback")?;
    listener.set_nonblocking(true)?;
    std::fs::write(&kept, listener.local_addr()?.port().to_string()).with_context(|| format!("cannot write {}", kept.display()))?;
    let sandbox =
        Sandbox::spawn_thread(Options { listen: Listen::Given(listener), ..Options::default() }).context("the sandbox does not start")?;
    let names: Vec<(String, &str, u64)> = models::TABLE.iter().map(|row| (row.model(), row.about, row.context_length())).collect();
    let rows: Vec<SandboxModel<'_>> =
        names.iter().map(|(name, about, window)| SandboxModel { name, description: about, context_window: *window }).collect();
    discovered.resources.extend(waybill_catalog::sandbox(&sandbox.base_url(), &rows));
    discovered.lines.push(format!("the sandbox ({} models such as sandbox/chat; no provider, no key, invented prices)", rows.len()));
    discovered.sandbox = Some(sandbox);
    Ok(())
}

fn origin(resource: &Resource) -> Option<&str> {
    metadata(resource).labels.get(waybill_catalog::ORIGIN).map(String::as_str)
}

fn is_sandbox(resource: &Resource) -> bool {
    origin(resource) == Some("sandbox")
}

/// It was made at an earlier start from what the environment held then.
fn is_discovered(resource: &Resource) -> bool {
    origin(resource).is_some()
}

/// What earlier starts have made and this one does not find any more.
pub fn gone(world: &World, resources: &[Resource]) -> Vec<(Kind, String)> {
    let kept: BTreeSet<(Kind, &str)> =
        resources.iter().filter_map(|resource| Kind::of(resource).map(|kind| (kind, metadata(resource).name.as_str()))).collect();
    let made = world.resources().filter(|resource| is_discovered(resource));
    let made = made.filter_map(|resource| Some((Kind::of(&resource)?, metadata(&resource).name.clone())));
    made.filter(|(kind, name)| !kept.contains(&(*kind, name.as_str()))).collect()
}

/// Asks a base URL of the operator's own for its models, through the same door as every request.
fn list_models(found: &Found, key: Option<&str>) -> Result<Vec<String>> {
    let (origin, path) = parse_base_url(&found.base_url).map_err(anyhow::Error::msg)?;
    let (query, headers) = asking(found, key).context("the key cannot be sent")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = runtime.block_on(async {
        let path = format!("{path}/models{query}");
        let answer = waybill_upstream::get(&origin, &path, headers, MODELS_BYTES);
        tokio::time::timeout(MODELS_TIME, answer)
            .await
            .with_context(|| format!("no answer within {MODELS_TIME:?}"))?
            .map_err(anyhow::Error::from)
    })?;
    let list: serde_json::Value = serde_json::from_slice(&body).context("its answer to GET /models is no JSON")?;
    let models = list["data"].as_array().or_else(|| list["models"].as_array()).context("its answer to GET /models has no list")?;
    Ok(models.iter().filter_map(|model| model["id"].as_str().or_else(|| model["name"].as_str())).map(str::to_owned).collect())
}

/// Query and headers of a question for the models. Anthropic's list comes in pages, of which this asks for the longest.
fn asking(found: &Found, key: Option<&str>) -> Result<(&'static str, HeaderMap), InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    let is_anthropic = found.row.dialect == "anthropic";
    if let Some(key) = key {
        let (name, value) = match found.secret_header() {
            SecretHeader::XApiKey => (X_API_KEY, key.to_owned()),
            SecretHeader::Unspecified if is_anthropic => (X_API_KEY, key.to_owned()),
            SecretHeader::Unspecified | SecretHeader::Bearer => (AUTHORIZATION, format!("Bearer {key}")),
        };
        let mut value = HeaderValue::from_str(value.trim())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    if !is_anthropic {
        return Ok(("", headers));
    }
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    Ok(("?limit=1000", headers))
}

#[cfg(test)]
mod tests {
    use super::asking;

    #[test]
    fn the_models_of_an_own_base_url_are_asked_for_in_its_dialect() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [(&'a str, &'a str)]);
        let version = ("anthropic-version", "2023-06-01");
        let rows: &[Row<'_>] = &[
            (&[("OPENAI_BASE_URL", "http://10.0.0.7/v1")], "", &[]),
            (&[("OPENAI_BASE_URL", "http://10.0.0.7/v1"), ("OPENAI_API_KEY", "k")], "", &[("authorization", "Bearer k")]),
            (&[("ANTHROPIC_BASE_URL", "http://10.0.0.7")], "?limit=1000", &[version]),
            (&[("ANTHROPIC_BASE_URL", "http://10.0.0.7"), ("ANTHROPIC_API_KEY", "k")], "?limit=1000", &[version, ("x-api-key", "k")]),
            (
                &[("ANTHROPIC_BASE_URL", "http://10.0.0.7"), ("ANTHROPIC_AUTH_TOKEN", "k")],
                "?limit=1000",
                &[version, ("authorization", "Bearer k")],
            ),
        ];
        for (variables, query, expected) in rows {
            let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let (found, _) = waybill_catalog::from_environment(&value);
            let key = found[0].key_variable.and_then(value);
            let (asked, headers) = asking(&found[0], key.as_deref()).expect("headers");
            let mut sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
            sent.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!((asked, sent), (*query, expected), "{variables:?}");
            assert!(!format!("{headers:?}").contains("k\""), "a key is printed");
        }
    }
}
