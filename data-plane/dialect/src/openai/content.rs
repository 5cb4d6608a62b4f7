//! What messages, tools and modalities say about needs and about the bound, without keeping any of their text.

use std::borrow::Cow;
use std::collections::HashSet;

use super::fields;
use crate::call::{Call, Need, Parameter, Unbounded};
use crate::fault::Fault;
use crate::json::Kind;
use crate::read::{Reader, invalid};

/// Ids of the tool calls met so far.
type Called<'a> = HashSet<Cow<'a, str>>;

pub(super) fn messages(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    let mut called = Called::new();
    let count = reader.array("messages", |reader| message(reader, call, &mut called))?;
    if count == 0 { Err(invalid("messages", "must not be empty")) } else { Ok(()) }
}

/// A tool message that names a call must name one that was made before it. Without an id it is the provider's to judge.
fn message<'a>(reader: &mut Reader<'a>, call: &mut Call, called: &mut Called<'a>) -> Result<(), Fault> {
    let (mut is_tool, mut answers) = (false, None);
    reader.object::<fields::Message>("", |reader, field| {
        match (field, reader.scan.peek()?) {
            (fields::Message::Role, Kind::String) => is_tool = reader.scan.string()?.is("tool"),
            (fields::Message::ToolCallId, Kind::String) => answers = reader.scan.string()?.decode(),
            (fields::Message::ToolCalls, Kind::Array) => tool_calls(reader, called)?,
            (fields::Message::Content, Kind::Array) => {
                reader.array("content", |reader| part(reader, call))?;
            }
            // An earlier spoken answer, named by its id: it lies at the provider.
            (fields::Message::Audio, _) => {
                reader.scan.skip()?;
                call.needs.insert(Need::AudioInput);
                call.unbounded.insert(Unbounded::Audio);
            }
            _ => {
                reader.scan.skip()?;
            }
        }
        Ok(())
    })?;
    match answers {
        Some(id) if is_tool && !called.contains(&id) => Err(invalid("tool_call_id", "no tool call before this message has this id")),
        _ => Ok(()),
    }
}

fn tool_calls<'a>(reader: &mut Reader<'a>, called: &mut Called<'a>) -> Result<(), Fault> {
    reader.array("tool_calls", |reader| {
        if reader.scan.peek()? != Kind::Object {
            reader.scan.skip()?;
            return Ok(());
        }
        reader.object::<fields::ToolCall>("", |reader, _| {
            match reader.scan.peek()? {
                Kind::String => called.extend(reader.scan.string()?.decode()),
                _ => {
                    reader.scan.skip()?;
                }
            }
            Ok(())
        })
    })?;
    Ok(())
}

/// A part is judged by its type and by each payload it carries: providers differ in which of the two they follow.
fn part(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    // Some providers take bare strings among the parts.
    if reader.scan.peek()? != Kind::Object {
        reader.scan.skip()?;
        return Ok(());
    }
    reader.object::<fields::Part>("", |reader, field| {
        match field {
            fields::Part::Type => {
                let kind = reader.name("type")?;
                kind_of_part(&kind, call);
            }
            fields::Part::Text => {
                reader.scan.skip()?;
            }
            fields::Part::ImageUrl => image(reader, call)?,
            fields::Part::InputAudio => {
                reader.scan.skip()?;
                kind_of_part("input_audio", call);
            }
            fields::Part::VideoUrl => {
                reader.scan.skip()?;
                kind_of_part("video_url", call);
            }
            fields::Part::DocumentUrl => {
                reader.scan.skip()?;
                kind_of_part("document_url", call);
            }
            fields::Part::File => file(reader, call)?,
        }
        Ok(())
    })
}

fn kind_of_part(kind: &str, call: &mut Call) {
    match kind {
        "text" | "input_text" | "refusal" | "thinking" | "reasoning" => {}
        // Which cause it is, its payload says.
        "image_url" => call.needs.insert(Need::ImageInput),
        // Not of this dialect, so where its image lies is not known either.
        "input_image" | "image" => {
            call.needs.insert(Need::ImageInput);
            call.unbounded.insert(Unbounded::ContentPart);
        }
        "input_audio" => {
            call.needs.insert(Need::AudioInput);
            call.unbounded.insert(Unbounded::Audio);
        }
        "video_url" | "input_video" => {
            call.needs.insert(Need::VideoInput);
            call.unbounded.insert(Unbounded::Video);
        }
        "file" | "input_file" | "document_url" => {
            call.needs.insert(Need::FileInput);
            call.unbounded.insert(Unbounded::File);
        }
        _ => call.unbounded.insert(Unbounded::ContentPart),
    }
}

/// `"image_url": {"url": …}`, or the bare string that Mistral takes.
fn image(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    call.needs.insert(Need::ImageInput);
    if reader.scan.peek()? == Kind::String {
        return image_source(reader, call);
    }
    if reader.scan.peek()? != Kind::Object {
        reader.scan.skip()?;
        call.unbounded.insert(Unbounded::ContentPart);
        return Ok(());
    }
    let mut has_url = false;
    reader.object::<fields::ImageUrl>("image_url", |reader, _| {
        has_url = true;
        reader.expect(Kind::String, "url", "must be a string")?;
        image_source(reader, call)
    })?;
    if !has_url {
        call.unbounded.insert(Unbounded::ContentPart);
    }
    Ok(())
}

fn image_source(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    let url = reader.scan.string()?;
    let scheme = url.raw().get(..5).unwrap_or_default();
    let inline = scheme.eq_ignore_ascii_case(b"data:");
    call.unbounded.insert(if inline { Unbounded::InlineImage } else { Unbounded::ImageUrl });
    Ok(())
}

fn file(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    call.needs.insert(Need::FileInput);
    call.unbounded.insert(Unbounded::File);
    if reader.scan.peek()? != Kind::Object {
        reader.scan.skip()?;
        return Ok(());
    }
    reader.object::<fields::File>("file", |reader, field| {
        reader.scan.skip()?;
        if field == fields::File::FileId {
            call.unbounded.insert(Unbounded::FileId);
        }
        Ok(())
    })
}

pub(super) fn tools(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    let count = reader.array("tools", |reader| {
        reader.object::<fields::Tool>("", |reader, field| {
            match field {
                fields::Tool::Type => {
                    let kind = reader.name("type")?;
                    if !matches!(&*kind, "function" | "custom") {
                        call.unbounded.insert(Unbounded::ServerTool);
                    }
                }
                fields::Tool::Function => {
                    reader.scan.skip()?;
                }
            }
            Ok(())
        })
    })?;
    if count > 0 {
        call.needs.insert(Need::Tools);
        call.parameters.insert(Parameter::Tools);
    }
    Ok(())
}

pub(super) fn modalities(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    for modality in reader.names("modalities")? {
        match &*modality {
            "audio" => call.needs.insert(Need::AudioOutput),
            "image" => {
                call.needs.insert(Need::ImageOutput);
                call.unbounded.insert(Unbounded::ImageOutput);
            }
            _ => {}
        }
    }
    Ok(())
}
