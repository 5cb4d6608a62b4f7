//! Events of the neutral form as a stream of the Messages API.

use bytes::Bytes;

use super::finish::{Holds, stop_reason};
use super::shown::{self, NO_SUCH_BLOCK, NO_SUCH_CITATION};
use crate::json::Writer;
use crate::neutral::{Delta, Event, EventKind, Finish, Notice, Opened, Raw, Reasoning, Text, warning_header};
use crate::usage::Reading;

/// Events go in, frames come out; whatever comes and goes, they are a stream that this dialect's clients can read.
#[derive(Debug)]
pub struct EventsWriter {
    id: Box<str>,
    model: Box<str>,
    is_started: bool,
    is_over: bool,
    /// The number of the next block that is shown.
    next: u32,
    open: Option<Open>,
    holds: Holds,
    finish: Option<(Finish, Option<Text>)>,
    notices: Vec<Notice>,
}

/// The open block.
#[derive(Debug)]
enum Open {
    Shown {
        index: u32,
        is_call: bool,
        has_arguments: bool,
    },
    /// Left out, with what comes for it.
    Hidden,
}

impl EventsWriter {
    /// `created_s` and `show_usage` have no place in this dialect: usage is always shown.
    pub fn new(id: impl Into<Box<str>>, model: impl Into<Box<str>>, _created_s: u64, _show_usage: bool, _openrouter: bool) -> Self {
        Self {
            id: id.into(),
            model: model.into(),
            is_started: false,
            is_over: false,
            next: 0,
            open: None,
            holds: Holds::default(),
            finish: None,
            notices: Vec::new(),
        }
    }

    /// Writes at once all but the end.
    pub fn push(&mut self, event: &Event, out: &mut Vec<Bytes>) {
        match event.kind() {
            _ if self.is_over => {}
            EventKind::Start { model, .. } => self.start(model.as_ref(), out),
            EventKind::Open { block, what } => {
                self.start(None, out);
                self.close(out);
                self.begin(*block, what, out);
            }
            EventKind::Delta { block, delta } => self.grow(*block, delta, out),
            EventKind::Close { .. } => self.close(out),
            EventKind::Finish { finish, stop_sequence } => self.finish = Some((finish.clone(), stop_sequence.clone())),
        }
    }

    /// Writes the end, once.
    pub fn end(&mut self, reading: Option<&Reading>, cost_picousd: Option<i64>, service_tier: Option<&str>, out: &mut Vec<Bytes>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.start(None, out);
        self.close(out);
        if !self.notices.is_empty() {
            out.push(format!(": x-waybill-warning {}\n\n", warning_header(&self.notices)).into());
        }
        let (finish, stop_sequence) = self.finish.take().unzip();
        out.push(frame("message_delta", |json| {
            json.key("delta").object(|json| {
                json.key("stop_reason").escaped(stop_reason(finish.as_ref(), self.holds).escaped());
                match stop_sequence.flatten() {
                    Some(met) => json.key("stop_sequence").escaped(met.escaped()),
                    None => json.key("stop_sequence").null(),
                }
            });
            json.key("usage");
            shown::write_usage(json, reading, cost_picousd, service_tier);
        }));
        out.push(frame("message_stop", |_| {}));
    }

    fn start(&mut self, model: Option<&Text>, out: &mut Vec<Bytes>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        out.push(frame("message_start", |json| {
            json.key("message").object(|json| {
                json.key("id").string(&self.id);
                json.key("type").string("message");
                json.key("role").string("assistant");
                match model.filter(|model| !model.is_empty()) {
                    Some(model) => json.key("model").escaped(model.escaped()),
                    None => json.key("model").string(&self.model),
                }
                json.key("content").array(|_| {});
                json.key("stop_reason").null();
                json.key("stop_sequence").null();
                json.key("usage");
                shown::write_usage(json, None, None, None);
            });
        }));
        out.push(frame("ping", |_| {}));
    }

