//! Facts about single models, written by hand, apart from the data and the script that makes it.

use std::collections::{HashMap, HashSet};

use waybill_model::money::Picousd;
use waybill_proto::model::v1::PriceBook;

use super::{books, endpoints, everything, found, models};
use crate::resources;

/// Provider, its name of the model, meter, tier, band, USD per million. Written by hand, apart from the data and the script that makes it.
const PRICES: &[(&str, &str, &str, &str, u64, &str)] = &[
    ("openai", "gpt-4o", "input", "", 0, "2.50"),
    ("openai", "gpt-4o", "cache_read", "", 0, "1.25"),
    ("openai", "gpt-4o", "output", "", 0, "10.00"),
    ("openai", "gpt-4o-mini", "input", "", 0, "0.15"),
    ("openai", "gpt-4o-mini", "output", "", 0, "0.60"),
    ("openai", "gpt-4.1", "input", "", 0, "2.00"),
    ("openai", "gpt-4.1", "output", "", 0, "8.00"),
    ("openai", "gpt-5", "input", "", 0, "1.25"),
    ("openai", "gpt-5", "cache_read", "", 0, "0.125"),
    ("openai", "gpt-5", "output", "", 0, "10.00"),
    ("openai", "gpt-5", "input", "flex", 0, "0.625"),
    ("openai", "gpt-5", "input", "priority", 0, "2.50"),
    ("openai", "gpt-5-nano", "input", "", 0, "0.05"),
    ("openai", "gpt-5-nano", "cache_read", "", 0, "0.005"),
    ("groq", "llama-3.3-70b-versatile", "input", "", 0, "0.59"),
    ("groq", "llama-3.3-70b-versatile", "output", "", 0, "0.79"),
    ("groq", "llama-3.1-8b-instant", "input", "", 0, "0.05"),
    ("mistral", "mistral-large-latest", "input", "", 0, "0.50"),
    ("mistral", "mistral-large-latest", "output", "", 0, "1.50"),
    ("gemini", "gemini-2.5-pro", "input", "", 0, "1.25"),
    ("gemini", "gemini-2.5-pro", "input", "", 200_000, "2.50"),
    ("gemini", "gemini-2.5-pro", "output", "", 0, "10.00"),
    ("gemini", "gemini-2.5-pro", "output", "", 200_000, "15.00"),
    ("gemini", "gemini-2.5-flash", "input", "", 0, "0.30"),
    ("gemini", "gemini-2.5-flash", "audio_input", "", 0, "1.00"),
    ("perplexity", "sonar", "request", "", 0, "5000"),
    ("moonshot", "kimi-k2-thinking", "output", "", 0, "2.50"),
    ("openrouter", "anthropic/claude-sonnet-4.5", "input", "", 0, "3.00"),
    ("openrouter", "anthropic/claude-sonnet-4.5", "cache_write_5m", "", 0, "3.75"),
    ("openrouter", "anthropic/claude-sonnet-4.5", "output", "", 0, "15.00"),
    ("openrouter", "anthropic/claude-sonnet-4.5", "input", "", 200_000, "6.00"),
    ("openrouter", "google/gemini-2.5-pro", "input", "", 200_000, "2.50"),
    ("anthropic", "claude-sonnet-4-5-20250929", "input", "", 0, "3.00"),
    ("anthropic", "claude-sonnet-4-5-20250929", "cache_read", "", 0, "0.30"),
    ("anthropic", "claude-sonnet-4-5-20250929", "cache_write_5m", "", 0, "3.75"),
    ("anthropic", "claude-sonnet-4-5-20250929", "cache_write_1h", "", 0, "6.00"),
    ("anthropic", "claude-sonnet-4-5-20250929", "output", "", 0, "15.00"),
    ("anthropic", "claude-sonnet-4-5-20250929", "search", "", 0, "10000"),
    ("anthropic", "claude-haiku-4-5-20251001", "input", "", 0, "1.00"),
    // No entry has this price, so it is twice input; nor one for its searches.
    ("anthropic", "claude-haiku-4-5-20251001", "cache_write_1h", "", 0, "2.00"),
    ("anthropic", "claude-haiku-4-5-20251001", "output", "", 0, "5.00"),
    ("anthropic", "claude-haiku-4-5-20251001", "search", "", 0, "10000"),
    ("anthropic", "claude-opus-4-5", "input", "", 0, "5.00"),
    ("anthropic", "claude-opus-4-5", "output", "", 0, "25.00"),
    ("anthropic", "claude-opus-4-8", "output", "fast", 0, "50.00"),
    ("anthropic", "claude-opus-5-5", "input", "", 0, "4.00"),
    ("anthropic", "claude-opus-5-5", "cache_read", "", 0, "0.20"),
    ("anthropic", "claude-haiku-5-5", "input", "", 0, "0.10"),
    ("anthropic", "claude-haiku-5-5", "input", "", 100_000, "0.50"),
    ("anthropic", "claude-haiku-5-5", "cache_write_1h", "", 100_000, "1.00"),
    // Input at 1.25 and storage for five minutes at 4.50 an hour and million tokens.
    ("openrouter", "google/gemini-2.5-pro", "cache_write_5m", "", 0, "1.625"),
];

