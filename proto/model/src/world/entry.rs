//! One resource of a world.

use std::{borrow::Cow, cmp::Ordering, sync::Arc};

use prost::Message;
use waybill_proto::model::v1::{Resource, resource::Spec};

use super::{Hash, Key, packed::Packed, truncated};
use crate::{
    id::Uid,
    resource::{Kind, metadata},
};

/// One resource, with the hash of its content. API keys are held packed, since there may be a million of them; all others as they are.
#[derive(Clone, Debug)]
pub struct Entry(Form);

#[derive(Clone, Debug)]
enum Form {
    Whole(Arc<Whole>),
    Packed(Packed),
}

#[derive(Debug)]
struct Whole {
    resource: Arc<Resource>,
    hash: Hash,
}

/// What is looked for.
pub(super) struct Wanted<'a> {
    text: &'a str,
    uid: Option<Uid>,
}

/// What a caller's key is compiled from.
pub(crate) enum Held<'a> {
    /// Any resource.
    Whole(&'a Resource),
    /// An API key.
    Packed(&'a Packed),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Packed(one), Form::Packed(other)) => one == other,
            (Form::Whole(one), Form::Whole(other)) => one.hash == other.hash,
            // The same key is always packed, or never.
            _ => false,
        }
    }
}

impl Entry {
    /// The entry of a resource; `None` if it has no spec or no uid.
    #[must_use]
    pub fn new(resource: Arc<Resource>) -> Option<Self> {
        let kind = Kind::of(&resource).filter(|_| !metadata(&resource).uid.is_empty())?;
        if kind == Kind::ApiKey
            && let Some(packed) = Packed::of(&resource)
        {
            return Some(Self(Form::Packed(packed)));
        }
        let hash = hash_of(&resource);
        Some(Self(Form::Whole(Arc::new(Whole { resource, hash }))))
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> Arc<Resource> {
        match &self.0 {
            Form::Whole(whole) => Arc::clone(&whole.resource),
            Form::Packed(packed) => Arc::new(packed.message()),
        }
    }

    /// Hash of its encoding.
    #[must_use]
    pub fn hash(&self) -> Hash {
        match &self.0 {
            Form::Whole(whole) => whole.hash,
            Form::Packed(packed) => hash_of(&packed.message()),
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Form::Whole(whole) => Kind::of(&whole.resource).unwrap_or(Kind::ApiKey),
            Form::Packed(_) => Kind::ApiKey,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { kind: self.kind(), uid: self.uid().into() }
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Whole(whole) => Cow::Borrowed(&metadata(&whole.resource).uid),
            Form::Packed(packed) => Cow::Owned(packed.uid().to_string()),
        }
    }

    pub(crate) fn held(&self) -> Held<'_> {
        match &self.0 {
            Form::Whole(whole) => Held::Whole(&whole.resource),
            Form::Packed(packed) => Held::Packed(packed),
        }
    }

    /// Of an API key: the bytes it is recognised by. Of any other resource: none.
    #[must_use]
    pub fn key_hash(&self) -> &[u8] {
        match self.held() {
            Held::Packed(packed) => packed.hash(),
            Held::Whole(Resource { spec: Some(Spec::ApiKey(spec)), .. }) => &spec.hash,
            Held::Whole(_) => &[],
        }
    }

    /// By uid.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // The digits of a uid are in the order of what they stand for.
            (Form::Packed(one), Form::Packed(other)) => one.uid().cmp(&other.uid()),
            _ => self.uid().cmp(&other.uid()),
        }
    }

    pub(super) fn order_to(&self, wanted: &Wanted<'_>) -> Ordering {
        match (&self.0, wanted.uid) {
            (Form::Packed(packed), Some(uid)) => packed.uid().cmp(&uid),
            _ => (*self.uid()).cmp(wanted.text),
        }
    }
}

impl<'a> Wanted<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, uid: text.parse().ok() }
    }
}

fn hash_of(resource: &Resource) -> Hash {
    truncated(blake3::hash(&resource.encode_to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_two_words() {
        assert_eq!(size_of::<Entry>(), 2 * size_of::<usize>());
    }
}