    fn begin(&mut self, block: u32, what: &Opened, out: &mut Vec<Bytes>) {
        if let Opened::Foreign { kind, .. } = what
            && !shown::is_own(kind)
        {
            self.notices.push(Notice::dropped(format!("content[{block}]"), NO_SUCH_BLOCK));
            self.open = Some(Open::Hidden);
            return;
        }
        let is_call = matches!(what, Opened::ToolCall { .. });
        self.holds.calls |= is_call;
        self.holds.refusal |= matches!(what, Opened::Refusal);
        let index = self.next;
        self.next += 1;
        self.open = Some(Open::Shown { index, is_call, has_arguments: false });
        out.push(frame("content_block_start", |json| {
            json.key("index").number(index.into());
            json.key("content_block");
            self.block(json, block, what);
        }));
        // Thoughts begin empty and grow, whatever the event holds already.
        if let Opened::Reasoning(Reasoning::Text { text, .. } | Reasoning::Summary { text }) = what
            && !text.is_empty()
        {
            out.push(delta_frame(index, "thinking_delta", "thinking", text));
        }
        if let Opened::Reasoning(Reasoning::Text { signature: Some(signature), .. }) = what
            && !signature.is_empty()
        {
            out.push(delta_frame(index, "signature_delta", "signature", signature));
        }
    }

    fn block(&self, json: &mut Writer, block: u32, what: &Opened) {
        let members = |json: &mut Writer| match what {
            Opened::Text | Opened::Refusal => {
                json.key("type").string("text");
                json.key("text").string("");
            }
            Opened::Reasoning(Reasoning::Encrypted { data }) => {
                json.key("type").string("redacted_thinking");
                json.key("data").escaped(data.escaped());
            }
            Opened::Reasoning(_) => {
                json.key("type").string("thinking");
                json.key("thinking").string("");
                json.key("signature").string("");
            }
            Opened::ToolCall { id, name } => {
                json.key("type").string("tool_use");
                json.key("id").escaped(shown::call_id(id, &self.id, block).escaped());
                json.key("name").escaped(name.escaped());
                json.key("input").object(|_| {});
            }
            Opened::Foreign { .. } => {}
        };
        match what {
            Opened::Foreign { raw, .. } => json.raw(raw.json()),
            _ => json.object(members),
        }
    }

    fn grow(&mut self, block: u32, delta: &Delta, out: &mut Vec<Bytes>) {
        let Some(Open::Shown { index, has_arguments, .. }) = &mut self.open else { return };
        let index = *index;
        out.push(match delta {
            Delta::Text(text) => delta_frame(index, "text_delta", "text", text),
            Delta::Reasoning(text) => delta_frame(index, "thinking_delta", "thinking", text),
            Delta::Signature(text) => delta_frame(index, "signature_delta", "signature", text),
            Delta::Arguments(text) => {
                *has_arguments = *has_arguments || !text.decode().trim().is_empty();
                delta_frame(index, "input_json_delta", "partial_json", text)
            }
            Delta::Citation(citation) => match shown::citation(citation) {
                Some(citation) => citation_frame(index, &citation),
                None => return self.notices.push(Notice::dropped(format!("content[{block}].citations"), NO_SUCH_CITATION)),
            },
            Delta::Foreign(raw) => frame("content_block_delta", |json| {
                json.key("index").number(index.into());
                json.key("delta").raw(raw.json());
            }),
        });
    }

    fn close(&mut self, out: &mut Vec<Bytes>) {
        let Some(Open::Shown { index, is_call, has_arguments }) = self.open.take() else { return };
        if is_call && !has_arguments {
            // Clients that join the fragments must find an object.
            out.push(delta_frame(index, "input_json_delta", "partial_json", &Text::word("{}")));
        }
        out.push(frame("content_block_stop", |json| json.key("index").number(index.into())));
    }
}

fn delta_frame(index: u32, kind: &str, name: &str, text: &Text) -> Bytes {
    frame("content_block_delta", |json| {
        json.key("index").number(index.into());
        json.key("delta").object(|json| {
            json.key("type").string(kind);
            json.key(name).escaped(text.escaped());
        });
    })
}

fn citation_frame(index: u32, citation: &Raw) -> Bytes {
    frame("content_block_delta", |json| {
        json.key("index").number(index.into());
        json.key("delta").object(|json| {
            json.key("type").string("citations_delta");
            json.key("citation").raw(citation.json());
        });
    })
}

/// `event: <kind>` and its data, whose `type` is the same word.
fn frame(kind: &str, members: impl FnOnce(&mut Writer)) -> Bytes {
    let mut json = Writer::framed(kind);
    json.object(|json| {
        json.key("type").string(kind);
        members(json);
    });
    json.into_frame()
}
