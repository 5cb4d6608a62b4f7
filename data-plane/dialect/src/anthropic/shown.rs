//! An answer of another provider in blocks of this dialect.

use std::borrow::Cow;

use crate::json::{ScanLimits, Tree, Writer};
use crate::neutral::{Arguments, Block, Content, Extension, Fields, Notice, Raw, Text};
use crate::usage::Reading;

/// Blocks of answers that pass as they are.
const OWN_BLOCKS: &[&str] = &["server_tool_use", "mcp_tool_use", "container_upload", "search_result"];
const OWN_CITATIONS: &[&str] =
    &["char_location", "page_location", "content_block_location", "web_search_result_location", "search_result_location"];

pub(super) const NO_SUCH_BLOCK: &str = "Anthropic's answers have no such content";
pub(super) const NO_SUCH_CITATION: &str = "Anthropic has no such citation";

/// Whether a block is of this dialect.
pub(super) fn is_own(kind: &Text) -> bool {
    let kind = kind.decode();
    OWN_BLOCKS.contains(&&*kind) || kind.ends_with("_tool_result")
}

/// The citation as a client of this dialect reads it: a page that OpenAI's family cites becomes a search result.
pub(super) fn citation(raw: &Raw) -> Option<Raw> {
    let source = raw.bytes();
    let tree = Tree::read(source, ScanLimits::ANSWER, &[]).ok()?;
    let mut fields = Fields::of(source, tree).ok()?;
    let kind = fields.text("type").ok()??;
    let kind = kind.decode();
    if OWN_CITATIONS.contains(&&*kind) {
        return Some(raw.clone());
    }
    if kind != "url_citation" {
        return None;
    }
    // Some of the family put the members beside the type.
    let mut cited = fields.inner("url_citation").ok().flatten().map_or(fields, |(inner, _)| inner);
    let url = cited.text("url").ok()??;
    let title = cited.text("title").ok().flatten();
    let content = cited.text("content").ok().flatten();
    let mut json = Writer::default();
    json.object(|json| {
        json.key("type").string("web_search_result_location");
        json.key("url").escaped(url.escaped());
        match title {
            Some(title) => json.key("title").escaped(title.escaped()),
            None => json.key("title").null(),
        }
        json.key("cited_text").escaped(content.unwrap_or_default().escaped());
        json.key("encrypted_index").string("");
    });
    Some(Raw::written(json.into_bytes()))
}

/// The id of the call that is block `at`: clients must be able to answer it, so an empty one is replaced.
pub(super) fn call_id<'a>(id: &'a Text, generation: &str, at: u32) -> Cow<'a, Text> {
    if id.is_empty() { Cow::Owned(Text::new(&format!("toolu_{generation}_{at}"))) } else { Cow::Borrowed(id) }
}

/// The block number `at` of an answer; `None` if it holds nothing or cannot be shown.
pub(super) fn block(block: &Block, generation: &str, at: u32, notices: &mut Vec<Notice>) -> Option<Block> {
    let path = || format!("content[{at}]");
    let content = match &block.content {
        Content::Text { text, citations } if text.is_empty() && citations.is_empty() => return None,
        Content::Refusal(text) if text.is_empty() => return None,
        Content::Text { text, citations } => {
            let shown: Vec<Raw> = citations.iter().filter_map(citation).collect();
            if shown.len() < citations.len() {
                notices.push(Notice::dropped(format!("{}.citations", path()), NO_SUCH_CITATION));
            }
            Content::Text { text: text.clone(), citations: shown }
        }
        Content::ToolCall { id, name, arguments } => {
            let object = arguments.to_object();
            if object.is_none() {
                notices.push(Notice::approximated(path(), "arguments that are no JSON object as the one argument `arguments`"));
            }
            let arguments = Arguments::Object(object.unwrap_or_else(|| super::block_write::input(arguments)));
            Content::ToolCall { id: call_id(id, generation, at).into_owned(), name: name.clone(), arguments }
        }
        Content::Refusal(_) | Content::Reasoning(_) => block.content.clone(),
        Content::Foreign { kind, .. } if is_own(kind) => block.content.clone(),
        _ => {
            notices.push(Notice::dropped(path(), NO_SUCH_BLOCK));
            return None;
        }
    };
    Some(Block { content, extension: Extension::default(), ..block.clone() })
}

/// The `usage` object; what the provider did not tell is 0.
pub(super) fn write_usage(json: &mut Writer, reading: Option<&Reading>, cost_picousd: Option<i64>, service_tier: Option<&str>) {
    let none = Reading::default();
    let reading = reading.unwrap_or(&none);
    let written = reading.cache_write_5m + reading.cache_write_1h;
    json.object(|json| {
        json.key("input_tokens").number(reading.total_input() - written - reading.cache_read);
        json.key("cache_creation_input_tokens").number(written);
        json.key("cache_read_input_tokens").number(reading.cache_read);
        json.key("cache_creation").object(|json| {
            json.key("ephemeral_5m_input_tokens").number(reading.cache_write_5m);
            json.key("ephemeral_1h_input_tokens").number(reading.cache_write_1h);
        });
        json.key("output_tokens").number(reading.total_output());
        if reading.searches > 0 {
            json.key("server_tool_use").object(|json| json.key("web_search_requests").number(reading.searches));
        }
        if let Some(tier) = service_tier {
            json.key("service_tier").string(if tier == "default" { "standard" } else { tier });
        }
        if let Some(cost) = cost_picousd {
            json.key("cost").raw(crate::json::print_picousd(cost).as_bytes());
        }
    });
}
