//! A streamed answer: frames pass as they came, and the part that decides the bill is held back.
//!
//! What is held: the `message_delta` that says why the model stopped, an error, `message_stop`, and all that follows
//! them. The caller learns the usage, writes its terminal event, and only then releases them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::told::{Found, Seen};
use super::whole::says_nothing;
use crate::classify::Classified;
use crate::cost;
use crate::output::Output;
use crate::sse::{self, Data, Frame, FrameEnds};
use crate::stream::{Ending, FrameTooLarge, Step, StreamOptions};
use crate::usage::{Reading, UsageFault, UsageObject};

/// The machine. It takes bytes in any cut and gives slices of them.
#[derive(Debug)]
pub struct Stream {
    /// Most bytes of one frame, and of all that is held back.
    frame_bytes: usize,
    ends: FrameEnds,
    /// The part of a frame whose end has not come yet.
    carry: BytesMut,
    held: Vec<Held>,
    held_bytes: usize,
    phase: Phase,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Holding,
    Done,
    Released,
}

#[derive(Debug)]
struct Held {
    frame: Bytes,
    data: Data,
    /// The cost can go into it.
    usage: Option<UsageObject>,
}

/// What is to become of a frame.
enum Verdict {
    Pass,
    Hold,
    /// It holds output, so whatever was held back was not the end.
    Resume,
    Done,
    /// It came after the last one: no caller waits for it, and no bill would have it.
    Drop,
}

impl Stream {
    /// Of the options only `frame_bytes` has a meaning here: there is one answer, and usage belongs to it.
    pub fn new(options: StreamOptions) -> Self {
        Self {
            frame_bytes: options.frame_bytes,
            ends: FrameEnds::new(),
            carry: BytesMut::new(),
            held: Vec::new(),
            held_bytes: 0,
            phase: Phase::Open,
            seen: Seen::default(),
        }
    }

