//! Configuration that must not reach anybody: documents that are right, and then damaged.

use waybill_tests::Random;

/// Documents that are right, by names that nobody's requests use.
const RIGHT: &str = "\
apiVersion: waybill/v1
kind: Org
metadata: { name: poison-N }
spec: { displayName: a poisoned one }
---
apiVersion: waybill/v1
kind: Provider
metadata: { name: poison-N }
spec: { dialect: openai, baseUrl: \"http://127.0.0.1:9\", asksUsage: ASKS_USAGE_STREAM_OPTIONS, hangUp: HANG_UP_DRAIN }
---
apiVersion: waybill/v1
kind: ProviderAccount
metadata: { name: poison-N }
spec: { provider: poison-N }
---
apiVersion: waybill/v1
kind: PriceBook
metadata: { name: poison-N }
spec: { currency: USD, source: nobody, entries: [{ item: poison-N, rates: [{ meter: input, usdPerMillion: \"0.15\" }, { meter: output, usdPerMillion: \"0.6\" }] }] }
---
apiVersion: waybill/v1
kind: Model
metadata: { name: poison/N }
spec: { contextWindow: 1000, maxOutput: 100, inputModalities: [text], outputModalities: [text] }
---
apiVersion: waybill/v1
kind: Endpoint
metadata: { name: poison-N }
spec: { model: poison/N, providerModel: x, provider: poison-N, account: poison-N, priceBook: poison-N, priceItem: poison-N }
---
apiVersion: waybill/v1
kind: RoutePolicy
metadata: { name: poison-N }
spec: { order: [poison-N] }
---
apiVersion: waybill/v1
kind: Workspace
metadata: { name: poison-N }
spec: { org: poison-N, routePolicy: poison-N }
---
apiVersion: waybill/v1
kind: Guardrail
metadata: { name: poison-N }
spec: { workspaces: [poison-N], allowedModels: [\"poison/*\"] }
";

/// What is put in the place of something else.
const WRONG: [(&str, &str); 22] = [
    ("\"0.15\"", "\"-0.15\""),
    ("\"0.15\"", "\"1e99\""),
    ("\"0.15\"", "\"0.0000000000000001\""),
    ("\"0.15\"", "\"\""),
    ("usdPerMillion", "usdPerThousand"),
    ("meter: input", "meter: everything"),
    ("currency: USD", "currency: EUR"),
    ("contextWindow: 1000", "contextWindow: -1"),
    ("contextWindow: 1000", "contextWindow: 99999999999999999999"),
    ("maxOutput: 100", "maxOutput: lots"),
    ("http://127.0.0.1:9", "ftp://example.test/"),
    ("http://127.0.0.1:9", "not a url"),
    ("dialect: openai", "dialect: klingon"),
    ("provider: poison-N,", "provider: nobody,"),
    ("org: poison-N", "org: nobody"),
    ("routePolicy: poison-N", "routePolicy: nobody"),
    ("model: poison/N,", "model: \"\","),
    ("order: [poison-N]", "order: [nobody, nobody, nobody]"),
    ("name: poison-N", "name: \"\""),
    ("name: poison-N", "name: \"../../etc/passwd\""),
    ("poison/*", "[*("),
    ("waybill/v1", "waybill/v99"),
];

/// The documents as they are: they must pass, or no damage was ever found.
pub fn right() -> String {
    RIGHT.replace("poison-N", "poison-right").replace("poison/N", "poison/right")
}

/// A damaged set of documents: one part is wrong, or random bytes are. The number makes its names its own.
pub fn damaged(number: usize, random: &mut Random) -> Vec<u8> {
    let text = RIGHT.to_owned();
    let text = match WRONG.get(number) {
        Some((right, wrong)) => text.replacen(right, wrong, 1),
        None => text,
    };
    let mut bytes = text.replace("poison-N", &format!("poison-{number}")).replace("poison/N", &format!("poison/{number}")).into_bytes();
    if number >= WRONG.len() {
        for _ in 0..random.between(1, 6) {
            let at = random.between(0, bytes.len() as u64) as usize;
            match random.between(0, 3) {
                0 => bytes[at] = random.between(0, 256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"{}[]:,-\"0 \n"[random.between(0, 11) as usize]),
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_part_replaces_something_and_damage_follows_from_the_seed() {
        for (right, wrong) in WRONG {
            assert!(RIGHT.contains(right) && !RIGHT.contains(wrong), "{right} -> {wrong}");
        }
        assert_eq!(damaged(50, &mut Random::new(1)), damaged(50, &mut Random::new(1)));
        assert_ne!(damaged(50, &mut Random::new(1)), damaged(50, &mut Random::new(2)));
    }
}
