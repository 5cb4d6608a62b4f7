//! Resources read back.

use std::sync::Arc;

use prost::Message;
use waybill_model::resource::{Kind, metadata};
use waybill_proto::admin::v1::{GetRequest, GetResponse, ListRequest, ListResponse};

use crate::{admin::Admin, asked::read_kind, error::Error};

/// Resources of one answer, unless the caller says otherwise.
const PAGE: usize = 500;

/// Most resources of one answer.
const LARGEST_PAGE: usize = 1_000;

/// Bytes after which a page ends, so that an answer fits the 4 MiB that gRPC clients take by default.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

impl Admin {
    /// One resource.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the store failed.
    pub async fn get(&self, request: &GetRequest) -> Result<GetResponse, Error> {
        let kind = read_kind(&request.kind, "kind")?;
        let held = self.held().await?;
        let found = held.find(kind, &request.name).ok_or_else(|| Error::NotFound(format!("there is no {kind} `{}`", request.name)))?;
        Ok(GetResponse { resource: Some(Arc::unwrap_or_clone(found)), revision: held.revision() })
    }

    /// Resources by kind and name, page by page. Pages of one listing may show different revisions; each says its own.
    ///
    /// # Errors
    /// A page token is not one of ours, or the store failed.
    pub async fn list(&self, request: &ListRequest) -> Result<ListResponse, Error> {
        let kind = if request.kind.is_empty() { None } else { Some(read_kind(&request.kind, "kind")?) };
        let after = if request.page_token.is_empty() { kind.map(|kind| (kind, "".into())) } else { Some(read_token(&request.page_token)?) };
        let size = if request.page_size == 0 { PAGE } else { LARGEST_PAGE.min(request.page_size as usize) };
        let held = self.held().await?;
        let mut page = ListResponse { revision: held.revision(), ..ListResponse::default() };
        let (mut bytes, mut is_last) = (0, true);
        let of_kind = held.after(after).skip_while(|((of, _), _)| kind.is_some_and(|kind| *of != kind));
        for ((of, name), resource) in of_kind.take_while(|((of, _), _)| kind.is_none_or(|kind| *of == kind)) {
            if !request.labels.iter().all(|(key, value)| metadata(&resource).labels.get(key) == Some(value)) {
                continue;
            }
            if page.resources.len() == size || bytes > PAGE_BYTES {
                is_last = false;
                break;
            }
            bytes += resource.encoded_len();
            page.resources.push(Arc::unwrap_or_clone(resource));
            page.next_page_token = format!("{of}/{name}");
        }
        if is_last {
            page.next_page_token.clear();
        }
        Ok(page)
    }
}

fn read_token(token: &str) -> Result<(Kind, Box<str>), Error> {
    let parts = token.split_once('/').and_then(|(kind, name)| Some((kind.parse().ok()?, name.into())));
    parts.ok_or_else(|| Error::Malformed { field: "page_token", message: "use the token of the page before".to_owned() })
}
