//! `GET models` and the endpoints of a model, in one shape that OpenAI's, OpenRouter's and Anthropic's clients read. Only what the Guardrails of the
//! key let through is shown: who chooses from a list must not choose what is refused.

use std::ops::Range;

use serde_json::{Value, json};
use waybill_dialect::{ErrorBody, ErrorType};
use waybill_guard::Guard;
use waybill_model::{
    meter::Meter,
    money::print_usd,
    price::Tariff,
    snapshot::{Endpoint, Model, Snapshot},
};
use waybill_route::{Standing, WHOLE_PERMILLE, Why};

use crate::{guarded::open_endpoints, surface::unescaped};

/// Which models of the list are asked for; Anthropic's clients page.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Page {
    /// Most models of a page; none = all.
    limit: Option<usize>,
    /// Behind this model.
    after: Option<String>,
    /// Before this model.
    before: Option<String>,
}

impl Page {
    /// Reads `limit`, `after_id` and `before_id`.
    ///
    /// # Errors
    /// A limit that is none.
    pub(crate) fn of_query(query: &str) -> Result<Self, ErrorBody> {
        let mut page = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = unescaped(value).unwrap_or_default();
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=1000).contains(limit));
                    let fault = || ErrorBody::new(ErrorType::InvalidRequest, "limit: a whole number from 1 to 1000").with_param("limit");
                    page.limit = Some(limit.ok_or_else(fault)?);
                }
                "after_id" => page.after = Some(value.into_owned()),
                "before_id" => page.before = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(page)
    }

    /// The range of the page among so many, found by their ids; an id that is not there is passed over. Before an id come the last ones.
    fn range(&self, ids: &[&str]) -> Range<usize> {
        let place = |id: &Option<String>| id.as_deref().and_then(|id| ids.iter().position(|known| *known == id));
        let start = place(&self.after).map_or(0, |at| at + 1);
        let end = place(&self.before).unwrap_or(ids.len()).max(start);
        match (self.limit, &self.before) {
            (Some(limit), Some(_)) => end.saturating_sub(limit).max(start)..end,
            (Some(limit), None) => start..end.min(start + limit),
            (None, _) => start..end,
        }
    }
}

/// The models that have an endpoint in service that the key may call, or a page of them.
pub(crate) fn list(snapshot: &Snapshot, guard: Guard<'_>, page: &Page, now_unix_ms: i64) -> Value {
    let models: Vec<&Model> = snapshot.models().iter().filter(|model| open_endpoints(model, guard, now_unix_ms).next().is_some()).collect();
    let ids: Vec<&str> = models.iter().map(|model| &*model.name).collect();
    let range = page.range(&ids);
    let has_more = if page.before.is_some() { range.start > 0 } else { range.end < ids.len() };
    let shown = ids.get(range.clone()).unwrap_or_default();
    let data: Vec<Value> = models.iter().skip(range.start).take(range.len()).map(|model| one(model, guard, now_unix_ms)).collect();
    json!({
        "object": "list", "total_count": models.len(), "links": { "next": null }, "data": data,
        "has_more": has_more, "first_id": shown.first(), "last_id": shown.last(),
    })
}

/// One model.
pub(crate) fn one(model: &Model, guard: Guard<'_>, now_unix_ms: i64) -> Value {
    let mut endpoints: Vec<&Endpoint> = open_endpoints(model, guard, now_unix_ms).collect();
    // The price shown is that of the cheapest endpoint, as the weighted choice favours it.
    endpoints.sort_by_key(|endpoint| {
        endpoint.tariff(now_unix_ms).map_or(i64::MAX, |tariff| tariff.headline().0.saturating_add(tariff.headline().1))
    });
    let cheapest = endpoints.first();
    let mut parameters: Vec<&str> = endpoints.iter().flat_map(|endpoint| endpoint.parameters.iter().map(|name| &**name)).collect();
    parameters.sort_unstable();
    parameters.dedup();
    json!({
        "id": model.name,
        "object": "model",
        "type": "model",
        "display_name": model.display_name,
        "created_at": rfc3339(model.created),
        "owned_by": model.name.split('/').next(),
        "canonical_slug": model.name,
        "name": model.display_name,
        "description": model.description,
        "created": model.created,
        "context_length": counted(model.context_window),
        "architecture": architecture(model),
        "pricing": pricing(cheapest.and_then(|endpoint| endpoint.tariff(now_unix_ms)).map(|tariff| &**tariff)),
        "top_provider": {
            "context_length": counted(cheapest.map_or(model.context_window, |endpoint| endpoint.context_window)),
            "max_completion_tokens": counted(cheapest.map_or(model.max_output, |endpoint| endpoint.max_output)),
            "is_moderated": false,
        },
        "per_request_limits": null,
        "supported_parameters": parameters,
        "default_parameters": null,
        "supported_voices": null,
        "expiration_date": null,
        "knowledge_cutoff": null,
        "hugging_face_id": null,
        "links": { "details": format!("/api/v1/models/{}/endpoints", model.name) },
    })
}

