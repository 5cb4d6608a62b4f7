//! From the names a caller gives to models.

use waybill_model::snapshot::{Found, Model, Snapshot};

use crate::{refusal::Refusal, wishes::Wishes};

/// Names that are offered in place of an unknown one.
const MOST_NEAREST: usize = 3;

/// Likeness below which a name is not offered, in thousandths.
const LEAST_LIKENESS: u32 = 850;

/// Names longer than this have no nearest one; no model has such a name.
const LONGEST_NAME: usize = 128;

/// The models asked for, in order, each once.
///
/// # Errors
/// The first name that is unknown or means several models. That goes for fallbacks too: a misspelt one would be noticed on the day it is needed.
pub fn resolve<'a>(wishes: &Wishes<'_>, snapshot: &'a Snapshot) -> Result<Vec<&'a Model>, Refusal> {
    let mut models: Vec<&Model> = Vec::with_capacity(1 + wishes.models.len());
    for name in std::iter::once(wishes.model).chain(wishes.models.iter().map(AsRef::as_ref)) {
        match snapshot.model(name) {
            Found::Model(model) if models.iter().any(|known| std::ptr::eq(*known, model)) => {}
            Found::Model(model) => models.push(model),
            Found::Ambiguous => return Err(Refusal::AmbiguousModel { name: name.into(), candidates: with_slug(name, snapshot) }),
            Found::None => return Err(Refusal::UnknownModel { name: name.into(), nearest: nearest(name, snapshot) }),
        }
    }
    Ok(models)
}

fn with_slug(slug: &str, snapshot: &Snapshot) -> Vec<Box<str>> {
    snapshot.models().iter().filter(|model| slug_of(&model.name) == slug).map(|model| model.name.clone()).collect()
}

/// The names most like the given one, the likest first.
fn nearest(name: &str, snapshot: &Snapshot) -> Vec<Box<str>> {
    if name.len() > LONGEST_NAME {
        return Vec::new();
    }
    let wanted = name.to_lowercase();
    let mut likely: Vec<(u32, &str)> = snapshot
        .models()
        .iter()
        .map(|model| (likeness(&wanted, &model.name), &*model.name))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .collect();
    likely.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    likely.into_iter().take(MOST_NEAREST).map(|(_, name)| name.into()).collect()
}

/// Likeness in thousandths, of the whole names or of the slugs, whichever is greater. This orders suggestions for people and decides nothing.
fn likeness(wanted: &str, name: &str) -> u32 {
    let alike = |a: &str, b: &str| (strsim::jaro_winkler(a, b) * 1000.0) as u32;
    let name = name.to_lowercase();
    alike(wanted, &name).max(alike(slug_of(wanted), slug_of(&name)))
}

fn slug_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, slug)| slug)
}
