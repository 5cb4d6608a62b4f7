//! Rules of providers and accounts.

use waybill_proto::model::v1::{AsksUsage, HangUp, Provider, ProviderAccount, SecretHeader, SecretRef};

use super::{
    limits,
    nearest::{nearest, or_nothing},
    violation::{Code, Faults},
    vocabulary::{DIALECTS, RESERVED_HEADERS},
};

pub(super) fn check(provider: &Provider, faults: &mut Faults<'_>) {
    if !DIALECTS.contains(&provider.dialect.as_str()) {
        let guess = or_nothing(nearest(&provider.dialect, DIALECTS.iter().copied()));
        let message = format!("`{}` is not a dialect{guess}: use {}", provider.dialect, DIALECTS.join(", "));
        faults.add("spec.dialect", Code::DialectUnknown, message);
    }
    if let Some(fault) = base_url_fault(&provider.base_url) {
        faults.add("spec.baseUrl", Code::BaseUrlMalformed, fault);
    }
    if AsksUsage::try_from(provider.asks_usage).is_err() {
        faults.add("spec.asksUsage", Code::EnumUnknown, format!("{} is not a value of AsksUsage", provider.asks_usage));
    }
    if HangUp::try_from(provider.hang_up).is_err() {
        faults.add("spec.hangUp", Code::EnumUnknown, format!("{} is not a value of HangUp", provider.hang_up));
    }
    for (position, status) in provider.free_statuses.iter().enumerate() {
        if !(400..=599).contains(status) {
            let message = format!("{status} is no error status: only 400 to 599 can be free of charge");
            faults.add(format!("spec.freeStatuses[{position}]"), Code::StatusNotError, message);
        }
    }
    check_headers(provider, faults);
}

fn check_headers(provider: &Provider, faults: &mut Faults<'_>) {
    if provider.headers.len() > limits::PROVIDER_HEADERS {
        let message = format!("{} headers: at most {}", provider.headers.len(), limits::PROVIDER_HEADERS);
        faults.add("spec.headers", Code::HeadersTooMany, message);
    }
    for (name, value) in &provider.headers {
        let path = format!("spec.headers.{name}");
        // RFC 9110 §5.1 and §5.5: a token, and visible characters with spaces between them.
        let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let is_value = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
        if !is_token || !is_value || name.len() + value.len() > limits::PROVIDER_HEADER_BYTES {
            let message = format!(
                "not a header that can be sent: a name of letters, digits and -, a value of visible ASCII, together at most {} bytes",
                limits::PROVIDER_HEADER_BYTES
            );
            faults.add(path, Code::HeaderMalformed, message);
        } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            faults.add(path, Code::HeaderReserved, format!("`{name}` is set by Waybill itself; a key belongs in a ProviderAccount"));
        }
    }
}

/// What is wrong with a base URL, as a clause for people; `None` if nothing is.
///
/// It is `http` or `https`, a host, perhaps a port and a path: nothing else, because paths are put behind it.
#[must_use]
pub fn base_url_fault(url: &str) -> Option<String> {
    let fault = |why: &str| Some(format!("{why}: write it as https://api.example.com/v1"));
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return fault("a base URL begins with http:// or https://");
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return fault("a base URL has no spaces and only ASCII");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("a base URL has no user or password: put the key in a ProviderAccount".to_owned());
    }
    if url.contains(['?', '#']) {
        return fault("a base URL has no query and no fragment");
    }
    if url.ends_with('/') {
        return fault("a base URL has no slash at its end");
    }
    (!is_authority(authority)).then(|| "a base URL has a host and perhaps a port from 1 to 65535".to_owned())
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_is_one =
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0));
    let host_is_one = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    };
    host_is_one && port_is_one
}

pub(super) fn check_account(account: &ProviderAccount, faults: &mut Faults<'_>) {
    if let Some(secret) = &account.secret {
        check_secret(secret, "spec.secret", faults);
    }
    if SecretHeader::try_from(account.secret_header).is_err() {
        faults.add("spec.secretHeader", Code::EnumUnknown, format!("{} is not a value of SecretHeader", account.secret_header));
    }
}

/// Checks where a secret lies. What is there is never part of a message.
pub(super) fn check_secret(secret: &SecretRef, path: &str, faults: &mut Faults<'_>) {
    match (secret.env.is_empty(), secret.file.is_empty()) {
        (true, true) => faults.add(path, Code::SecretSource, "say where the secret lies: env or file"),
        (false, false) => faults.add(path, Code::SecretSource, "a secret lies in one place: write only one of env and file"),
        (false, true) if !secret.env.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            faults.add(
                format!("{path}.env"),
                Code::SecretMalformed,
                "the name of a variable has letters, digits and _; the secret itself must not be here",
            );
        }
        (true, false) if secret.file.contains('\0') => {
            faults.add(format!("{path}.file"), Code::SecretMalformed, "a path has no zero byte");
        }
        _ => {}
    }
}
