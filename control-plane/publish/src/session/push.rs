//! A push: what is sent between Begin and Commit. The messages are made one by one as they are sent, so that a large push to many proxies does
//! not exist many times in memory.

use std::{sync::Arc, vec};

use waybill_model::{
    resource::Kind,
    world::{Delta, Hash, Key},
};
use waybill_proto::{
    model::v1::Resource,
    sync::v1::{Begin, Commit, ConnectResponse, Put, Remove, ShardHash, connect_response::Message},
};

/// A change on its way to one proxy.
#[derive(Debug)]
pub struct Push {
    nonce: u64,
    delta: Delta,
    root: Hash,
}

impl Push {
    pub(super) const fn new(nonce: u64, delta: Delta, root: Hash) -> Self {
        Self { nonce, delta, root }
    }

    /// The delta it carries.
    #[must_use]
    pub const fn delta(&self) -> &Delta {
        &self.delta
    }
}

impl IntoIterator for Push {
    type Item = ConnectResponse;
    type IntoIter = Frames;

    fn into_iter(self) -> Frames {
        Frames {
            nonce: self.nonce,
            revision: self.delta.revision,
            begin: Some(self.delta.replace),
            puts: self.delta.puts.into_iter(),
            removes: self.delta.removes.into_iter(),
            commit: Some(self.root),
        }
    }
}

/// The messages of a push, in order.
#[derive(Debug)]
pub struct Frames {
    nonce: u64,
    revision: u64,
    begin: Option<Vec<(Kind, u8)>>,
    puts: vec::IntoIter<Arc<Resource>>,
    removes: vec::IntoIter<Key>,
    commit: Option<Hash>,
}

impl Frames {
    fn begin(&self, replace: Vec<(Kind, u8)>) -> Message {
        let shard = |(kind, shard): (Kind, u8)| ShardHash { kind: kind.name().to_owned(), shard: shard.into(), hash: Vec::new().into() };
        Message::Begin(Begin { nonce: self.nonce, revision: self.revision, replace: replace.into_iter().map(shard).collect() })
    }
}

impl Iterator for Frames {
    type Item = ConnectResponse;

    fn next(&mut self) -> Option<ConnectResponse> {
        let nonce = self.nonce;
        let message = if let Some(replace) = self.begin.take() {
            self.begin(replace)
        } else if let Some(resource) = self.puts.next() {
            Message::Put(Put { nonce, resource: Some(Resource::clone(&resource)) })
        } else if let Some(key) = self.removes.next() {
            Message::Remove(Remove { nonce, kind: key.kind.name().to_owned(), uid: key.uid.into_string() })
        } else {
            let root_hash = self.commit.take()?.to_vec().into();
            Message::Commit(Commit { nonce, revision: self.revision, root_hash })
        };
        Some(ConnectResponse { message: Some(message) })
    }
}
