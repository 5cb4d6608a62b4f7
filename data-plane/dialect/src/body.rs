//! A body as a short list of slices: most of them point into the bytes that came in.

use bytes::Bytes;

/// Up to here copying the pieces into one costs less than handing on each by itself.
const TOGETHER_BYTES: usize = 8 << 10;

/// Pieces that follow one another on the wire, fit for one `writev`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Body {
    /// Content-Length.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// What is to be written: one piece of a small body, slices of a large one.
    pub fn into_pieces(self) -> Vec<Bytes> {
        if self.pieces.len() > 1 && self.len <= TOGETHER_BYTES { vec![self.to_bytes()] } else { self.pieces }
    }

    /// The body in one buffer: a copy, unless there is only one piece.
    pub fn to_bytes(&self) -> Bytes {
        match self.pieces.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            many => many.concat().into(),
        }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

/// One change of a text: the bytes from `start` to `end` give way to `with`.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub start: usize,
    pub end: usize,
    pub with: Bytes,
}

/// Carries out the edits. Insertions come before a removal that starts at the same byte; what a removal covers
/// is removed once.
pub(crate) fn edit(original: &Bytes, mut edits: Vec<Edit>) -> Body {
    edits.sort_by_key(|edit| (edit.start, edit.end));
    let mut body = Body { pieces: Vec::with_capacity(2 * edits.len() + 1), len: 0 };
    let mut copied = 0;
    for edit in edits {
        let start = edit.start.min(original.len());
        if start > copied {
            body.push(original.slice(copied..start));
        }
        body.push(edit.with);
        copied = copied.max(edit.end.min(original.len())).max(start);
    }
    body.push(original.slice(copied..));
    body
}
