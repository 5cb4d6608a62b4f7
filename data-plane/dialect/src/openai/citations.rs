//! Citations: objects of their own in Anthropic's text blocks, `annotations` beside the text in chat completions.

use crate::json::{Node, ScanLimits, Tree, Writer};
use crate::neutral::Raw;

/// Writes a citation of the text from letter `start` to letter `end` as an annotation, if it cites a page of the web; only those exist here.
pub(super) fn annotation(citation: &Raw, start: u64, end: u64, json: &mut Writer) -> bool {
    let Ok(Tree { node: Node::Object(members), .. }) = Tree::read(citation.json(), ScanLimits::ANSWER, &[]) else { return false };
    let string = |name: &str| match members.get(name).map(|tree| &tree.node) {
        Some(Node::String(text)) => Some(text.raw()),
        _ => None,
    };
    if string("type") == Some(b"url_citation") {
        json.raw(citation.json());
        return true;
    }
    let Some(url) = string("url") else { return false };
    json.object(|json| {
        json.key("type").string("url_citation");
        json.key("url_citation").object(|json| {
            json.key("url").escaped(url);
            json.key("title").escaped(string("title").unwrap_or_default());
            if let Some(content) = string("cited_text") {
                json.key("content").escaped(content);
            }
            json.key("start_index").number(start);
            json.key("end_index").number(end);
        });
    });
    true
}
