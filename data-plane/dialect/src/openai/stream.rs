//! A streamed answer: frames pass as they came, and the part that decides the bill is held back.
//!
//! What is held: the frame with the final usage, an error, `[DONE]`, and all that follows them. The caller learns
//! the usage, writes its terminal event, and only then releases them, so that no client has seen the end of an
//! answer whose bill was not written.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::nulls::Nulls;
use super::seen::Seen;
use super::whole::says_nothing;
use crate::body::{Edit, edit};
use crate::classify::Classified;
use crate::cost::{self, Spliced};
use crate::output::Output;
use crate::sse::{self, Data, Frame, FrameEnds};
use crate::stream::{Ending, FrameTooLarge, Step, StreamOptions};
use crate::usage::{Reading, UsageFault, UsageObject};

/// The machine. It takes bytes in any cut and gives slices of them.
#[derive(Debug)]
pub struct Stream {
    options: StreamOptions,
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
    marks: Marks,
}

/// What can change in a frame before it goes out, and where.
#[derive(Debug)]
struct Marks {
    data: Data,
    /// To be cut out.
    nulls: Nulls,
    /// The usage of a frame that is held back: the cost can go into it.
    usage: Option<UsageObject>,
    usage_only: bool,
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
    pub fn new(options: StreamOptions) -> Self {
        Self {
            options,
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
                let (verdict, marks) = self.judge(chunk, at..end, lines);
                match (&verdict, &marks.data) {
                    (Verdict::Pass, Data::Line(line)) => run = marks.pass_around_nulls(chunk, run, at + line.start..at + line.end, out),
                    (Verdict::Pass, _) if marks.nulls.is_empty() => {}
                    _ => {
                        pass(chunk, run..at, out);
                        self.carry_out(verdict, Held { frame: chunk.slice(at..end), marks }, out);
                        run = end;
                    }
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
        let limit = self.options.frame_bytes;
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
        } else if matches!(self.phase, Phase::Done) || self.seen.finished >= self.options.n || self.seen.has_final_usage {
            Ending::Complete
        } else {
            Ending::Truncated
        }
    }

    /// Lets go what is held back, with `cost_picousd` in the last usage object if there is one and a cost is given.
    /// Afterwards nothing of the provider passes any more. Gives the provider's own `cost` that was replaced.
    pub fn release(&mut self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        let last_usage = self.held.iter().rposition(|held| held.marks.usage.is_some());
        let show_usage = self.options.show_usage;
        let mut replaced = None;
        for (at, held) in std::mem::take(&mut self.held).into_iter().enumerate() {
            if held.marks.usage_only && !show_usage {
                continue;
            }
            let old = held.write(cost_picousd.filter(|_| Some(at) == last_usage), out);
            replaced = old.or(replaced);
        }
        self.held_bytes = 0;
        self.phase = Phase::Released;
        replaced
    }

    /// The usage told last; counts are cumulative, so the last one stands for the whole answer.
    pub fn usage(&self) -> Option<&Reading> {
        self.seen.usage.as_ref()
    }

    /// Why the usage told last is not believed.
    pub fn usage_fault(&self) -> Option<&UsageFault> {
        self.seen.usage_fault.as_ref()
    }

    /// The usage object told last as it came.
    pub fn usage_raw(&self) -> Option<&Bytes> {
        self.seen.usage_raw.as_ref()
    }

    /// The first finish reason, in the provider's own word.
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
        let unfinished = says_nothing(self.finish_reason());
        self.seen.error.is_none() && self.seen.output.is_empty() && counted == 0 && unfinished
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
        let (verdict, marks) = self.judge(&frame, 0..frame.len(), lines);
        self.carry_out(verdict, Held { frame, marks }, out);
    }

