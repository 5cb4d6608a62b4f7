//! Pass 2: the text of one document → its kind's generated type.

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{
    Error, MessageFormatter, Options, UserMessageFormatter,
    options::{AliasLimits, DuplicateKeyPolicy, MergeKeyPolicy},
};
use waybill_proto::model::v1::{Metadata, Resource, resource::Spec};

use super::{
    fault::{Fault, FaultCode},
    source::{Text, count},
    spans::{DEPTH, NODES, Spans},
};
use crate::{
    check::{nearest, or_nothing},
    resource::Kind,
};

/// Anchors and aliases of one document, and what aliases may grow it by, in events of the parser. A document that needs more is written by
/// a program, which can write it out.
const ALIASES: usize = 1_000;
const REPLAYED_EVENTS: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope<S> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: Option<S>,
}

macro_rules! by_kind {
    ($kind:expr, $text:expr, $spans:expr, $($name:ident),+) => {
        match $kind {
            $(Kind::$name => envelope($text, $spans).map(|envelope| resource(envelope, Spec::$name)),)+
        }
    };
}

/// Reads a document of a kind.
pub(super) fn decode(kind: Kind, text: Text<'_>, spans: &Spans) -> Result<Resource, Fault> {
    by_kind!(kind, text, spans, Org, Workspace, ApiKey, Provider, ProviderAccount, Model, Endpoint, RoutePolicy, PriceBook, Guardrail)
}

fn resource<S: Default>(envelope: Envelope<S>, wrap: fn(S) -> Spec) -> Resource {
    // A kind without fields that must be set needs no spec; the others are told by the check which field they lack.
    Resource { metadata: Some(envelope.metadata), spec: Some(wrap(envelope.spec.unwrap_or_default())) }
}

fn envelope<S: for<'de> Deserialize<'de>>(text: Text<'_>, spans: &Spans) -> Result<Envelope<S>, Fault> {
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text.text, options(), |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| fault(&error, &path, text, spans))
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        emit_comments: false,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        alias_limits: aliases(),
        budget: Some(budget()),
    }
}

fn aliases() -> AliasLimits {
    serde_saphyr::alias_limits! {
        max_total_replayed_events: REPLAYED_EVENTS,
        max_replay_stack_depth: DEPTH,
    }
}

fn budget() -> serde_saphyr::Budget {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = DEPTH + 2;
    budget.max_nodes = NODES;
    budget.max_aliases = ALIASES;
    budget.max_anchors = ALIASES;
    budget.max_recorded_anchor_events = NODES;
    budget.max_documents = 2;
    budget
}

