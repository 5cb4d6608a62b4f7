//! How a preference names a provider.

use waybill_model::snapshot::Endpoint;

/// Whether a name in `order`, `only` or `ignore` means an endpoint.
///
/// A base slug means the provider and all its variants (`google-vertex` means `google-vertex/us-east5`). A name with a suffix means that
/// variant: the provider of exactly this name, or the endpoints of the base with this quantization (`deepinfra/fp8`). Letter case does not
/// count: clients send display forms such as `DeepInfra`.
pub fn names(pattern: &str, endpoint: &Endpoint) -> bool {
    let provider = &*endpoint.provider.name;
    if provider.eq_ignore_ascii_case(pattern) || is_variant_of(provider, pattern) {
        return true;
    }
    let Some((base, variant)) = pattern.rsplit_once('/') else { return false };
    provider.eq_ignore_ascii_case(base) && endpoint.quantization.eq_ignore_ascii_case(variant)
}

/// Whether one of the names means the endpoint.
pub fn any_names(patterns: &[Box<str>], endpoint: &Endpoint) -> bool {
    patterns.iter().any(|pattern| names(pattern, endpoint))
}

/// Position of the first name that means the endpoint; behind all of them if none does.
pub fn place(patterns: &[Box<str>], endpoint: &Endpoint) -> usize {
    patterns.iter().position(|pattern| names(pattern, endpoint)).unwrap_or(patterns.len())
}

fn is_variant_of(provider: &str, base: &str) -> bool {
    let (Some(start), Some(rest)) = (provider.get(..base.len()), provider.get(base.len()..)) else { return false };
    start.eq_ignore_ascii_case(base) && rest.starts_with('/')
}
