//! A turn of another dialect as messages. Blocks of one turn fall apart into messages of their own kind here: each tool result is a message, and
//! an assistant's thoughts and calls stand beside its text.

use super::prompt_write::Translation;
use super::reasoning::ANTHROPIC_FORMAT;
use crate::json::Writer;
use crate::neutral::{Block, Content, Media, MediaSource, Place, Reasoning, Role, Text, Turn};

/// Says in a tool's result that the tool failed: there is no field for it.
const ERROR_PREFIX: &str = "Error: ";

/// Writes one turn as elements of `messages`.
pub(super) fn turn(translation: &mut Translation<'_>, turn: &Turn, json: &mut Writer) {
    match turn.role {
        Role::System => json.object(|json| {
            json.key("role").string("system");
            content(translation, &turn.blocks.iter().collect::<Vec<_>>(), "", json);
        }),
        Role::User => user(translation, turn, json),
        Role::Assistant => json.object(|json| assistant(translation, turn, json)),
    }
    if let Some(message) = turn.message {
        translation.leave_out(Place::Message(message), &turn.extension);
    } else {
        translation.leave_out("system", &turn.extension);
    }
}

/// Results stand first: they must follow the calls that they answer.
fn user(translation: &mut Translation<'_>, turn: &Turn, json: &mut Writer) {
    let mut rest: Vec<&Block> = Vec::new();
    let mut has_results = false;
    for block in &turn.blocks {
        if let Content::ToolResult { call_id, content, is_error } = &block.content {
            has_results = true;
            json.object(|json| {
                json.key("role").string("tool");
                json.key("tool_call_id").escaped(call_id.escaped());
                result(translation, block, content, *is_error, json);
            });
            translation.leave_out(block.place, &block.extension);
            rest.extend(content.iter().filter(|inner| !is_text(inner)));
        } else {
            rest.push(block);
        }
    }
    if !rest.is_empty() || !has_results {
        json.object(|json| {
            json.key("role").string("user");
            content(translation, &rest, "", json);
        });
    }
}

fn is_text(block: &Block) -> bool {
    matches!(block.content, Content::Text { .. })
}

/// A tool's message takes text alone; pictures go into the user's message after it.
fn result(translation: &mut Translation<'_>, block: &Block, inner: &[Block], is_error: bool, json: &mut Writer) {
    for moved in inner.iter().filter(|inner| !is_text(inner)) {
        translation.approximate(moved.place, "sent in a user message after the tool's");
    }
    if is_error {
        translation.approximate(format!("{}.is_error", block.place), "told by the words \"Error: \" before the text");
    }
    let prefix = if is_error { ERROR_PREFIX } else { "" };
    let mut texts: Vec<&Block> = inner.iter().filter(|inner| is_text(inner)).collect();
    // The marker of the whole result ends up on its last text.
    let marked = match (&block.cache, texts.last().copied()) {
        (Some(cache), Some(last)) if translation.carrier.takes_gateway_fields && last.cache.is_none() => {
            Some(Block { cache: Some(cache.clone()), ..last.clone() })
        }
        (Some(_), _) => {
            translation.drop(format!("{}.cache_control", block.place), "there is no place for it in a tool's message here");
            None
        }
        (None, _) => None,
    };
    if let (Some(marked), Some(last)) = (&marked, texts.last_mut()) {
        *last = marked;
    }
    content(translation, &texts, prefix, json);
}