/// One model in OpenRouter's frame.
pub(crate) fn one_as_data(model: &Model, guard: Guard<'_>, now_unix_ms: i64) -> Value {
    json!({ "data": one(model, guard, now_unix_ms) })
}

/// How an endpoint does, as far as this proxy knows.
pub(crate) struct Doing {
    pub(crate) standing: Standing,
    /// Shares of good attempts in the last five minutes, half an hour, day: hundredths of a percent.
    pub(crate) uptimes: [Option<u32>; 3],
}

impl Doing {
    /// OpenRouter's field is a number whose meaning is not published but for 0; ours: -1 = it gets a part of its share, -2 = it is tried after
    /// all others.
    const fn status(&self) -> i64 {
        match self.standing.weight_permille {
            0 => -2,
            WHOLE_PERMILLE.. => 0,
            _ => -1,
        }
    }

    /// For readers who do not hold us to OpenRouter's schema.
    fn told(&self) -> Value {
        json!({
            "weight": f64::from(self.standing.weight_permille) / f64::from(WHOLE_PERMILLE),
            "cause": self.standing.why.map(Why::name),
            "detail": self.standing.why.map(|why| why.to_string()),
        })
    }
}

/// The endpoints of a model. `causes` adds why an endpoint does not get its whole share.
pub(crate) fn endpoints(model: &Model, guard: Guard<'_>, causes: bool, now_unix_ms: i64, doing: impl Fn(&Endpoint) -> Doing) -> Value {
    let shown = |endpoint| {
        let doing = doing(endpoint);
        let mut shown = endpoint_of(model, endpoint, &doing, now_unix_ms);
        if causes {
            shown["health"] = doing.told();
        }
        shown
    };
    let endpoints: Vec<Value> = open_endpoints(model, guard, now_unix_ms).map(shown).collect();
    json!({ "data": {
        "id": model.name,
        "name": model.display_name,
        "description": model.description,
        "created": model.created,
        "architecture": architecture(model),
        "endpoints": endpoints,
    } })
}

fn endpoint_of(model: &Model, endpoint: &Endpoint, doing: &Doing, now_unix_ms: i64) -> Value {
    let [minutes5, minutes30, day] = doing.uptimes.map(|share| share.map(|hundredths| f64::from(hundredths) / 100.0));
    let tool_choice = endpoint.parameters.iter().any(|name| &**name == "tool_choice");
    json!({
        "name": format!("{} | {}", endpoint.provider.display_name, model.name),
        "model_id": model.name,
        "model_name": model.display_name,
        "provider_name": endpoint.provider.display_name,
        "tag": endpoint.provider.name,
        "context_length": endpoint.context_window,
        "max_completion_tokens": counted(endpoint.max_output),
        "max_prompt_tokens": counted(endpoint.context_window),
        "quantization": endpoint.quantization,
        "pricing": pricing(endpoint.tariff(now_unix_ms).map(|tariff| &**tariff)),
        "supported_parameters": endpoint.parameters,
        "supports_implicit_caching": false,
        "supports_tool_choice": { "auto": tool_choice, "function": tool_choice, "none": tool_choice, "required": tool_choice },
        "supports_diarization": false,
        "native_tools": {},
        "service_tier": null,
        "status": doing.status(),
        "uptime_last_5m": minutes5,
        "uptime_last_30m": minutes30,
        "uptime_last_1d": day,
        "latency_last_30m": null,
        "throughput_last_30m": null,
    })
}

