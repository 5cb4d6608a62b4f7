//! What lies in the store: the head, the change log, resources. Part of the stored format: fields are added, never changed.

use bytes::Bytes;
use prost::Message;
use waybill_proto::model::v1::Resource;

/// The value of the head: which change set was the last.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Head {
    /// Dense counter of change sets, from 1.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// [`LogEntry::hash`] of the entry that made this revision.
    #[prost(bytes = "vec", tag = "2")]
    pub log_hash: Vec<u8>,
}

/// One change set in the log. The hashes of the entries form a chain, so that a deleted or altered one shows.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LogEntry {
    /// The revision it made.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When, milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub unix_ms: i64,
    /// Who.
    #[prost(string, tag = "3")]
    pub operator: String,
    /// The client's key of the call; empty = none.
    #[prost(string, tag = "4")]
    pub idempotency_key: String,
    /// What, in the order of kind and uid.
    #[prost(message, repeated, tag = "5")]
    pub changes: Vec<LoggedChange>,
    /// [`LogEntry::hash`] of the entry before; empty for the first.
    #[prost(bytes = "vec", tag = "6")]
    pub previous_hash: Vec<u8>,
    /// The step of a rollout that it is; empty = none.
    #[prost(string, tag = "7")]
    pub rollout: String,
}

/// What happened to one resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LoggedChange {
    /// Its kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its uid.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Its generation afterwards; before, if it was deleted.
    #[prost(uint64, tag = "4")]
    pub generation: u64,
    /// Hash of its content before; empty if it was created.
    #[prost(bytes = "vec", tag = "5")]
    pub before: Vec<u8>,
    /// Hash of its content afterwards; empty if it was deleted.
    #[prost(bytes = "vec", tag = "6")]
    pub after: Vec<u8>,
}

/// A value in the store does not read as what its key says. Ours or the disk's fault; reading it again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored {what} cannot be read: {source}")]
pub struct Unreadable {
    /// What it should be.
    pub what: &'static str,
    /// What the decoder says.
    pub source: prost::DecodeError,
}

impl Head {
    /// As stored.
    #[must_use]
    pub fn to_value(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// # Errors
    /// The value is no head.
    pub fn from_value(value: &[u8]) -> Result<Self, Unreadable> {
        Self::decode(value).map_err(|source| Unreadable { what: "head", source })
    }
}

impl LogEntry {
    /// As stored.
    #[must_use]
    pub fn to_value(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// # Errors
    /// The value is no entry of the log.
    pub fn from_value(value: &[u8]) -> Result<Self, Unreadable> {
        Self::decode(value).map_err(|source| Unreadable { what: "entry of the change log", source })
    }

    /// The link of the chain: BLAKE3 of the entry, which holds the hash of the one before.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.encode_to_vec()).as_bytes()
    }
}

/// A resource as stored.
#[must_use]
pub fn resource_value(resource: &Resource) -> Bytes {
    resource.encode_to_vec().into()
}

/// # Errors
/// The value is no resource.
pub fn resource_from_value(value: &[u8]) -> Result<Resource, Unreadable> {
    Resource::decode(value).map_err(|source| Unreadable { what: "resource", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_shows_an_altered_entry() {
        let first = LogEntry { revision: 1, operator: "ada".to_owned(), ..LogEntry::default() };
        let second = LogEntry { revision: 2, previous_hash: first.hash().to_vec(), ..LogEntry::default() };
        let altered = LogEntry { operator: "eve".to_owned(), ..first.clone() };
        assert_eq!(LogEntry::from_value(&second.to_value()), Ok(second.clone()));
        assert_eq!(second.previous_hash, first.hash());
        assert_ne!(second.previous_hash, altered.hash());
        let head = Head { revision: 2, log_hash: second.hash().to_vec() };
        assert_eq!(Head::from_value(&head.to_value()), Ok(head));
        assert_eq!(Head::from_value(&[0xff]).map_err(|error| error.what), Err("head"));
    }
}
