//! Pictures, documents and sounds in a message's parts.

use bytes::Bytes;

use super::member::{Typed, missing, object, text};
use crate::fault::Fault;
use crate::json::{Members, Node, Tree};
use crate::neutral::{Content, Extension, Media, MediaSource, Text};

/// Reads a part that carries a file of some kind; `None` if `kind` is another part's.
pub(super) fn read(source: &Bytes, kind: &str, part: &mut Members<'_>, extension: &mut Extension) -> Result<Option<Content>, Fault> {
    Ok(Some(match kind {
        "image_url" => Content::Image(url_of(source, part, "image_url", "image_url.", extension)?),
        "video_url" => Content::Video(url_of(source, part, "video_url", "video_url.", extension)?),
        "document_url" => {
            let mut document = url_of(source, part, "document_url", "document_url.", extension)?;
            document.title = part.take_text(source, "document_name")?;
            Content::Document(document)
        }
        "input_audio" => Content::Audio(audio(source, part, extension)?),
        "file" => Content::Document(file(source, part, extension)?),
        _ => return Ok(None),
    }))
}

fn media(source: MediaSource) -> Media {
    Media { source, title: None, context: None, citations: false }
}

/// `{"url": …}`, or the bare string that Mistral takes.
fn url_of(
    source: &Bytes,
    part: &mut Members<'_>,
    name: &'static str,
    inner: &'static str,
    extension: &mut Extension,
) -> Result<Media, Fault> {
    let tree = part.take(name).ok_or_else(|| missing(name))?;
    let url = match tree {
        Tree { node: Node::String(_), .. } => text(source, &tree),
        tree => object(tree).and_then(|mut members| {
            let url = members.need_text(source, "url")?;
            extension.keep_inner(source, inner, &members);
            Ok(url)
        }),
    };
    Ok(media(from_url(url.map_err(|fault| fault.inside(name))?)))
}

fn audio(source: &Bytes, part: &mut Members<'_>, extension: &mut Extension) -> Result<Media, Fault> {
    let mut members = part.take_object("input_audio")?.ok_or_else(|| missing("input_audio"))?;
    let inside = |fault: Fault| fault.inside("input_audio");
    let data = members.need_text(source, "data").map_err(inside)?;
    let format = members.take_text(source, "format").map_err(inside)?.unwrap_or(Text::word("wav"));
    extension.keep_inner(source, "input_audio.", &members);
    Ok(media(MediaSource::Base64 { media_type: Text::joined(&[Text::word("audio/"), format]), data }))
}

fn file(source: &Bytes, part: &mut Members<'_>, extension: &mut Extension) -> Result<Media, Fault> {
    let mut members = part.take_object("file")?.ok_or_else(|| missing("file"))?;
    let inside = |fault: Fault| fault.inside("file");
    let title = members.take_text(source, "filename").map_err(inside)?;
    let id = members.take_text(source, "file_id").map_err(inside)?;
    let data = members.take_text(source, "file_data").map_err(inside)?;
    extension.keep_inner(source, "file.", &members);
    let content = match (id, data) {
        (Some(id), _) => MediaSource::FileId(id),
        (None, Some(data)) => file_data(data),
        (None, None) => return Err(inside(missing("file_data"))),
    };
    Ok(Media { title, ..media(content) })
}

/// A data URL; OpenRouter takes other URLs, too, and bare base64 can only be a PDF.
fn file_data(data: Text) -> MediaSource {
    match from_url(data) {
        MediaSource::Url(data) if !data.escaped().starts_with(b"http") => {
            MediaSource::Base64 { media_type: Text::word("application/pdf"), data }
        }
        source => source,
    }
}

/// `data:<type>;base64,<data>` in its pieces; whatever else is a URL to be fetched.
pub(super) fn from_url(url: Text) -> MediaSource {
    match pieces(url.escaped()) {
        Some((media_type, data)) => MediaSource::Base64 { media_type: url.slice(media_type), data: url.slice(data) },
        None => MediaSource::Url(url),
    }
}

fn pieces(url: &[u8]) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    const SCHEME: usize = "data:".len();
    if !url.get(..SCHEME)?.eq_ignore_ascii_case(b"data:") {
        return None;
    }
    let comma = memchr::memchr(b',', url)?;
    let head = url.get(SCHEME..comma)?;
    let parameters = head.len().checked_sub(";base64".len())?;
    if !head.get(parameters..)?.eq_ignore_ascii_case(b";base64") {
        return None;
    }
    let media_type = memchr::memchr(b';', head)?;
    Some((SCHEME..SCHEME + media_type, comma + 1..url.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_falls_into_its_pieces_and_others_stay_whole() {
        let base64 = |media_type: &'static str, data: &'static str| MediaSource::Base64 {
            media_type: Text::word(media_type),
            data: Text::word(data),
        };
        let url = |url: &'static str| MediaSource::Url(Text::word(url));
        let rows = [
            ("data:image/png;base64,AAAA", base64("image/png", "AAAA")),
            ("DATA:image/png;charset=x;BASE64,AA", base64("image/png", "AA")),
            (r"data:image\/png;base64,A\/A", base64(r"image\/png", r"A\/A")),
            ("data:;base64,", base64("", "")),
            ("data:text/plain,hello", url("data:text/plain,hello")),
            ("data:image/png;base64", url("data:image/png;base64")),
            ("https://example.org/a.png", url("https://example.org/a.png")),
            ("", url("")),
        ];
        for (spelling, expected) in rows {
            assert_eq!(from_url(Text::word(spelling)), expected, "{spelling}");
        }
        assert_eq!(file_data(Text::word("JVBERi")), base64("application/pdf", "JVBERi"));
        assert_eq!(file_data(Text::word("https://x/a.pdf")), url("https://x/a.pdf"));
    }
}
