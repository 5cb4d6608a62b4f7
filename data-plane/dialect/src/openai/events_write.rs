//! Events as a stream of chat completion chunks. All goes out at once but the end, which waits for the bill.

use bytes::Bytes;

use super::envelope::DONE_FRAME;
use super::turn_write::detail;
use super::{citations, finish, message_write, usage_write};
use crate::json::Writer;
use crate::neutral::{Delta, Event, EventKind, Finish, Notice, Opened, Reasoning, Text, warning_header};
use crate::usage::Reading;

/// See the module.
#[derive(Debug)]
pub struct EventsWriter {
    id: String,
    model: Text,
    created_s: u64,
    show_usage: bool,
    openrouter: bool,
    /// What stands before the delta in every chunk.
    head: Vec<u8>,
    state: State,
    open: Open,
    /// Blocks, thoughts and calls so far.
    blocks: u32,
    thoughts: u64,
    calls: u64,
    /// Letters of text so far, and where the open text began.
    letters: u64,
    text_start: u64,
    finish: Option<Finish>,
    notices: Vec<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Started,
    Ended,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Refusal,
    Thoughts,
    Summary,
    Call {
        has_arguments: bool,
    },
    /// One that cannot be shown.
    Hidden,
}

impl EventsWriter {
    /// `id` is the generation's, `model` what the caller called it, for when the provider tells none.
    pub fn new(id: String, model: String, created_s: u64, show_usage: bool, openrouter: bool) -> Self {
        Self {
            id,
            model: Text::new(&model),
            created_s,
            show_usage,
            openrouter,
            head: Vec::new(),
            state: State::Fresh,
            open: Open::Hidden,
            blocks: 0,
            thoughts: 0,
            calls: 0,
            letters: 0,
            text_start: 0,
            finish: None,
            notices: Vec::new(),
        }
    }

    /// Writes what the event says, as whole frames. The last event is kept for [`EventsWriter::end`].
    pub fn push(&mut self, event: &Event, out: &mut Vec<Bytes>) {
        if self.state == State::Ended {
            return;
        }
        match event.kind() {
            EventKind::Start { model, .. } => {
                if let Some(model) = model {
                    self.model = model.clone();
                }
                self.start(out);
            }
            EventKind::Open { what, .. } => self.open(what, out),
            EventKind::Delta { delta, .. } => self.delta(delta, out),
            EventKind::Close { .. } => self.close(out),
            EventKind::Finish { finish, .. } => self.finish = Some(finish.clone()),
        }
    }

    /// Writes the terminal frames: what could not be shown, why it ended, what it cost, `[DONE]`.
    pub fn end(&mut self, reading: Option<&Reading>, cost_picousd: Option<i64>, service_tier: Option<&str>, out: &mut Vec<Bytes>) {
        if self.state == State::Ended {
            return;
        }
        self.start(out);
        self.close(out);
        let calls = self.calls > 0;
        let finish = self.finish.take().unwrap_or(if calls { Finish::ToolCalls } else { Finish::Stop });
        if let Some(lost) = finish::lost(&finish) {
            self.notices.push(Notice::approximated("finish_reason", lost));
        }
        if !self.notices.is_empty() {
            out.push(format!(": x-waybill-warning {}\n\n", warning_header(&self.notices)).into());
        }
        self.last_chunk(&finish, service_tier, out);
        if let Some(reading) = reading.filter(|_| self.show_usage) {
            let mut json = Writer::after(b"data: ".to_vec());
            json.object(|json| {
                self.envelope(json);
                json.key("choices").array(|_| {});
                if let Some(tier) = service_tier {
                    json.key("service_tier").string(tier);
                }
                json.key("usage");
                usage_write::usage(reading, cost_picousd, json);
            });
            out.push(framed(json.into_vec()));
        }
        out.push(Bytes::from_static(DONE_FRAME));
        self.state = State::Ended;
    }

    fn start(&mut self, out: &mut Vec<Bytes>) {
        if self.state != State::Fresh {
            return;
        }
        self.state = State::Started;
        let mut json = Writer::after(b"data: ".to_vec());
        json.object(|json| self.envelope(json));
        self.head = json.into_vec();
        // The object goes on with the choice.
        self.head.pop();
        self.head.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        self.chunk(out, |json| {
            json.key("role").string("assistant");
            json.key("content").string("");
        });
    }

    /// What every chunk says about the answer.
    fn envelope(&self, json: &mut Writer) {
        json.key("id").string(&self.id);
        json.key("object").string("chat.completion.chunk");
        json.key("created").number(self.created_s);
        json.key("model").escaped(self.model.escaped());
    }

    fn chunk(&self, out: &mut Vec<Bytes>, delta: impl FnOnce(&mut Writer)) {
        let mut frame = Vec::with_capacity(self.head.len() + 128);
        frame.extend_from_slice(&self.head);
        let mut json = Writer::after(frame);
        json.object(delta);
        let mut frame = json.into_vec();
        frame.extend_from_slice(b",\"finish_reason\":null}]}");
        out.push(framed(frame));
    }