#[test]
fn known_prices_are_right() {
    let made = resources(&everything()).expect("readable data");
    let books: HashMap<&str, &PriceBook> = books(&made).into_iter().collect();
    let mut wrong = String::new();
    for (provider, item, meter, tier, band, expected) in PRICES {
        let entries = books.get(provider).map(|book| book.entries.as_slice()).unwrap_or_default();
        let rates = entries.iter().filter(|entry| entry.item == *item).flat_map(|entry| &entry.rates);
        let found: Vec<_> = rates
            .filter(|rate| rate.meter == *meter && rate.tier == *tier && rate.above_input_tokens == *band)
            .map(|rate| rate.usd_per_million.parse::<Picousd>())
            .collect();
        if found != [expected.parse::<Picousd>()] {
            wrong += &format!("{provider} {item} {meter} {tier} {band}: {found:?} is not {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn known_models_have_their_canonical_slugs() {
    let made = resources(&everything()).expect("readable data");
    let slugs: HashMap<(&str, &str), &str> = endpoints(&made)
        .into_iter()
        .map(|(_, endpoint)| ((endpoint.provider.as_str(), endpoint.provider_model.as_str()), endpoint.model.as_str()))
        .collect();
    for (provider, item, expected) in [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
        ("groq", "llama-3.3-70b-versatile", "meta-llama/llama-3.3-70b-instruct"),
        ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("cerebras", "gpt-oss-120b", "openai/gpt-oss-120b"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:together", "meta-llama/llama-3.3-70b-instruct"),
        ("fireworks", "accounts/fireworks/models/qwen3p7-plus", "qwen/qwen3.7-plus"),
        ("together", "MiniMaxAI/MiniMax-M2.7", "minimax/minimax-m2.7"),
        ("mistral", "mistral-large-latest", "mistralai/mistral-large-latest"),
        ("xai", "grok-4.3", "x-ai/grok-4.3"),
        ("zai", "glm-5", "z-ai/glm-5"),
        ("gemini", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4.5"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5-20250929"),
        ("anthropic", "claude-opus-5", "anthropic/claude-opus-5"),
        ("anthropic", "claude-opus-5-5", "anthropic/claude-opus-5.5"),
        ("moonshot", "kimi-k2.7-code-highspeed", "moonshotai/kimi-k2.7-code-highspeed"),
    ] {
        assert_eq!(slugs.get(&(provider, item)), Some(&expected), "{provider} {item}");
    }
    // Elsewhere this slug is another model.
    assert_eq!(slugs.get(&("deepseek", "deepseek-chat")), None);
}

/// Provider, its name of the model, how its reasoning is steered.
const CONTROLS: &[(&str, &str, &[&str])] = &[
    ("anthropic", "claude-haiku-4-5", &["budget_tokens", "toggle"]),
    ("anthropic", "claude-opus-4-5", &["effort", "budget_tokens", "toggle"]),
    ("anthropic", "claude-opus-4-6", &["effort", "budget_tokens", "toggle", "adaptive"]),
    ("anthropic", "claude-opus-4-7", &["effort", "toggle", "adaptive"]),
    // Its thinking is always on.
    ("anthropic", "claude-fable-5", &["effort", "adaptive"]),
    ("openai", "gpt-5", &["effort"]),
    ("openai", "gpt-4o", &[]),
    ("gemini", "gemini-2.5-pro", &["budget_tokens"]),
    ("gemini", "gemini-2.5-flash", &["budget_tokens", "toggle"]),
    ("openrouter", "anthropic/claude-opus-4.5", &["effort", "budget_tokens", "toggle"]),
];

#[test]
fn known_reasoning_controls_are_right() {
    let made = resources(&everything()).expect("readable data");
    let controls: HashMap<(&str, &str), &[String]> = endpoints(&made)
        .into_iter()
        .map(|(_, endpoint)| ((endpoint.provider.as_str(), endpoint.provider_model.as_str()), endpoint.reasoning_controls.as_slice()))
        .collect();
    let mut wrong = String::new();
    for (provider, item, expected) in CONTROLS {
        let found = controls.get(&(*provider, *item));
        if found.is_none_or(|found| found != expected) {
            wrong += &format!("{provider} {item}: {found:?} is not {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_anthropic_model_has_every_price_that_its_usage_can_ask_for() {
    let made = resources(&found(&[("ANTHROPIC_API_KEY", "k")])).expect("readable data");
    for entry in &books(&made)[0].1.entries {
        let places: HashSet<(&str, u64)> =
            entry.rates.iter().filter(|rate| rate.meter != "search").map(|rate| (rate.tier.as_str(), rate.above_input_tokens)).collect();
        for (tier, band) in places {
            for meter in ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output"] {
                let has = entry
                    .rates
                    .iter()
                    .any(|rate| (rate.meter.as_str(), rate.tier.as_str(), rate.above_input_tokens) == (meter, tier, band));
                assert!(has, "{}: {meter} {tier} {band}", entry.item);
            }
        }
        assert!(entry.rates.iter().any(|rate| rate.meter == "search"), "{}", entry.item);
    }
    for (name, endpoint) in endpoints(&made) {
        let (_, model) = models(&made).into_iter().find(|(model, _)| *model == endpoint.model).expect("the model is there");
        assert!(model.max_output > 0 && model.context_window >= 200_000, "{name}");
        let steered = !endpoint.reasoning_controls.is_empty();
        assert_eq!(endpoint.supported_parameters.contains(&"reasoning".to_owned()), steered, "{name}");
    }
}
