//! Reading: one key, or a range at one position, in pages that fit into memory.

use std::sync::Arc;

use etcd_client::proto::PbRangeResponse;
use etcd_client::{GetOptions, WatchOptions};

use super::cluster::{Cluster, Repeat};
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::wire;
use crate::{Entry, Error, Found, Key, Listing, Position, Range, Read};

/// Entries of the first page. The largest values there are, 1.5 MiB, make less than 100 MiB of it.
const FIRST_PAGE: i64 = 64;

/// What a page is meant to weigh, by the average of those before it, and the most entries of one.
/// Every page costs the server a count of all that is left of the range, so there are to be few.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
const LARGEST_PAGE: i64 = 20_000;

/// What a message may weigh: far above any page.
pub(super) const LARGEST_MESSAGE: usize = 512 * 1024 * 1024;

/// A listing of now begins anew so often when a compaction overtakes it.
const FRESH_STARTS: usize = 5;

pub(super) async fn get(cluster: &Cluster, key: &Key) -> Result<Found, Error> {
    let page = page(cluster, &Range::one(key), 1, None).await;
    let answer = page.map_err(|failure| settle("read", failure))?;
    Ok(Found { position: answer.position, entry: answer.entries.into_iter().next() })
}

pub(super) async fn list(cluster: &Cluster, read: &Read) -> Result<Listing, Error> {
    let mut starts = 0;
    loop {
        match whole(cluster, read).await {
            Ok(listing) => return Ok(listing),
            Err(Failure::Compacted) => {
                starts += 1;
                match read.at {
                    Some(at) => return Err(Error::Compacted { oldest: oldest(cluster, &read.range, at).await? }),
                    None if starts < FRESH_STARTS => {}
                    None => return Err(Error::Unavailable { what: "list: compactions overtake the listing".to_owned() }),
                }
            }
            Err(Failure::Future) => {
                let current = get(cluster, &Key::from_bytes(read.range.start().to_vec())).await?.position;
                return Err(Error::FuturePosition { asked: read.at.unwrap_or_default(), current });
            }
            Err(failure) => return Err(settle("list", failure)),
        }
    }
}

async fn whole(cluster: &Cluster, read: &Read) -> Result<Listing, Failure> {
    let wanted = read.limit.map(|limit| limit.get() as usize);
    let mut at = read.at;
    let mut range = read.range.clone();
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    // etcd refuses a range that ends before it begins, which holds nothing.
    if range.end().is_some_and(|end| end <= range.start()) {
        let position = match at {
            Some(position) => position,
            None => page(cluster, &Range::one(&Key::from_bytes(range.start().to_vec())), 1, None).await?.position,
        };
        return Ok(Listing { position, entries, more: false });
    }
    loop {
        let size = page_size(entries.len(), bytes);
        let left = wanted.map_or(size, |wanted| size.min(i64::try_from(wanted - entries.len()).unwrap_or(size)));
        let page = page(cluster, &range, left, at).await?;
        let position = *at.get_or_insert(page.position);
        bytes += page.entries.iter().map(|entry| entry.key.as_bytes().len() + entry.value.len()).sum::<usize>();
        entries.extend(page.entries);
        let full = wanted.is_some_and(|wanted| entries.len() >= wanted);
        match entries.last() {
            Some(last) if page.more && !full => range = read.range.after(&last.key),
            _ => return Ok(Listing { position, entries, more: page.more }),
        }
    }
}

fn page_size(entries: usize, bytes: usize) -> i64 {
    if entries == 0 {
        return FIRST_PAGE;
    }
    i64::try_from(PAGE_BYTES / (bytes / entries).max(1)).unwrap_or(LARGEST_PAGE).clamp(FIRST_PAGE, LARGEST_PAGE)
}

async fn page(cluster: &Cluster, range: &Range, limit: i64, at: Option<Position>) -> Result<Listing, Failure> {
    let (start, end) = (range.start().to_vec(), wire::end(range).to_vec());
    // Revision 0 is etcd's word for now. Before its first there is nothing.
    let revision = at.map_or(0, |at| wire::revision(at).max(1));
    // A page of many takes its time.
    let patience = if limit > 1 { cluster.timing.attempt * 2 } else { cluster.timing.attempt };
    let ask = move |endpoint: Arc<Endpoint>| {
        let (start, end) = (start.clone(), end.clone());
        async move {
            let mut kv = endpoint.client().await?.kv_client().max_decoding_message_size(LARGEST_MESSAGE);
            kv.get(start, Some(GetOptions::new().with_range(end).with_limit(limit).with_revision(revision))).await
        }
    };
    let answer: PbRangeResponse = cluster.call("read", Repeat::Freely, patience, ask).await?.value.0;
    let position = wire::position(answer.header.map_or(0, |header| header.revision));
    cluster.saw(position);
    Ok(Listing { position: at.unwrap_or(position), entries: answer.kvs.into_iter().map(wire::entry).collect(), more: answer.more })
}

/// The oldest position that can be read. etcd tells it to nobody but a watcher who comes too late.
async fn oldest(cluster: &Cluster, range: &Range, at: Position) -> Result<Position, Error> {
    let (start, end) = (range.start().to_vec(), wire::end(range).to_vec());
    let ask = move |endpoint: Arc<Endpoint>| {
        let (start, end) = (start.clone(), end.clone());
        async move {
            let mut client = endpoint.client().await?.watch_client();
            let options = WatchOptions::new().with_range(end).with_start_revision(wire::revision(at).max(1));
            let mut stream = client.watch(start, Some(options)).await?;
            while let Some(response) = stream.message().await? {
                if response.canceled() {
                    return Ok(response.0);
                }
            }
            Err(etcd_client::Error::WatchError("etcd ended a watch without a reason".to_owned()))
        }
    };
    let answer = cluster.call("find the oldest position", Repeat::Freely, cluster.timing.attempt, ask).await;
    let response = answer.map_err(|failure| settle("find the oldest position", failure))?.value;
    if response.compact_revision > 0 {
        return Ok(wire::position(response.compact_revision));
    }
    Err(super::failure::judge_cancel(&response.cancel_reason))
}

/// The error of a call that asked for no history.
pub(super) fn settle(doing: &str, failure: Failure) -> Error {
    match failure {
        Failure::Final(error) => error,
        Failure::Unknown(what) => Error::Unavailable { what },
        Failure::NotDone(reason) => Error::Unavailable { what: format!("{doing}: {reason}") },
        Failure::Compacted | Failure::Future | Failure::LeaseGone => {
            Error::Corrupt { what: format!("{doing}: etcd answered {failure:?}, which was not asked for") }
        }
    }
}
