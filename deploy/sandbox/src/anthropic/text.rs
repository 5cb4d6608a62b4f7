//! JSON text with its members in the order in which the real API has them: `type` comes first there, and readers may count on it.

use serde::Serialize;
use serde_json::json;

/// An object of members whose values are JSON text already.
pub(crate) fn object<const N: usize>(members: [(&str, String); N]) -> String {
    let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.join(","))
}

/// A list of JSON texts.
pub(crate) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

/// A string, or null.
pub(crate) fn string<'a>(text: impl Into<Option<&'a str>>) -> String {
    json!(text.into()).to_string()
}

/// What serialises by itself.
pub(crate) fn value(value: &impl Serialize) -> String {
    // These types have string keys and no failing parts.
    serde_json::to_string(value).unwrap_or_default()
}
