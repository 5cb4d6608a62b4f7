//! Which providers an environment names.

use waybill_model::check::base_url_fault;
use waybill_proto::model::v1::SecretHeader;

use crate::providers::{PROVIDERS, Row};

/// A provider that the environment names.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its row in the table.
    pub row: &'static Row,
    /// The variable that holds the key; absent at a base URL of the operator's own without one.
    pub key_variable: Option<&'static str>,
    /// Where it is, without a slash at its end.
    pub base_url: String,
    /// The base URL is not the provider's own.
    pub custom: bool,
}

impl Found {
    /// Name of its Provider: a custom one has a name of its own, so that nobody takes it for the real one.
    #[must_use]
    pub fn name(&self) -> String {
        if self.custom { format!("{}-custom", self.row.name) } else { self.row.name.to_owned() }
    }

    /// How the key goes out; unspecified = as the dialect has it.
    #[must_use]
    pub fn secret_header(&self) -> SecretHeader {
        let is_bearer = self.key_variable.is_some_and(|variable| self.row.bearer_variables.contains(&variable));
        if is_bearer { SecretHeader::Bearer } else { SecretHeader::Unspecified }
    }
}

/// A base URL variable that cannot be used. The operator has to correct it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct Refused {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// Walks the table: a provider is found if its key is set, or if its base URL is set to one that is not its own. Empty variables count as
/// unset; the keys themselves are not kept.
#[must_use]
pub fn from_environment(variables: &dyn Fn(&str) -> Option<String>) -> (Vec<Found>, Vec<Refused>) {
    let mut found = Vec::new();
    let mut refused = Vec::new();
    for row in PROVIDERS {
        match find(row, variables) {
            Ok(one) => found.extend(one),
            Err(one) => refused.push(one),
        }
    }
    (found, refused)
}

fn find(row: &'static Row, variables: &dyn Fn(&str) -> Option<String>) -> Result<Option<Found>, Refused> {
    let set = |variable: &str| variables(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let key_variable = row.key_variables.iter().copied().find(|variable| set(variable).is_some());
    let base_url = set(row.base_url_variable).map(|url| with_end(url.trim_end_matches('/'), row.base_url_ends));
    let (base_url, custom) = match base_url {
        None => (row.base_url.to_owned(), false),
        Some(url) if is_of(row, &url) => (row.base_url.to_owned(), false),
        Some(url) => match base_url_fault(&url) {
            None => (url, true),
            Some(message) => return Err(Refused { variable: row.base_url_variable, message }),
        },
    };
    Ok((custom || key_variable.is_some()).then_some(Found { row, key_variable, base_url, custom }))
}

fn with_end(url: &str, end: &str) -> String {
    if url.ends_with(end) { url.to_owned() } else { format!("{url}{end}") }
}

fn is_of(row: &Row, url: &str) -> bool {
    row.also.iter().chain([&row.base_url]).any(|own| own.eq_ignore_ascii_case(url))
}
