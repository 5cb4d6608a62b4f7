//! A whole answer in the words of the Messages API.

use bytes::Bytes;

use super::block_write::write_blocks;
use super::finish::{Holds, stop_reason};
use super::shown;
use crate::json::Writer;
use crate::neutral::{Block, Content, Message, Notice, Shown};

/// Writes the answer as its caller reads it. What cannot be shown is named.
pub fn write_message(message: &Message, shown: &Shown<'_>) -> (Bytes, Vec<Notice>) {
    let mut notices = Vec::new();
    let numbered = message.blocks.iter().zip(0_u32..);
    let blocks: Vec<Block> = numbered.filter_map(|(block, at)| shown::block(block, shown.id, at, &mut notices)).collect();
    let has = |is: fn(&Content) -> bool| blocks.iter().any(|block| is(&block.content));
    let holds = Holds {
        calls: has(|content| matches!(content, Content::ToolCall { .. })),
        refusal: has(|content| matches!(content, Content::Refusal(_))),
    };
    let mut json = Writer::with_capacity(1024);
    json.object(|json| {
        json.key("id").string(shown.id);
        json.key("type").string("message");
        json.key("role").string("assistant");
        match message.model.as_ref().filter(|model| !model.is_empty()) {
            Some(model) => json.key("model").escaped(model.escaped()),
            None => json.key("model").string(shown.model),
        }
        json.key("content").array(|json| write_blocks(json, &blocks));
        json.key("stop_reason").escaped(stop_reason(message.finish.as_ref(), holds).escaped());
        match &message.stop_sequence {
            Some(met) => json.key("stop_sequence").escaped(met.escaped()),
            None => json.key("stop_sequence").null(),
        }
        json.key("usage");
        shown::write_usage(json, shown.reading, shown.cost_picousd, shown.service_tier);
    });
    (json.into_bytes(), notices)
}
