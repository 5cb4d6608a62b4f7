//! What a key may not call: refused in both dialects with the Guardrail and its rule, and shown in no list.

use serde_json::{Value, json};
use waybill_model::id::GenerationId;
use waybill_proto::{model::v1::Guardrail, usage::v1::Reason};
use waybill_tests::{Answer, Request};

use crate::fixture::Fixture;

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A Guardrail of the fixture's workspace.
fn guardrail(write: impl FnOnce(&mut Guardrail)) -> Guardrail {
    let mut spec = Guardrail { workspaces: texts(&["main"]), ..Guardrail::default() };
    write(&mut spec);
    spec
}

fn body(model: &str, provider: &Value) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Say something." }], "max_tokens": 100, "provider": provider })
}

/// The same call in both dialects.
fn both(fixture: &Fixture, body: &Value) -> [(Answer, &'static str); 2] {
    [(fixture.send(&fixture.chat(body)), "chat"), (fixture.send(&fixture.messages(body)), "messages")]
}

/// Status, `error.type`, the Guardrail and the rule in its metadata, the message.
fn refusal(answer: &Answer) -> (u16, String, String, String, String) {
    let seen = answer.json().expect("JSON");
    let error = &seen["error"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &error["metadata"];
    (answer.head.status, text(&error["type"]), text(&metadata["guardrail"]), text(&metadata["guardrail_rule"]), text(&error["message"]))
}

/// A name, what it writes, the request's model and provider, the rule, a part of the message.
type Row = (fn(&mut Guardrail), &'static str, fn() -> Value, &'static str, &'static str);

const REFUSED: [Row; 7] = [
    (
        |spec| spec.allowed_models = texts(&["sandbox/long"]),
        "sandbox/chat",
        || json!({}),
        "allowedModels",
        "This key may not call the model `sandbox/chat`: it is not in allowedModels of the Guardrail `strict`.",
    ),
    (
        |spec| spec.ignored_models = texts(&["sandbox/*"]),
        "sandbox/chat",
        || json!({}),
        "ignoredModels",
        "in ignoredModels of the Guardrail `strict`.",
    ),
    (
        |spec| spec.allowed_providers = texts(&["here"]),
        "sandbox/chat",
        || json!({ "only": ["nowhere"] }),
        "allowedProviders",
        "which is not in allowedProviders of the Guardrail `strict`",
    ),
    (
        |spec| spec.ignored_providers = texts(&["here", "nowhere", "cancelling", "across"]),
        "sandbox/chat",
        || json!({}),
        "ignoredProviders",
        "in ignoredProviders of the Guardrail `strict`",
    ),
    (|spec| spec.max_completion_price = "14.99".to_owned(), "sandbox/chat", || json!({}), "maxCompletionPrice", "allows at most 14.99"),
    (|spec| spec.zero_data_retention = true, "sandbox/chat", || json!({}), "zeroDataRetention", "wants zeroDataRetention"),
    // A caller's own wish does not widen it.
    (
        |spec| spec.max_prompt_price = "1".to_owned(),
        "sandbox/chat",
        || json!({ "max_price": { "prompt": 100 } }),
        "maxPromptPrice",
        "allows at most 1",
    ),
];

#[test]
fn what_a_guardrail_shuts_out_is_a_403_in_both_dialects_that_names_it_and_its_rule() {
    for (write, model, provider, rule, says) in REFUSED {
        let fixture = Fixture::guarded(&[("strict", guardrail(write))]);
        for (answer, dialect) in both(&fixture, &body(model, &provider())) {
            let (status, error_type, by, its_rule, message) = refusal(&answer);
            assert_eq!((status, &*by, &*its_rule), (403, "strict", rule), "{dialect}: {:?}", answer.json());
            assert_eq!(error_type, "permission_error", "{dialect}");
            assert!(message.contains(says), "{dialect}: {message}");
            let seen = answer.json().expect("JSON");
            let named = if dialect == "chat" { &seen["error"]["metadata"]["error_type"] } else { &seen["error"]["error_type"] };
            assert_eq!(named, "permission_denied");
            let candidates = explained(&fixture, &answer);
            assert!(
                candidates.iter().any(|(reason, detail)| *reason == Reason::Guardrail && detail.contains("`strict`")),
                "{candidates:?}"
            );
        }
        let (ends, records) = fixture.ends();
        assert!(ends.is_empty() && records.is_empty(), "nothing was sent and nothing is billed");
    }
}

/// The candidates of a refused request, as `explain` shows them.
fn explained(fixture: &Fixture, answer: &Answer) -> Vec<(Reason, String)> {
    let id = answer.head.field("x-generation-id").and_then(|id| std::str::from_utf8(id).ok()).expect("an id");
    let id: GenerationId = id.parse().expect("an id");
    let refused = fixture.proxy.as_ref().expect("it runs").refusals().find(id).expect("it is remembered");
    refused.decision.candidates.iter().map(|candidate| (candidate.reason(), candidate.detail.clone())).collect()
}

#[test]
fn a_request_goes_round_what_a_guardrail_shuts_out() {
    let cheap = guardrail(|spec| spec.allowed_providers = texts(&["here", "across"]));
    // Another one of the key's own: the two lists intersect.
    let own = Guardrail { api_keys: texts(&["first"]), ignored_providers: texts(&["across"]), ..Guardrail::default() };
    // And one that holds for somebody else.
    let other = Guardrail { members: texts(&["ann"]), ignored_models: texts(&["sandbox/*"]), ..Guardrail::default() };
    let fixture = Fixture::guarded(&[("cheap", cheap), ("other", other), ("own", own)]);
    for (answer, dialect) in both(&fixture, &body("sandbox/chat", &json!({ "order": ["nowhere", "across", "cancelling"] }))) {
        assert_eq!(answer.head.status, 200, "{dialect}: {:?}", answer.json());
    }
    let (ends, _) = fixture.ends();
    for end in &ends {
        let attempt = end.event.attempt.as_ref().expect("an attempt");
        assert_eq!(attempt.provider, "here");
        let reasons = attempt.decision.as_ref().expect("a decision").candidates.iter();
        let shut_out = reasons.filter(|candidate| candidate.reason() == Reason::Guardrail);
        let mut shut_out: Vec<_> = shut_out.map(|candidate| (candidate.endpoint.as_str(), candidate.detail.as_str())).collect();
        shut_out.sort_unstable();
        assert_eq!(
            shut_out,
            [
                ("sandbox/chat@across", "is of `across`, which is in ignoredProviders of the Guardrail `own`"),
                ("sandbox/chat@cancelling", "is of `cancelling`, which is not in allowedProviders of the Guardrail `cheap`"),
                ("sandbox/chat@nowhere", "is of `nowhere`, which is not in allowedProviders of the Guardrail `cheap`"),
            ]
        );
    }
    assert_eq!(ends.len(), 2);
}

#[test]
fn a_fallback_model_that_is_allowed_answers_for_one_that_is_not() {
    let fixture = Fixture::guarded(&[("strict", guardrail(|spec| spec.allowed_models = texts(&["sandbox/chat"])))]);
    let mut request = body("sandbox/usage-1200-30", &json!({ "only": ["here"] }));
    request["models"] = json!(["sandbox/chat"]);
    for (answer, dialect) in both(&fixture, &request) {
        assert_eq!(answer.head.status, 200, "{dialect}: {:?}", answer.json());
    }
    let (ends, _) = fixture.ends();
    assert!(ends.iter().all(|end| end.event.attempt.as_ref().is_some_and(|attempt| attempt.model == "sandbox/chat")));
}

#[test]
fn lists_show_what_the_key_may_call_and_nothing_else() {
    let strict = guardrail(|spec| {
        spec.allowed_models = texts(&["sandbox/chat", "sandbox/usage-1200-30"]);
        spec.ignored_providers = texts(&["nowhere", "across"]);
    });
    let fixture = Fixture::guarded(&[("strict", strict)]);
    let get = |path: &str| fixture.send(&Request::get(path).bearer(&fixture.key));
    for path in ["/v1/models", "/api/v1/models", "/api/v1/models/user"] {
        let list = get(path).json().expect("JSON");
        let ids: Vec<&str> = list["data"].as_array().expect("a list").iter().filter_map(|model| model["id"].as_str()).collect();
        assert_eq!((ids, &list["total_count"]), (vec!["sandbox/chat", "sandbox/usage-1200-30"], &json!(2)), "{path}");
    }
    let endpoints = get("/api/v1/models/sandbox/chat/endpoints").json().expect("JSON");
    let tags: Vec<&Value> = endpoints["data"]["endpoints"].as_array().expect("a list").iter().map(|endpoint| &endpoint["tag"]).collect();
    assert_eq!(tags, ["cancelling", "here"]);
    assert_eq!(get("/v1/models/sandbox/chat").head.status, 200);
    for path in ["/v1/models/sandbox/error-400", "/api/v1/model/sandbox/error-400", "/api/v1/models/sandbox/error-400/endpoints"] {
        let (status, _, by, rule, _) = refusal(&get(path));
        assert_eq!((status, &*by, &*rule), (403, "strict", "allowedModels"), "{path}");
    }
}

#[test]
fn counting_tokens_is_bound_like_a_call() {
    let fixture = Fixture::guarded(&[("strict", guardrail(|spec| spec.ignored_models = texts(&["sandbox/chat"])))]);
    let request = json!({ "model": "sandbox/chat", "messages": [{ "role": "user", "content": "Say something." }] });
    let request = Request::post("/v1/messages/count_tokens", request.to_string()).field("x-api-key", &fixture.key);
    let (status, _, by, rule, _) = refusal(&fixture.send(&request.field("anthropic-version", "2023-06-01")));
    assert_eq!((status, &*by, &*rule), (403, "strict", "ignoredModels"));
}

#[test]
fn a_guardrail_that_cannot_be_kept_closes_its_scope_as_a_fault_of_ours() {
    let broken = guardrail(|spec| spec.max_prompt_price = "cheap".to_owned());
    let fixture = Fixture::guarded(&[("broken", broken)]);
    for (answer, dialect) in both(&fixture, &body("sandbox/chat", &json!({}))) {
        let (status, _, by, rule, message) = refusal(&answer);
        assert_eq!((status, &*by, &*rule), (503, "broken", ""), "{dialect}");
        assert!(message.contains("the Guardrail `broken`") || message.contains("The Guardrail `broken`"), "{message}");
        assert!(answer.head.field("retry-after").is_some());
    }
    // The keys of another workspace are served.
    let elsewhere = Guardrail { workspaces: texts(&["other"]), max_prompt_price: "cheap".to_owned(), ..Guardrail::default() };
    let fixture = Fixture::guarded(&[("broken", elsewhere)]);
    assert_eq!(fixture.send(&fixture.chat(&body("sandbox/chat", &json!({ "only": ["here"] })))).head.status, 200);
}
