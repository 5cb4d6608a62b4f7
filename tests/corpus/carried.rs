//! Judging requests that were translated: what arrived at the provider against what the caller asked, read in each dialect by its own reader.
//!
//! Whatever is missing must be named in the warning header by its path, or the request be refused with one.

use serde_json::Value;
use waybill_dialect::neutral::Notice;

use crate::dialect::{Dialect, Pair};
use crate::errors;
use crate::judge::{Court, Verdict, shown};
use crate::question::{Fact, KINDS, Question};

/// What may be refused because the other dialect cannot say it, and where: the caller's dialect, what the path begins with, why.
const REFUSALS: &[(Dialect, &str, &str)] = &[
    (Dialect::OpenAi, "modalities", "Anthropic's models answer in text"),
    (Dialect::OpenAi, "audio", "Anthropic's models answer in text"),
    (Dialect::OpenAi, "n", "Anthropic's models give one answer"),
    (Dialect::OpenAi, "messages", "a part or a turn that Anthropic has no place for, or that makes no sense"),
    (Dialect::OpenAi, "tools", "a tool that only some providers run"),
    (Dialect::OpenAi, "tool_choice", "a choice that only some providers know"),
    (Dialect::Anthropic, "tools", "a tool that Anthropic runs"),
    (Dialect::Anthropic, "messages", "a block that only Anthropic has, or that makes no sense"),
];

impl Court<'_> {
    pub fn carried(&mut self) {
        let (answer, caller) = (&self.seen.answer, self.pair().caller);
        if answer.head.status != 200 {
            return self.refusal();
        }
        let got = match self.asked_across() {
            Ok(got) => got,
            Err(wrong) => return self.check("request", Err(wrong)),
        };
        self.check("request", Ok(()));
        let warnings = Warnings::read(answer.head.text("x-waybill-warning").unwrap_or_default());
        let (asked, arrived) = (Question::read(caller, &self.seen.ask.body), Question::read(caller.other(), &got));
        let (case, pair, way) = (&self.case.id, self.pair(), self.seen.ask.way.name());
        for kind in KINDS {
            judge(kind, (&asked, &arrived), &warnings, case, (pair, way), self.verdict);
        }
    }

    /// Refused, for a reason that is known here, with the path of the field.
    fn refusal(&mut self) {
        let (answer, caller) = (&self.seen.answer, self.pair().caller);
        let body: Value = answer.json().unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        let path = message.split_once(": ").map_or("", |(path, _)| path);
        let known = REFUSALS.iter().find(|(of, start, _)| *of == caller && covers(start, path));
        let told = errors::told(caller, answer.head.status, &body);
        match known.filter(|_| answer.head.status == 400 && told.is_well_formed && told.error_type.as_deref() == Some("invalid_request")) {
            Some((.., why)) => {
                self.check("request", Ok(()));
                self.beyond("request", format!("refused, {why}: {message}"));
            }
            None => self.check("request", Err(format!("{} {}", answer.head.status, shown(&answer.body)))),
        }
    }
}

/// Whether the field may be refused.
pub fn is_refusal(caller: Dialect, path: &str) -> bool {
    REFUSALS.iter().any(|(of, start, _)| *of == caller && covers(start, path))
}