    fn judge(&mut self, chunk: &Bytes, range: Range<usize>, lines: u32) -> (Verdict, Marks) {
        let frame = chunk.get(range.clone()).unwrap_or_default();
        if self.phase == Phase::Done {
            return (Verdict::Drop, Marks::none_in(Data::None));
        }
        let read = Frame::read(frame, lines);
        let (source, at) = match &read.data {
            Data::None if self.phase == Phase::Holding => return (Verdict::Hold, Marks::none_in(Data::None)),
            Data::None => return (Verdict::Pass, Marks::none_in(Data::None)),
            Data::Line(at) => (chunk, range.start + at.start..range.start + at.end),
            Data::Lines(text) => (text, 0..text.len()),
        };
        if source.get(at.clone()).is_some_and(|text| text.trim_ascii() == b"[DONE]") {
            return (Verdict::Done, Marks::none_in(read.data));
        }
        let found = self.seen.read(source, at, read.is_error_event, self.options.n);
        let holding = self.phase == Phase::Holding;
        let mut marks = Marks::none_in(read.data);
        let Ok(found) = found else {
            return (if holding { Verdict::Hold } else { Verdict::Pass }, marks);
        };
        if self.options.omit_nulls {
            marks.nulls = found.nulls;
        }
        if found.ends {
            marks.usage = found.usage;
            marks.usage_only = found.usage_only;
            return (Verdict::Hold, marks);
        }
        match (holding, found.has_output) {
            (true, true) => (Verdict::Resume, marks),
            (true, false) => (Verdict::Hold, marks),
            (false, _) => (Verdict::Pass, marks),
        }
    }

    fn carry_out(&mut self, verdict: Verdict, frame: Held, out: &mut Vec<Bytes>) {
        match verdict {
            Verdict::Pass => {
                frame.write(None, out);
            }
            Verdict::Resume => {
                let show_usage = self.options.show_usage;
                for held in self.held.drain(..).filter(|held| show_usage || !held.marks.usage_only) {
                    held.write(None, out);
                }
                self.held_bytes = 0;
                self.phase = Phase::Open;
                frame.write(None, out);
            }
            Verdict::Hold => {
                self.phase = Phase::Holding;
                self.hold(frame);
            }
            Verdict::Done => {
                self.phase = Phase::Done;
                self.hold(frame);
            }
            Verdict::Drop => {}
        }
    }

    fn hold(&mut self, held: Held) {
        self.held_bytes += held.frame.len();
        self.held.push(held);
    }
}

impl Marks {
    fn none_in(data: Data) -> Self {
        Self { data, nulls: Nulls::default(), usage: None, usage_only: false }
    }

    /// Passes what lies between `run` and the last cut in the `line` of data; gives where the run goes on.
    fn pass_around_nulls(&self, chunk: &Bytes, run: usize, line: Range<usize>, out: &mut Vec<Bytes>) -> usize {
        let text = chunk.get(line.clone()).unwrap_or_default();
        self.nulls.cuts(text).fold(run, |run, cut| {
            pass(chunk, run..line.start + cut.start, out);
            line.start + cut.end
        })
    }
}

impl Held {
    /// Writes the frame as it is to be shown, with a cost if one is given. Gives the provider's own `cost` that was replaced.
    fn write(self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        let Marks { data, nulls, usage, .. } = &self.marks;
        let usage = usage.as_ref().zip(cost_picousd);
        if usage.is_none() && nulls.is_empty() {
            out.push(self.frame);
            return None;
        }
        let text = match data {
            Data::None => Bytes::new(),
            Data::Line(at) => self.frame.slice(at.clone()),
            Data::Lines(text) => text.clone(),
        };
        let cuts = nulls.cuts(&text).map(|cut| Edit { start: cut.start, end: cut.end, with: Bytes::new() }).collect();
        let spliced = match usage {
            Some((usage, cost)) => cost::splice(&text, usage, cost, cuts),
            None => Spliced { body: edit(&text, cuts), replaced: None },
        };
        match data {
            Data::None => out.push(self.frame),
            Data::Line(at) => {
                pass(&self.frame, 0..at.start, out);
                out.extend(spliced.body.into_pieces());
                pass(&self.frame, at.end..self.frame.len(), out);
            }
            Data::Lines(_) => out.push(sse::with_data(&self.frame, &spliced.body.to_bytes())),
        }
        spliced.replaced
    }
}

fn pass(chunk: &Bytes, range: Range<usize>, out: &mut Vec<Bytes>) {
    if !range.is_empty() {
        out.push(chunk.slice(range));
    }
}
