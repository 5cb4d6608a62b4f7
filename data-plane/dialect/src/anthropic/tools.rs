//! What tools, thinking and the form of the answer say about needs, parameters and the bound.

use super::fields;
use super::request::structured;
use crate::call::{Call, Need, Parameter, Unbounded};
use crate::fault::Fault;
use crate::read::Reader;

/// Tools that Anthropic defines and the caller runs, by the start of their type.
const RUN_BY_THE_CALLER: &[&str] = &["bash_", "text_editor_", "computer_", "memory_"];

pub(super) fn tools(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    let count = reader.array("tools", |reader| {
        reader.object::<fields::Tool>("", |reader, _| {
            let kind = reader.name("type")?;
            if &*kind != "custom" && !RUN_BY_THE_CALLER.iter().any(|start| kind.starts_with(start)) {
                call.unbounded.insert(Unbounded::ServerTool);
            }
            if kind.starts_with("web_search") {
                call.unbounded.insert(Unbounded::WebSearch);
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

pub(super) fn thinking(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    reader.object::<fields::Thinking>("thinking", |reader, _| {
        if &*reader.name("type")? != "disabled" {
            call.parameters.insert(Parameter::Reasoning);
        }
        Ok(())
    })
}

pub(super) fn output_config(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    reader.object::<fields::OutputConfig>("output_config", |reader, field| match field {
        fields::OutputConfig::Effort => {
            reader.name("effort")?;
            call.parameters.insert(Parameter::ReasoningEffort);
            Ok(())
        }
        fields::OutputConfig::Format => format(reader, call, "format"),
    })
}

pub(super) fn format(reader: &mut Reader<'_>, call: &mut Call, path: &str) -> Result<(), Fault> {
    reader.object::<fields::Format>(path, |reader, _| {
        if &*reader.name("type")? == "json_schema" {
            structured(call);
        }
        Ok(())
    })
}

/// A compaction reads the whole prompt once more and writes what it makes of it.
pub(super) fn context_management(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    reader.object::<fields::ContextManagement>("context_management", |reader, _| {
        reader.array("edits", |reader| {
            reader.object::<fields::ContextEdit>("", |reader, _| {
                if reader.name("type")?.starts_with("compact") {
                    call.unbounded.insert(Unbounded::Compaction);
                }
                Ok(())
            })
        })?;
        Ok(())
    })
}
