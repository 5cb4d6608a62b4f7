use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::answer::AnswerOptions;
use crate::openai::{read_answer, splice_cost};
use crate::usage::{Reading, UsageFault};

fn answer(choices: &str, usage: &str) -> String {
    format!(r#"{{"id":"c-1","object":"chat.completion","model":"model-1","choices":{choices},"usage":{usage}}}"#)
}

const SPOKEN: &str = r#"[{"index":0,"message":{"role":"assistant","content":"A river."},"finish_reason":"stop"}]"#;

fn reading(usage: &str) -> Result<Reading, UsageFault> {
    let answer = read_answer(answer(SPOKEN, usage).as_bytes()).expect("reads");
    match (answer.usage, answer.usage_fault) {
        (Some(reading), None) => Ok(reading),
        (None, Some(fault)) => Err(fault),
        other => panic!("{other:?}"),
    }
}

fn r(input: u64, output: u64) -> Reading {
    Reading { input, output, ..Reading::default() }
}

#[test]
fn every_providers_usage_becomes_disjoint_classes() {
    let rows: Vec<(&str, &str, Reading)> = vec![
        ("plain", r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#, r(10, 5)),
        ("zero is a value", r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, r(0, 0)),
        ("whole floats", r#"{"prompt_tokens":12.0,"completion_tokens":1.5e1,"total_tokens":27}"#, r(12, 15)),
        ("null members", r#"{"prompt_tokens":4,"completion_tokens":null,"total_tokens":4,"prompt_tokens_details":null}"#, r(4, 0)),
        (
            "cached, written, reasoning, audio and images inside the two sums",
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10,"audio_tokens":5,"video_tokens":0},
                "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":3,"image_tokens":7,"accepted_prediction_tokens":1}}"#,
            Reading {
                input: 25,
                cache_read: 60,
                cache_write_5m: 10,
                audio_input: 5,
                output: 20,
                reasoning: 20,
                audio_output: 3,
                image_output: 7,
                ..Reading::default()
            },
        ),
        (
            "hit and miss beside the details",
            r#"{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_cache_hit_tokens":64,
                "prompt_cache_miss_tokens":36,"prompt_tokens_details":{"cached_tokens":64}}"#,
            Reading { cache_read: 64, ..r(36, 5) },
        ),
        (
            "cached at the top",
            r#"{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35,"cached_tokens":10}"#,
            Reading { cache_read: 10, ..r(20, 5) },
        ),
        (
            "reasoning beyond the completion, told by the sum",
            r#"{"prompt_tokens":40,"completion_tokens":8,"total_tokens":148,"completion_tokens_details":{"reasoning_tokens":100},
                "cost_in_usd_ticks":1654500}"#,
            Reading { reasoning: 100, reported_cost: Some("0.00016545".into()), ..r(40, 8) },
        ),
        (
            "reasoning inside the completion although it claims to be more",
            r#"{"prompt_tokens":40,"completion_tokens":10,"total_tokens":50,"completion_tokens_details":{"reasoning_tokens":11}}"#,
            Reading { reasoning: 10, ..r(40, 0) },
        ),
        (
            "no sum and more reasoning than completion",
            r#"{"prompt_tokens":40,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":11}}"#,
            Reading { reasoning: 11, ..r(40, 10) },
        ),
        (
            "thoughts told in nothing but the sum",
            r#"{"prompt_tokens":40,"completion_tokens":6,"total_tokens":74}"#,
            Reading { reasoning: 28, ..r(40, 6) },
        ),
        (
            "audio beside the prompt",
            r#"{"prompt_tokens":9,"completion_tokens":200,"total_tokens":584,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":375}}"#,
            Reading { audio_input: 375, ..r(9, 200) },
        ),
        (
            "more cached than prompt",
            r#"{"prompt_tokens":29,"completion_tokens":6,"total_tokens":35,"prompt_tokens_details":{"cached_tokens":157}}"#,
            Reading { cache_read: 157, ..r(29, 6) },
        ),
        (
            "cache beside the prompt, told by the sum",
            r#"{"prompt_tokens":200,"completion_tokens":6,"total_tokens":306,"prompt_tokens_details":{"cached_tokens":100}}"#,
            Reading { cache_read: 100, ..r(200, 6) },
        ),
        (
            "writes by their life",
            r#"{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101,"cache_creation_input_tokens":30,
                "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
            Reading { cache_write_5m: 10, cache_write_1h: 20, ..r(70, 1) },
        ),
        (
            "a search engine's own classes",
            r#"{"prompt_tokens":33,"completion_tokens":70,"total_tokens":103,"citation_tokens":200,"num_search_queries":18,
                "reasoning_tokens":700,"search_context_size":"low","cost":{"input_tokens_cost":0.1,"total_cost":0.5}}"#,
            Reading { citation: 200, searches: 18, reasoning: 700, reported_cost: Some("0.5".into()), ..r(33, 70) },
        ),
        (
            "a cost as a number",
            r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost":0.003561,"is_byok":false,
                "server_tool_use_details":{"web_search_requests":2}}"#,
            Reading { searches: 2, reported_cost: Some("0.003561".into()), ..r(1, 1) },
        ),
    ];
    for (name, usage, expected) in rows {
        assert_eq!(reading(usage), Ok(expected), "{name}");
    }
}

