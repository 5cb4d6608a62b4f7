//! `GET key` and `GET generation`: what the ledger says to a key about itself. Amounts are printed from integers.

use bytes::Bytes;
use serde_json::{Value, json};
use waybill_model::{
    id::{AttemptId, GenerationId},
    meter::Meter,
    money::print_usd,
    snapshot::ApiKey,
};
use waybill_proto::usage::v1::{Attempt, Event, Kind, Lane};

use crate::books::Spent;

/// Own key: spend by calendar, and the limits, of which there are none yet.
pub(crate) fn key(key: &ApiKey, spent: Spent) -> Bytes {
    let label = if key.display_name.is_empty() { format!("{}…", key.prefix) } else { key.display_name.to_string() };
    let fields = json!({
        "label": label,
        "name": key.name,
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "limit": null,
        "limit_remaining": null,
        "limit_reset": null,
        "include_byok_in_limit": false,
        "is_free_tier": false,
        "is_management_key": false,
        "is_provisioning_key": false,
        "creator_user_id": null,
        "organization_id": key.workspace.as_ref().map(|workspace| &workspace.org),
        "workspace_id": key.workspace.as_ref().map(|workspace| &workspace.name),
        "allowed_data_regions": ["global"],
        "budgets": [],
        "effective_budget": null,
        // As in `rate_limit`: -1 is no limit.
        "free_model_daily_requests": { "limit": -1, "remaining": -1, "used": 0 },
        "expires_at": key.expire_unix_ms.and_then(rfc3339),
        "rate_limit": { "requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore." },
    });
    data(&fields, &[("usage", spent.total), ("usage_daily", spent.day), ("usage_weekly", spent.week), ("usage_monthly", spent.month)])
}

/// A generation, from the events of its attempts.
pub(crate) fn generation(events: &[Event]) -> Option<Bytes> {
    let answering = events
        .iter()
        .rev()
        .find(|event| matches!(event.kind(), Kind::Settled | Kind::Partial | Kind::Adjusted))
        .or_else(|| events.last())?;
    let attempt = answering.attempt.as_ref()?;
    let counted = |event: &&Event| matches!(event.kind(), Kind::Settled | Kind::Partial | Kind::Adjusted);
    let total: i128 = events.iter().filter(counted).map(|event| i128::from(event.amount_picousd)).sum();
    let pending: i128 = events.iter().filter(|event| event.kind() == Kind::Orphaned).map(|event| i128::from(event.amount_picousd)).sum();
    let quantity = |meter: Meter| answering.lines.iter().filter(|line| line.meter == meter.name()).map(|line| line.quantity).sum::<u64>();
    let generation = GenerationId::from_bytes(sixteen(&attempt.generation_id)?);
    let responses: Vec<Value> = events.iter().filter_map(response).collect();
    let attempts = events.iter().filter_map(|event| event.attempt.as_ref());
    let created = attempts.map(|attempt| attempt.start_unix_us / 1000).min().and_then(rfc3339);
    let mut fields = json!({
        "id": generation.to_string(),
        "request_id": null,
        "upstream_id": some(&answering.provider_answer_id),
        "session_id": null,
        "preset_id": null,
        "api_type": "completions",
        "app_id": null,
        "workspace_id": attempt.workspace,
        "external_user": null,
        "http_referer": some(&attempt.http_referer),
        "user_agent": null,
        "origin": attempt.app_title,
        "router": null,
        "model": attempt.model,
        "provider_name": attempt.provider,
        "provider_responses": responses,
        "is_byok": false,
        "data_region": "global",
    });
    let measured = json!({
        "service_tier": null,
        "streamed": attempt.streamed,
        "cancelled": answering.outcome == "client_hang_up",
        "finish_reason": some(&answering.finish_reason),
        "native_finish_reason": some(&answering.finish_reason),
        "latency": answering.first_token_us / 1000,
        "moderation_latency": null,
        "generation_time": answering.duration_us / 1000,
        "created_at": created,
        "tokens_prompt": answering.input_tokens,
        "tokens_completion": answering.output_tokens,
        "native_tokens_prompt": answering.input_tokens,
        "native_tokens_completion": answering.output_tokens,
        "native_tokens_completion_images": quantity(Meter::ImageOutput),
        "native_tokens_reasoning": quantity(Meter::Reasoning),
        "native_tokens_cached": quantity(Meter::CacheRead),
        "num_media_prompt": null,
        "num_media_completion": null,
        "num_input_audio_prompt": null,
        "num_search_results": quantity(Meter::Search),
        "num_fetches": null,
        "web_search_engine": null,
        "upstream_inference_cost": null,
        "cache_discount": null,
        "response_cache_source_id": null,
        "price_version": some(&attempt.price_version),
        "revision": attempt.revision,
        "caller_dialect": some(&attempt.caller_dialect),
        "endpoint_dialect": some(&attempt.endpoint_dialect),
        "lane": lane(attempt),
        "translation_notices": attempt.notices,
    });
    if let (Value::Object(fields), Value::Object(measured)) = (&mut fields, measured) {
        fields.extend(measured);
    }
    Some(data(&fields, &[("usage", total), ("total_cost", total), ("pending_cost", pending)]))
}