/// The reader's error as a fault, in our words where the reader speaks of itself.
fn fault(error: &Error, path: &str, text: Text<'_>, spans: &Spans) -> Fault {
    let error = root(error);
    let path = known(path);
    let (code, message) = match error {
        Error::SerdeUnknownField { field, expected, .. } => return unknown_field(field, expected, error, path, text, spans),
        Error::SerdeMissingField { field, .. } => (FaultCode::Header, format!("`{field}` is missing")),
        Error::SerdeInvalidType { unexpected, expected, .. } | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (FaultCode::Type, unexpected_value(unexpected, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => (FaultCode::Type, unknown_value(variant, expected)),
        Error::DuplicateMappingKey { key, .. } => {
            (FaultCode::DuplicateField, key.as_ref().map_or("a key stands twice".to_owned(), |key| format!("`{key}` stands twice")))
        }
        Error::MergeKeyNotAllowed { .. } => (FaultCode::Syntax, "merge keys (`<<`) are not read: write the fields out".to_owned()),
        Error::UnsupportedTag { tag, .. } => {
            (FaultCode::Syntax, format!("tags (`{}`) are not read: write the value without it", own_words(tag)))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => (
            FaultCode::Limit,
            format!("anchors and aliases make the document too large: at most {ALIASES} of them, {REPLAYED_EVENTS} values"),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => (FaultCode::Limit, "an anchor holds itself".to_owned()),
        Error::Unexpected { expected, .. } => {
            (FaultCode::Type, format!("{} is wanted here", in_our_words(SHAPES, expected).unwrap_or(expected)))
        }
        Error::Message { msg, .. } => (FaultCode::Type, in_our_words(MESSAGES, msg).map_or_else(|| own_words(msg), str::to_owned)),
        other => (FaultCode::Type, own_words(&UserMessageFormatter.format_message(other))),
    };
    let own = error.location().map(|location| (narrow(location.line()), narrow(location.column())));
    let (line, column) = match code {
        // These are about a key or about no field at all, where the path ends before it.
        FaultCode::DuplicateField | FaultCode::Syntax | FaultCode::Limit => own.unwrap_or_else(|| spans.find(path)),
        _ => spans.find(path),
    };
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => text.fault(line, column, &join(path, key), code, message),
        _ => text.fault(line, column, path, code, message),
    }
}

/// The path without what the reader did not know yet: `.` for the whole, `?` for a key that was not read to its end.
fn known(path: &str) -> &str {
    let path = path.strip_suffix('?').unwrap_or(path);
    path.strip_suffix('.').unwrap_or(path)
}

fn root(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => root(error),
        other => other,
    }
}

fn unknown_field(field: &str, expected: &[&str], error: &Error, path: &str, text: Text<'_>, spans: &Spans) -> Fault {
    // The generated types know each field by two spellings; documents are shown the one of JSON.
    let known: Vec<&str> = expected.iter().copied().filter(|name| !name.contains('_')).collect();
    let guess = or_nothing(nearest(field, known.iter().copied()));
    let message = format!(
        "there is no field `{field}`{guess}{}",
        if guess.is_empty() { format!(": use {}", known.join(", ")) } else { String::new() }
    );
    let own = if path == field || path.ends_with(&format!(".{field}")) { path.to_owned() } else { join(path, field) };
    let (line, column) = error
        .location()
        .filter(|location| location.line() > 0)
        .map_or_else(|| spans.find(&own), |location| (narrow(location.line()), narrow(location.column())));
    text.fault(line, column, &own, FaultCode::UnknownField, message)
}

/// What the reader calls the shapes of values, and what people call them.
const SHAPES: &[(&str, &str)] = &[("string scalar", "a text"), ("sequence start", "a list"), ("mapping start", "a mapping")];

const NUMBER: &str = "a whole number that the field can hold is wanted here";
const INSTANT: &str = "an instant is wanted here: write it as 2026-08-21T00:00:00Z";

/// Messages of the libraries that read numbers and instants, by how they begin.
const MESSAGES: &[(&str, &str)] = &[
    ("data did not match any variant of untagged enum Content", NUMBER),
    ("invalid digit found in string", NUMBER),
    ("cannot parse integer from empty string", NUMBER),
    ("number too large", NUMBER),
    ("number too small", NUMBER),
    ("premature end of input", INSTANT),
    ("input contains invalid characters", INSTANT),
    ("input is out of range", INSTANT),
    ("input is not enough for unique date and time", INSTANT),
    ("no possible date and time matching input", INSTANT),
    ("trailing input", INSTANT),
];

fn in_our_words(table: &[(&str, &'static str)], message: &str) -> Option<&'static str> {
    table.iter().find(|(beginning, _)| message.starts_with(beginning)).map(|(_, words)| *words)
}

fn unexpected_value(unexpected: &str, expected: &str) -> String {
    match expected.strip_prefix("expected one of: ") {
        Some(list) => format!("{unexpected} is unknown: use one of {}", list.trim_matches(['[', ']']).replace('"', "")),
        None => format!("{unexpected} where {expected} is wanted"),
    }
}

fn unknown_value(value: &str, expected: &[&str]) -> String {
    // Values are spelt with the name of their enumeration; people tend to leave it out.
    let ending = format!("_{}", value.to_ascii_uppercase());
    let meant = expected.iter().copied().find(|name| name.ends_with(&ending)).or_else(|| nearest(value, expected.iter().copied()));
    format!("`{value}` is unknown{}: use one of {}", or_nothing(meant), expected.join(", "))
}

fn own_words(message: &str) -> String {
    message.chars().flat_map(char::escape_debug).collect::<String>().replace("\\'", "'").replace("\\\"", "\"")
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn narrow(number: u64) -> u32 {
    count(usize::try_from(number).unwrap_or(usize::MAX))
}