fn architecture(model: &Model) -> Value {
    let modality = format!("{}->{}", model.input_modalities.join("+"), model.output_modalities.join("+"));
    json!({
        "modality": modality,
        "input_modalities": model.input_modalities,
        "output_modalities": model.output_modalities,
        "tokenizer": "Other",
        "instruct_type": null,
    })
}

/// USD per token (per request, per search) as decimals, as OpenRouter writes them. A price that is finer than a pico per token keeps its places.
fn pricing(tariff: Option<&Tariff>) -> Value {
    const NAMES: [(Meter, &str); 10] = [
        (Meter::Input, "prompt"),
        (Meter::Output, "completion"),
        (Meter::Request, "request"),
        (Meter::CacheRead, "input_cache_read"),
        (Meter::CacheWrite5m, "input_cache_write"),
        (Meter::CacheWrite1h, "input_cache_write_1h"),
        (Meter::Reasoning, "internal_reasoning"),
        (Meter::AudioInput, "audio"),
        (Meter::AudioOutput, "audio_output"),
        (Meter::Search, "web_search"),
    ];
    let mut prices = json!({ "prompt": "0", "completion": "0" });
    for (meter, name) in NAMES {
        let own = tariff.and_then(|tariff| {
            tariff.rates().iter().find(|rate| rate.meter == meter && rate.tier.is_empty() && rate.above_input_tokens == 0)
        });
        if let Some(rate) = own {
            prices[name] = per_unit(rate.picousd_per_million).into();
        }
    }
    prices
}

/// A rate per million as a price of one: the point moves by six places, so nothing is rounded.
fn per_unit(picousd_per_million: i64) -> String {
    let scaled = print_usd(i128::from(picousd_per_million));
    let (whole, fraction) = scaled.split_once('.').unwrap_or((&scaled, ""));
    let digits = format!("{whole:0>7}");
    let (before, after) = digits.split_at(digits.len() - 6);
    let all = format!("{before}.{after}{fraction}");
    all.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Anthropic's clients want an instant also where none is known: the beginning of time, by their own rule.
fn rfc3339(unix_s: i64) -> String {
    let instant = time::OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    instant.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn counted(tokens: u64) -> Value {
    if tokens == 0 { Value::Null } else { tokens.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_in_both_directions() {
        let ids = ["a/1", "a/2", "b/1", "b/2"];
        let rows = [
            ("", 0..4),
            ("limit=3", 0..3),
            ("limit=3&after_id=b%2F1", 3..4),
            ("after_id=b/2", 4..4),
            ("limit=2&before_id=b/2", 1..3),
            ("before_id=a/1", 0..0),
            ("limit=2&after_id=gone", 0..2),
            ("supported_parameters=tools", 0..4),
        ];
        for (query, range) in rows {
            assert_eq!(Page::of_query(query).expect("a page").range(&ids), range, "{query}");
        }
        for query in ["limit=0", "limit=1001", "limit=x", "limit=-1"] {
            assert_eq!(Page::of_query(query).expect_err("no limit").param.as_deref(), Some("limit"), "{query}");
        }
    }

    #[test]
    fn the_status_tells_how_much_of_its_share_an_endpoint_gets() {
        for (weight_permille, why, status, cause) in [
            (1000, None, 0, Value::Null),
            (100, Some(Why::SlowStart), -1, "slow_start".into()),
            (0, Some(Why::Breaker), -2, "breaker_open".into()),
        ] {
            let doing = Doing { standing: Standing { weight_permille, why }, uptimes: [None; 3] };
            assert_eq!((doing.status(), &doing.told()["cause"]), (status, &cause));
        }
    }

    #[test]
    fn prices_of_one_token_keep_every_place() {
        for (rate, expected) in [
            (2_500_000_000_000, "0.0000025"),
            (0, "0"),
            (1, "0.000000000000000001"),
            (7_500_000_000_000_000_000, "7.5"),
            (70_000_000_000, "0.00000007"),
        ] {
            assert_eq!(per_unit(rate), expected);
        }
    }
}