fn assistant(translation: &mut Translation<'_>, turn: &Turn, json: &mut Writer) {
    json.key("role").string("assistant");
    let (mut said, mut calls, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    for block in &turn.blocks {
        match &block.content {
            Content::ToolCall { .. } => calls.push(block),
            Content::Reasoning(reasoning) => thoughts.push((block, reasoning)),
            Content::Refusal(_) | Content::Text { .. } => {
                if !calls.is_empty() {
                    translation.approximate(block.place, "text stands before the tool calls of its turn");
                }
                said.push(block);
            }
            _ => said.push(block),
        }
    }
    if said.is_empty() {
        json.key("content");
        if calls.is_empty() { json.string("") } else { json.null() }
    } else {
        content(translation, &said, "", json);
    }
    self::thoughts(translation, &thoughts, json);
    if !calls.is_empty() {
        json.key("tool_calls").array(|json| calls.iter().for_each(|block| call(translation, block, json)));
    }
}

fn call(translation: &mut Translation<'_>, block: &Block, json: &mut Writer) {
    let Content::ToolCall { id, name, arguments } = &block.content else { return };
    json.object(|json| {
        json.key("id").escaped(id.escaped());
        json.key("type").string("function");
        json.key("function").object(|json| {
            json.key("name").escaped(name.escaped());
            json.key("arguments").escaped(arguments.to_text().escaped());
        });
    });
    if block.cache.is_some() {
        translation.drop(format!("{}.cache_control", block.place), "a tool call can hold none");
    }
    translation.leave_out(block.place, &block.extension);
}

fn thoughts(translation: &mut Translation<'_>, thoughts: &[(&Block, &Reasoning)], json: &mut Writer) {
    if !translation.carrier.takes_gateway_fields {
        for (block, _) in thoughts {
            translation.drop(block.place, "this provider takes no thoughts back");
        }
    } else if !thoughts.is_empty() {
        json.key("reasoning_details").array(|json| {
            for ((_, reasoning), index) in thoughts.iter().zip(0..) {
                detail(reasoning, index, json);
            }
        });
    }
    for (block, _) in thoughts {
        translation.leave_out(block.place, &block.extension);
    }
}

/// One of `reasoning_details`, as OpenRouter tells and takes back Anthropic's thoughts.
pub(super) fn detail(reasoning: &Reasoning, index: u64, json: &mut Writer) {
    json.object(|json| {
        match reasoning {
            Reasoning::Text { text, signature } => {
                json.key("type").string("reasoning.text");
                json.key("text").escaped(text.escaped());
                // An empty one is what a client makes of none.
                if let Some(signature) = signature.as_ref().filter(|signature| !signature.is_empty()) {
                    json.key("signature").escaped(signature.escaped());
                }
            }
            Reasoning::Summary { text } => {
                json.key("type").string("reasoning.summary");
                json.key("summary").escaped(text.escaped());
            }
            Reasoning::Encrypted { data } => {
                json.key("type").string("reasoning.encrypted");
                json.key("data").escaped(data.escaped());
            }
        }
        json.key("format").string(ANTHROPIC_FORMAT);
        json.key("index").number(index);
    });
}

/// `content`: a string where one text says it all, else parts. `prefix` comes before the first text.
fn content(translation: &mut Translation<'_>, blocks: &[&Block], prefix: &str, json: &mut Writer) {
    json.key("content");
    let has_marker = translation.carrier.takes_gateway_fields && blocks.iter().any(|block| block.cache.is_some());
    match blocks {
        [] => json.string(prefix.trim_end()),
        [Block { content: Content::Text { text, citations }, cache, place, extension }] if !has_marker => {
            json.escaped_pieces([prefix.as_bytes(), text.escaped()]);
            if let Some(cache) = cache {
                // Only names it: without gateway fields nothing is written.
                translation.cache_at(&cache.raw, *place, json);
            }
            after_text(translation, *place, !citations.is_empty());
            translation.leave_out(*place, extension);
        }
        blocks => json.array(|json| {
            let mut prefix = prefix;
            for block in blocks {
                part(translation, block, std::mem::take(&mut prefix), json);
            }
        }),
    }
}

fn after_text(translation: &mut Translation<'_>, place: Place, has_citations: bool) {
    if has_citations {
        translation.drop(format!("{place}.citations"), "chat completions take none back");
    }
}

fn part(translation: &mut Translation<'_>, block: &Block, prefix: &str, json: &mut Writer) {
    let place = block.place;
    match &block.content {
        Content::Text { text, citations } => {
            text_part(translation, block, &[prefix.as_bytes(), text.escaped()], json);
            after_text(translation, place, !citations.is_empty());
        }
        Content::Refusal(text) => json.object(|json| {
            json.key("type").string("refusal");
            json.key("refusal").escaped(text.escaped());
        }),
        Content::Image(media) => image(translation, block, media, json),
        Content::Document(media) => document(translation, block, media, json),
        Content::Audio(_) | Content::Video(_) => translation.refuse(place, "sound and video cannot be carried into this dialect"),
        Content::ToolCall { .. } | Content::ToolResult { .. } | Content::Reasoning(_) => {
            translation.refuse(place, "cannot stand in a message of this role");
        }
        Content::Foreign { kind, .. } => {
            let why = format!("chat completions have no content of type {}", kind.decode());
            translation.refuse(place, &why);
        }
    }
    translation.leave_out(place, &block.extension);
}

fn text_part(translation: &mut Translation<'_>, block: &Block, pieces: &[&[u8]], json: &mut Writer) {
    json.object(|json| {
        json.key("type").string("text");
        json.key("text").escaped_pieces(pieces.iter().copied());
        marker(translation, block, json);
    });
}

fn marker(translation: &mut Translation<'_>, block: &Block, json: &mut Writer) {
    if let Some(cache) = &block.cache {
        translation.cache_at(&cache.raw, block.place, json);
    }
}

fn image(translation: &mut Translation<'_>, block: &Block, media: &Media, json: &mut Writer) {
    if !matches!(media.source, MediaSource::Base64 { .. } | MediaSource::Url(_)) {
        return translation.refuse(format!("{}.source", block.place), "a picture that lies at another provider cannot be carried");
    }
    json.object(|json| {
        json.key("type").string("image_url");
        json.key("image_url").object(|json| {
            json.key("url");
            url(&media.source, json);
        });
        marker(translation, block, json);
    });
}

/// The source as a URL.
fn url(source: &MediaSource, json: &mut Writer) {
    match source {
        MediaSource::Base64 { media_type, data } => json.escaped_pieces([&b"data:"[..], media_type.escaped(), b";base64,", data.escaped()]),
        MediaSource::Url(url) => json.escaped(url.escaped()),
        _ => json.null(),
    }
}

fn document(translation: &mut Translation<'_>, block: &Block, media: &Media, json: &mut Writer) {
    let place = block.place;
    if media.citations {
        translation.approximate(format!("{place}.citations"), "off: chat completions cite no documents");
    }
    if media.context.is_some() {
        translation.drop(format!("{place}.context"), "a file has none in chat completions");
    }
    match &media.source {
        MediaSource::Base64 { .. } => file(translation, block, media, json),
        MediaSource::Url(_) if translation.carrier.takes_gateway_fields => file(translation, block, media, json),
        MediaSource::Url(_) => translation.refuse(format!("{place}.source"), "this provider takes documents only within the request"),
        MediaSource::FileId(_) => {
            translation.refuse(format!("{place}.source"), "a file that lies at another provider cannot be carried");
        }
        MediaSource::PlainText(text) => {
            untitled(translation, media, place);
            text_part(translation, block, &[text.escaped()], json);
        }
        MediaSource::Blocks(blocks) => {
            untitled(translation, media, place);
            translation.approximate(format!("{place}.source"), "its content sent as parts of the message");
            blocks.iter().for_each(|inner| part(translation, inner, "", json));
            if block.cache.is_some() {
                translation.drop(format!("{place}.cache_control"), "the document has become several parts");
            }
        }
    }
}

fn untitled(translation: &mut Translation<'_>, media: &Media, place: Place) {
    if media.title.is_some() {
        translation.drop(format!("{place}.title"), "a text part has none");
    }
}

fn file(translation: &mut Translation<'_>, block: &Block, media: &Media, json: &mut Writer) {
    json.object(|json| {
        json.key("type").string("file");
        json.key("file").object(|json| {
            // A name is demanded here.
            json.key("filename").escaped(media.title.as_ref().map_or(&b"document.pdf"[..], Text::escaped));
            json.key("file_data");
            url(&media.source, json);
        });
        marker(translation, block, json);
    });
}
