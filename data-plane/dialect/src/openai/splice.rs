//! The request towards a provider: the caller's own bytes, with only those spans exchanged that must be.

use bytes::Bytes;

use super::fields::{Field, GATEWAY_ONLY, NEVER_FORWARDED};
use crate::body::Body;
use crate::call::Call;
use crate::json::Span;
use crate::places::Splicer;
use crate::target::{AsksUsage, MaxOutput, MaxOutputField, Target};

/// Whether a rewrite may change this member.
pub(super) fn may_change(field: Field) -> bool {
    matches!(field, Field::Model | Field::StreamOptions | Field::MaxTokens | Field::MaxCompletionTokens) || GATEWAY_ONLY.contains(&field)
}

/// The request as `target` is to get it. `body` is the one that `call` was read from.
pub fn rewrite(body: &Bytes, call: &Call, target: &Target<'_>) -> Body {
    let mut splicer = Splicer::new(body, &call.places);
    splicer.set_string(Field::Model, "model", target.provider_model);
    ask_usage(&mut splicer, call, target.asks_usage);
    limit_output(&mut splicer, call, target.max_output);
    splicer.cut_each(if target.drop_gateway_fields { GATEWAY_ONLY } else { NEVER_FORWARDED });
    splicer.finish()
}

fn ask_usage(splicer: &mut Splicer<'_>, call: &Call, rule: AsksUsage) {
    let member = splicer.places.find(Field::StreamOptions);
    match (rule, member) {
        (AsksUsage::Always | AsksUsage::Never, Some(member)) => splicer.cut(member),
        (AsksUsage::StreamOptions, _) if call.stream => match (member, splicer.places.place_of_include_usage()) {
            (_, Some((_, true))) => {}
            (_, Some((place, false))) => splicer.replace(place, b"true".to_vec()),
            (Some(member), None) => add_to_stream_options(splicer, member.value),
            (None, None) => splicer.add("stream_options", br#"{"include_usage":true}"#),
        },
        _ => {}
    }
}

fn add_to_stream_options(splicer: &mut Splicer<'_>, value: Span) {
    let text = splicer.text(value);
    let mut inner = text.iter().skip(1).filter(|byte| !byte.is_ascii_whitespace());
    if !text.starts_with(b"{") {
        splicer.replace(value, br#"{"include_usage":true}"#.to_vec());
    } else if inner.next() == Some(&b'}') {
        splicer.insert(value.start + 1, br#""include_usage":true"#.to_vec());
    } else {
        splicer.insert(value.start + 1, br#""include_usage":true,"#.to_vec());
    }
}

fn limit_output(splicer: &mut Splicer<'_>, call: &Call, max_output: Option<MaxOutput>) {
    let Some(MaxOutput { field, tokens }) = max_output.filter(|_| call.max_output.is_none()) else {
        return;
    };
    let (field, name) = match field {
        MaxOutputField::MaxTokens => (Field::MaxTokens, "max_tokens"),
        MaxOutputField::MaxCompletionTokens => (Field::MaxCompletionTokens, "max_completion_tokens"),
    };
    let tokens = tokens.to_string();
    match splicer.places.find(field) {
        Some(null) => splicer.replace(null.value, tokens.into_bytes()),
        None => splicer.add(name, tokens.as_bytes()),
    }
}
