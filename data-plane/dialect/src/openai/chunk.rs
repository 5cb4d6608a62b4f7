//! One completion object, whole or a chunk of a stream: the members that decide, without a DOM.

use super::nulls::Nulls;
use super::usage;
use crate::json::{Error, Kind, Scan, ScanLimits, Span, Text};
use crate::output::Output;
use crate::usage::UsageObject;

/// Which member of a choice holds the output. Some providers send both in a stream, and then only the delta counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Chunk,
}

impl Form {
    fn member(self) -> &'static [u8] {
        match self {
            Self::Whole => b"message",
            Self::Chunk => b"delta",
        }
    }
}

/// What a completion object holds.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    pub id: Option<Text<'a>>,
    pub model: Option<Text<'a>>,
    /// The tier that the provider served, whatever was asked for.
    pub service_tier: Option<Text<'a>>,
    /// The top-level `usage`, unless it is `null`.
    pub usage: Option<UsageObject>,
    /// Groq's second place for it.
    pub x_groq_usage: Option<UsageObject>,
    pub nulls: Nulls,
    /// There is a `system_fingerprint`, be it `null`.
    pub has_fingerprint: bool,
    /// The top-level `error`, unless it is `null`.
    pub error: Option<Span>,
    pub choices: Choices<'a>,
}

