use proptest::prelude::*;
use waybill_proto::model::v1::{
    ApiKey, Endpoint, Guardrail, Metadata, Model, Org, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, RoutePolicy,
    SecretRef, Workspace, resource::Spec,
};

use super::{Document, Fault, Shown, locate, read, write};
use crate::check::check;

const GOOD: &str = r#"# Prices of Acme.
apiVersion: waybill/v1
kind: PriceBook
metadata:
  name: acme
  labels: {team: billing, n: "5"}
spec:
  currency: USD
  asOf: 2026-08-21
  entries:
    - item: one
      effectiveFrom: 2026-01-01T00:00:00Z
      rates:
        - {meter: input, usdPerMillion: 2.50}
        - meter: output
          usdPerMillion: "10"
          aboveInputTokens: 200000
---
apiVersion: waybill/v1
kind: Provider
metadata: {name: acme}
spec:
  dialect: openai
  baseUrl: https://api.acme.example/v1
  asksUsage: ASKS_USAGE_NEVER
  freeStatuses: [429, 503]
  takesGatewayFields: true
"#;

fn faults(text: &str) -> Vec<Fault> {
    read(&[("f.yaml", text.as_bytes())]).err().unwrap_or_default()
}

fn documents(text: &str) -> Vec<Document> {
    read(&[("f.yaml", text.as_bytes())])
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>()))
}

fn spec(document: &Document) -> &Spec {
    document.resource.spec.as_ref().expect("a spec")
}

#[test]
fn yaml_is_read_into_the_generated_types() {
    let found = documents(GOOD);
    assert_eq!(found.iter().map(|document| (document.index, document.first_line)).collect::<Vec<_>>(), [(0, 1), (1, 18)]);
    let Spec::PriceBook(book) = spec(&found[0]) else { panic!("{found:?}") };
    let entry = &book.entries[0];
    assert_eq!(entry.rates[0].usd_per_million, "2.50", "decimals stay text");
    assert_eq!((entry.rates[1].usd_per_million.as_str(), entry.rates[1].above_input_tokens), ("10", 200_000));
    assert_eq!(entry.effective_from.as_ref().map(|time| time.seconds), Some(1_767_225_600));
    assert_eq!(found[0].resource.metadata.as_ref().and_then(|metadata| metadata.labels.get("n")).map(String::as_str), Some("5"));
    let Spec::Provider(provider) = spec(&found[1]) else { panic!("{found:?}") };
    assert_eq!((provider.asks_usage, provider.free_statuses.as_slice(), provider.takes_gateway_fields), (3, &[429, 503][..], true));
}

