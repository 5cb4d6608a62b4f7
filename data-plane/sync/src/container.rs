//! The bytes of the files: a header that is checked before anything is believed, then one protobuf message.
//!
//! Header: 7 bytes of magic, 1 of version, 8 of revision, 8 of length (little-endian), 32 of BLAKE3 over everything else in the file.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use prost::Message;
use waybill_model::{
    resource::Kind,
    world::{Entry, Key, World},
};
use waybill_proto::{model::v1::Resource, sync::v1::Deny};

use crate::{adopt::Held, overlay::Overlay};

const MAGIC: &[u8; 7] = b"waybill";

/// The format this build writes, and the only one there has been.
const VERSION: u8 = 1;

const HASH_AT: usize = 24;

/// Length of the header, bytes.
pub(crate) const HEADER: usize = HASH_AT + 32;

/// Why a file is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin as our files do.
    #[error("it is not a file of this product")]
    Foreign,
    /// A newer build wrote it.
    #[error("it has format {0}, this build reads {VERSION}")]
    Version(u8),
    /// It is shorter or longer than it says.
    #[error("it is cut or has been appended to")]
    Length,
    /// It is not what was written.
    #[error("its hash is wrong")]
    Hash,
    /// The hash is right, the message is not: a bug of the build that wrote it.
    #[error("its message cannot be read: {0}")]
    Message(prost::DecodeError),
}

/// A held world as stored.
#[derive(Clone, PartialEq, Message)]
struct Generation {
    #[prost(int64, tag = "1")]
    unix_ms: i64,
    /// Each a `Resource`. A message within a message is written as its bytes are; so there is never more than one in memory as it is.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    resources: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    instead: Vec<Instead>,
}

/// What is in force in place of a desired resource; nothing, if it holds no resource.
#[derive(Clone, PartialEq, Message)]
struct Instead {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(message, optional, tag = "3")]
    resource: Option<Resource>,
}

/// The deny overlay as stored.
#[derive(Clone, PartialEq, Message)]
struct Denials {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    floor: u64,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<Deny>,
}

/// The file of a generation, written at `unix_ms`.
pub fn generation(held: &Held, unix_ms: i64) -> Vec<u8> {
    let instead = |(key, resource): (&Key, &Option<Arc<Resource>>)| Instead {
        kind: key.kind.name().to_owned(),
        uid: key.uid.to_string(),
        resource: resource.as_deref().cloned(),
    };
    let message = Generation {
        unix_ms,
        resources: held.desired().resources().map(|resource| resource.encode_to_vec().into()).collect(),
        instead: held.instead().iter().map(instead).collect(),
    };
    seal(held.desired().revision(), &message.encode_to_vec())
}

/// Reads a generation: what was held, and when it was written.
pub fn read_generation(file: &[u8]) -> Result<(Held, i64), Damage> {
    let (revision, payload) = open(file)?;
    let message = Generation::decode(payload).map_err(Damage::Message)?;
    let mut entries = Vec::with_capacity(message.resources.len());
    for resource in message.resources {
        entries.extend(Entry::new(Arc::new(Resource::decode(resource).map_err(Damage::Message)?)));
    }
    let desired = Arc::new(World::default().change(revision, &[], entries, &[]));
    let key = |instead: &Instead| Some(Key { kind: instead.kind.parse::<Kind>().ok()?, uid: instead.uid.as_str().into() });
    let instead = message.instead.into_iter().filter_map(|instead| Some((key(&instead)?, instead.resource.map(Arc::new))));
    let instead: BTreeMap<_, _> = instead.collect();
    Ok((Held::stored(desired, instead), message.unix_ms))
}

/// The revision a file's header names. The rest of the file is not looked at.
pub fn revision(header: &[u8]) -> Result<u64, Damage> {
    match header.get(..8) {
        Some([magic @ .., VERSION]) if magic == MAGIC => number(header, 8).ok_or(Damage::Length),
        Some([magic @ .., version]) if magic == MAGIC => Err(Damage::Version(*version)),
        _ => Err(Damage::Foreign),
    }
}

/// The file of the overlay.
pub fn overlay(overlay: &Overlay) -> Vec<u8> {
    let message = Denials { epoch: overlay.epoch(), floor: overlay.floor(), entries: overlay.entries().cloned().collect() };
    seal(0, &message.encode_to_vec())
}

/// Reads the overlay.
pub fn read_overlay(file: &[u8]) -> Result<Overlay, Damage> {
    let message = Denials::decode(open(file)?.1).map_err(Damage::Message)?;
    Ok(Overlay::stored(message.epoch, message.floor, message.entries))
}

fn seal(revision: u64, payload: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + payload.len());
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    file.extend_from_slice(&revision.to_le_bytes());
    file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let hash = digest(&file, payload);
    file.extend_from_slice(hash.as_bytes());
    file.extend_from_slice(payload);
    file
}

fn open(file: &[u8]) -> Result<(u64, &[u8]), Damage> {
    let revision = revision(file)?;
    let (header, payload) = file.split_at_checked(HEADER).ok_or(Damage::Length)?;
    if number(header, 16) != Some(payload.len() as u64) {
        return Err(Damage::Length);
    }
    let (fields, hash) = header.split_at(HASH_AT);
    if digest(fields, payload).as_bytes()[..] != *hash {
        return Err(Damage::Hash);
    }
    Ok((revision, payload))
}

fn digest(fields: &[u8], payload: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(fields).update(payload).finalize()
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        use waybill_proto::model::v1::{Metadata, Org, resource::Spec};
        let org = |uid: &str, name: &str| {
            let metadata = Metadata { name: name.to_owned(), uid: uid.to_owned(), generation: 1, ..Metadata::default() };
            Arc::new(Resource { metadata: Some(metadata), spec: Some(Spec::Org(Org { display_name: name.to_owned() })) })
        };
        let key = |uid: &str| Key { kind: Kind::Org, uid: uid.into() };
        let instead = BTreeMap::from([(key("a"), Some(org("a", "old"))), (key("b"), None)]);
        Held::stored(Arc::new(World::new(9, [org("a", "new"), org("b", "b"), org("c", "c")])), instead)
    }

    #[test]
    fn files_read_back() {
        let held = held();
        let file = generation(&held, -5);
        let (read, unix_ms) = read_generation(&file).unwrap();
        assert_eq!((read.desired(), read.instead(), unix_ms), (held.desired(), held.instead(), -5));
        assert_eq!(revision(&file[..HEADER]), Ok(9));
        let denial = Deny { epoch: 7, api_key_uid: "u".to_owned(), lift: false, revision: 3 };
        let denials = Overlay::stored(8, 2, [denial]);
        assert_eq!(read_overlay(&overlay(&denials)), Ok(denials));
    }

    #[test]
    fn a_file_that_is_cut_appended_to_or_flipped_anywhere_is_not_believed() {
        let file = generation(&held(), 1);
        for length in 0..file.len() {
            assert!(read_generation(&file[..length]).is_err(), "cut at {length}");
        }
        assert_eq!(read_generation(&[&file[..], b"x"].concat()).err(), Some(Damage::Length));
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 0x10;
            assert!(read_generation(&flipped).is_err(), "flipped at {at}");
        }
        let mut newer = file;
        newer[7] = VERSION + 1;
        assert_eq!(read_generation(&newer).err(), Some(Damage::Version(VERSION + 1)));
    }
}
