//! Pictures and documents: the `source` of a block and what stands beside it.

use bytes::Bytes;

use super::block_read::{Known, read_content};
use super::block_write::write_blocks;
use crate::fault::Fault;
use crate::json::Writer;
use crate::neutral::{Extension, Fields, Media, MediaSource, Place, missing};

/// Takes the `source`. `None`: a source that only this dialect has.
pub(super) fn read<'a>(source: &'a Bytes, fields: &mut Fields<'a>, place: Place, known: &mut Known<'a>) -> Result<Option<Media>, Fault> {
    let (mut inner, raw) = fields.inner("source")?.ok_or_else(|| missing("source"))?;
    let read = read_source(source, &mut inner, place).map_err(|fault| fault.inside("source"))?;
    if read.is_some() {
        known.member("source", raw);
        known.left_of("source.", inner);
    }
    Ok(read.map(|source| Media { source, title: None, context: None, citations: false }))
}

/// As [`read`], with the members that only documents have.
pub(super) fn read_document<'a>(
    source: &'a Bytes,
    fields: &mut Fields<'a>,
    place: Place,
    known: &mut Known<'a>,
) -> Result<Option<Media>, Fault> {
    let Some(mut media) = read(source, fields, place, known)? else { return Ok(None) };
    media.title = fields.text("title")?;
    media.context = fields.text("context")?;
    if let Some((mut citations, raw)) = fields.inner("citations")? {
        media.citations = citations.bool("enabled").map_err(|fault| fault.inside("citations"))? == Some(true);
        known.member("citations", raw);
        known.left_of("citations.", citations);
    }
    Ok(Some(media))
}

fn read_source(source: &Bytes, inner: &mut Fields<'_>, place: Place) -> Result<Option<MediaSource>, Fault> {
    let kind = inner.required_text("type")?;
    Ok(Some(match &*kind.decode() {
        "base64" => MediaSource::Base64 { media_type: inner.required_text("media_type")?, data: inner.required_text("data")? },
        "text" if inner.required_text("media_type")?.is("text/plain") => MediaSource::PlainText(inner.required_text("data")?),
        "url" => MediaSource::Url(inner.required_text("url")?),
        "file" => MediaSource::FileId(inner.required_text("file_id")?),
        "content" => {
            let tree = inner.take("content").ok_or_else(|| missing("content"))?;
            MediaSource::Blocks(read_content(source, "content", tree, |_| place)?)
        }
        _ => return Ok(None),
    }))
}

/// Writes the members of an image or a document, but for those that the extension has as they were spelt.
pub(super) fn write(json: &mut Writer, media: &Media, extension: &Extension) {
    if extension.get("source").is_none() {
        json.key("source").object(|json| write_source(json, &media.source));
    }
    if let Some(title) = &media.title {
        json.key("title").escaped(title.escaped());
    }
    if let Some(context) = &media.context {
        json.key("context").escaped(context.escaped());
    }
    if media.citations && extension.get("citations").is_none() {
        json.key("citations").object(|json| json.key("enabled").bool(true));
    }
}

fn write_source(json: &mut Writer, source: &MediaSource) {
    let (kind, members) = match source {
        MediaSource::Base64 { media_type, data } => ("base64", vec![("media_type", media_type), ("data", data)]),
        MediaSource::PlainText(data) => {
            json.key("type").string("text");
            json.key("media_type").string("text/plain");
            json.key("data").escaped(data.escaped());
            return;
        }
        MediaSource::Url(url) => ("url", vec![("url", url)]),
        MediaSource::FileId(id) => ("file", vec![("file_id", id)]),
        MediaSource::Blocks(blocks) => {
            json.key("type").string("content");
            json.key("content").array(|json| write_blocks(json, blocks));
            return;
        }
    };
    json.key("type").string(kind);
    for (name, text) in members {
        json.key(name).escaped(text.escaped());
    }
}