/// All choices of the object together.
#[derive(Debug, Default)]
pub(super) struct Choices<'a> {
    pub count: u32,
    pub finished: u32,
    /// The last finish reason that is neither `null` nor empty.
    pub finish: Option<Text<'a>>,
    /// An `error` inside a choice.
    pub error: Option<Span>,
    pub output: Output,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(text: &'a [u8], form: Form) -> Result<Self, Error> {
        let mut scan = Scan::new(text, ScanLimits::ANSWER);
        let mut chunk = Self::default();
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            if key.is_escaped() {
                // No provider escapes plain letters, and a client that reads this as usage was told by us it is none.
                scan.skip()?;
                continue;
            }
            match key.raw() {
                b"choices" if scan.peek()? == Kind::Array => chunk.choices.read(&mut scan, form)?,
                b"id" if scan.peek()? == Kind::String => chunk.id = Some(scan.string()?),
                b"model" if scan.peek()? == Kind::String => chunk.model = Some(scan.string()?),
                b"service_tier" if scan.peek()? == Kind::String => chunk.service_tier = Some(scan.string()?),
                b"usage" if scan.peek()? != Kind::Null => chunk.usage = Some(usage::read(&mut scan)?),
                b"usage" => chunk.nulls.add(key.start(), scan.skip()?),
                b"system_fingerprint" => {
                    chunk.has_fingerprint = true;
                    let is_null = scan.peek()? == Kind::Null;
                    let value = scan.skip()?;
                    if is_null {
                        chunk.nulls.add(key.start(), value);
                    }
                }
                b"error" if scan.peek()? != Kind::Null => chunk.error = Some(scan.skip()?),
                b"x_groq" if scan.peek()? == Kind::Object => chunk.x_groq(&mut scan)?,
                _ => {
                    scan.skip()?;
                }
            }
        }
        scan.end()?;
        Ok(chunk)
    }

    fn x_groq(&mut self, scan: &mut Scan<'a>) -> Result<(), Error> {
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            match key.raw() {
                b"usage" if scan.peek()? != Kind::Null => self.x_groq_usage = Some(usage::read(scan)?),
                b"error" if scan.peek()? != Kind::Null => {
                    let error = scan.skip()?;
                    self.error.get_or_insert(error);
                }
                _ => {
                    scan.skip()?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Choices<'a> {
    fn read(&mut self, scan: &mut Scan<'a>, form: Form) -> Result<(), Error> {
        let mut inside = scan.array()?;
        while scan.element(&mut inside)? {
            self.count += 1;
            if scan.peek()? == Kind::Object {
                self.choice(scan, form)?;
            } else {
                scan.skip()?;
            }
        }
        Ok(())
    }

    fn choice(&mut self, scan: &mut Scan<'a>, form: Form) -> Result<(), Error> {
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            let kind = scan.peek()?;
            match (key.raw(), kind) {
                (raw, Kind::Object) if raw == form.member() => {
                    let output = output(scan)?;
                    self.output.add(&output);
                }
                (b"finish_reason", Kind::String) => {
                    let reason = scan.string()?;
                    if !reason.raw().is_empty() {
                        self.finished += 1;
                        self.finish = Some(reason);
                    }
                }
                (b"text", Kind::String) => self.output.text += scan.string()?.decoded_len() as u64,
                (b"error", Kind::Object | Kind::String) => self.error = Some(scan.skip()?),
                _ => {
                    scan.skip()?;
                }
            }
        }
        Ok(())
    }
}

/// The output inside a `message` or `delta`.
fn output(scan: &mut Scan<'_>) -> Result<Output, Error> {
    let mut output = Output::default();
    // Providers tell one thought under up to three names; it counts once.
    let mut thoughts = [0; 3];
    let mut inside = scan.object()?;
    while let Some(key) = scan.key(&mut inside)? {
        match key.raw() {
            b"content" if scan.peek()? == Kind::Array => {
                let (text, thought) = parts(scan)?;
                output.text += text;
                thoughts[0] += thought;
            }
            b"content" | b"refusal" => output.text += written(scan, &[b"text"])?,
            b"reasoning" => thoughts[0] += written(scan, &[b"text"])?,
            b"reasoning_content" => thoughts[1] += written(scan, &[b"text"])?,
            // An encrypted thought has no text that could be counted.
            b"reasoning_details" => thoughts[2] += written(scan, &[b"text", b"summary"])?,
            b"tool_calls" | b"function_call" => {
                let has_calls = scan.peek()? != Kind::Null;
                let before = scan.at();
                output.tool_calls += written(scan, &[b"name", b"arguments"])?;
                output.has_tool_calls |= has_calls && scan.at() - before > "[]".len();
            }
            b"audio" | b"images" => {
                let before = scan.at();
                output.text += written(scan, &[b"transcript"])?;
                output.has_media |= scan.at() - before > "null".len();
            }
            _ => {
                scan.skip()?;
            }
        }
    }
    output.reasoning = thoughts.into_iter().max().unwrap_or(0);
    Ok(output)
}

/// Bytes of text and of thought in content of several parts (Mistral thinks in parts of its own).
fn parts(scan: &mut Scan<'_>) -> Result<(u64, u64), Error> {
    let (mut text, mut thought) = (0, 0);
    let mut parts = scan.array()?;
    while scan.element(&mut parts)? {
        if scan.peek()? != Kind::Object {
            text += written(scan, &[b"text"])?;
            continue;
        }
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            match key.raw() {
                b"thinking" => thought += written(scan, &[b"text"])?,
                b"text" => text += written(scan, &[b"text"])?,
                _ => {
                    scan.skip()?;
                }
            }
        }
    }
    Ok((text, thought))
}

/// Bytes of a string, or of all strings that stand under one of `keys` at any depth.
fn written(scan: &mut Scan<'_>, keys: &[&[u8]]) -> Result<u64, Error> {
    match scan.peek()? {
        Kind::String => Ok(scan.string()?.decoded_len() as u64),
        _ => written_inside(scan, keys),
    }
}

/// As deep as the scan allows, which has a limit.
fn written_inside(scan: &mut Scan<'_>, keys: &[&[u8]]) -> Result<u64, Error> {
    let mut bytes = 0;
    match scan.peek()? {
        Kind::Array => {
            let mut inside = scan.array()?;
            while scan.element(&mut inside)? {
                bytes += written_inside(scan, keys)?;
            }
        }
        Kind::Object => {
            let mut inside = scan.object()?;
            while let Some(key) = scan.key(&mut inside)? {
                bytes += match scan.peek()? {
                    Kind::String if keys.contains(&key.raw()) => scan.string()?.decoded_len() as u64,
                    _ => written_inside(scan, keys)?,
                };
            }
        }
        _ => {
            scan.skip()?;
        }
    }
    Ok(bytes)
}
