use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use waybill_model::{
    check::{base_url_fault, check},
    money::Picousd,
    resource::{Kind, metadata},
};
use waybill_proto::model::v1::{
    AsksUsage, Endpoint, HangUp, Model, PriceBook, Provider, ProviderAccount, Resource, SecretHeader, resource::Spec,
};

mod facts;

use super::{Found, PROVIDERS, SandboxModel, custom, from_environment, is_own, resources, sandbox};

fn environment(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let variables: HashMap<String, String> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name: &str| variables.get(name).cloned()
}

fn found(variables: &[(&str, &str)]) -> Vec<Found> {
    let (found, refused) = from_environment(&environment(variables));
    assert_eq!(refused, []);
    found
}

fn everything() -> Vec<Found> {
    let variables: Vec<(&str, &str)> = PROVIDERS.iter().map(|row| (row.key_variables[0], "secret-text")).collect();
    found(&variables)
}

macro_rules! specs {
    ($($function:ident: $kind:ident),+) => {
        $(fn $function(made: &[Resource]) -> Vec<(&str, &$kind)> {
            made.iter().filter_map(|resource| match &resource.spec {
                Some(Spec::$kind(spec)) => Some((metadata(resource).name.as_str(), spec)),
                _ => None,
            }).collect()
        })+
    };
}

specs!(accounts: ProviderAccount, providers: Provider, models: Model, endpoints: Endpoint, books: PriceBook);

#[test]
fn every_provider_is_found_by_its_key_and_checks_clean() {
    for row in PROVIDERS {
        for variable in row.key_variables {
            let found = found(&[(variable, "secret-text")]);
            assert_eq!(found.iter().map(|found| found.row.name).collect::<Vec<_>>(), [row.name]);
            let made = resources(&found).expect("readable data");
            assert_eq!(check(&made), [], "{}", row.name);
            assert!(!endpoints(&made).is_empty(), "{}", row.name);
            assert!(!format!("{made:?}").contains("secret-text"), "a key was read");
        }
    }
}

#[test]
fn all_providers_together_are_one_clean_world() {
    let made = resources(&everything()).expect("readable data");
    assert_eq!(check(&made), []);
    assert_eq!(providers(&made).len(), PROVIDERS.len());
    let slugs: HashSet<&str> = models(&made).iter().map(|(name, _)| *name).collect();
    for (name, endpoint) in endpoints(&made) {
        assert!(slugs.contains(endpoint.model.as_str()) && name.starts_with(&endpoint.model), "{name}");
        assert_eq!(endpoint.model.matches('/').count(), 1, "{name}: a slug is author/slug");
        assert!(!endpoint.allow_unpriced, "{name}");
    }
    for (name, model) in models(&made) {
        assert!(model.input_modalities.contains(&"text".to_owned()), "{name}");
        assert_eq!(model.output_modalities, ["text"], "{name}");
    }
}

#[test]
fn a_change_set_is_in_the_order_of_references() {
    let made = resources(&everything()).expect("readable data");
    let order: Vec<Kind> = made.iter().filter_map(Kind::of).collect();
    let last = |kind: Kind| order.iter().rposition(|other| *other == kind);
    let first = |kind: Kind| order.iter().position(|other| *other == kind);
    assert!(first(Kind::Endpoint) > last(Kind::Model) && first(Kind::Endpoint) > last(Kind::PriceBook), "endpoints come last");
}

