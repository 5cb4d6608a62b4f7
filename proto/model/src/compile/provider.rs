//! Providers and their accounts.

use std::sync::Arc;

use waybill_proto::model::v1 as wire;

use super::{Cause, Secrets};
use crate::{
    check::DIALECTS,
    snapshot::{Account, AsksUsage, Credential, HangUp, Origin, Provider},
};

pub(super) fn provider(name: &str, spec: &wire::Provider) -> Result<Arc<Provider>, Cause> {
    let (origin, path) = parse_base_url(&spec.base_url).map_err(|message| Cause::new("bad_base_url", "baseUrl", message))?;
    if !DIALECTS.contains(&spec.dialect.as_str()) {
        let message = format!("this build does not speak `{}`; it speaks {}", spec.dialect, DIALECTS.join(", "));
        return Err(Cause::new("unknown_dialect", "dialect", message));
    }
    Ok(Arc::new(Provider {
        name: name.into(),
        display_name: if spec.display_name.is_empty() { name.into() } else { spec.display_name.as_str().into() },
        dialect: spec.dialect.as_str().into(),
        origin,
        path,
        asks_usage: match spec.asks_usage() {
            wire::AsksUsage::Unspecified | wire::AsksUsage::StreamOptions => AsksUsage::StreamOptions,
            wire::AsksUsage::Always => AsksUsage::Always,
            wire::AsksUsage::Never => AsksUsage::Never,
        },
        hang_up: match spec.hang_up() {
            wire::HangUp::Unspecified | wire::HangUp::Drain => HangUp::Drain,
            wire::HangUp::Cancel => HangUp::Cancel,
        },
        free_statuses: spec.free_statuses.iter().filter_map(|status| u16::try_from(*status).ok()).collect(),
        takes_gateway_fields: spec.takes_gateway_fields,
        headers: spec.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
    }))
}

/// Reads `http[s]://host[:port][/path]`.
///
/// # Errors
/// Says what is wrong with the URL.
pub fn parse_base_url(url: &str) -> Result<(Origin, Box<str>), String> {
    let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(format!("`{url}` does not begin with https:// or http://")),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.is_empty() || authority.contains('@') || rest.contains(['?', '#', ' ']) {
        return Err(format!("`{url}` must be scheme://host[:port][/path] without user, query or fragment"));
    }
    let bracketed = authority.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(digits) => digits.parse().map_err(|_| format!("`{digits}` in `{url}` is not a port"))?,
    };
    let origin = Origin { tls, host: host.into(), port, authority: authority.into() };
    Ok((origin, path.trim_end_matches('/').into()))
}

/// The account, with its secret in the header that it says or else in the one of its provider's dialect. An account without a usable
/// provider serves no endpoint.
pub(super) fn account(name: &str, spec: &wire::ProviderAccount, provider: Option<&Provider>, secrets: Secrets<'_>) -> Account {
    let of_dialect = if provider.is_some_and(|provider| &*provider.dialect == "anthropic") {
        wire::SecretHeader::XApiKey
    } else {
        wire::SecretHeader::Bearer
    };
    let header = match spec.secret_header() {
        wire::SecretHeader::Unspecified => of_dialect,
        said => said,
    };
    let credential = match (spec.secret.as_ref(), header) {
        (None, _) => Credential::None,
        (Some(reference), wire::SecretHeader::XApiKey) => secrets(reference).map_or(Credential::Missing, Credential::ApiKeyHeader),
        (Some(reference), _) => secrets(reference).map_or(Credential::Missing, Credential::Bearer),
    };
    Account { name: name.into(), credential }
}