#[test]
fn a_lie_is_refused_by_name() {
    let rows = [
        (r#"{"prompt_tokens":-1,"completion_tokens":5}"#, UsageFault::Negative("prompt_tokens")),
        (r#"{"prompt_tokens":1,"completion_tokens":5.5}"#, UsageFault::NotANumber("completion_tokens")),
        (r#"{"prompt_tokens":"1","completion_tokens":5}"#, UsageFault::NotANumber("prompt_tokens")),
        (r#"{"prompt_tokens":1,"completion_tokens":1e30}"#, UsageFault::Absurd("completion_tokens")),
        (r#"{"prompt_tokens":18446744073709551616,"completion_tokens":1}"#, UsageFault::Absurd("prompt_tokens")),
        (r#"{"prompt_tokens":1e99999999999,"completion_tokens":1}"#, UsageFault::Absurd("prompt_tokens")),
        (
            r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":-5}}"#,
            UsageFault::Negative("prompt_tokens_details.cached_tokens"),
        ),
        ("{}", UsageFault::Empty),
        (r#"{"total_tokens":5}"#, UsageFault::Empty),
        ("[1]", UsageFault::NotAnObject),
        ("7", UsageFault::NotAnObject),
    ];
    for (usage, fault) in rows {
        assert_eq!(reading(usage), Err(fault), "{usage}");
    }
    assert_eq!(read_answer(answer(SPOKEN, "null").as_bytes()).expect("reads").usage, None);
}

#[test]
fn a_second_place_for_usage_is_read_when_the_first_is_missing() {
    let body = format!(r#"{{"choices":{SPOKEN},"x_groq":{{"id":"r","usage":{{"prompt_tokens":3,"completion_tokens":2}}}}}}"#);
    let answer = read_answer(body.as_bytes()).expect("reads");
    assert_eq!((answer.usage, answer.usage_fault), (Some(r(3, 2)), None));
}

#[test]
fn an_answer_tells_what_was_written_and_how_it_ended() {
    let used = r#"{"prompt_tokens":3,"completion_tokens":2}"#;
    let unused = r#"{"prompt_tokens":3,"completion_tokens":0}"#;
    // (choices, usage, empty, bytes of output)
    let rows: &[(&str, &str, bool, u64)] = &[
        (SPOKEN, used, false, 8),
        ("[]", unused, true, 0),
        ("[]", "null", true, 0),
        (r#"[{"message":{"content":""},"finish_reason":null}]"#, unused, true, 0),
        (r#"[{"message":{"content":""},"finish_reason":""}]"#, unused, true, 0),
        (r#"[{"message":{"content":null}}]"#, used, false, 0),
        (r#"[{"message":{"content":""},"finish_reason":"stop"}]"#, unused, true, 0),
        (r#"[{"message":{"content":""},"finish_reason":"stop"}]"#, used, false, 0),
        (r#"[{"message":{"content":""},"finish_reason":"length"}]"#, unused, false, 0),
        (r#"[{"message":{"content":"","tool_calls":[]},"finish_reason":"error"}]"#, unused, true, 0),
        (r#"[{"message":{"content":null,"tool_calls":[{"id":"t","function":{"name":"go","arguments":"{\"a\":1}"}}]}}]"#, unused, false, 9),
        (r#"[{"message":{"content":"","reasoning":"hm","reasoning_details":[{"text":"hm","data":"AAAA"}]}}]"#, unused, false, 2),
        (r#"[{"message":{"content":[{"type":"text","text":"\u00e9\n"},{"type":"x"}]}}]"#, unused, false, 3),
        (r#"[{"message":{"content":null,"images":[{"image_url":{"url":"data:"}}]}}]"#, unused, false, 0),
    ];
    for (choices, usage, empty, bytes) in rows {
        let answer = read_answer(answer(choices, usage).as_bytes()).expect("reads");
        assert_eq!((answer.empty, answer.output.bytes()), (*empty, *bytes), "{choices} {usage}");
    }
    let answer = read_answer(format!("\n\n   \n{}\n", answer(SPOKEN, used)).as_bytes()).expect("padding is allowed");
    assert_eq!((answer.id.as_deref(), answer.model.as_deref(), answer.finish.as_deref()), (Some("c-1"), Some("model-1"), Some("stop")));
}

#[test]
fn an_error_inside_a_2xx_is_found() {
    let top = read_answer(br#"{"error":{"code":502,"message":"the provider broke off"},"user_id":"u"}"#).expect("reads");
    let error = top.error_in_body.expect("error");
    assert_eq!((error.status, error.provider_status, error.message.as_str()), (502, 502, "the provider broke off"));
    assert!(!top.empty);
    let inner = answer(r#"[{"message":{"content":"half"},"error":{"code":"429","message":"slow down"}}]"#, "null");
    let inner = read_answer(inner.as_bytes()).expect("reads").error_in_body.expect("error");
    assert_eq!(inner.status, 429);
    assert!(
        read_answer(answer(SPOKEN, r#"{"prompt_tokens":1}"#).replace("{\"id\"", "{\"error\":null,\"id\"").as_bytes())
            .expect("reads")
            .error_in_body
            .is_none()
    );
}

#[test]
fn what_is_no_object_is_broken() {
    for body in ["", "   ", "<html>", "[]", "\"x\"", "{\"choices\":[}", "{} {}"] {
        assert!(read_answer(body.as_bytes()).is_err(), "{body:?}");
    }
}

#[test]
fn the_cost_goes_into_the_top_level_usage_only() {
    let cost = 1_234_567;
    // (usage before, usage after, what was replaced)
    let rows: &[(&str, &str, Option<&str>)] = &[
        (r#"{"prompt_tokens":1}"#, r#"{"prompt_tokens":1,"cost":0.000001234567}"#, None),
        (r#"{ "prompt_tokens":1 }"#, r#"{ "prompt_tokens":1 ,"cost":0.000001234567}"#, None),
        (r#"{"cost":0.5,"prompt_tokens":1}"#, r#"{"cost":0.000001234567,"prompt_tokens":1}"#, Some("0.5")),
        (r#"{"prompt_tokens":1,"cost":{"total_cost":1}}"#, r#"{"prompt_tokens":1,"cost":0.000001234567}"#, Some(r#"{"total_cost":1}"#)),
        (r#"{"prompt_tokens":1,"cost": null }"#, r#"{"prompt_tokens":1,"cost": 0.000001234567 }"#, Some("null")),
        ("{}", r#"{"cost":0.000001234567}"#, None),
        ("null", "null", None),
        ("[]", "[]", None),
    ];
    for (before, after, replaced) in rows {
        let body = Bytes::from(answer(r#"[{"message":{"content":"x","usage":{"cost":9}}}]"#, before));
        let spliced = splice_cost(&body, &read_answer(&body).expect("reads"), cost, AnswerOptions::default());
        assert_eq!(spliced.body.to_bytes(), answer(r#"[{"message":{"content":"x","usage":{"cost":9}}}]"#, after), "{before}");
        assert_eq!(spliced.replaced.as_deref(), replaced.map(str::as_bytes), "{before}");
    }
    let body = Bytes::from(answer("[]", r#"{"prompt_tokens":1}"#));
    let read = read_answer(&body).expect("reads");
    assert_eq!(read.usage_span().map(|span| body.slice(span)), Some(Bytes::from_static(br#"{"prompt_tokens":1}"#)));
    for (cost, text) in [(0, "0"), (-1, "-0.000000000001"), (1_000_000_000_000, "1"), (i64::MAX, "9223372.036854775807")] {
        let after = splice_cost(&body, &read, cost, AnswerOptions::default()).body.to_bytes();
        assert_eq!(after, answer("[]", &format!(r#"{{"prompt_tokens":1,"cost":{text}}}"#)));
    }
}

#[test]
fn a_missing_fingerprint_is_added_beside_the_cost() {
    // (body before, body after)
    let rows: &[(&str, &str)] = &[
        (r#"{"choices":[],"usage":{}}"#, r#"{"choices":[],"usage":{"cost":1},"system_fingerprint":null}"#),
        (r#" { "usage" : {} , "id":"a" } "#, r#" { "usage" : {"cost":1},"system_fingerprint":null , "id":"a" } "#),
        (r#"{"usage":{"cost":2},"id":"a"}"#, r#"{"usage":{"cost":1},"system_fingerprint":null,"id":"a"}"#),
        (r#"{"usage":{},"system_fingerprint":null}"#, r#"{"usage":{"cost":1},"system_fingerprint":null}"#),
        (r#"{"system_fingerprint":"fp","usage":{}}"#, r#"{"system_fingerprint":"fp","usage":{"cost":1}}"#),
        (
            r#"{"usage":{},"x":{"system_fingerprint":"fp"}}"#,
            r#"{"usage":{"cost":1},"system_fingerprint":null,"x":{"system_fingerprint":"fp"}}"#,
        ),
        (r#"{"choices":[],"usage":null}"#, r#"{"choices":[],"usage":null}"#),
        (r#"{"choices":[]}"#, r#"{"choices":[]}"#),
    ];
    for (before, after) in rows {
        let body = Bytes::from_static(before.as_bytes());
        let options = AnswerOptions { add_fingerprint: true };
        let spliced = splice_cost(&body, &read_answer(&body).expect("reads"), 1_000_000_000_000, options).body;
        assert_eq!((spliced.len(), spliced.to_bytes()), (after.len(), Bytes::from_static(after.as_bytes())), "{before}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_answer(&bytes);
    }

    #[test]
    fn any_usage_is_disjoint_or_refused_and_takes_a_cost(
        values in prop::collection::vec(prop_oneof![
            (0u64..2000).prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null), Just(json!(1.5)), Just(json!("x")),
        ], 10),
        cost in any::<i64>(),
    ) {
        let usage = json!({
            "prompt_tokens": values[0], "completion_tokens": values[1], "total_tokens": values[2],
            "prompt_tokens_details": {"cached_tokens": values[3], "cache_write_tokens": values[4], "audio_tokens": values[5]},
            "completion_tokens_details": {"reasoning_tokens": values[6], "audio_tokens": values[7], "image_tokens": values[8]},
            "cost": values[9],
        });
        let body = Bytes::from(answer(SPOKEN, &usage.to_string()));
        let read = read_answer(&body).expect("reads");
        if let Some(reading) = &read.usage {
            let told = |value: &Value| value.as_u64().unwrap_or(0);
            prop_assert!(reading.total_input() >= told(&values[0]));
            prop_assert!(reading.total_output() >= told(&values[1]));
            let sums_up = told(&values[0]) + told(&values[1]) == told(&values[2]);
            let cached = told(&values[3]) + told(&values[4]);
            if sums_up && cached <= told(&values[0]) && told(&values[5]) <= told(&values[0]) {
                prop_assert_eq!(reading.total_input(), told(&values[0]));
                prop_assert_eq!(reading.total_output(), told(&values[1]));
            }
        }
        prop_assume!(cost != i64::MIN);
        let after: Value = serde_json::from_slice(&splice_cost(&body, &read, cost, AnswerOptions::default()).body.to_bytes()).expect("valid");
        let mut expected: Value = serde_json::from_slice(&body).expect("valid");
        expected["usage"]["cost"] = after["usage"]["cost"].clone();
        prop_assert!(after["usage"]["cost"].is_number());
        prop_assert_eq!(after, expected);
    }
}