#[test]
fn every_price_is_used_by_an_endpoint_and_no_provider_is_all_free() {
    let made = resources(&everything()).expect("readable data");
    let used: HashSet<(&str, &str)> =
        endpoints(&made).iter().map(|(_, endpoint)| (endpoint.price_book.as_str(), endpoint.provider_model.as_str())).collect();
    for (name, book) in books(&made) {
        assert!(!book.source.is_empty() && book.as_of.len() == 10, "{name}");
        let mut priced = 0;
        for entry in &book.entries {
            assert!(used.contains(&(name, entry.item.as_str())), "{name}: {} is priced and not served", entry.item);
            let has =
                |meter: &str| entry.rates.iter().any(|rate| rate.meter == meter && rate.tier.is_empty() && rate.above_input_tokens == 0);
            assert!(has("input") && has("output"), "{name}: {}", entry.item);
            priced += usize::from(entry.rates.iter().any(|rate| rate.usd_per_million.parse::<Picousd>().is_ok_and(|price| price.0 > 0)));
        }
        assert!(priced > 0, "{name}");
    }
}

#[test]
fn the_secret_goes_out_as_its_variable_says() {
    for (variables, custom_url, expected) in [
        (&[("ANTHROPIC_API_KEY", "k")][..], None, SecretHeader::Unspecified),
        (&[("ANTHROPIC_AUTH_TOKEN", "k")][..], None, SecretHeader::Bearer),
        (&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_AUTH_TOKEN", "k")][..], None, SecretHeader::Unspecified),
        (&[("ANTHROPIC_AUTH_TOKEN", "k")][..], Some(("ANTHROPIC_BASE_URL", "http://10.0.0.7:8000")), SecretHeader::Bearer),
        (&[("OPENAI_API_KEY", "k")][..], None, SecretHeader::Unspecified),
    ] {
        let variables: Vec<_> = variables.iter().copied().chain(custom_url).collect();
        let found = found(&variables);
        let made = if custom_url.is_some() { custom(&found[0], &[]) } else { resources(&found).expect("readable data") };
        assert_eq!(check(&made), []);
        let headers: Vec<_> = accounts(&made).iter().map(|(_, account)| account.secret_header()).collect();
        assert_eq!(headers, [expected], "{variables:?}");
        let dialects: HashSet<_> = providers(&made).iter().map(|(_, provider)| provider.dialect.as_str()).collect();
        assert_eq!(dialects, HashSet::from([found[0].row.dialect]), "{variables:?}");
    }
}

#[test]
fn a_model_that_several_serve_promises_what_each_of_them_takes() {
    let made = resources(&everything()).expect("readable data");
    let by_name: HashMap<&str, &Model> = models(&made).into_iter().collect();
    for (name, endpoint) in endpoints(&made) {
        let model = by_name[endpoint.model.as_str()];
        assert!(endpoint.context_window < model.context_window || endpoint.context_window == 0, "{name}: the widest window is the model's");
    }
}

#[test]
fn quirks_are_facts_with_a_source() {
    let stopping = ["openai", "anthropic", "fireworks", "together", "deepinfra", "novita", "xai", "deepseek"];
    for row in PROVIDERS {
        assert!(!row.source.is_empty(), "{}", row.name);
        assert_eq!(row.hang_up == HangUp::Cancel, stopping.contains(&row.name), "{}: only listed providers stop billing", row.name);
        assert_eq!(row.takes_gateway_fields, row.name == "openrouter", "{}", row.name);
        assert_eq!(row.asks_usage == AsksUsage::Always, ["anthropic", "mistral"].contains(&row.name), "{}", row.name);
        assert_eq!(row.dialect, if row.name == "anthropic" { "anthropic" } else { "openai" }, "{}", row.name);
        assert!(row.bearer_variables.iter().all(|variable| row.key_variables.contains(variable)), "{}", row.name);
        assert!(row.base_url.ends_with(row.base_url_ends), "{}", row.name);
        assert_eq!(base_url_fault(row.base_url), None, "{}", row.name);
        assert!(row.base_url.starts_with("https://"), "{}: a key never travels in the clear", row.name);
    }
    let names: HashSet<_> = PROVIDERS.iter().map(|row| row.name).collect();
    let variables: Vec<_> = PROVIDERS.iter().flat_map(|row| row.key_variables.iter().chain([&row.base_url_variable])).collect();
    assert_eq!((names.len(), variables.iter().collect::<HashSet<_>>().len()), (PROVIDERS.len(), variables.len()), "nothing stands twice");
}

/// Variables with their values, and the name, base URL and key variable of what is found.
type Environment<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str, Option<&'a str>)]);

#[test]
fn the_environment_is_read_as_the_table_says() {
    let rows: &[Environment<'_>] = &[
        (&[], &[]),
        (&[("OPENAI_API_KEY", "")], &[]),
        (&[("OPENAI_API_KEY", "  ")], &[]),
        (&[("UNKNOWN_API_KEY", "k")], &[]),
        (&[("ANTHROPIC_API_KEY", "k")], &[("anthropic", "https://api.anthropic.com/v1", Some("ANTHROPIC_API_KEY"))]),
        (
            &[("ANTHROPIC_AUTH_TOKEN", "k"), ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/")],
            &[("anthropic", "https://api.anthropic.com/v1", Some("ANTHROPIC_AUTH_TOKEN"))],
        ),
        (
            &[("ANTHROPIC_AUTH_TOKEN", "k"), ("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1")],
            &[("anthropic", "https://api.anthropic.com/v1", Some("ANTHROPIC_API_KEY"))],
        ),
        (&[("ANTHROPIC_BASE_URL", "http://10.0.0.7:8000")], &[("anthropic-custom", "http://10.0.0.7:8000/v1", None)]),
        (
            &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_BASE_URL", "http://10.0.0.7:8000/api/v1/")],
            &[("anthropic-custom", "http://10.0.0.7:8000/api/v1", Some("ANTHROPIC_API_KEY"))],
        ),
        (&[("OPENAI_API_KEY", "k")], &[("openai", "https://api.openai.com/v1", Some("OPENAI_API_KEY"))]),
        (
            &[("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "https://API.openai.com/v1/")],
            &[("openai", "https://api.openai.com/v1", Some("OPENAI_API_KEY"))],
        ),
        (&[("OPENAI_BASE_URL", "https://api.openai.com/v1")], &[]),
        (
            &[("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://10.0.0.7:8000/v1/")],
            &[("openai-custom", "http://10.0.0.7:8000/v1", Some("OPENAI_API_KEY"))],
        ),
        (&[("OPENAI_BASE_URL", "http://10.0.0.7:8000/v1")], &[("openai-custom", "http://10.0.0.7:8000/v1", None)]),
        (
            &[("DEEPSEEK_API_KEY", "k"), ("DEEPSEEK_BASE_URL", "https://api.deepseek.com/v1")],
            &[("deepseek", "https://api.deepseek.com", Some("DEEPSEEK_API_KEY"))],
        ),
        (
            &[("GOOGLE_API_KEY", "k"), ("GEMINI_API_KEY", "k"), ("GROQ_API_KEY", "k")],
            &[
                ("groq", "https://api.groq.com/openai/v1", Some("GROQ_API_KEY")),
                ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", Some("GEMINI_API_KEY")),
            ],
        ),
    ];
    for (variables, expected) in rows {
        let found = found(variables);
        let names: Vec<String> = found.iter().map(Found::name).collect();
        let got: Vec<_> =
            found.iter().zip(&names).map(|(found, name)| (name.as_str(), found.base_url.as_str(), found.key_variable)).collect();
        assert_eq!(got, *expected, "{variables:?}");
    }
}

#[test]
fn a_base_url_that_cannot_be_called_is_refused_by_name_and_the_others_stand() {
    let (found, refused) = from_environment(&environment(&[
        ("OPENAI_API_KEY", "k"),
        ("OPENAI_BASE_URL", "10.0.0.7:8000"),
        ("XAI_BASE_URL", "https://user:password@host/v1"),
        ("GROQ_API_KEY", "k"),
    ]));
    assert_eq!(found.iter().map(Found::name).collect::<Vec<_>>(), ["groq"]);
    assert_eq!(refused.iter().map(|refused| refused.variable).collect::<Vec<_>>(), ["OPENAI_BASE_URL", "XAI_BASE_URL"]);
    assert!(!format!("{refused:?}").contains("password@"), "{refused:?}");
}

#[test]
fn a_custom_provider_serves_what_it_lists_without_prices() {
    let found = found(&[("OPENAI_BASE_URL", "http://10.0.0.7:8000/v1")]);
    assert_eq!(resources(&found).expect("readable data"), [], "built-in prices are not those of another host");
    let ids = ["llama3:8b", "Qwen/Qwen3-8B", "qwen/qwen3-8b", "a/b/c", "with space", "", "/", "x/", &"l".repeat(200)].map(str::to_owned);
    let made = custom(&found[0], &ids);
    assert_eq!(check(&made), []);
    let got: Vec<_> = endpoints(&made).iter().map(|(name, endpoint)| (*name, endpoint.provider_model.as_str())).collect();
    assert_eq!(
        got,
        [
            ("openai-custom/llama3:8b@openai-custom", "llama3:8b"),
            ("qwen/qwen3-8b@openai-custom", "Qwen/Qwen3-8B"),
            ("openai-custom/a:b:c@openai-custom", "a/b/c"),
            ("openai-custom/with-space@openai-custom", "with space"),
            ("openai-custom/x@openai-custom", "x/"),
        ]
    );
    assert!(endpoints(&made).iter().all(|(_, endpoint)| endpoint.allow_unpriced && endpoint.price_book.is_empty()));
    let (_, provider) = providers(&made)[0];
    assert!(provider.custom && provider.hang_up == i32::from(HangUp::Unspecified), "nothing is known of a custom host");
}

#[test]
fn a_base_url_that_leads_to_ourselves_is_noticed() {
    let listeners: Vec<SocketAddr> = ["127.0.0.1:8080", "[::]:9090", "192.0.2.7:80"].map(|text| text.parse().expect("an address")).to_vec();
    for (url, expected) in [
        ("http://localhost:8080/v1", true),
        ("http://LOCALHOST.:8080/v1", true),
        ("http://api.localhost:8080/v1", true),
        ("http://127.0.0.1:8080/v1", true),
        ("http://127.9.9.9:8080/v1", true),
        ("http://[::1]:8080/v1", true),
        ("http://[::ffff:127.0.0.1]:8080/v1", true),
        ("http://0.0.0.0:8080/api/v1", true),
        ("https://localhost:9090", true),
        ("http://192.0.2.7", true),
        ("http://192.0.2.7:80/v1", true),
        ("https://192.0.2.7/v1", false),
        ("http://localhost:8081/v1", false),
        ("http://localhost/v1", true),
        ("https://localhost/v1", false),
        ("http://10.0.0.7:8080/v1", false),
        ("https://api.openai.com/v1", false),
        ("nonsense", false),
    ] {
        assert_eq!(is_own(url, &listeners), expected, "{url}");
    }
}

#[test]
fn the_sandbox_has_prices_that_are_not_zero() {
    let named = |name| SandboxModel { name, description: "", context_window: 131_072 };
    let made = sandbox("http://127.0.0.1:4000/v1/", &[named("sandbox/chat"), named("sandbox/echo")]);
    assert_eq!(check(&made), []);
    assert_eq!(endpoints(&made).len(), 2);
    assert!(
        books(&made)[0]
            .1
            .entries
            .iter()
            .flat_map(|entry| &entry.rates)
            .all(|rate| rate.usd_per_million.parse::<Picousd>().is_ok_and(|price| price.0 > 0))
    );
}

#[test]
fn the_notice_names_every_source() {
    let notice = include_str!("../data/NOTICE");
    for row in PROVIDERS {
        for project in ["models.dev", "genai-prices", "litellm"] {
            assert!(!row.data.contains(project) || notice.contains(project), "{}: {project}", row.name);
        }
        assert!(row.data.contains("(MIT)"), "{}", row.name);
    }
}
