use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::json::tests::json_value;
use crate::limits::Limits;
use crate::openai::{read_request, rewrite};
use crate::target::{AsksUsage, MaxOutput, MaxOutputField, Target};

fn rewritten(body: &str, target: &Target<'_>) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let call = read_request(&body, &Limits::default()).expect("reads");
    let out = rewrite(&body, &call, target);
    let text = out.to_bytes();
    assert_eq!(out.len(), text.len());
    String::from_utf8(text.to_vec()).expect("UTF-8")
}

const PLAIN: Target<'static> =
    Target { provider_model: "p", asks_usage: AsksUsage::StreamOptions, drop_gateway_fields: true, max_output: None };

#[test]
fn only_what_must_change_changes() {
    let with_usage = Target { asks_usage: AsksUsage::Always, ..PLAIN };
    let keep = Target { drop_gateway_fields: false, ..PLAIN };
    let capped = Target { max_output: Some(MaxOutput { field: MaxOutputField::MaxTokens, tokens: 9 }), ..PLAIN };
    let rows: &[(&str, &Target<'_>, &str)] = &[
        (r#"{"model":"m","messages":[{}]}"#, &PLAIN, r#"{"model":"p","messages":[{}]}"#),
        (r#"{ "messages" : [ {} ] , "model" : "m" } "#, &PLAIN, r#"{ "messages" : [ {} ] , "model" : "p" } "#),
        (r#"{"models":["m"],"messages":[{}]}"#, &PLAIN, r#"{"model":"p","messages":[{}]}"#),
        (
            r#"{"model":"m","messages":[{}],"stream":true}"#,
            &PLAIN,
            r#"{"stream_options":{"include_usage":true},"model":"p","messages":[{}],"stream":true}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage": false }}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage": true }}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":null}}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_obfuscation":false}}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{ }}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"model":"m","messages":[{}],"stream":true,"stream_options":null}"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":true},"messages":[{}],"stream":true}"#,
            &with_usage,
            r#"{"model":"p","messages":[{}],"stream":true}"#,
        ),
        (
            r#"{"provider":{"zdr":true},"model":"m","usage":{"include":true},"models":[],"messages":[{}],"trace":1 , "session_id":"s" }"#,
            &PLAIN,
            r#"{"model":"p","messages":[{}] }"#,
        ),
        (
            r#"{"model":"m","provider":{"zdr":true},"models":["x"],"messages":[{}],"route":"fallback"}"#,
            &keep,
            r#"{"model":"p","provider":{"zdr":true},"messages":[{}]}"#,
        ),
        (r#"{"model":"m","messages":[{}]}"#, &capped, r#"{"max_tokens":9,"model":"p","messages":[{}]}"#),
        (r#"{"model":"m","max_tokens":null,"messages":[{}]}"#, &capped, r#"{"model":"p","max_tokens":9,"messages":[{}]}"#),
        (
            r#"{"model":"m","max_completion_tokens":5,"messages":[{}]}"#,
            &capped,
            r#"{"model":"p","max_completion_tokens":5,"messages":[{}]}"#,
        ),
    ];
    for (body, target, expected) in rows {
        assert_eq!(rewritten(body, target), *expected, "{body}");
    }
}

#[test]
fn a_request_that_fits_is_the_same_buffer() {
    let body = Bytes::from_static(br#"{"model":"p","messages":[{}],"user":"u"}"#);
    let call = read_request(&body, &Limits::default()).expect("reads");
    let out = rewrite(&body, &call, &PLAIN);
    assert_eq!(out.pieces().len(), 1);
    assert_eq!(out.pieces()[0].as_ptr(), body.as_ptr());
}

/// A request in any order of members, with gateway fields and unknown ones among them.
fn request() -> impl Strategy<Value = (Vec<(String, Value)>, bool)> {
    let known = prop::sample::subsequence(
        vec![
            ("models", json!(["x", "y"])),
            ("provider", json!({"order": ["a"], "max_price": {"prompt": 1.5}})),
            ("usage", json!({"include": true})),
            ("route", json!("fallback")),
            ("plugins", json!([])),
            ("transforms", json!(null)),
            ("session_id", json!("s")),
            ("trace", json!({"trace_id": "t"})),
            ("stream", json!(true)),
            ("stream_options", json!({"include_usage": false, "x": 1})),
            ("max_tokens", json!(null)),
            ("temperature", json!(0.5)),
        ],
        0..=12,
    );
    let unknown = prop::collection::vec(("x[a-z]{6}", json_value()), 0..4);
    (known, unknown, json_value(), any::<bool>(), any::<u64>()).prop_map(|(known, unknown, content, pretty, seed)| {
        let mut members: Vec<(String, Value)> = known.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        members.extend(unknown.into_iter().enumerate().map(|(at, (key, value))| (format!("{key}{at}"), value)));
        members.push(("model".to_owned(), json!("m")));
        members.push(("messages".to_owned(), json!([{"role": "user", "content": content.to_string()}])));
        let turn = (seed % members.len() as u64) as usize;
        members.rotate_left(turn);
        (members, pretty)
    })
}

proptest! {
    #[test]
    fn splices_keep_the_json_valid_and_everything_else_as_it_was((members, pretty) in request(), always in any::<bool>(), cap in any::<bool>()) {
        let colon = if pretty { " :\n" } else { ":" };
        let text: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\"{colon}{value}")).collect();
        let body = format!("{{{}}}", text.join(if pretty { " ,\n " } else { "," }));
        let target = Target {
            provider_model: "maker \"new\"",
            asks_usage: if always { AsksUsage::Always } else { AsksUsage::StreamOptions },
            drop_gateway_fields: true,
            max_output: cap.then_some(MaxOutput { field: MaxOutputField::MaxTokens, tokens: 77 }),
        };
        let after = rewritten(&body, &target);

        let mut expected: Map<String, Value> = members.iter().cloned().collect();
        for gone in ["models", "provider", "usage", "route", "plugins", "transforms", "session_id", "trace"] {
            expected.remove(gone);
        }
        expected.insert("model".to_owned(), json!("maker \"new\""));
        let streams = expected.get("stream") == Some(&json!(true));
        if always {
            expected.remove("stream_options");
        } else if streams {
            let options = expected.entry("stream_options").or_insert_with(|| json!({}));
            options["include_usage"] = json!(true);
        }
        if cap {
            expected.insert("max_tokens".to_owned(), json!(77));
        }
        let found: Map<String, Value> = serde_json::from_str(&after).expect("valid");
        prop_assert_eq!(&found, &expected);
        // No key twice, and every member that stays is there byte for byte.
        let mut keys = 0;
        crate::json::Scan::new(after.as_bytes(), crate::json::ScanLimits::ANSWER).skip().expect("valid");
        for ((key, _), member) in members.iter().zip(&text) {
            if expected.contains_key(key) {
                keys += 1;
                if !["model", "stream_options", "max_tokens"].contains(&key.as_str()) {
                    prop_assert!(after.contains(member.as_str()), "{} lacks {}", after, member);
                }
            }
        }
        prop_assert!(keys <= found.len());
    }
}
