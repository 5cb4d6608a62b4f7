//! The hinge: a messages request becomes a [`Call`], in one pass over its bytes.

use bytes::Bytes;

use super::content::{Blocks, Conversation};
use super::fields::{self, Field};
use super::{splice, tools};
use crate::call::{Call, Need, Parameter, Unbounded};
use crate::dialect::Dialect;
use crate::fault::{Fault, FaultKind};
use crate::fields::{Level, Seen};
use crate::json::Kind;
use crate::limits::Limits;
use crate::places::Member;
use crate::preferences;
use crate::read::{Reader, invalid, unsupported, wrong_type};

/// Most entries of `fallbacks`, OpenRouter's rule.
const MOST_FALLBACKS: usize = 3;

/// Reads a request for an answer.
///
/// # Errors
/// The first fault in the order of the bytes, with its path; what is missing is found last.
pub fn read_request(body: &Bytes, limits: &Limits) -> Result<Call, Fault> {
    let draft = Draft::read(body, limits)?;
    if draft.call.max_output.is_none() {
        return Err(Fault::new(FaultKind::Missing, "max_tokens", "this field is required"));
    }
    draft.finish()
}

/// Reads a request that only wants its tokens counted: it needs no `max_tokens` and is never a stream.
///
/// # Errors
/// As [`read_request`].
pub fn read_count_request(body: &Bytes, limits: &Limits) -> Result<Call, Fault> {
    let draft = Draft::read(body, limits)?;
    if draft.call.stream {
        return Err(invalid("stream", "a count is no stream"));
    }
    draft.finish()
}

/// A call of which not all fields were read yet.
struct Draft {
    call: Call,
    model: Option<Box<str>>,
    fallbacks: Vec<Box<str>>,
    has_messages: bool,
}

impl Draft {
    fn read(body: &Bytes, limits: &Limits) -> Result<Self, Fault> {
        let mut reader = Reader::new(body, limits)?;
        let mut draft = Self { call: Call::of_model(""), model: None, fallbacks: Vec::new(), has_messages: false };
        draft.call.dialect = Dialect::Anthropic;
        draft.call.body_bytes = body.len() as u64;
        // This dialect has no answer without usage.
        draft.call.usage_asked = true;
        draft.members(&mut reader)?;
        reader.scan.end()?;
        Ok(draft)
    }

    fn members(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if reader.scan.peek()? != Kind::Object {
            return Err(wrong_type("", "the body must be a JSON object"));
        }
        let mut inside = reader.scan.object()?;
        let mut seen = Seen::default();
        let mut previous_end = None;
        while let Some(key) = reader.scan.key(&mut inside)? {
            let start = key.start();
            self.call.places.next_member(start);
            match seen.field::<Field>(&key)? {
                None => {
                    reader.scan.skip()?;
                }
                Some(field) => {
                    let kind = reader.scan.peek()?;
                    let value_start = reader.scan.at();
                    let name = Field::TABLE.get(field.index() as usize).map_or("", |(_, name)| *name);
                    match kind {
                        Kind::Null => null(field, name, reader)?,
                        _ => self.field(field, name, reader)?,
                    }
                    if splice::may_change(field) {
                        self.call.places.keep(field, Member::new(start, value_start, reader.scan.at(), previous_end));
                    }
                }
            }
            previous_end = Some(reader.scan.at());
        }
        Ok(())
    }