    /// Takes bytes from the provider and appends to `out` what may go to the client now.
    ///
    /// # Errors
    /// A frame, or all that is held back, grows beyond its limit.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<Step, FrameTooLarge> {
        if self.phase == Phase::Released {
            return Ok(Step::Done);
        }
        // Frames that pass one after another leave as one slice.
        let mut run = 0;
        let mut at = 0;
        while let Some(length) = self.ends.find(chunk.get(at..).unwrap_or_default()) {
            let end = at + length;
            let lines = self.ends.take_lines();
            if self.carry.is_empty() {
                let (verdict, data, usage) = self.judge(chunk, at..end, lines);
                if !matches!(verdict, Verdict::Pass) {
                    pass(chunk, run..at, out);
                    self.carry_out(verdict, Held { frame: chunk.slice(at..end), data, usage }, out);
                    run = end;
                }
            } else {
                self.carry.extend_from_slice(chunk.get(at..end).unwrap_or_default());
                let frame = self.carry.split().freeze();
                self.whole_frame(frame, lines, out);
                run = end;
            }
            at = end;
        }
        pass(chunk, run..at, out);
        self.carry.extend_from_slice(chunk.get(at..).unwrap_or_default());
        let limit = self.frame_bytes;
        if self.carry.len().max(self.held_bytes) > limit {
            return Err(FrameTooLarge { limit });
        }
        Ok(self.step())
    }

    /// The provider closed. What is left becomes a last frame; then [`Stream::release`] whatever is held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Ending {
        if !self.carry.is_empty() && self.phase != Phase::Released {
            let frame = self.carry.split().freeze();
            // How many lines it has is not known when the last one has no end.
            self.whole_frame(frame, 0, out);
        }
        self.ending()
    }

    /// How the stream stands if nothing more comes.
    pub fn ending(&self) -> Ending {
        if self.seen.error.is_some() {
            Ending::Failed
        } else if self.phase == Phase::Done || self.seen.finish.is_some() {
            Ending::Complete
        } else {
            Ending::Truncated
        }
    }

    /// Lets go what is held back, with `cost_picousd` in the last usage object if there is one and a cost is given.
    /// Afterwards nothing of the provider passes any more. Gives the provider's own `cost` that was replaced.
    pub fn release(&mut self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        let last_usage = self.held.iter().rposition(|held| held.usage.is_some());
        let mut replaced = None;
        for (at, held) in std::mem::take(&mut self.held).into_iter().enumerate() {
            replaced = held.write(cost_picousd.filter(|_| Some(at) == last_usage), out).or(replaced);
        }
        self.held_bytes = 0;
        self.phase = Phase::Released;
        replaced
    }

    /// The usage of the whole answer, as told last. What a message begins with is none: its output has not been written
    /// yet.
    pub fn usage(&self) -> Option<&Reading> {
        self.seen.usage.as_ref()
    }

    /// The input as the beginning of the message told it, with no output: the better part of an estimate when the stream
    /// breaks before its usage.
    pub fn input_told(&self) -> Option<Reading> {
        self.seen.input()
    }

    /// Why the usage is not believed.
    pub fn usage_fault(&self) -> Option<&UsageFault> {
        self.seen.usage_fault.as_ref()
    }

    /// The usage object told last as it came, be it the one that the message begins with.
    pub fn usage_raw(&self) -> Option<&Bytes> {
        self.seen.usage_raw.as_ref()
    }

    /// The first reason to stop, in the provider's own word.
    pub fn finish_reason(&self) -> Option<&str> {
        self.seen.finish.as_deref()
    }

    pub fn error(&self) -> Option<&Classified> {
        self.seen.error.as_ref()
    }

    pub fn id(&self) -> Option<&str> {
        self.seen.id.as_deref()
    }

    pub fn model(&self) -> Option<&str> {
        self.seen.model.as_deref()
    }

    /// The tier that is served, whose prices hold; `None` = not told.
    pub fn service_tier(&self) -> Option<&str> {
        self.seen.service_tier.as_deref()
    }

    /// What the model has written so far, also in frames that are held back.
    pub fn output(&self) -> Output {
        self.seen.output
    }

    /// Whether any output has come: before it, failing over is invisible if the frames so far were not sent on.
    pub fn output_started(&self) -> bool {
        !self.seen.output.is_empty()
    }

    /// Nothing was written, nothing was counted and no reason was given but that it is over.
    pub fn is_empty(&self) -> bool {
        let counted = self.seen.usage.as_ref().map_or(0, Reading::total_output);
        self.seen.error.is_none() && self.seen.output.is_empty() && counted == 0 && says_nothing(self.finish_reason())
    }

    /// Frames that were no JSON; they passed.
    pub fn malformed_frames(&self) -> u32 {
        self.seen.malformed
    }

    fn step(&self) -> Step {
        match self.phase {
            Phase::Open => Step::More,
            Phase::Holding => Step::Holding,
            Phase::Done | Phase::Released => Step::Done,
        }
    }

    fn whole_frame(&mut self, frame: Bytes, lines: u32, out: &mut Vec<Bytes>) {
        let (verdict, data, usage) = self.judge(&frame, 0..frame.len(), lines);
        self.carry_out(verdict, Held { frame, data, usage }, out);
    }

    fn judge(&mut self, chunk: &Bytes, range: Range<usize>, lines: u32) -> (Verdict, Data, Option<UsageObject>) {
        if self.phase == Phase::Done {
            return (Verdict::Drop, Data::None, None);
        }
        let holding = self.phase == Phase::Holding;
        let silent = if holding { Verdict::Hold } else { Verdict::Pass };
        let read = Frame::read(chunk.get(range.clone()).unwrap_or_default(), lines);
        let found = match &read.data {
            Data::None => return (silent, Data::None, None),
            Data::Line(at) => self.seen.read(chunk, range.start + at.start..range.start + at.end, read.is_error_event),
            Data::Lines(text) => self.seen.read(text, 0..text.len(), read.is_error_event),
        };
        match found {
            Err(_) => (silent, read.data, None),
            Ok(Found { stops: true, .. }) => (Verdict::Done, read.data, None),
            Ok(Found { ends: true, usage, .. }) => (Verdict::Hold, read.data, usage),
            Ok(Found { has_output: true, .. }) if holding => (Verdict::Resume, read.data, None),
            Ok(Found { usage, .. }) => (silent, read.data, usage),
        }
    }

    fn carry_out(&mut self, verdict: Verdict, frame: Held, out: &mut Vec<Bytes>) {
        match verdict {
            Verdict::Pass => out.push(frame.frame),
            Verdict::Resume => {
                out.extend(self.held.drain(..).map(|held| held.frame));
                self.held_bytes = 0;
                self.phase = Phase::Open;
                out.push(frame.frame);
            }
            Verdict::Drop => {}
            Verdict::Hold | Verdict::Done => {
                self.phase = if matches!(verdict, Verdict::Done) { Phase::Done } else { Phase::Holding };
                self.held_bytes += frame.frame.len();
                self.held.push(frame);
            }
        }
    }
}

impl Held {
    /// Writes the frame, with a cost if one is given. Gives the provider's own `cost` that was replaced.
    fn write(self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        let (Some(usage), Some(cost)) = (&self.usage, cost_picousd) else {
            out.push(self.frame);
            return None;
        };
        match &self.data {
            Data::None => {
                out.push(self.frame);
                None
            }
            Data::Line(at) => {
                let spliced = cost::splice(&self.frame.slice(at.clone()), usage, cost, Vec::new());
                pass(&self.frame, 0..at.start, out);
                out.extend(spliced.body.into_pieces());
                pass(&self.frame, at.end..self.frame.len(), out);
                spliced.replaced
            }
            Data::Lines(text) => {
                let spliced = cost::splice(text, usage, cost, Vec::new());
                out.push(sse::with_data(&self.frame, &spliced.body.to_bytes()));
                spliced.replaced
            }
        }
    }
}

fn pass(chunk: &Bytes, range: Range<usize>, out: &mut Vec<Bytes>) {
    if !range.is_empty() {
        out.push(chunk.slice(range));
    }
}
