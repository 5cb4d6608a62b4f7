//! Price versions as they are kept: a version is the hash of its text. Pure.

use std::collections::HashMap;

use waybill_model::price::Tariff;

/// The tariffs whose text is what their version says, and the faults of the others.
pub fn sorted(rows: Vec<(String, String)>) -> (HashMap<String, Tariff>, Vec<String>) {
    let (mut tariffs, mut faults) = (HashMap::new(), Vec::new());
    for (version, text) in rows {
        match Tariff::from_text(&text) {
            Some(tariff) if tariff.version().as_str() == version => drop(tariffs.insert(version, tariff)),
            _ => faults.push(format!("price version {version}: its text is not the one that the version is the hash of")),
        }
    }
    (tariffs, faults)
}
