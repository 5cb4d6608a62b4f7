//! The hinge: a chat completion request becomes a [`Call`], in one pass over its bytes.

use bytes::Bytes;

use super::content;
use super::fields::{self, Field, ResponseFormat, UsageOptions};
use super::splice;
use crate::call::{Call, Need, Parameter, Unbounded};
use crate::fault::{Fault, FaultKind};
use crate::fields::{Level, Seen};
use crate::json::Kind;
use crate::limits::Limits;
use crate::places::Member;
use crate::preferences;
use crate::read::{Reader, invalid, unsupported};

/// Reads a chat completion request.
///
/// # Errors
/// The first fault in the order of the bytes, with its path; what is missing is found last.
pub fn read_request(body: &Bytes, limits: &Limits) -> Result<Call, Fault> {
    let mut reader = Reader::new(body, limits)?;
    let mut draft = Draft::default();
    draft.call.body_bytes = body.len() as u64;
    draft.members(&mut reader)?;
    reader.scan.end()?;
    draft.finish()
}

/// A call of which not all fields were read yet.
struct Draft {
    call: Call,
    model: Option<Box<str>>,
    has_messages: bool,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { call: Call::of_model(""), model: None, has_messages: false, max_tokens: None, max_completion_tokens: None }
    }
}

impl Draft {
    fn members(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if reader.scan.peek()? != Kind::Object {
            return Err(Fault::new(FaultKind::WrongType, "", "the body must be a JSON object"));
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
                    reader.scan.peek()?;
                    let value_start = reader.scan.at();
                    let name = Field::TABLE.get(field.index() as usize).map_or("", |(_, name)| *name);
                    self.field(field, name, reader)?;
                    let member = Member::new(start, value_start, reader.scan.at(), previous_end);
                    if splice::may_change(field) {
                        self.call.places.keep(field, member);
                    }
                }
            }
            previous_end = Some(reader.scan.at());
        }
        Ok(())
    }

    fn field(&mut self, field: Field, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if reader.scan.peek()? == Kind::Null {
            return self.null(field, name, reader);
        }
        let call = &mut self.call;
        match field {
            Field::Model => self.model = Some(reader.name(name)?),
            Field::Models => call.models = reader.names(name)?,
            Field::Messages => {
                content::messages(reader, call)?;
                self.has_messages = true;
            }
            Field::Stream => call.stream = reader.bool(name)?,
            Field::StreamOptions => {
                let places = &mut call.places;
                let asked = &mut call.usage_asked;
                reader.members::<fields::StreamOptions>(name, |reader, _| {
                    reader.scan.peek()?;
                    let start = reader.scan.at();
                    let include = reader.optional_bool("include_usage")?;
                    places.include_usage(start, reader.scan.at(), include);
                    *asked |= include == Some(true);
                    Ok(())
                })?;
            }
            Field::Usage => {
                let asked = &mut call.usage_asked;
                reader.object::<UsageOptions>(name, |reader, _| {
                    *asked |= reader.optional_bool("include")? == Some(true);
                    Ok(())
                })?;
            }
            Field::N => {
                let n = u32::try_from(reader.whole(name)?).ok().filter(|n| *n > 0);
                call.n = n.ok_or_else(|| invalid(name, "must be at least 1 and fit into 32 bits"))?;
            }
            Field::MaxTokens => self.max_tokens = Some(reader.whole(name)?),
            Field::MaxCompletionTokens => self.max_completion_tokens = Some(reader.whole(name)?),
            Field::Provider => call.provider = preferences::read(reader)?,
            Field::ServiceTier => {
                let tier = reader.name(name)?;
                if tier.eq_ignore_ascii_case("auto") {
                    call.unbounded.insert(Unbounded::ServiceTierAuto);
                }
                call.service_tier = Some(tier);
            }
            Field::SessionId => call.session = Some(reader.name(name)?),
            Field::Tools => content::tools(reader, call)?,
            Field::Functions => {
                if reader.nonempty_array(name)? {
                    call.needs.insert(Need::Tools);
                    call.parameters.insert(Parameter::Tools);
                }
            }
            Field::FunctionCall => {
                reader.scan.skip()?;
                call.parameters.insert(Parameter::ToolChoice);
            }
            Field::ResponseFormat => response_format(reader, call)?,
            Field::Modalities => content::modalities(reader, call)?,
            Field::BestOf => {
                if reader.whole(name)? > 1 {
                    call.unbounded.insert(Unbounded::BestOf);
                }
            }
            Field::SearchParameters => {
                reader.scan.skip()?;
                call.unbounded.insert(Unbounded::WebSearch);
            }
            Field::Route => {
                let route = reader.name(name)?;
                if &*route != "fallback" {
                    return Err(unsupported(name, "only \"fallback\" is known"));
                }
            }
            Field::Plugins | Field::Transforms => {
                if reader.nonempty_array(name)? {
                    return Err(unsupported(name, "this gateway has none; send an empty list or leave it out"));
                }
            }
            Field::Preset | Field::Debug => {
                return Err(unsupported(name, "this gateway does not offer it"));
            }
            Field::Trace => {
                reader.scan.skip()?;
            }
            _ => {
                reader.scan.skip()?;
                match field {
                    Field::WebSearchOptions => call.unbounded.insert(Unbounded::WebSearch),
                    Field::Prediction => call.unbounded.insert(Unbounded::Prediction),
                    _ => {}
                }
            }
        }
        if let Some(parameter) = Parameter::from_name(name)
            && !matches!(field, Field::Tools | Field::Functions)
        {
            self.call.parameters.insert(parameter);
        }
        Ok(())
    }

    /// `null` means "not set", except where something must be there.
    fn null(&mut self, field: Field, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Fault> {
        reader.scan.skip()?;
        match field {
            Field::Model => Err(Fault::new(FaultKind::WrongType, name, "must be a string")),
            Field::Messages => Err(Fault::new(FaultKind::WrongType, name, "must be an array")),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Call, Fault> {
        self.call.model = match self.model {
            Some(model) => model,
            None if !self.call.models.is_empty() => self.call.models.remove(0),
            None => return Err(Fault::new(FaultKind::Missing, "model", "this field is required")),
        };
        if !self.has_messages {
            return Err(Fault::new(FaultKind::Missing, "messages", "this field is required"));
        }
        self.call.max_output = match (self.max_completion_tokens, self.max_tokens) {
            (Some(new), Some(old)) if new != old => {
                return Err(invalid("max_tokens", "differs from max_completion_tokens; send one of them"));
            }
            (new, old) => new.or(old),
        };
        Ok(self.call)
    }
}

fn response_format(reader: &mut Reader<'_>, call: &mut Call) -> Result<(), Fault> {
    reader.object::<ResponseFormat>("response_format", |reader, _| {
        if &*reader.name("type")? == "json_schema" {
            call.needs.insert(Need::StructuredOutput);
            call.parameters.insert(Parameter::StructuredOutputs);
        }
        Ok(())
    })
}
