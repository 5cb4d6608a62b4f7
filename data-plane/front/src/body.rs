//! A request's bytes, within limits.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Why a body was not taken. The caller's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyFault {
    /// Longer than the limit.
    #[error("the request body is longer than {limit} bytes (limit body_bytes)")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It took too long.
    #[error("the request body did not arrive within {limit:?} (limit body_time)")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The client went away or broke the framing.
    #[error("the request body ended before it was whole")]
    Broken,
}

/// Reads a whole body. One that arrives in one piece is not copied.
///
/// # Errors
/// See [`BodyFault`].
pub async fn read_body(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, BodyFault> {
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyFault::TooLarge { limit });
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    timeout(time, collect(body, limit)).await.unwrap_or(Err(BodyFault::TooSlow { limit: time }))
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, BodyFault> {
    let expected = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0).min(limit);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(BodyFault::TooLarge { limit });
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(expected.max(first.len() + data.len()));
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
