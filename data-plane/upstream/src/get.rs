//! A small document of a provider, for example its list of models.

use std::{future::poll_fn, time::Duration};

use bytes::BytesMut;
use http::{HeaderMap, Request, header};
use waybill_model::snapshot::Origin;

use crate::{Connector, Exchange, Failure, Payload, Pool, Progress};

/// Why the document was not read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The connection failed.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The provider answered with an error.
    #[error("it answered {0}")]
    Status(u16),
    /// The document is longer than the limit.
    #[error("its answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The path cannot be sent.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// No TLS.
    #[error("TLS cannot be prepared: {0}")]
    Tls(#[from] rustls::Error),
}

/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Reads a document of at most so many bytes, asking for it with these headers besides. It has no deadline of its own.
///
/// # Errors
/// See [`GetError`].
pub async fn get(origin: &Origin, path: &str, headers: HeaderMap, limit: usize) -> Result<Vec<u8>, GetError> {
    let pool = Pool::new(Connector::new(CONNECT_TIME)?);
    let mut request =
        Request::get(path).header(header::HOST, &*origin.authority).header(header::ACCEPT, "application/json").body(Payload::default())?;
    request.headers_mut().extend(headers);
    let mut exchange = Exchange::start(&pool, origin, request).await?;
    let head = poll_fn(|context| exchange.poll_head(context)).await?;
    if !head.status.is_success() {
        return Err(GetError::Status(head.status.as_u16()));
    }
    let mut body = BytesMut::new();
    loop {
        let mut pieces = Vec::new();
        let progress = poll_fn(|context| exchange.poll_body(context, &mut pieces)).await?;
        pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        if body.len() > limit {
            return Err(GetError::TooLarge(limit));
        }
        if progress == Progress::End {
            return Ok(body.to_vec());
        }
    }
}