fn response(event: &Event) -> Option<Value> {
    let attempt = event.attempt.as_ref()?;
    Some(json!({
        "id": AttemptId::from_bytes(sixteen(&attempt.attempt_id)?).to_string(),
        "endpoint_id": attempt.endpoint,
        "model_permaslug": attempt.model,
        "provider_name": attempt.provider,
        "status": event.status,
        "outcome": event.outcome,
        "latency": event.duration_us / 1000,
        "endpoint_dialect": some(&attempt.endpoint_dialect),
        "lane": lane(attempt),
        "translation_notices": attempt.notices,
        "is_byok": false,
    }))
}

/// Whether the caller's own bytes were sent, or a translation.
fn lane(attempt: &Attempt) -> Option<&'static str> {
    match attempt.lane() {
        Lane::Unspecified => None,
        Lane::Express => Some("express"),
        Lane::Translated => Some("translated"),
    }
}

fn sixteen(bytes: &[u8]) -> Option<[u8; 16]> {
    bytes.try_into().ok()
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// `{"data": {…}}` with amounts behind the other fields. They are printed from integers, which a JSON library would take through a float.
fn data(fields: &Value, amounts: &[(&str, i128)]) -> Bytes {
    let fields = fields.to_string();
    let fields = fields.strip_suffix('}').unwrap_or(&fields);
    let amounts: String = amounts.iter().map(|(name, amount)| format!(",\"{name}\":{}", print_usd(*amount))).collect();
    format!("{{\"data\":{fields}{amounts}}}}}").into()
}

fn rfc3339(unix_ms: i64) -> Option<String> {
    let instant = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok()?;
    instant.format(&time::format_description::well_known::Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_tells_between_which_dialects_each_attempt_went() {
        let event = |kind: Kind, number: u8, endpoint_dialect: &str, lane: Lane, notices| Event {
            attempt: Some(Attempt {
                attempt_id: vec![number; 16].into(),
                generation_id: vec![9; 16].into(),
                number: number.into(),
                caller_dialect: "openai".to_owned(),
                endpoint_dialect: endpoint_dialect.to_owned(),
                lane: lane.into(),
                notices,
                ..Attempt::default()
            }),
            kind: kind.into(),
            ..Event::default()
        };
        let shown = |events: &[Event]| -> Value {
            let body = generation(events).expect("a generation");
            serde_json::from_slice::<Value>(&body).expect("JSON")["data"].clone()
        };
        let crossed =
            shown(&[event(Kind::Failed, 1, "openai", Lane::Express, 0), event(Kind::Settled, 2, "anthropic", Lane::Translated, 3)]);
        let told = ["caller_dialect", "endpoint_dialect", "lane", "translation_notices"].map(|name| crossed[name].clone());
        assert_eq!(told, [json!("openai"), json!("anthropic"), json!("translated"), json!(3)]);
        let lanes: Vec<&Value> =
            crossed["provider_responses"].as_array().expect("a list").iter().map(|response| &response["lane"]).collect();
        assert_eq!(lanes, ["express", "translated"]);
        // Written before there were lanes.
        let old =
            shown(&[Event { attempt: Some(Attempt { generation_id: vec![9; 16].into(), ..Attempt::default() }), ..Event::default() }]);
        assert_eq!((&old["lane"], &old["caller_dialect"]), (&Value::Null, &Value::Null));
    }
}
