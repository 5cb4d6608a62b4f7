//! How lists name what they mean: a provider with its variants, a model, or all models of an author.

use std::fmt;

use crate::snapshot::Endpoint;

/// Whether a name in a list of providers means an endpoint.
///
/// A base slug means the provider and all its variants (`google-vertex` means `google-vertex/us-east5`). A name with a suffix means that
/// variant: the provider of exactly this name, or the endpoints of the base with this quantization (`deepinfra/fp8`). Letter case does not
/// count: clients send display forms such as `DeepInfra`.
#[must_use]
pub fn names(pattern: &str, endpoint: &Endpoint) -> bool {
    let provider = &*endpoint.provider.name;
    if provider.eq_ignore_ascii_case(pattern) || is_variant_of(provider, pattern) {
        return true;
    }
    let Some((base, variant)) = pattern.rsplit_once('/') else { return false };
    provider.eq_ignore_ascii_case(base) && endpoint.quantization.eq_ignore_ascii_case(variant)
}

/// Whether one of the names means the endpoint.
#[must_use]
pub fn any_names(patterns: &[Box<str>], endpoint: &Endpoint) -> bool {
    patterns.iter().any(|pattern| names(pattern, endpoint))
}

/// Position of the first name that means the endpoint; behind all of them if none does.
#[must_use]
pub fn place(patterns: &[Box<str>], endpoint: &Endpoint) -> usize {
    patterns.iter().position(|pattern| names(pattern, endpoint)).unwrap_or(patterns.len())
}

/// Whether a provider is a variant of a base slug.
#[must_use]
pub fn is_variant_of(provider: &str, base: &str) -> bool {
    let (Some(start), Some(rest)) = (provider.get(..base.len()), provider.get(base.len()..)) else { return false };
    start.eq_ignore_ascii_case(base) && rest.starts_with('/')
}

/// What an entry of a list of models means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Models<'a> {
    /// The model of this name.
    Named(&'a str),
    /// All models of this author: `author/*`.
    Of(&'a str),
}

/// The text means no models.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` means no models: write the name of a Model, or all of an author's as author/*")]
pub struct Malformed(pub String);

impl<'a> Models<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// It is empty, or has a `*` elsewhere than as the whole slug.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        match text.strip_suffix("/*") {
            Some(author) if !author.is_empty() && !author.contains(['*', '/']) => Ok(Self::Of(author)),
            None if !text.is_empty() && !text.contains('*') => Ok(Self::Named(text)),
            _ => Err(Malformed(text.to_owned())),
        }
    }

    /// Whether it means a model.
    #[must_use]
    pub fn contains(self, model: &str) -> bool {
        match self {
            Self::Named(name) => name == model,
            Self::Of(author) => author_of(model) == Some(author),
        }
    }

    /// Whether it means everything that another entry means.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match other {
            Self::Named(name) => self.contains(name),
            Self::Of(_) => self == other,
        }
    }
}

/// The author in the name of a model.
#[must_use]
pub fn author_of(model: &str) -> Option<&str> {
    model.split_once('/').map(|(author, _)| author)
}

/// A list of models, ready for look-ups.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ModelList {
    /// Sorted.
    names: Box<[Box<str>]>,
    /// Sorted.
    authors: Box<[Box<str>]>,
}

impl ModelList {
    /// Reads a list.
    ///
    /// # Errors
    /// The first entry that means no models.
    pub fn parse(entries: &[String]) -> Result<Self, Malformed> {
        let (mut names, mut authors) = (Vec::new(), Vec::new());
        for entry in entries {
            match Models::parse(entry)? {
                Models::Named(name) => names.push(name.into()),
                Models::Of(author) => authors.push(author.into()),
            }
        }
        names.sort_unstable();
        authors.sort_unstable();
        Ok(Self { names: names.into(), authors: authors.into() })
    }

    /// It has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.authors.is_empty()
    }

    /// Whether an entry means the model.
    #[must_use]
    pub fn contains(&self, model: &str) -> bool {
        let has = |sorted: &[Box<str>], wanted: &str| sorted.binary_search_by(|known| (**known).cmp(wanted)).is_ok();
        has(&self.names, model) || author_of(model).is_some_and(|author| has(&self.authors, author))
    }
}

impl fmt::Display for Models<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => formatter.write_str(name),
            Self::Of(author) => write!(formatter, "{author}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_mean_a_model_or_all_of_an_author() {
        for (entry, model, expected) in [
            ("lab/one", "lab/one", Some(true)),
            ("lab/one", "lab/one:free", Some(false)),
            ("lab/*", "lab/one", Some(true)),
            ("lab/*", "lab/deep/one", Some(true)),
            ("lab/*", "laboratory/one", Some(false)),
            ("lab/*", "lab", Some(false)),
            ("one", "one", Some(true)),
            ("", "", None),
            ("*", "lab/one", None),
            ("/*", "/one", None),
            ("lab/o*", "lab/one", None),
            ("*/one", "lab/one", None),
            ("a/b/*", "a/b/c", None),
        ] {
            assert_eq!(Models::parse(entry).ok().map(|models| models.contains(model)), expected, "{entry} {model}");
            let list = ModelList::parse(&["other/x".to_owned(), entry.to_owned()]);
            assert_eq!(list.ok().map(|list| list.contains(model)), expected, "{entry} {model}");
        }
    }

    #[test]
    fn an_author_covers_its_models_and_not_the_other_way_round() {
        let parse = |text| Models::parse(text).expect("an entry");
        for (one, other, expected) in [
            ("lab/*", "lab/x", true),
            ("lab/x", "lab/*", false),
            ("lab/*", "lab/*", true),
            ("lab/x", "lab/x", true),
            ("lab/*", "a/x", false),
        ] {
            assert_eq!(parse(one).covers(parse(other)), expected, "{one} {other}");
        }
    }
}
