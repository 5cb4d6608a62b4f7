//! A content block of the neutral form in the words of the Messages API.
//!
//! The block is one of this dialect, or was made fit for it (`fit`, `shown`): what the dialect has no word for is not written.

use crate::json::Writer;
use crate::neutral::{Arguments, Block, Content, Raw, Reasoning};

pub(super) fn write_blocks<'a>(json: &mut Writer, blocks: impl IntoIterator<Item = &'a Block>) {
    blocks.into_iter().for_each(|block| write_block(json, block));
}

pub(super) fn write_block(json: &mut Writer, block: &Block) {
    match &block.content {
        Content::Foreign { raw, .. } => json.raw(raw.json()),
        Content::Audio(_) | Content::Video(_) => {}
        content => json.object(|json| {
            members(json, content, block);
            if let Some(cache) = &block.cache {
                json.key("cache_control").raw(cache.raw.json());
            }
            block.extension.write(json);
        }),
    }
}

fn members(json: &mut Writer, content: &Content, block: &Block) {
    // What the extension has as it was spelt is written with it.
    let is_kept = |name: &str| block.extension.get(name).is_some();
    match content {
        Content::Text { text, citations } => {
            json.key("type").string("text");
            json.key("text").escaped(text.escaped());
            if !citations.is_empty() && !is_kept("citations") {
                json.key("citations").array(|json| citations.iter().for_each(|citation| json.raw(citation.json())));
            }
        }
        Content::Refusal(text) => {
            json.key("type").string("text");
            json.key("text").escaped(text.escaped());
        }
        Content::Image(media) => {
            json.key("type").string("image");
            super::media::write(json, media, &block.extension);
        }
        Content::Document(media) => {
            json.key("type").string("document");
            super::media::write(json, media, &block.extension);
        }
        Content::ToolCall { id, name, arguments } => {
            json.key("type").string("tool_use");
            json.key("id").escaped(id.escaped());
            json.key("name").escaped(name.escaped());
            json.key("input").raw(input(arguments).json());
        }
        Content::ToolResult { call_id, content, is_error } => {
            json.key("type").string("tool_result");
            json.key("tool_use_id").escaped(call_id.escaped());
            if !content.is_empty() && !is_kept("content") {
                json.key("content").array(|json| write_blocks(json, content));
            }
            if *is_error {
                json.key("is_error").bool(true);
            }
        }
        Content::Reasoning(reasoning) => thoughts(json, reasoning),
        Content::Audio(_) | Content::Video(_) | Content::Foreign { .. } => {}
    }
}

fn thoughts(json: &mut Writer, reasoning: &Reasoning) {
    match reasoning {
        Reasoning::Text { text, signature } => {
            json.key("type").string("thinking");
            json.key("thinking").escaped(text.escaped());
            json.key("signature").escaped(signature.as_ref().map_or(b"", |signature| signature.escaped()));
        }
        Reasoning::Summary { text } => {
            json.key("type").string("thinking");
            json.key("thinking").escaped(text.escaped());
            json.key("signature").string("");
        }
        Reasoning::Encrypted { data } => {
            json.key("type").string("redacted_thinking");
            json.key("data").escaped(data.escaped());
        }
    }
}

/// The arguments as an object, which this dialect demands; text that is none becomes the one argument `arguments`.
pub(super) fn input(arguments: &Arguments) -> Raw {
    arguments.to_object().unwrap_or_else(|| {
        let mut json = Writer::default();
        json.object(|json| json.key("arguments").escaped(arguments.to_text().escaped()));
        Raw::written(json.into_bytes())
    })
}
