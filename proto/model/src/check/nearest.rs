//! The word that was probably meant.

/// The candidate with the fewest typing errors between it and the word; `None` if none is near (more than a third of the letters differ).
/// Letter case does not count as an error. Words longer than a name can be have no nearest one.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > super::limits::NAME_BYTES {
        return None;
    }
    let lower = word.to_lowercase();
    let most = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(lower.len()) <= most)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(errors, _)| *errors <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The suggestion as the end of a clause, or nothing.
pub(crate) fn or_nothing(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(", did you mean `{word}`?")).unwrap_or_default()
}
