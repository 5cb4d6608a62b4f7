//! The body of an answer to the caller.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    relay::Relay,
    waiting::{Heard, Waiting},
};

/// What the caller gets.
pub(crate) enum Answer {
    /// Known whole: slices of the provider's bytes and what was spliced between them.
    Whole(VecDeque<Bytes>),
    /// A stream that is still coming.
    Stream(Box<Relay>),
    /// A stream that has not begun.
    Waiting(Box<Waiting>),
}

impl Answer {
    pub(crate) fn whole(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self::Whole(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self {
                Self::Whole(pieces) => return Poll::Ready(pieces.pop_front()),
                Self::Stream(relay) => return relay.poll_piece(context),
                Self::Waiting(waiting) => match ready!(waiting.poll_heard(context)) {
                    Heard::Piece(piece) => return Poll::Ready(Some(piece)),
                    Heard::Answer(answer) => *self = answer,
                },
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_piece(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(pieces) if pieces.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Self::Stream(_) | Self::Waiting(_) => SizeHint::default(),
        }
    }
}
