//! The body of a request: slices of the caller's bytes and what was spliced between them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body of known length made of slices.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    slices: VecDeque<Bytes>,
    remaining: u64,
}

impl Payload {
    /// A body of these slices, in order.
    #[must_use]
    pub fn new(slices: impl IntoIterator<Item = Bytes>) -> Self {
        let slices: VecDeque<Bytes> = slices.into_iter().filter(|slice| !slice.is_empty()).collect();
        let remaining = slices.iter().map(|slice| slice.len() as u64).sum();
        Self { slices, remaining }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let payload = self.get_mut();
        Poll::Ready(payload.slices.pop_front().map(|slice| {
            payload.remaining -= slice.len() as u64;
            Ok(Frame::data(slice))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.slices.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
