//! Pictures and documents of another dialect made fit.

use crate::base64;
use crate::neutral::{Media, MediaSource, Text};

const ELSEWHERE: &str = "the file lies at another provider";

/// A picture that Anthropic takes, or why it does not.
pub(super) fn image(media: &Media) -> Result<Media, &'static str> {
    let source = match &media.source {
        // The name that many use for it is not the registered one, and refused.
        MediaSource::Base64 { media_type, data } if media_type.is("image/jpg") => {
            MediaSource::Base64 { media_type: Text::word("image/jpeg"), data: data.clone() }
        }
        MediaSource::Base64 { .. } => media.source.clone(),
        MediaSource::Url(url) => web_url(url)?,
        MediaSource::FileId(_) => return Err(ELSEWHERE),
        MediaSource::PlainText(_) | MediaSource::Blocks(_) => return Err("this is no picture"),
    };
    Ok(Media { source, title: None, context: None, citations: false })
}

/// A document that Anthropic takes, or why it does not.
pub(super) fn document(media: &Media) -> Result<Media, &'static str> {
    let source = match &media.source {
        MediaSource::Base64 { media_type, data } => document_source(media_type, data)?,
        MediaSource::Url(url) => web_url(url)?,
        MediaSource::PlainText(_) => media.source.clone(),
        MediaSource::FileId(_) => return Err(ELSEWHERE),
        MediaSource::Blocks(_) => return Err("Anthropic takes no such document from another dialect"),
    };
    Ok(Media { source, ..media.clone() })
}

fn document_source(media_type: &Text, data: &Text) -> Result<MediaSource, &'static str> {
    let told = media_type.decode();
    if told == "application/pdf" {
        return Ok(MediaSource::Base64 { media_type: media_type.clone(), data: data.clone() });
    }
    if !told.starts_with("text/") {
        return Err("Anthropic takes PDF and plain text as documents");
    }
    let text = base64::decode(data.decode().as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(|text| MediaSource::PlainText(Text::new(&text))).ok_or("its data is no base64 of UTF-8 text")
}

fn web_url(url: &Text) -> Result<MediaSource, &'static str> {
    let told = url.decode();
    if told.starts_with("https://") || told.starts_with("http://") {
        Ok(MediaSource::Url(url.clone()))
    } else {
        Err("neither a web address nor a base64 data URL")
    }
}
