//! The body of a request: slices of the caller's bytes and what was spliced between them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body of known length made of slices. One word, for each connection keeps room for dozens of requests.
#[derive(Clone, Debug, Default)]
pub struct Payload(Option<Box<Slices>>);

#[derive(Clone, Debug)]
struct Slices {
    /// The next one last.
    rest: Vec<Bytes>,
}

impl Payload {
    /// A body of these slices, in order.
    #[must_use]
    pub fn new(slices: impl IntoIterator<Item = Bytes>) -> Self {
        let mut slices: Vec<Bytes> = slices.into_iter().filter(|slice| !slice.is_empty()).collect();
        slices.reverse();
        Self((!slices.is_empty()).then(|| Box::new(Slices { rest: slices })))
    }
}

impl Payload {
    fn slices(&self) -> &[Bytes] {
        self.0.as_ref().map_or(&[], |slices| &slices.rest)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().0.as_mut().and_then(|slices| slices.rest.pop());
        Poll::Ready(next.map(|slice| Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.slices().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.slices().iter().map(|slice| slice.len() as u64).sum())
    }
}