#[test]
fn json_is_read_too() {
    let whole = "{\n\t\"apiVersion\": \"waybill/v1\", \"kind\": \"Model\",\n\t\"metadata\": {\"name\": \"a\\/b\"},\n\t\"spec\": {\"displayName\": \"\\ud83d\\ude00 \\u00e9\", \"contextWindow\": \"128000\", \"maxOutput\": 4096}\n}\n";
    let Spec::Model(model) = spec(&documents(whole)[0]).clone() else { panic!() };
    assert_eq!((model.display_name.as_str(), model.context_window, model.max_output), ("😀 é", 128_000, 4096));
    let text = "word ".repeat(2000);
    let long = format!(r#"{{"apiVersion":"waybill/v1","kind":"Model","metadata":{{"name":"a"}},"spec":{{"description":"{text}"}}}}"#);
    let Spec::Model(model) = spec(&documents(&long)[0]).clone() else { panic!() };
    assert_eq!(model.description, text);
}

const HEAD: &str = "apiVersion: waybill/v1\nkind: Provider\nmetadata: {name: acme}\nspec:\n";

/// Text, place of the fault, its path, its code, and a part of its message.
type Row = (&'static str, (u32, u32), &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("", (1, 1), "", "syntax", "no document"),
    ("# nothing\n---\n# here\n...\n", (1, 1), "", "syntax", "no document"),
    ("--- text\n", (1, 1), "", "header", "apiVersion"),
    ("- a\n", (1, 1), "", "header", "apiVersion"),
    ("kind: Org\n", (1, 1), "apiVersion", "header", "missing"),
    ("apiVersion: v1\nkind: Org\n", (1, 13), "apiVersion", "header", "waybill/v1"),
    ("apiVersion: waybill/v1\n", (1, 1), "kind", "header", "missing"),
    ("apiVersion: waybill/v1\nkind: Provder\n", (2, 7), "kind", "header", "did you mean `Provider`"),
    ("apiVersion: waybill/v1\nkind: Pod\n", (2, 7), "kind", "header", "use one of Org"),
    ("apiVersion: waybill/v1\nkind: Org\n", (1, 1), "", "header", "`metadata` is missing"),
    ("apiVersion: waybill/v1\nkind: Org\nmetadata: {name: a}\nspce: {}\n", (4, 1), "spce", "unknown_field", "did you mean `spec`"),
    ("apiVersion: waybill/v1\nkind: Org\nmetadata: {nmae: a}\n", (3, 12), "metadata.nmae", "unknown_field", "did you mean `name`"),
    ("HEAD  baseURL: https://a/v1\n", (5, 3), "spec.baseURL", "unknown_field", "did you mean `baseUrl`"),
    ("HEAD  colour: red\n", (5, 3), "spec.colour", "unknown_field", "use displayName"),
    ("HEAD  custom: yes\n", (5, 11), "spec.custom", "type", "bool"),
    ("HEAD  custom: n\n", (5, 11), "spec.custom", "type", "bool"),
    ("HEAD  freeStatuses: [429, many]\n", (5, 23), "spec.freeStatuses[1]", "type", "a whole number"),
    ("HEAD  freeStatuses:\n    - 429\n    - -1\n", (7, 7), "spec.freeStatuses[1]", "type", "a whole number"),
    ("HEAD  freeStatuses: [4.5]\n", (5, 18), "spec.freeStatuses[0]", "type", "a whole number"),
    ("HEAD  freeStatuses: [99999999999]\n", (5, 18), "spec.freeStatuses[0]", "type", "a whole number"),
    ("HEAD  freeStatuses: 429\n", (5, 17), "spec.freeStatuses", "type", "a list is wanted"),
    ("HEAD  headers: [a]\n", (5, 3), "spec.headers", "type", "a mapping is wanted"),
    ("HEAD  hangUp: cancel\n", (5, 11), "spec.hangUp", "type", "did you mean `HANG_UP_CANCEL`"),
    ("HEAD  hangUp: 7\n", (5, 11), "spec.hangUp", "type", "use one of HANG_UP_UNSPECIFIED"),
    ("HEAD  baseUrl: null\n", (5, 12), "spec.baseUrl", "type", "null"),
    ("HEAD  displayName: !secret x\n", (5, 24), "spec", "syntax", "tags"),
    ("HEAD  asksUsage: SOMETIMES\n", (5, 14), "spec.asksUsage", "type", "ASKS_USAGE_ALWAYS"),
    ("HEAD  dialect: [openai]\n", (5, 3), "spec.dialect", "type", "a text is wanted"),
    ("HEAD  dialect: openai\n  dialect: openai\n", (6, 3), "spec.dialect", "duplicate_field", "dialect"),
    ("HEAD  dialect: openai\nspec: {}\n", (6, 1), "spec", "duplicate_field", "spec"),
    ("HEAD\tdialect: openai\n", (5, 2), "", "syntax", "spaces"),
    ("HEAD  dialect: 'open\n", (5, 12), "", "syntax", ""),
    ("HEAD  dialect: *nobody\n", (5, 12), "", "syntax", ""),
    ("HEAD  <<: {dialect: openai}\n", (5, 3), "spec", "syntax", "merge keys"),
    (
        "HEAD  dialect: openai\n  baseUrl: https://a\n---\napiVersion: waybill/v1\nkind: Nothing\n",
        (9, 7),
        "kind",
        "header",
        "no kind `Nothing`",
    ),
    ("apiVersion: waybill/v1\nkind: ApiKey\nmetadata: {name: a}\nspec:\n  expireTime: tomorrow\n", (5, 15), "spec.expireTime", "type", ""),
    (
        "apiVersion: waybill/v1\nkind: PriceBook\nmetadata: {name: a}\nspec:\n  entries:\n  - item: a\n    rates:\n    - {meter: input}\n    - {meter: input, aboveInputTokens: lots}\n",
        (9, 40),
        "spec.entries[0].rates[1].aboveInputTokens",
        "type",
        "",
    ),
];

#[test]
fn each_fault_has_its_line_column_and_path() {
    let mut wrong = String::new();
    for (row, (text, (line, column), path, code, part)) in ROWS.iter().enumerate() {
        let text = text.replace("HEAD", HEAD);
        let found = faults(&text);
        let ok = matches!(found.as_slice(), [fault] if (fault.line, fault.column) == (*line, *column)
            && fault.path == *path && fault.code.name() == *code && fault.message.contains(part));
        if !ok {
            wrong += &format!("row {row}: wanted {line}:{column} {path} {code} {part}\n{found:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_fault_prints_its_place_and_its_line_with_a_caret() {
    let text = GOOD.replace("usdPerMillion: 2.50", "usdPerMillion: [2]");
    let found = faults(&text);
    let printed = found.iter().map(|fault| format!("{fault}\n")).collect::<String>();
    assert_eq!(
        printed,
        "f.yaml:14:26: spec.entries[0].rates[0].usdPerMillion: a text is wanted here\n  \
         14 |         - {meter: input, usdPerMillion: [2]}\n     |                          ^\n"
    );
}

#[test]
fn violations_find_their_lines() {
    let text = GOOD
        .replace("2.50", "-2.50")
        .replace("https://api.acme.example/v1", "https://api.acme.example/v1/")
        .replace("item: one", "item: \"\"");
    let documents = documents(&text);
    let resources: Vec<Resource> = documents.iter().map(|document| document.resource.clone()).collect();
    let found: Vec<String> = locate(&documents, &check(&resources))
        .into_iter()
        .map(|fault| fault.expect("a document"))
        .map(|fault| format!("{}:{} {} {}", fault.line, fault.column, fault.path, fault.code.name()))
        .collect();
    assert_eq!(
        found,
        [
            "11:13 spec.entries[0].item field_missing",
            "14:41 spec.entries[0].rates[0].usdPerMillion price_negative",
            "24:12 spec.baseUrl base_url_malformed",
        ]
    );
}

#[test]
fn a_field_that_is_not_there_is_shown_at_what_should_hold_it() {
    let documents = documents("apiVersion: waybill/v1\nkind: ProviderAccount\nmetadata: {name: a}\nspec:\n  secret: {}\n");
    let fault = documents[0].fault("spec.provider", crate::check::Code::FieldMissing, "name a Provider");
    assert_eq!((fault.line, fault.column), (4, 1));
}

#[test]
fn a_snake_case_field_is_found_by_its_name_in_json() {
    let documents = documents("apiVersion: waybill/v1\nkind: Provider\nmetadata: {name: a}\nspec:\n  dialect: openai\n  base_url: x\n");
    let fault = documents[0].fault("spec.baseUrl", crate::check::Code::BaseUrlMalformed, "no");
    assert_eq!((fault.line, fault.column), (6, 13));
}

#[test]
fn with_a_fault_of_type_the_rules_of_the_other_documents_are_reported_too() {
    let text = GOOD.replace("2.50", "-2.50").replace("dialect: openai", "dialect: {}");
    let found: Vec<_> = faults(&text).into_iter().map(|fault| (fault.line, fault.code.name())).collect();
    assert_eq!(found, [(14, "price_negative"), (23, "type")]);
}

#[test]
fn every_broken_document_of_every_source_has_its_fault() {
    let bad = "apiVersion: waybill/v1\nkind: Org\nmetadata: {name: a}\nspec: {x: 1}\n";
    let two = format!("{bad}---\n{bad}");
    let found = read(&[("one.yaml", two.as_bytes()), ("two.yaml", b"\xff"), ("three.yaml", bad.as_bytes())]).expect_err("faults");
    let places: Vec<_> = found.iter().map(|fault| (fault.file.as_str(), fault.line, fault.code.name())).collect();
    assert_eq!(
        places,
        [("one.yaml", 4, "unknown_field"), ("one.yaml", 9, "unknown_field"), ("two.yaml", 1, "syntax"), ("three.yaml", 4, "unknown_field")]
    );
}

#[test]
fn bytes_that_are_not_text_are_refused_at_their_place() {
    let found = read(&[("f", b"a: b\nc: \xe4\n")]).expect_err("a fault");
    assert_eq!((found[0].line, found[0].column), (2, 4));
    assert!(found[0].message.contains("UTF-8"));
    assert_eq!(documents(&format!("\u{feff}{GOOD}")).len(), 2, "a byte order mark is not content");
}

#[test]
fn aliases_are_read_and_bombs_are_refused() {
    let shared = "apiVersion: waybill/v1\nkind: PriceBook\nmetadata: {name: a}\nspec:\n  entries:\n  - item: a\n    rates: &r [{meter: input, usdPerMillion: 1}]\n  - item: b\n    rates: *r\n";
    let Spec::PriceBook(book) = spec(&documents(shared)[0]).clone() else { panic!() };
    assert_eq!(book.entries[0].rates, book.entries[1].rates);

    let mut bomb = "apiVersion: waybill/v1\nkind: Provider\nmetadata: {name: a}\nspec:\n  freeStatuses: []\n  headers:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("    a{level}: &a{level} [{inner}]\n");
    }
    let wide = format!("{}    rates: [{}]\n", shared, vec!["*r"; 2_000].join(", ")).replace("    rates: *r\n", "    x: 1\n");
    for text in [bomb, wide] {
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{found:?}");
    }
    let deep = format!("{HEAD}  dialect: {}\n", "[".repeat(5_000));
    assert_eq!(faults(&deep).len(), 1);
    let many = format!("{HEAD}  freeStatuses: [{}]\n", "1,".repeat(super::spans::NODES + 1));
    let found = faults(&many);
    assert_eq!(found[0].code.name(), "limit", "{found:?}");
    assert!(!found[0].snippet.contains(&"1,".repeat(200)), "a snippet is bounded");
}

#[test]
fn a_secret_in_the_place_of_its_name_is_not_shown() {
    let text =
        "apiVersion: waybill/v1\nkind: ProviderAccount\nmetadata: {name: a}\nspec:\n  provider: p\n  secret: {env: sk-very-secret}\n";
    let documents = documents(text);
    let found = check(&[documents[0].resource.clone()]);
    let printed: String = locate(&documents, &found).into_iter().flatten().map(|fault| fault.to_string()).collect();
    assert!(printed.contains("secret.env") && !printed.contains("very-secret"), "{printed}");
}

#[test]
fn output_only_fields_are_left_out_on_request() {
    let resource = Resource {
        metadata: Some(Metadata {
            name: "a".into(),
            uid: "uid-1".into(),
            generation: 7,
            create_time: Some(Default::default()),
            labels: [("k".into(), "v".into())].into(),
        }),
        spec: Some(Spec::ApiKey(ApiKey {
            workspace: "w".into(),
            hash: b"h".as_slice().into(),
            pepper_id: 1,
            prefix: "wb_live_abcd".into(),
            ..ApiKey::default()
        })),
    };
    let text = write(&resource, Shown::Input).expect("text");
    assert_eq!(text, "apiVersion: waybill/v1\nkind: ApiKey\nmetadata:\n  name: a\n  labels:\n    k: v\nspec:\n  workspace: w\n");
    assert_eq!(documents(&write(&resource, Shown::Whole).expect("text"))[0].resource, resource);
}

/// Texts that tempt a YAML reader to see something else than text.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        any::<String>(),
        prop::sample::select(vec![
            "",
            "null",
            "~",
            "yes",
            "n",
            "true",
            "1",
            "1e3",
            "0x1f",
            "1_000",
            ".nan",
            "---",
            "...",
            "- a",
            "a: b",
            "# c",
            "*a",
            "&a",
            "!t",
            "|",
            ">",
            "%",
            "@",
            "`",
            "\t",
            " x ",
            "x\n",
            "\n\n x",
            "a\n---\nb",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "\r",
            "2026-01-01"
        ])
        .prop_map(str::to_owned),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let secret = || prop::option::of((text(), text()).prop_map(|(env, file)| SecretRef { env, file }));
    let time = || {
        prop::option::of(
            (0_i64..4_000_000_000, 0_i32..1_000_000_000).prop_map(|(seconds, nanos)| pbjson_types::Timestamp { seconds, nanos }),
        )
    };
    let rate = (text(), text(), number(), text(), text()).prop_map(|(meter, tier, above_input_tokens, usd_per_million, usd_each)| Rate {
        meter,
        tier,
        above_input_tokens,
        usd_per_million,
        usd_each,
    });
    let entry = (text(), time(), prop::collection::vec(rate, 0..3)).prop_map(|(item, effective_from, rates)| PriceEntry {
        item,
        effective_from,
        rates,
    });
    let texts = || prop::collection::vec(text(), 0..4);
    prop_oneof![
        text().prop_map(|display_name| Spec::Org(Org { display_name })),
        (text(), text(), text()).prop_map(|(org, display_name, route_policy)| Spec::Workspace(Workspace {
            org,
            display_name,
            route_policy
        })),
        (text(), secret(), time(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..20), any::<u32>()).prop_map(
            |(workspace, key_from, expire_time, disabled, hash, pepper_id)| Spec::ApiKey(ApiKey {
                workspace,
                key_from,
                expire_time,
                disabled,
                hash: hash.into(),
                pepper_id,
                ..ApiKey::default()
            })
        ),
        (
            text(),
            0..4_i32,
            0..3_i32,
            prop::collection::vec(any::<u32>(), 0..3),
            prop::collection::btree_map(text(), text(), 0..3),
            any::<bool>()
        )
            .prop_map(|(base_url, asks_usage, hang_up, free_statuses, headers, custom)| Spec::Provider(Provider {
                base_url,
                asks_usage,
                hang_up,
                free_statuses,
                headers,
                custom,
                ..Provider::default()
            })),
        (text(), secret(), 0..3).prop_map(|(provider, secret, secret_header)| Spec::ProviderAccount(ProviderAccount {
            provider,
            secret,
            secret_header
        })),
        (text(), number(), texts(), any::<i64>()).prop_map(|(description, context_window, input_modalities, created)| Spec::Model(Model {
            description,
            context_window,
            input_modalities,
            created,
            ..Model::default()
        })),
        (text(), text(), texts(), texts(), any::<bool>()).prop_map(
            |(model, provider_model, supported_parameters, reasoning_controls, disabled)| Spec::Endpoint(Endpoint {
                model,
                provider_model,
                supported_parameters,
                reasoning_controls,
                disabled,
                ..Endpoint::default()
            })
        ),
        (texts(), texts(), text(), any::<u32>(), text()).prop_map(|(order, only, sort, max_attempts, max_prompt_price)| Spec::RoutePolicy(
            RoutePolicy { order, only, sort, max_attempts, max_prompt_price, ..RoutePolicy::default() }
        )),
        (texts(), texts(), texts(), 0..3_i32, text(), any::<bool>()).prop_map(
            |(workspaces, members, allowed_models, on_error, max_prompt_price, zero_data_retention)| Spec::Guardrail(Guardrail {
                workspaces,
                members,
                allowed_models,
                on_error,
                max_prompt_price,
                zero_data_retention,
                ..Guardrail::default()
            })
        ),
        (text(), text(), prop::collection::vec(entry, 0..3)).prop_map(|(currency, source, entries)| Spec::PriceBook(PriceBook {
            currency,
            source,
            entries,
            ..PriceBook::default()
        })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(name in text(), uid in text(), generation in number(), labels in prop::collection::btree_map(text(), text(), 0..3), spec in any_spec()) {
        let resource = Resource { metadata: Some(Metadata { name, uid, generation, labels, create_time: None }), spec: Some(spec) };
        let text = write(&resource, Shown::Whole).expect("a resource with a spec");
        let found = read(&[("f", text.as_bytes())]);
        match found {
            Ok(documents) => prop_assert_eq!(&documents[0].resource, &resource, "{}", text),
            Err(faults) => prop_assert!(false, "{}\n{:?}", text, faults),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..800_usize, text in text()) {
        let _ = read(&[("f", &bytes)]);
        let mut broken = GOOD.as_bytes().to_vec();
        let cut = cut.min(broken.len());
        broken.splice(cut..cut, text.bytes());
        if let Err(faults) = read(&[("f", &broken)]) {
            prop_assert!(!faults.is_empty());
        }
    }
}
