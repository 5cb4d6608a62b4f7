//! Two versions of a resource compared field by field, in canonical JSON. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use waybill_proto::{admin::v1::FieldChange, model::v1::Resource};

use crate::error::Error;

/// Most characters of a value that a plan shows.
const SHOWN: usize = 200;

/// Every field that differs, by its path as documents spell it. An absent field is empty.
pub fn changes(before: &Resource, after: &Resource) -> Result<Vec<FieldChange>, Error> {
    let (before, after) = (leaves(before)?, leaves(after)?);
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |fields: &BTreeMap<String, String>, path: &str| fields.get(path).cloned().unwrap_or_default();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    Ok(differing.map(|path| FieldChange { path: path.clone(), before: text(&before, path), after: text(&after, path) }).collect())
}

/// Fields that follow from others, or that would only tell a machine something.
fn is_shown(path: &str) -> bool {
    !matches!(path, "metadata.uid" | "metadata.generation" | "metadata.createTime" | "spec.hash")
}

fn leaves(resource: &Resource) -> Result<BTreeMap<String, String>, Error> {
    let value = serde_json::to_value(resource).map_err(|error| Error::Damaged(error.to_string()))?;
    let mut found = BTreeMap::new();
    if let Value::Object(parts) = &value {
        for (part, value) in parts {
            // The oneof's own name is the kind; documents call it `spec`.
            walk(if part == "metadata" { "metadata" } else { "spec" }.to_owned(), value, &mut found);
        }
    }
    Ok(found)
}

fn walk(path: String, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(format!("{path}.{name}"), value, found)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| walk(format!("{path}[{index}]"), value, found));
        }
        leaf if is_shown(&path) => {
            let text = leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned);
            let shown = text.char_indices().nth(SHOWN).map_or(text.clone(), |(end, _)| format!("{}…", text.get(..end).unwrap_or_default()));
            found.insert(path, shown);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use waybill_proto::model::v1::{Metadata, PriceBook, PriceEntry, Provider, Rate, resource::Spec};

    use super::*;

    fn resource(labels: &[(&str, &str)], generation: u64, spec: Spec) -> Resource {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Resource { metadata: Some(Metadata { name: "n".to_owned(), labels, generation, ..Metadata::default() }), spec: Some(spec) }
    }

    fn book(prices: &[&str]) -> Spec {
        let rate = |price: &&str| Rate { meter: "input".to_owned(), usd_per_million: (*price).to_owned(), ..Rate::default() };
        let entry = PriceEntry { item: "m".to_owned(), rates: prices.iter().map(rate).collect(), ..PriceEntry::default() };
        Spec::PriceBook(PriceBook { entries: vec![entry], ..PriceBook::default() })
    }

    fn provider(drains: i32, url: &str) -> Spec {
        Spec::Provider(Provider { hang_up: drains, base_url: url.to_owned(), ..Provider::default() })
    }

    #[test]
    fn every_field_that_differs_is_named_as_documents_spell_it() {
        let long = "x".repeat(300);
        let cut = format!("{}…", "x".repeat(200));
        type Row<'a> = (Resource, Resource, &'a [(&'a str, &'a str, &'a str)]);
        let rows: [Row<'_>; 4] = [
            (
                resource(&[("team", "a")], 1, book(&["1", "2"])),
                resource(&[("tier", "b")], 2, book(&["1", "3", "4"])),
                &[
                    ("metadata.labels.team", "a", ""),
                    ("metadata.labels.tier", "", "b"),
                    ("spec.entries[0].rates[1].usdPerMillion", "2", "3"),
                    ("spec.entries[0].rates[2].meter", "", "input"),
                    ("spec.entries[0].rates[2].usdPerMillion", "", "4"),
                ],
            ),
            (
                resource(&[], 1, provider(1, "http://a")),
                resource(&[], 2, provider(2, "http://a")),
                &[("spec.hangUp", "HANG_UP_DRAIN", "HANG_UP_CANCEL")],
            ),
            (resource(&[], 1, provider(0, "a")), resource(&[], 2, provider(0, &long)), &[("spec.baseUrl", "a", &cut)]),
            (resource(&[], 1, book(&["1"])), resource(&[], 9, book(&["1"])), &[]),
        ];
        for (before, after, expected) in rows {
            let found = changes(&before, &after).expect("JSON");
            let found: Vec<_> = found.iter().map(|one| (one.path.as_str(), one.before.as_str(), one.after.as_str())).collect();
            assert_eq!(found, expected);
        }
    }
}