    fn last_chunk(&self, finish: &Finish, service_tier: Option<&str>, out: &mut Vec<Bytes>) {
        let mut json = Writer::after(b"data: ".to_vec());
        json.object(|json| {
            self.envelope(json);
            json.key("choices").array(|json| {
                json.object(|json| {
                    json.key("index").number(0);
                    json.key("delta").object(|_| {});
                    json.key("finish_reason").string(finish::word(finish));
                    if self.openrouter {
                        json.key("native_finish_reason").escaped(finish::native(finish).escaped());
                    }
                });
            });
            if let Some(tier) = service_tier {
                json.key("service_tier").string(tier);
            }
        });
        out.push(framed(json.into_vec()));
    }

    fn open(&mut self, what: &Opened, out: &mut Vec<Bytes>) {
        self.open = match what {
            Opened::Text => {
                self.text_start = self.letters;
                Open::Text
            }
            Opened::Refusal => Open::Refusal,
            Opened::Reasoning(Reasoning::Text { text, signature }) => {
                self.thought_begins(text, signature.as_ref(), out);
                Open::Thoughts
            }
            Opened::Reasoning(Reasoning::Summary { text }) => {
                self.thought_begins(text, None, out);
                Open::Summary
            }
            Opened::Reasoning(sealed) => {
                let index = self.thoughts;
                self.chunk(out, |json| json.key("reasoning_details").array(|json| detail(sealed, index, json)));
                Open::Thoughts
            }
            Opened::ToolCall { id, name } => {
                let index = self.calls;
                self.chunk(out, |json| {
                    call(index, json, |json| {
                        json.key("id").escaped(id.escaped());
                        json.key("type").string("function");
                        json.key("function").object(|json| {
                            json.key("name").escaped(name.escaped());
                            json.key("arguments").string("");
                        });
                    });
                });
                Open::Call { has_arguments: false }
            }
            Opened::Foreign { .. } => {
                self.notices.push(Notice::dropped(format!("content[{}]", self.blocks), message_write::FOREIGN));
                Open::Hidden
            }
        };
    }

    /// A block of thoughts is empty when it begins, whatever its maker let it begin with.
    fn thought_begins(&mut self, text: &Text, signature: Option<&Text>, out: &mut Vec<Bytes>) {
        self.open = Open::Thoughts;
        if !text.is_empty() {
            self.thought(text, out);
        }
        if let Some(signature) = signature {
            self.signature(signature, out);
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<Bytes>) {
        match (delta, self.open) {
            (Delta::Text(text), Open::Refusal) => self.chunk(out, |json| json.key("refusal").escaped(text.escaped())),
            (Delta::Text(text), _) => {
                self.letters += message_write::letters(text);
                self.chunk(out, |json| json.key("content").escaped(text.escaped()));
            }
            (Delta::Citation(citation), _) => {
                let mut shown = true;
                let mut frames = Vec::new();
                self.chunk(&mut frames, |json| {
                    json.key("annotations").array(|json| shown = citations::annotation(citation, self.text_start, self.letters, json));
                });
                if shown {
                    out.append(&mut frames);
                } else {
                    let path = format!("content[{}].citations", self.blocks);
                    self.notices.push(Notice::dropped(path, message_write::UNCITED));
                }
            }
            (Delta::Reasoning(text), _) => self.thought(text, out),
            (Delta::Signature(signature), _) => self.signature(signature, out),
            (Delta::Arguments(text), _) => {
                self.open = Open::Call { has_arguments: true };
                self.arguments(text, out);
            }
            (Delta::Foreign(_), _) => {}
        }
    }

    fn thought(&self, text: &Text, out: &mut Vec<Bytes>) {
        let thought = match self.open {
            Open::Summary => Reasoning::Summary { text: text.clone() },
            _ => Reasoning::Text { text: text.clone(), signature: None },
        };
        self.chunk(out, |json| {
            json.key("reasoning").escaped(text.escaped());
            json.key("reasoning_details").array(|json| detail(&thought, self.thoughts, json));
        });
    }

    fn signature(&self, signature: &Text, out: &mut Vec<Bytes>) {
        let signed = Reasoning::Text { text: Text::default(), signature: Some(signature.clone()) };
        self.chunk(out, |json| json.key("reasoning_details").array(|json| detail(&signed, self.thoughts, json)));
    }

    fn arguments(&self, text: &Text, out: &mut Vec<Bytes>) {
        self.chunk(out, |json| {
            call(self.calls, json, |json| {
                json.key("function").object(|json| json.key("arguments").escaped(text.escaped()));
            });
        });
    }

    fn close(&mut self, out: &mut Vec<Bytes>) {
        match self.open {
            Open::Call { has_arguments } => {
                if !has_arguments {
                    // Clients parse them, so there is always an object.
                    self.arguments(&Text::word("{}"), out);
                }
                self.calls += 1;
            }
            Open::Thoughts | Open::Summary => self.thoughts += 1,
            Open::Text | Open::Refusal | Open::Hidden => {}
        }
        self.blocks += 1;
        self.open = Open::Hidden;
    }
}

fn call(index: u64, json: &mut Writer, members: impl FnOnce(&mut Writer)) {
    json.key("tool_calls").array(|json| {
        json.object(|json| {
            json.key("index").number(index);
            members(json);
        });
    });
}

/// A value that was copied may have line breaks between its tokens, which would end the line of data.
fn framed(mut frame: Vec<u8>) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &frame).is_some() {
        frame.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    frame.extend_from_slice(b"\n\n");
    frame.into()
}
