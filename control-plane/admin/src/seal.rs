//! API keys: from a key text to what is stored of it.
//!
//! A record holds a keyed hash, the pepper's id and the prefix; what a writer says in these fields is not believed. The text comes from
//! `keyFrom`, which is read here, or is generated.

use bytes::Bytes;
use waybill_model::{
    key::{self, Pepper},
    resource::metadata,
};
use waybill_proto::{
    admin::v1::GeneratedKey,
    model::v1::{ApiKey, Resource, resource::Spec},
};

use crate::{
    error::{Error, Fault},
    surroundings::Surroundings,
};

/// Seals keys.
pub struct Sealer<'a> {
    pub peppers: &'a [Pepper],
    pub surroundings: &'a dyn Surroundings,
}

/// What sealing a key gave.
pub enum Sealed {
    /// The record.
    Record(ApiKey),
    /// The record of a key that was made for it.
    Generated(ApiKey, GeneratedKey),
    /// It cannot be sealed.
    Faulty(Fault),
}

impl Sealer<'_> {
    /// Seals the key of a resource, in the light of its record if there is one.
    pub fn seal(&self, resource: &Resource, asked: &ApiKey, known: Option<&ApiKey>) -> Result<Sealed, Error> {
        let name = &metadata(resource).name;
        let fault = |code, message| {
            let path = "spec.keyFrom".to_owned();
            Ok(Sealed::Faulty(Fault { kind: "ApiKey".to_owned(), name: name.clone(), path, code, message }))
        };
        let record = |hash: Bytes, pepper_id, prefix: String| ApiKey { hash, pepper_id, prefix, ..asked.clone() };
        let kept = |known: &ApiKey| Sealed::Record(record(known.hash.clone(), known.pepper_id, known.prefix.clone()));
        let Some(pepper) = self.peppers.first() else {
            return fault("pepper_missing", "the control plane has no pepper to hash keys with: start it with one".to_owned());
        };
        let text = match (&asked.key_from, known) {
            (Some(reference), known) => match (self.surroundings.secret(reference), known) {
                (Ok(text), _) => text,
                // The key itself is still known by its hash, so nothing is lost that an apply would have to refuse.
                (Err(_), Some(known)) if known.key_from == asked.key_from => return Ok(kept(known)),
                (Err(message), _) => return fault("secret_missing", message),
            },
            (None, Some(known)) => return Ok(kept(known)),
            (None, None) => {
                let mut random = [0; 20];
                self.surroundings.random(&mut random).map_err(Error::Randomness)?;
                let key = key::generate(true, random);
                let record = record(Bytes::copy_from_slice(&pepper.hash(&key)), pepper.id().into(), key::prefix(&key).to_owned());
                return Ok(Sealed::Generated(record, GeneratedKey { name: name.clone(), key }));
            }
        };
        if !key::is_well_formed(&text) {
            let message = "what is there is not the text of a key (`wb_live_…` with its checksum): leave keyFrom out and a key is made";
            return fault("key_malformed", message.to_owned());
        }
        let same = known.filter(|known| self.recognises(known, &text));
        Ok(same.map_or_else(
            || Sealed::Record(record(Bytes::copy_from_slice(&pepper.hash(&text)), pepper.id().into(), key::prefix(&text).to_owned())),
            kept,
        ))
    }

    /// The record is of this text, under whichever valid pepper it was hashed.
    fn recognises(&self, known: &ApiKey, text: &str) -> bool {
        let pepper = self.peppers.iter().find(|pepper| u32::from(pepper.id()) == known.pepper_id);
        pepper.is_some_and(|pepper| pepper.hash(text)[..] == known.hash[..])
    }
}

/// The key of a resource, if it is one.
pub fn key_of(resource: &Resource) -> Option<&ApiKey> {
    match &resource.spec {
        Some(Spec::ApiKey(key)) => Some(key),
        _ => None,
    }
}
