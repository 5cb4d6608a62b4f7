//! `apply` and `delete`: documents, or names, → a change set → what changed, or every fault with its line.

use std::{fmt::Write, time::Duration};

use waybill_model::{
    check::Code,
    document::{self, Document, Fault},
    resource::{Kind, metadata},
};
use waybill_proto::admin::v1::{
    ApplyChangeSetRequest, ApplyChangeSetResponse, Change, ResourceName, RolloutPlan, Violation, change::Action,
};

use crate::{
    backend::Backend,
    command::{ApplyArgs, DeleteArgs},
    error::{Error, Exit},
    read::read_kind,
    rollout,
    show::{Format, Report, message},
    sources, wait,
};

/// Most documents of one atomic change set; more are applied in sets.
const ATOMIC: usize = 50;

/// Bytes of resources in binary form that fit one change set for certain.
const ATOMIC_BYTES: usize = 1024 * 1024;

/// Applies the files.
pub async fn apply(args: &ApplyArgs, backend: &dyn Backend) -> Result<Report, Error> {
    let sources = sources::read(&args.files)?;
    let named: Vec<(&str, &[u8])> = sources.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let documents = document::read(&named).map_err(Error::Faults)?;
    let response = backend.apply(request(&documents, args)).await?;
    if !response.violations.is_empty() {
        return Err(refusal(&documents, &response.violations));
    }
    let out = message(args.connection.output.unwrap_or_default(), &response, || plan(&response, args.dry_run))?;
    let mut note = String::new();
    for made in &response.generated_keys {
        writeln!(note, "The text of the key `{}` is shown this once: keep it.", made.name).unwrap_or_default();
    }
    if !response.rollout.is_empty() {
        let id = &response.rollout;
        writeln!(
            note,
            "The rollout {id} has begun: `waybill rollout wait {id}` waits for its end, `waybill rollout halt {id}` takes it back."
        )
        .unwrap_or_default();
    }
    if !response.unfinished.is_empty() {
        writeln!(note, "waybill: {}. Applying the same again does what is left", response.unfinished).unwrap_or_default();
    }
    let mut exit = if response.unfinished.is_empty() { Exit::Done } else { Exit::Refused };
    if let Some(seconds) = args.wait {
        let (waited, end) = if response.rollout.is_empty() {
            wait::wait(&response, seconds, backend).await?
        } else {
            let ended = rollout::ended(&response.rollout, Format::Table, Some(Duration::from_secs(seconds)), backend).await?;
            (ended.out + &ended.note, ended.exit)
        };
        note += &waited;
        exit = if exit == Exit::Done { end } else { exit };
    }
    Ok(Report { out, note, exit })
}

/// Deletes resources by their names.
pub async fn delete(args: &DeleteArgs, backend: &dyn Backend) -> Result<Report, Error> {
    let kind = read_kind(&args.kind)?.name().to_owned();
    let deletes = args.names.iter().map(|name| ResourceName { kind: kind.clone(), name: name.clone() }).collect();
    let request = ApplyChangeSetRequest { deletes, dry_run: args.dry_run, faults_in_answer: true, ..ApplyChangeSetRequest::default() };
    let response = backend.apply(request).await?;
    if !response.violations.is_empty() {
        return Err(refusal(&[], &response.violations));
    }
    Ok(Report::of(message(args.connection.output.unwrap_or_default(), &response, || plan(&response, args.dry_run))?))
}

fn request(documents: &[Document], args: &ApplyArgs) -> ApplyChangeSetRequest {
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    ApplyChangeSetRequest {
        upserts: documents.iter().map(|document| document.resource.clone()).collect(),
        dry_run: args.dry_run,
        // 0 leaves the time to the control plane.
        rollout: args.rollout.then(|| RolloutPlan { bake_ms: args.bake.unwrap_or_default() }),
        faults_in_answer: true,
        in_sets: documents.len() > ATOMIC || bytes > ATOMIC_BYTES,
        ..ApplyChangeSetRequest::default()
    }
}

/// The faults with their lines. Those of resources that are in no document (a reference to what was renamed) come behind, without a line.
fn refusal(documents: &[Document], violations: &[Violation]) -> Error {
    let (mut faults, mut elsewhere) = (Vec::new(), Vec::new());
    for violation in violations {
        match locate(documents, violation) {
            Some(fault) => faults.push(fault),
            None => elsewhere.push(format!("{} `{}`: {}: {}", violation.kind, violation.name, violation.path, violation.message)),
        }
    }
    if elsewhere.is_empty() {
        return Error::Faults(faults);
    }
    let lines: Vec<String> = faults.iter().map(ToString::to_string).chain(elsewhere).collect();
    Error::Refused(format!("nothing was applied:\n{}", lines.join("\n")))
}

fn locate(documents: &[Document], violation: &Violation) -> Option<Fault> {
    // The last of several of one name is the one that a check calls a duplicate.
    let is_meant = |document: &&Document| {
        let kind = Kind::of(&document.resource).map(Kind::name).unwrap_or_default();
        kind == violation.kind && metadata(&document.resource).name == violation.name
    };
    let document = documents.iter().rev().find(is_meant)?;
    // A rule that this build does not know is shown without its line, in case the line holds a secret.
    let code = violation.code.parse().unwrap_or(Code::SecretMalformed);
    Some(document.fault(&violation.path, code, &violation.message))
}

/// The plan for people: what changes, field by field, and the sum.
pub fn plan(response: &ApplyChangeSetResponse, dry_run: bool) -> String {
    let mut text = String::new();
    let mut counts = [0_usize; 4];
    for change in &response.changes {
        let (place, mark) = match change.action() {
            Action::Created => (0, "+"),
            Action::Changed => (1, "~"),
            Action::Deleted => (2, "-"),
            Action::Unchanged | Action::Unspecified => (3, "="),
        };
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
        if place != 3 {
            show_change(&mut text, change, mark);
        }
    }
    for made in response.generated_keys.iter().filter(|made| !made.key.is_empty()) {
        writeln!(text, "key {}: {}", made.name, made.key).unwrap_or_default();
    }
    let [created, changed, deleted, unchanged] = counts;
    let would = if dry_run { "would be " } else { "" };
    writeln!(text, "{would}{created} created, {changed} changed, {deleted} deleted, {unchanged} unchanged; revision {}", response.revision)
        .unwrap_or_default();
    text
}

fn show_change(text: &mut String, change: &Change, mark: &str) {
    writeln!(text, "{mark} {} {} (generation {})", change.kind, change.name, change.generation).unwrap_or_default();
    for field in &change.fields {
        let shown = |value: &str| if value.is_empty() { "(none)".to_owned() } else { value.to_owned() };
        writeln!(text, "    {}: {} → {}", field.path, shown(&field.before), shown(&field.after)).unwrap_or_default();
    }
}
