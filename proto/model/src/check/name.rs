//! The rule of names and labels.

use waybill_proto::model::v1::Metadata;

use super::{
    limits,
    violation::{Code, Faults},
};

/// What is wrong with a name, as a clause for people; `None` if nothing is.
///
/// A name is 1 to 128 bytes of lower case letters, digits and `. _ - : / @ ~`.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name is needed".to_owned());
    }
    if name.len() > limits::NAME_BYTES {
        return Some(format!("the name has {} bytes: at most {}", name.len(), limits::NAME_BYTES));
    }
    let wrong = name.chars().find(|letter| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-:/@~".contains(*letter)));
    wrong.map(|letter| format!("`{}` may not be in a name: use lower case letters, digits and . _ - : / @ ~", letter.escape_debug()))
}

/// Checks name and labels.
pub(super) fn check(metadata: &Metadata, faults: &mut Faults<'_>) {
    if let Some(fault) = name_fault(&metadata.name) {
        let code = match metadata.name.len() {
            0 => Code::NameMissing,
            1..=limits::NAME_BYTES => Code::NameMalformed,
            _ => Code::NameTooLong,
        };
        faults.add("metadata.name", code, fault);
    }
    if metadata.labels.len() > limits::LABELS {
        faults.add("metadata.labels", Code::LabelsTooMany, format!("{} labels: at most {}", metadata.labels.len(), limits::LABELS));
    }
    for (key, value) in &metadata.labels {
        let fits = (1..=limits::LABEL_BYTES).contains(&key.len()) && value.len() <= limits::LABEL_BYTES;
        if !fits || key.chars().chain(value.chars()).any(char::is_control) {
            let message =
                format!("a label's key is 1 to {0} bytes and its value at most {0}, both without control characters", limits::LABEL_BYTES);
            faults.add(format!("metadata.labels.{key}"), Code::LabelMalformed, message);
        }
    }
}
