//! Rules of Guardrails. A wrong word in a deny list would let through what its writer shuts out, so every entry must mean something.

use std::collections::HashMap;

use waybill_proto::model::v1::{Guardrail, OnError};

use super::{
    limits,
    nearest::{nearest, or_nothing},
    price::check_price,
    violation::{Code, Faults},
    world::Index,
};
use crate::{
    pattern::{Models, is_variant_of},
    resource::Kind,
};

/// What shows without other resources.
pub(super) fn check(guardrail: &Guardrail, faults: &mut Faults<'_>) {
    for (position, member) in guardrail.members.iter().enumerate() {
        check_member(member, &format!("spec.members[{position}]"), faults);
    }
    for (field, entries) in lists(guardrail) {
        for (position, entry) in entries.iter().enumerate() {
            if let Err(malformed) = Models::parse(entry) {
                faults.add(format!("spec.{field}[{position}]"), Code::PatternMalformed, malformed.to_string());
            }
        }
    }
    for (price, path) in
        [(&guardrail.max_prompt_price, "spec.maxPromptPrice"), (&guardrail.max_completion_price, "spec.maxCompletionPrice")]
    {
        if !price.is_empty() {
            check_price(price, 1, path, faults);
        }
    }
    if OnError::try_from(guardrail.on_error).is_err() {
        faults.add("spec.onError", Code::EnumUnknown, format!("{} is not a value of OnError", guardrail.on_error));
    }
    check_contradictions(guardrail, faults);
}

/// Checks the name of a member: free words, and yet something that two people write alike.
pub(super) fn check_member(member: &str, path: &str, faults: &mut Faults<'_>) {
    if member.is_empty() || member.len() > limits::NAME_BYTES || member.trim() != member || member.chars().any(char::is_control) {
        let message = format!("a member is 1 to {} bytes without control characters or space at its ends", limits::NAME_BYTES);
        faults.add(path, Code::MemberMalformed, message);
    }
}

fn lists(guardrail: &Guardrail) -> [(&'static str, &[String]); 2] {
    [("allowedModels", &guardrail.allowed_models), ("ignoredModels", &guardrail.ignored_models)]
}

/// What an allow list names and the deny list beside it takes back as a whole.
fn check_contradictions(guardrail: &Guardrail, faults: &mut Faults<'_>) {
    let ignored: Vec<Models<'_>> = guardrail.ignored_models.iter().filter_map(|entry| Models::parse(entry).ok()).collect();
    for (position, entry) in guardrail.allowed_models.iter().enumerate() {
        let Ok(allowed) = Models::parse(entry) else { continue };
        if let Some(by) = ignored.iter().find(|ignored| ignored.covers(allowed)) {
            contradiction("Models", position, entry, &by.to_string(), faults);
        }
    }
    for (position, entry) in guardrail.allowed_providers.iter().enumerate() {
        let covers = |ignored: &&String| ignored.eq_ignore_ascii_case(entry) || is_variant_of(entry, ignored);
        if let Some(by) = guardrail.ignored_providers.iter().find(covers).filter(|_| !entry.is_empty()) {
            contradiction("Providers", position, entry, by, faults);
        }
    }
}

fn contradiction(what: &str, position: usize, entry: &str, by: &str, faults: &mut Faults<'_>) {
    let message = format!("`{entry}` is allowed here and shut out by `{by}` in ignored{what}: take one of them away");
    faults.add(format!("spec.allowed{what}[{position}]"), Code::ListContradiction, message);
}

/// How many Guardrails name a workspace, a member or a key.
pub(super) type Counts<'a> = HashMap<(&'static str, &'a str), usize>;

/// What shows only together with other resources: names of models, allow lists that mean nothing that is left, scopes that are too full.
pub(super) fn check_in_world<'a>(
    guardrail: &'a Guardrail,
    index: &Index<'_>,
    suggestions: &mut usize,
    counts: &mut Counts<'a>,
    faults: &mut Faults<'_>,
) {
    for (field, entries) in lists(guardrail) {
        for (position, entry) in entries.iter().enumerate() {
            let Ok(models) = Models::parse(entry) else { continue };
            if !is_known(models, index) {
                let guess = guess(models, index, suggestions);
                faults.add(format!("spec.{field}[{position}]"), Code::ReferenceDangling, format!("there is no Model `{entry}`{guess}"));
            }
        }
    }
    check_something_left(guardrail, index, faults);
    let scopes = [("workspaces", &guardrail.workspaces), ("members", &guardrail.members), ("apiKeys", &guardrail.api_keys)];
    for (scope, names) in scopes {
        for (position, name) in names.iter().enumerate() {
            let count = counts.entry((scope, name)).or_default();
            *count += 1;
            if *count == limits::GUARDRAILS_PER_SCOPE + 1 {
                let message = format!("more than {} Guardrails name `{name}` in {scope}: put rules together", limits::GUARDRAILS_PER_SCOPE);
                faults.add(format!("spec.{scope}[{position}]"), Code::GuardrailsTooMany, message);
            }
        }
    }
}

fn is_known(models: Models<'_>, index: &Index<'_>) -> bool {
    match models {
        Models::Named(name) => index.has(Kind::Model, name),
        Models::Of(author) => index.models_of(author).next().is_some(),
    }
}

fn guess(models: Models<'_>, index: &Index<'_>, suggestions: &mut usize) -> String {
    let Some(left) = suggestions.checked_sub(1) else { return String::new() };
    *suggestions = left;
    match models {
        Models::Named(name) => or_nothing(nearest(name, index.names(Kind::Model))),
        Models::Of(author) => {
            let near = nearest(author, index.authors()).map(|author| format!("{author}/*"));
            or_nothing(near.as_deref())
        }
    }
}

/// All entries, if each means something.
fn parsed(entries: &[String]) -> Option<Vec<Models<'_>>> {
    entries.iter().map(|entry| Models::parse(entry).ok()).collect()
}

/// Several entries of the deny list can take away together what an entry of the allow list names.
fn check_something_left(guardrail: &Guardrail, index: &Index<'_>, faults: &mut Faults<'_>) {
    let (Some(allowed), Some(ignored)) = (parsed(&guardrail.allowed_models), parsed(&guardrail.ignored_models)) else { return };
    // What is unknown or taken back by one entry was said at that entry.
    let said = |models: &Models<'_>| !is_known(*models, index) || ignored.iter().any(|ignored| ignored.covers(*models));
    if allowed.is_empty() || ignored.is_empty() || allowed.iter().any(said) {
        return;
    }
    let is_left = |model: &str| !ignored.iter().any(|ignored| ignored.contains(model));
    let some_left = allowed.iter().any(|models| match models {
        Models::Named(name) => is_left(name),
        Models::Of(author) => index.models_of(author).any(is_left),
    });
    if !some_left {
        let message = "ignoredModels shuts out every model that is allowed here, so nothing is left: take some away";
        faults.add("spec.allowedModels", Code::ListContradiction, message);
    }
}
