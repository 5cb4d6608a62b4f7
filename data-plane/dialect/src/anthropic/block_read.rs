//! A content block of the Messages API, in a request or in an answer, into the neutral form.

use bytes::Bytes;

use super::media;
use crate::fault::Fault;
use crate::json::{Node, Tree};
use crate::neutral::{Arguments, Block, Cache, Content, Extension, Fields, Place, Raw, Reasoning, Text, Ttl, missing, text_of, wrong_type};

/// Members whose values cross as they are, so that nobody builds a tree of them.
pub(super) const OPAQUE: &[&str] = &["input", "input_schema", "schema", "context_management", "mcp_servers"];

/// Members that the neutral form has, as they were spelt, and what is left of the objects among them.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    spelt: Vec<(&'static str, Raw)>,
    left: Vec<(&'static str, Fields<'a>)>,
}

impl<'a> Known<'a> {
    pub(super) fn member(&mut self, name: &'static str, raw: Raw) {
        self.spelt.push((name, raw));
    }

    /// `outer` is the path of the object, with its dot.
    pub(super) fn left_of(&mut self, outer: &'static str, fields: Fields<'a>) {
        self.left.push((outer, fields));
    }

    pub(super) fn keep_in(self, extension: &mut Extension) {
        self.spelt.into_iter().for_each(|(name, raw)| extension.keep_known(name, raw));
        self.left.into_iter().for_each(|(outer, fields)| fields.rest_inside(outer, extension));
    }
}

/// Reads one block.
///
/// # Errors
/// A member has the wrong type or is missing; the path begins at the block.
pub(super) fn read_block(source: &Bytes, tree: Tree<'_>, place: Place) -> Result<Block, Fault> {
    let raw = Raw::of(source, &tree);
    let mut fields = Fields::of(source, tree)?;
    let kind = fields.required_text("type")?;
    let mut known = Known::default();
    let Some(content) = content(source, &kind, &mut fields, place, &mut known)? else {
        return Ok(Block::new(Content::Foreign { kind, raw }).at(place));
    };
    let cache = read_cache(&mut fields)?;
    let mut extension = fields.rest();
    known.keep_in(&mut extension);
    Ok(Block { content, cache, place, extension })
}

/// `None`: a block that only this dialect has.
fn content<'a>(
    source: &'a Bytes,
    kind: &Text,
    fields: &mut Fields<'a>,
    place: Place,
    known: &mut Known<'a>,
) -> Result<Option<Content>, Fault> {
    Ok(Some(match &*kind.decode() {
        "text" => {
            let text = fields.required_text("text")?;
            let citations = match fields.take("citations") {
                None => Vec::new(),
                Some(tree) => {
                    known.member("citations", Raw::of(source, &tree));
                    let Node::Array(elements) = &tree.node else { return Err(wrong_type("citations", "an array", &tree)) };
                    elements.iter().map(|element| Raw::of(source, element)).collect()
                }
            };
            Content::Text { text, citations }
        }
        "image" => match media::read(source, fields, place, known)? {
            Some(media) => Content::Image(media),
            None => return Ok(None),
        },
        "document" => match media::read_document(source, fields, place, known)? {
            Some(media) => Content::Document(media),
            None => return Ok(None),
        },
        "tool_use" => Content::ToolCall {
            id: fields.required_text("id")?,
            name: fields.required_name("name")?,
            arguments: Arguments::Object(fields.object("input")?.ok_or_else(|| missing("input"))?),
        },
        "tool_result" => tool_result(source, fields, place, known)?,
        "thinking" => {
            let text = fields.required_text("thinking")?;
            Content::Reasoning(Reasoning::Text { text, signature: fields.text("signature")? })
        }
        "redacted_thinking" => Content::Reasoning(Reasoning::Encrypted { data: fields.required_text("data")? }),
        _ => return Ok(None),
    }))
}

fn tool_result<'a>(source: &'a Bytes, fields: &mut Fields<'a>, place: Place, known: &mut Known<'a>) -> Result<Content, Fault> {
    let call_id = fields.required_text("tool_use_id")?;
    let is_error = fields.bool("is_error")?;
    if is_error == Some(false) {
        known.member("is_error", Raw::written("false"));
    }
    let content = match fields.take("content") {
        None => Vec::new(),
        Some(tree) => {
            // An empty list and a string have one meaning with no list and a list of one text.
            if !matches!(&tree.node, Node::Array(elements) if !elements.is_empty()) {
                known.member("content", Raw::of(source, &tree));
            }
            let place = |inner| match place {
                Place::Content { message, part: Some(part) } => Place::Inner { message, part, inner },
                other => other,
            };
            read_content(source, "content", tree, place)?
        }
    };
    Ok(Content::ToolResult { call_id, content, is_error: is_error == Some(true) })
}

/// A string or a list of blocks. `place` says where the block `n` stands.
pub(super) fn read_content(source: &Bytes, name: &'static str, tree: Tree<'_>, place: impl Fn(u32) -> Place) -> Result<Vec<Block>, Fault> {
    match tree.node {
        Node::String(_) => Ok(vec![Block::new(Content::text(text_of(source, name, &tree)?)).at(place(0))]),
        Node::Array(elements) => {
            let read = |(at, element): (usize, _)| {
                let place = place(u32::try_from(at).unwrap_or(u32::MAX));
                read_block(source, element, place).map_err(|fault| fault.inside(&format!("{name}[{at}]")))
            };
            elements.into_iter().enumerate().map(read).collect()
        }
        _ => Err(wrong_type(name, "a string or an array of blocks", &tree)),
    }
}

/// Takes `cache_control`.
pub(super) fn read_cache(fields: &mut Fields<'_>) -> Result<Option<Cache>, Fault> {
    let Some((mut marker, raw)) = fields.inner("cache_control")? else { return Ok(None) };
    let named = |fault: Fault| fault.inside("cache_control");
    let kind = marker.required_text("type").map_err(named)?;
    let ttl = marker.text("ttl").map_err(named)?;
    let ttl = match ttl.as_ref().map(Text::decode).as_deref() {
        None | Some("5m") if kind.is("ephemeral") => Ttl::FiveMinutes,
        Some("1h") if kind.is("ephemeral") => Ttl::OneHour,
        _ => Ttl::Other,
    };
    Ok(Some(Cache { ttl, raw }))
}
