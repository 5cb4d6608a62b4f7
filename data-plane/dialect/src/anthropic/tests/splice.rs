use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::anthropic::{fields, read_request, rewrite};
use crate::fields::Level;
use crate::json::tests::json_value;
use crate::limits::Limits;
use crate::target::{AsksUsage, MaxOutput, MaxOutputField, Target};

fn rewritten(body: &str, target: &Target<'_>) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let call = read_request(&body, &Limits::default()).expect("reads");
    String::from_utf8(rewrite(&body, &call, target).to_bytes().to_vec()).expect("UTF-8")
}

const DROP: Target<'static> =
    Target { provider_model: "p", asks_usage: AsksUsage::StreamOptions, drop_gateway_fields: true, max_output: None };
const KEEP: Target<'static> = Target { drop_gateway_fields: false, ..DROP };

#[test]
fn only_what_must_change_changes() {
    let capped = Target { max_output: Some(MaxOutput { field: MaxOutputField::MaxTokens, tokens: 3 }), ..DROP };
    let rows: &[(&str, &Target<'_>, &str)] = &[
        (
            r#"{ "model" : "m" , "max_tokens":9,"messages":[{"role":"user","content":"\u0041 b"}] , "stream":true}"#,
            &DROP,
            r#"{ "model" : "p" , "max_tokens":9,"messages":[{"role":"user","content":"\u0041 b"}] , "stream":true}"#,
        ),
        (r#"{"models":["a"],"max_tokens":9,"messages":[{}],"session_id":"s"}"#, &DROP, r#"{"model":"p","max_tokens":9,"messages":[{}]}"#),
        (
            r#"{"model":"m","fallbacks":[{"model":"b"}],"max_tokens":9,"messages":[{}],"session_id":"s"}"#,
            &KEEP,
            r#"{"model":"p","max_tokens":9,"messages":[{}],"session_id":"s"}"#,
        ),
        (r#"{"model":"m","max_tokens":9,"messages":[{}]}"#, &capped, r#"{"model":"p","max_tokens":9,"messages":[{}]}"#),
    ];
    for (body, target, expected) in rows {
        assert_eq!(rewritten(body, target), *expected, "{body}");
    }
}

proptest! {
    /// As values, too: the model is exchanged, the gateway's fields are gone, all else is there and the same.
    #[test]
    fn all_else_stays_the_same(
        further in prop::collection::vec(("[a-z]{1,3}[0-9]", json_value()), 0..4),
        gateway in prop::collection::vec(0usize..4, 0..4),
        at in 0usize..8,
        drop in any::<bool>(),
    ) {
        let mut members: Vec<(String, Value)> = further;
        for (position, which) in gateway.into_iter().enumerate() {
            let (name, value) = [("models", json!(["a"])), ("session_id", json!("s")), ("trace", json!({"t": 1})), ("usage", json!({}))]
                .get(which).cloned().expect("one of four");
            if !members.iter().any(|(known, _)| known == name) {
                members.insert((at + position) % (members.len() + 1), (name.to_owned(), value));
            }
        }
        for (name, value) in [("model", json!("m")), ("max_tokens", json!(5)), ("messages", json!([{"role": "user", "content": "c"}]))] {
            members.insert(at % (members.len() + 1), (name.to_owned(), value));
        }
        let mut expected = Map::new();
        for (name, value) in &members {
            let field = fields::Field::exact(name.as_bytes());
            let cut = if drop { fields::GATEWAY_ONLY } else { fields::NEVER_FORWARDED };
            if !field.is_some_and(|field| cut.contains(&field)) {
                expected.insert(name.clone(), value.clone());
            }
        }
        expected.insert("model".to_owned(), json!("p"));
        let body = members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect::<Vec<_>>().join(" , ");
        let out = rewritten(&format!("{{{body}}}"), if drop { &DROP } else { &KEEP });
        prop_assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), Value::Object(expected));
    }
}
