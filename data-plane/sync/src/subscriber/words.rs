//! What the proxy says, in the words of the contract.

use waybill_model::{
    compile::Fault,
    resource::Kind,
    world::{Hash, World},
};
use waybill_proto::sync::v1::{ConnectRequest, Hello, Report, ShardHash, Verdict, connect_request};

use super::{Action, Identity, SCHEMA};
use crate::overlay::Overlay;

pub fn hello(identity: &Identity, desired: &World, overlay: &Overlay, stored_epoch: u64) -> Hello {
    Hello {
        proxy: identity.proxy.clone(),
        process: identity.process,
        incarnations: identity.incarnations.clone(),
        build: identity.build.clone(),
        schema_min: SCHEMA,
        schema_max: SCHEMA,
        applied_revision: desired.revision(),
        root_hash: desired.root_hash().to_vec().into(),
        shards: shards(desired),
        deny_epoch: stored_epoch,
        denied: overlay.uids().map(str::to_owned).collect(),
        peppers: identity.peppers.clone(),
    }
}

pub fn shards(world: &World) -> Vec<ShardHash> {
    let shard = |((kind, shard), hash): ((Kind, u8), Hash)| ShardHash {
        kind: kind.name().to_owned(),
        shard: shard.into(),
        hash: hash.to_vec().into(),
    };
    world.shard_hashes().into_iter().map(shard).collect()
}

pub fn verdict(fault: &Fault) -> Verdict {
    Verdict {
        kind: fault.kind.name().to_owned(),
        uid: fault.uid.to_string(),
        name: fault.name.to_string(),
        generation: fault.generation,
        code: fault.code.to_owned(),
        field: fault.field.to_owned(),
        message: fault.message.clone(),
    }
}

/// A verdict over a revision as a whole: it names no resource, and the revision stands where a generation would.
pub fn whole_revision(code: &str, revision: u64, message: &str) -> Verdict {
    Verdict { generation: revision, code: code.to_owned(), message: message.to_owned(), ..Verdict::default() }
}

pub fn send(message: connect_request::Message) -> Action {
    Action::Send(ConnectRequest { message: Some(message) })
}

pub fn send_report(report: Report) -> Action {
    send(connect_request::Message::Report(report))
}
