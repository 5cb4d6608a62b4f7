//! Server-sent events as a sequence of frames, each with its exact bytes (WHATWG HTML, §9.2).

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use crate::neutral::Disorder;

/// What may stand before a stream's first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Finds where frames end, whatever the cut points of the transport: only this much is remembered between chunks.
#[derive(Clone, Debug)]
pub(crate) struct FrameEnds {
    /// The present line has no byte yet.
    line_is_blank: bool,
    /// The last byte was a carriage return, which a line feed may complete.
    after_cr: bool,
    /// Lines of the present frame that are not blank.
    lines: u32,
}

impl FrameEnds {
    pub(crate) fn new() -> Self {
        Self { line_is_blank: true, after_cr: false, lines: 0 }
    }

    /// Lines of the frame that ended last.
    pub(crate) fn take_lines(&mut self) -> u32 {
        std::mem::take(&mut self.lines)
    }

    /// The offset in `bytes` after the blank line that ends the present frame.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.after_cr {
            let first = bytes.first()?;
            self.after_cr = false;
            at = usize::from(*first == b'\n');
            if self.end_line() {
                return Some(at);
            }
        }
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.line_is_blank &= rest.is_empty();
                return None;
            };
            self.line_is_blank &= length == 0;
            at += length + 1;
            if rest.get(length) == Some(&b'\r') {
                match bytes.get(at) {
                    None => {
                        self.after_cr = true;
                        return None;
                    }
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                }
            }
            if self.end_line() {
                return Some(at);
            }
        }
    }

    /// Whether the line that ends here was the blank one.
    fn end_line(&mut self) -> bool {
        let blank = std::mem::replace(&mut self.line_is_blank, true);
        self.lines += u32::from(!blank);
        blank
    }
}

/// The payload of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Comments, ids, blank lines.
    None,
    /// One `data` line, as a range of the frame.
    Line(std::ops::Range<usize>),
    /// Several `data` lines, joined by line feeds.
    Lines(Bytes),
}

/// What a frame says.
#[derive(Debug)]
pub(crate) struct Frame {
    pub data: Data,
    pub is_error_event: bool,
}

impl Frame {
    /// Reads a frame of `lines` lines.
    pub(crate) fn read(frame: &[u8], lines: u32) -> Self {
        let start = if frame.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        if lines == 1 && frame.get(start..).is_some_and(|frame| frame.starts_with(b"data:")) {
            let data = Data::Line(value_range(frame, start + 5, trimmed_end(frame)));
            return Self { data, is_error_event: false };
        }
        Self::read_lines(frame, start)
    }

    fn read_lines(frame: &[u8], mut at: usize) -> Self {
        // Most frames have one line of data beside the name of their event.
        let mut only: Option<std::ops::Range<usize>> = None;
        let mut further: Vec<std::ops::Range<usize>> = Vec::new();
        let mut is_error_event = false;
        while at < frame.len() {
            let rest = frame.get(at..).unwrap_or_default();
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            let value = match line {
                _ if line.starts_with(b"data:") => Some(value_range(frame, at + 5, at + length)),
                b"data" => Some(at + length..at + length),
                _ => None,
            };
            if let Some(value) = value {
                match only {
                    None => only = Some(value),
                    Some(_) => further.push(value),
                }
            } else if line.starts_with(b"event:") {
                let value = value_range(frame, at + 6, at + length);
                is_error_event = frame.get(value) == Some(b"error");
            }
            at += length + 1;
        }
        let data = match (only, further.is_empty()) {
            (None, _) => Data::None,
            (Some(only), true) => Data::Line(only),
            (Some(first), false) => {
                let lines: Vec<&[u8]> = std::iter::once(first).chain(further).filter_map(|range| frame.get(range)).collect();
                Data::Lines(lines.join(&b'\n').into())
            }
        };
        Self { data, is_error_event }
    }
}

/// The payloads of a stream in any cut, as text: what is no UTF-8 becomes U+FFFD, since it must not go on to a caller.
#[derive(Debug)]
pub(crate) struct Payloads {
    ends: FrameEnds,
    /// The beginning of a frame whose end has not come.
    carry: BytesMut,
}

impl Payloads {
    pub(crate) fn new() -> Self {
        Self { ends: FrameEnds::new(), carry: BytesMut::new() }
    }

    /// Bytes that wait for the end of their frame.
    pub(crate) fn waiting(&self) -> usize {
        self.carry.len()
    }

    /// The next payload; takes from `bytes` what belongs to it, and all of them when there is none.
    pub(crate) fn next(&mut self, bytes: &mut Bytes) -> Option<Bytes> {
        while let Some(length) = self.ends.find(bytes) {
            let lines = self.ends.take_lines();
            let rest = bytes.split_to(length);
            let frame = if self.carry.is_empty() {
                rest
            } else {
                self.carry.extend_from_slice(&rest);
                self.carry.split().freeze()
            };
            if let Some(payload) = payload(&frame, lines) {
                return Some(payload);
            }
        }
        self.carry.extend_from_slice(&bytes.split_off(0));
        None
    }

    /// The payload of the last frame, if the stream ended without the blank line after it.
    pub(crate) fn last(&mut self) -> Option<Bytes> {
        // How many lines it has is not known when the last one has no end.
        payload(&self.carry.split().freeze(), 0)
    }
}

fn payload(frame: &Bytes, lines: u32) -> Option<Bytes> {
    match Frame::read(frame, lines).data {
        Data::None => None,
        Data::Line(at) => Some(as_text(&frame.slice(at))),
        Data::Lines(text) => Some(as_text(&text)),
    }
}

/// A payload that is no JSON: words of a provider's own pass, a broken object leaves a hole in the answer.
pub(crate) fn unreadable(payload: &[u8]) -> Result<(), Disorder> {
    if payload.trim_ascii_start().starts_with(b"{") { Err(Disorder::Unreadable) } else { Ok(()) }
}

/// The bytes if they are UTF-8, else with U+FFFD for what is not.
pub(crate) fn as_text(bytes: &Bytes) -> Bytes {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(_) => bytes.clone(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}

/// The value of a field, without the one blank after its colon.
fn value_range(frame: &[u8], start: usize, end: usize) -> std::ops::Range<usize> {
    let start = start + usize::from(frame.get(start) == Some(&b' '));
    start.min(end)..end
}

fn trimmed_end(frame: &[u8]) -> usize {
    frame.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1)
}

/// The frame with other data: its other lines stay, each line of `data` gets its own `data:`.
pub(crate) fn with_data(frame: &[u8], data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(frame.len() + data.len());
    let lines = match frame.strip_prefix(BYTE_ORDER_MARK) {
        Some(frame) => {
            out.extend_from_slice(BYTE_ORDER_MARK);
            frame
        }
        None => frame,
    };
    let lines = lines.split(|byte| matches!(byte, b'\n' | b'\r'));
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with(b"data")) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    }
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
    out.freeze()
}