    fn field(&mut self, field: Field, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let call = &mut self.call;
        match field {
            Field::Model => self.model = Some(reader.name(name)?),
            Field::Messages => {
                Conversation::default().read(reader, call)?;
                self.has_messages = true;
            }
            Field::MaxTokens => {
                call.max_output = Some(reader.whole(name)?);
                call.parameters.insert(Parameter::MaxTokens);
            }
            Field::Stream => call.stream = reader.bool(name)?,
            Field::System => Blocks::default().read(reader, call, name)?,
            Field::Tools => tools::tools(reader, call)?,
            Field::ToolChoice => set(reader, call, Parameter::ToolChoice)?,
            Field::Thinking => tools::thinking(reader, call)?,
            Field::OutputConfig => tools::output_config(reader, call)?,
            Field::OutputFormat => tools::format(reader, call, name)?,
            Field::ContextManagement => tools::context_management(reader, call)?,
            Field::McpServers => {
                if reader.nonempty_array(name)? {
                    call.unbounded.insert(Unbounded::ServerTool);
                }
            }
            // Its code runs at the provider, with files that lie there.
            Field::Container => {
                reader.scan.skip()?;
                call.unbounded.insert(Unbounded::ServerTool);
            }
            Field::ServiceTier => {
                let tier = reader.name(name)?;
                if &*tier == "auto" {
                    call.unbounded.insert(Unbounded::ServiceTierAuto);
                }
                call.service_tier = Some(tier);
            }
            Field::StopSequences => set(reader, call, Parameter::Stop)?,
            Field::Temperature => set(reader, call, Parameter::Temperature)?,
            Field::TopP => set(reader, call, Parameter::TopP)?,
            Field::TopK => set(reader, call, Parameter::TopK)?,
            Field::Speed => only(reader, name, "standard", "other speeds have prices that are not known here")?,
            Field::InferenceGeo => only(reader, name, "global", "other places have prices that are not known here")?,
            // What the provider holds is in nobody's bound and at no other endpoint. Clients that hear so send all turns themselves.
            Field::Thread => {
                return Err(Fault::new(
                    FaultKind::HeldConversation,
                    name,
                    "this gateway keeps no conversations; send all messages without it",
                ));
            }
            _ => self.gateway_field(field, name, reader)?,
        }
        Ok(())
    }

    /// The fields that no provider of this dialect knows.
    fn gateway_field(&mut self, field: Field, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match field {
            Field::Models => self.call.models = reader.names(name)?,
            Field::Fallbacks => self.fallbacks = fallbacks(reader)?,
            Field::Provider => self.call.provider = preferences::read(reader)?,
            Field::SessionId => self.call.session = Some(reader.name(name)?),
            Field::Route => only(reader, name, "fallback", "only \"fallback\" is known")?,
            Field::Plugins | Field::Transforms => {
                if reader.nonempty_array(name)? {
                    return Err(unsupported(name, "this gateway has none; send an empty list or leave it out"));
                }
            }
            Field::Preset | Field::Debug => return Err(unsupported(name, "this gateway does not offer it")),
            _ => {
                reader.scan.skip()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Call, Fault> {
        if !self.fallbacks.is_empty() {
            if !self.call.models.is_empty() {
                return Err(invalid("fallbacks", "stands beside models; send one of them"));
            }
            self.call.models = self.fallbacks;
        }
        self.call.model = match self.model {
            Some(model) => model,
            None if !self.call.models.is_empty() => self.call.models.remove(0),
            None => return Err(Fault::new(FaultKind::Missing, "model", "this field is required")),
        };
        if !self.has_messages {
            return Err(Fault::new(FaultKind::Missing, "messages", "this field is required"));
        }
        Ok(self.call)
    }
}

/// `null` means "not set", except where something must be there.
fn null(field: Field, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Fault> {
    reader.scan.skip()?;
    match field {
        Field::Model => Err(wrong_type(name, "must be a string")),
        Field::Messages => Err(wrong_type(name, "must be an array")),
        _ => Ok(()),
    }
}

fn set(reader: &mut Reader<'_>, call: &mut Call, parameter: Parameter) -> Result<(), Fault> {
    reader.scan.skip()?;
    call.parameters.insert(parameter);
    Ok(())
}

fn only(reader: &mut Reader<'_>, name: &'static str, word: &str, why: &str) -> Result<(), Fault> {
    if &*reader.name(name)? == word { Ok(()) } else { Err(unsupported(name, why)) }
}

fn fallbacks(reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, Fault> {
    let mut models = Vec::new();
    reader.array("fallbacks", |reader| {
        if models.len() == MOST_FALLBACKS {
            return Err(invalid("", "more than 3 entries"));
        }
        let mut model = None;
        reader.object::<fields::Fallback>("", |reader, _| {
            model = Some(reader.name("model")?);
            Ok(())
        })?;
        models.push(model.ok_or_else(|| Fault::new(FaultKind::Missing, "model", "this field is required"))?);
        Ok(())
    })?;
    Ok(models)
}

/// The need and the parameters of an answer that follows a schema.
pub(super) fn structured(call: &mut Call) {
    call.needs.insert(Need::StructuredOutput);
    call.parameters.insert(Parameter::StructuredOutputs);
    call.parameters.insert(Parameter::ResponseFormat);
}