/// One kind of facts of a request, as it was asked and as it arrived.
pub fn judge(
    kind: &'static str,
    (asked, arrived): (&Question, &Question),
    warnings: &Warnings,
    case: &str,
    (pair, way): (Pair, &'static str),
    verdict: &mut Verdict,
) {
    if asked.facts(kind).is_empty() && arrived.facts(kind).is_empty() {
        return;
    }
    let outcome = compare(kind, asked.facts(kind), arrived.facts(kind), warnings);
    verdict.note(case, pair, way, kind, outcome.as_ref().map(drop).map_err(|wrong| format!("{wrong} [warnings: {}]", warnings.text)));
    outcome.into_iter().flatten().for_each(|reason| verdict.beyond(case, pair, kind, reason));
}

/// What the warning header names.
pub struct Warnings {
    text: String,
    paths: Vec<String>,
    /// Some found no room.
    is_cut: bool,
}

impl Warnings {
    /// All notices of a writer, however many.
    pub fn of(notices: &[Notice]) -> Self {
        Self::read(&notices.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// These and the ones of a second writer.
    pub fn and(&self, notices: &[Notice]) -> Self {
        let more = Self::of(notices);
        Self {
            text: format!("{}; {}", self.text, more.text),
            paths: self.paths.iter().chain(&more.paths).cloned().collect(),
            is_cut: self.is_cut,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    fn read(text: &str) -> Self {
        let mut paths: Vec<String> = text.split("; ").filter_map(|item| Some(item.split_once(": ")?.0.to_owned())).collect();
        paths.dedup();
        let is_cut = text.ends_with(" more");
        Self { text: text.to_owned(), paths, is_cut }
    }

    /// The warning that names a field, or what it stands in, or what stands in it.
    fn naming(&self, path: &str) -> Option<String> {
        let named = self.paths.iter().find(|named| covers(named, path) || covers(path, named));
        named.map(|named| self.reason(named)).or_else(|| self.is_cut.then(|| "named among those that found no room".to_owned()))
    }

    /// With its numbers left out, so that the same reason is the same.
    fn reason(&self, path: &str) -> String {
        let item = self.text.split("; ").find(|item| item.split_once(": ").is_some_and(|(named, _)| named == path)).unwrap_or(path);
        let (path, why) = item.split_once(": ").unwrap_or((item, ""));
        let path: String = path.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        format!("{path}: {why}")
    }
}

/// Whether `path` is `outer` or stands in it.
fn covers(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The reasons of what was lost by name. Each fact arrives, in its order, or is named; what arrives and was not said stands for something named.
pub fn compare(kind: &str, asked: &[Fact], arrived: &[Fact], warnings: &Warnings) -> Result<Vec<String>, String> {
    let (mut next, mut lost, mut added) = (0, Vec::new(), 0);
    // Members stand in no order.
    let (mut asked, mut arrived) = (asked.to_vec(), arrived.to_vec());
    if kind == "request.rest" {
        asked.sort_by(|a, b| a.says.cmp(&b.says));
        arrived.sort_by(|a, b| a.says.cmp(&b.says));
    }
    let (asked, arrived) = (&asked, &arrived);
    for fact in asked {
        let rest = arrived.get(next..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|found| found.says == fact.says) {
            added += at;
            next += at + 1;
        } else if let Some(reason) = warnings.naming(&fact.path).or_else(|| named_twin(fact, asked, warnings)) {
            lost.push(reason);
        } else {
            return Err(format!("{} is lost without a word: {}; what arrived: {}", fact.path, shown(fact.says.as_bytes()), brief(rest)));
        }
    }
    added += arrived.len().saturating_sub(next);
    // A limit that nobody asked for is one that Anthropic demands.
    let is_own = kind == "request.limits" && asked.iter().all(|fact| !fact.says.starts_with("most tokens"));
    let allowed = lost.len() + usize::from(is_own) + usize::from(kind == "request.texts" || kind == "request.rest") * warnings.paths.len();
    if added > allowed {
        return Err(format!("{added} facts were added: {}", brief(arrived)));
    }
    Ok(lost)
}

/// Of facts that say the same it cannot be told which one has arrived: the name of any of them counts.
fn named_twin(fact: &Fact, asked: &[Fact], warnings: &Warnings) -> Option<String> {
    asked.iter().filter(|twin| twin.says == fact.says).find_map(|twin| warnings.naming(&twin.path))
}

fn brief(facts: &[Fact]) -> String {
    facts
        .iter()
        .take(6)
        .map(|fact| format!("{} {}", fact.path, shown(&fact.says.as_bytes()[..fact.says.len().min(80)])))
        .collect::<Vec<_>>()
        .join(", ")
}
