//! What the product is given: documents for the provider of the test, and an API key of our own making.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::prices::{CONTEXT_WINDOW, ENDPOINTS, MAX_OUTPUT, Rate};
use crate::Random;

/// Name of the workspace, and so of its account in the ledger.
pub const WORKSPACE: &str = "kill";

/// Writes the documents and the key into `folder`. Gives the documents' file and the key's text.
pub fn write(folder: &Path, base_url: &str, random: &mut Random) -> Result<(PathBuf, String)> {
    let key = key(random);
    let key_file = folder.join("api-key");
    fs::write(&key_file, &key).context("writing the key")?;
    let file = folder.join("kill.yaml");
    fs::write(&file, documents(base_url, &key_file)?).context("writing the documents")?;
    Ok((file, key))
}

fn documents(base_url: &str, key_file: &Path) -> Result<String> {
    let mut text = String::new();
    let mut document = |kind: &str, name: &str, spec: &str| {
        writeln!(text, "---\napiVersion: waybill/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}")
    };
    document("Org", "kill", "{ displayName: the kill test }")?;
    document("RoutePolicy", "kill", "{ order: [failing, scripted, breaking] }")?;
    document("Workspace", WORKSPACE, "{ org: kill, routePolicy: kill }")?;
    document("ApiKey", "kill", &format!("{{ workspace: {WORKSPACE}, keyFrom: {{ file: \"{}\" }} }}", key_file.display()))?;
    for provider in ["scripted", "failing", "breaking"] {
        let rules = "asksUsage: ASKS_USAGE_STREAM_OPTIONS, hangUp: HANG_UP_DRAIN";
        document("Provider", provider, &format!("{{ dialect: openai, baseUrl: \"{base_url}\", {rules} }}"))?;
        document("ProviderAccount", provider, &format!("{{ provider: {provider} }}"))?;
    }
    let mut models: Vec<&str> = Vec::new();
    for endpoint in ENDPOINTS {
        let rates: Vec<String> = endpoint.rates.iter().map(rate).collect();
        let entry = format!("{{ item: {}, rates: [{}] }}", endpoint.name, rates.join(", "));
        document("PriceBook", endpoint.name, &format!("{{ currency: USD, source: the kill test, entries: [{entry}] }}"))?;
        if !models.contains(&endpoint.model) {
            models.push(endpoint.model);
            let modalities = "inputModalities: [text], outputModalities: [text]";
            document("Model", endpoint.model, &format!("{{ contextWindow: {CONTEXT_WINDOW}, maxOutput: {MAX_OUTPUT}, {modalities} }}"))?;
        }
        let (provider, price) = (endpoint.provider, format!("priceBook: {0}, priceItem: {0}", endpoint.name));
        let served = format!("model: {}, providerModel: {}", endpoint.model, endpoint.provider_model);
        document("Endpoint", endpoint.name, &format!("{{ {served}, provider: {provider}, account: {provider}, {price} }}"))?;
    }
    Ok(text)
}

fn rate(rate: &Rate) -> String {
    let unit = if rate.is_each { "usdEach" } else { "usdPerMillion" };
    format!("{{ meter: {}, {unit}: \"{}\" }}", rate.meter, rate.decimal)
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key's text: 27 digits, of which the first is 0 so that they are a number of 20 bytes, and six digits of checksum.
pub fn key(random: &mut Random) -> String {
    let digits: String = (0..26).map(|_| char::from(DIGITS[random.between(0, 62) as usize])).collect();
    let body = format!("wb_test_0{digits}");
    let mut sum = u64::from(crc32(body.as_bytes()));
    let mut check = [b'0'; 6];
    for digit in check.iter_mut().rev() {
        *digit = DIGITS[(sum % 62) as usize];
        sum /= 62;
    }
    format!("{body}_{}", check.map(char::from).iter().collect::<String>())
}

/// CRC-32 as in IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_key_has_the_form_of_a_key() {
        let key = key(&mut Random::new(1));
        let parts: Vec<&str> = key.split('_').collect();
        assert_eq!((parts.len(), parts[0], parts[1], parts[2].len(), parts[3].len()), (4, "wb", "test", 27, 6), "{key}");
    }
}
