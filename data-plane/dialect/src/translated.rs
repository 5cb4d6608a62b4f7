//! What crosses from one dialect to another: the provider's express machine decides over the bill, the end and the errors, as on the express lane;
//! what it lets pass is read into the neutral form and written in the caller's dialect.

use bytes::Bytes;

use crate::{
    BrokenAnswer, Dialect, Ending, ErrorBody, ErrorType, Fault, FrameTooLarge, Limits, Reading, Step, Stream, StreamOptions, anthropic,
    error_frames,
    neutral::{Carrier, Disorder, Event, Message, Notice, Prompt, Shown},
    openai,
};

/// The content of a request.
///
/// # Errors
/// A field of the neutral form is wrong, or the request contradicts itself.
pub fn read_prompt(dialect: Dialect, body: &Bytes, limits: &Limits) -> Result<Prompt, Fault> {
    match dialect {
        Dialect::OpenAi => openai::read_prompt(body, limits),
        Dialect::Anthropic => anthropic::read_prompt(body, limits),
    }
}

/// The request in the dialect of an endpoint, and what could not be carried as it was.
///
/// # Errors
/// It cannot be carried there, with the path in the caller's request.
pub fn write_prompt(dialect: Dialect, prompt: &Prompt, carrier: &Carrier<'_>) -> Result<(Bytes, Vec<Notice>), Fault> {
    match dialect {
        Dialect::OpenAi => openai::write_prompt(prompt, carrier),
        Dialect::Anthropic => anthropic::write_prompt(prompt, carrier),
    }
}

/// The content of a provider's whole answer.
///
/// # Errors
/// It is no answer in that dialect.
pub fn read_message(dialect: Dialect, body: &Bytes) -> Result<Message, BrokenAnswer> {
    match dialect {
        Dialect::OpenAi => openai::read_message(body),
        Dialect::Anthropic => anthropic::read_message(body),
    }
}

/// A whole answer in its caller's dialect, and what could not be shown as it was.
pub fn write_message(dialect: Dialect, message: &Message, shown: &Shown<'_>) -> (Bytes, Vec<Notice>) {
    match dialect {
        Dialect::OpenAi => openai::write_message(message, shown),
        Dialect::Anthropic => anthropic::write_message(message, shown),
    }
}

/// What a translated stream shows that its provider does not say.
#[derive(Clone, Debug)]
pub struct Telling {
    /// The caller's dialect.
    pub dialect: Dialect,
    /// The generation's id.
    pub id: Box<str>,
    /// The caller's own name for the model, for when the provider tells none.
    pub model: Box<str>,
    /// Unix time in seconds.
    pub created_s: u64,
    /// Usage is shown to callers in OpenAI's dialect.
    pub show_usage: bool,
    /// Members that only OpenRouter's clients look for.
    pub openrouter: bool,
}

/// A provider's stream broke a limit or the order of its dialect; it cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    #[error(transparent)]
    Frame(#[from] FrameTooLarge),
    #[error("the provider's stream is out of order: {0}")]
    Disorder(#[from] Disorder),
}

/// A provider's stream on its way to a caller of either dialect.
#[derive(Debug)]
pub enum Passage {
    /// In the same dialect.
    Express(Box<Stream>),
    /// In another one.
    Translated(Box<Translated>),
}

impl Passage {
    /// To a caller who speaks the provider's dialect.
    pub fn express(dialect: Dialect, options: StreamOptions) -> Self {
        Self::Express(Box::new(Stream::new(dialect, options)))
    }

    /// To a caller who speaks another one. `options` are those of the provider's side.
    pub fn translated(provider: Dialect, telling: Telling, options: StreamOptions) -> Self {
        Self::Translated(Box::new(Translated::new(provider, telling, options)))
    }

    /// The machine that knows usage, output and errors, in both lanes the same.
    pub fn provider(&self) -> &Stream {
        match self {
            Self::Express(stream) => stream,
            Self::Translated(translated) => &translated.provider,
        }
    }

    /// As [`Stream::push`].
    ///
    /// # Errors
    /// See [`StreamFault`].
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<Step, StreamFault> {
        match self {
            Self::Express(stream) => Ok(stream.push(chunk, out)?),
            Self::Translated(translated) => translated.push(chunk, out),
        }
    }

    /// As [`Stream::finish`].
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Ending {
        match self {
            Self::Express(stream) => stream.finish(out),
            Self::Translated(translated) => translated.finish(out),
        }
    }

    /// As [`Stream::ending`]. A translated stream out of order has ended in the middle, whatever it said at its end.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Express(stream) => stream.ending(),
            Self::Translated(translated) => translated.ending(),
        }
    }

    /// Before the end is written: reads what is held back. On the express lane there is nothing in it that could be out of order.
    ///
    /// # Errors
    /// What is held cannot be told in the caller's dialect; nothing is to be released.
    pub fn conclude(&mut self) -> Result<(), StreamFault> {
        match self {
            Self::Express(_) => Ok(()),
            Self::Translated(translated) => Ok(translated.conclude()?),
        }
    }

    /// As [`Stream::release`]. In translation what was held crosses over, then the caller's own terminal frames follow.
    pub fn release(&mut self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        match self {
            Self::Express(stream) => stream.release(cost_picousd, out),
            Self::Translated(translated) => translated.release(cost_picousd, out),
        }
    }
}

/// A stream in another dialect than its provider's.
#[derive(Debug)]
pub struct Translated {
    provider: Stream,
    reader: Reader,
    writer: Writer,
    telling: Telling,
    /// A fragment that belonged nowhere: the answer cannot be told to its end.
    disorder: Option<Disorder>,
    /// How the provider's stream stood when what it held was read.
    concluded: Option<Ending>,
    passed: Vec<Bytes>,
    events: Vec<Event>,
}

impl Translated {
    fn new(provider: Dialect, telling: Telling, options: StreamOptions) -> Self {
        // The usage is read from the provider's machine; what the caller sees of it is the writer's business.
        let express = Stream::new(provider, StreamOptions { show_usage: true, omit_nulls: false, ..options });
        let reader = match provider {
            Dialect::OpenAi => Reader::OpenAi(Box::new(openai::EventsReader::new(options.frame_bytes))),
            Dialect::Anthropic => Reader::Anthropic(Box::new(anthropic::EventsReader::new(options.frame_bytes))),
        };
        Self {
            provider: express,
            reader,
            writer: Writer::new(&telling),
            telling,
            disorder: None,
            concluded: None,
            passed: Vec::new(),
            events: Vec::new(),
        }
    }

    fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<Step, StreamFault> {
        if self.concluded.is_some() {
            return Ok(Step::Done);
        }
        let step = self.provider.push(chunk, &mut self.passed);
        // What came before the fault is told before it.
        self.carry_over(out)?;
        Ok(step?)
    }

    fn finish(&mut self, out: &mut Vec<Bytes>) -> Ending {
        if self.concluded.is_none() {
            self.provider.finish(&mut self.passed);
            let _ = self.carry_over(out);
        }
        self.ending()
    }

    fn ending(&self) -> Ending {
        match (self.concluded.unwrap_or_else(|| self.provider.ending()), self.disorder) {
            (Ending::Complete, Some(_)) => Ending::Truncated,
            (ending, _) => ending,
        }
    }

    fn release(&mut self, cost_picousd: Option<i64>, out: &mut Vec<Bytes>) -> Option<Bytes> {
        let concluded = self.conclude();
        self.write(out);
        if let Err(disorder) = concluded {
            let error = ErrorBody::new(ErrorType::ProviderUnavailable, format!("The provider's stream broke: {disorder}."));
            let Telling { dialect, id, model, created_s, .. } = &self.telling;
            out.extend(error_frames(*dialect, &error, id, model, *created_s));
            return None;
        }
        self.reader.finish(&mut self.events);
        self.write(out);
        self.writer.end(self.provider.usage(), cost_picousd, self.provider.service_tier(), out);
        None
    }

    /// Reads what is held back, and writes nothing of it yet.
    fn conclude(&mut self) -> Result<(), Disorder> {
        if self.concluded.is_none() {
            self.concluded = Some(self.provider.ending());
            self.provider.release(None, &mut self.passed);
        }
        self.read()
    }

    /// Reads what has passed and writes it anew.
    fn carry_over(&mut self, out: &mut Vec<Bytes>) -> Result<(), Disorder> {
        let read = self.read();
        self.write(out);
        read
    }

    fn read(&mut self) -> Result<(), Disorder> {
        for piece in std::mem::take(&mut self.passed) {
            if self.disorder.is_none() {
                self.disorder = self.reader.push(&piece, &mut self.events).err();
            }
        }
        self.disorder.map_or(Ok(()), Err)
    }

    fn write(&mut self, out: &mut Vec<Bytes>) {
        for event in self.events.drain(..) {
            self.writer.push(&event, out);
        }
    }
}

#[derive(Debug)]
enum Reader {
    OpenAi(Box<openai::EventsReader>),
    Anthropic(Box<anthropic::EventsReader>),
}

impl Reader {
    fn push(&mut self, bytes: &Bytes, out: &mut Vec<Event>) -> Result<(), Disorder> {
        match self {
            Self::OpenAi(reader) => reader.push(bytes, out),
            Self::Anthropic(reader) => reader.push(bytes, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        match self {
            Self::OpenAi(reader) => reader.finish(out),
            Self::Anthropic(reader) => reader.finish(out),
        }
    }
}

#[derive(Debug)]
enum Writer {
    OpenAi(Box<openai::EventsWriter>),
    Anthropic(Box<anthropic::EventsWriter>),
}

impl Writer {
    fn new(telling: &Telling) -> Self {
        let Telling { dialect, id, model, created_s, show_usage, openrouter } = telling;
        let (id, model) = (id.to_string(), model.to_string());
        match dialect {
            Dialect::OpenAi => Self::OpenAi(Box::new(openai::EventsWriter::new(id, model, *created_s, *show_usage, *openrouter))),
            Dialect::Anthropic => Self::Anthropic(Box::new(anthropic::EventsWriter::new(id, model, *created_s, *show_usage, *openrouter))),
        }
    }

    fn push(&mut self, event: &Event, out: &mut Vec<Bytes>) {
        match self {
            Self::OpenAi(writer) => writer.push(event, out),
            Self::Anthropic(writer) => writer.push(event, out),
        }
    }

    fn end(&mut self, reading: Option<&Reading>, cost_picousd: Option<i64>, service_tier: Option<&str>, out: &mut Vec<Bytes>) {
        match self {
            Self::OpenAi(writer) => writer.end(reading, cost_picousd, service_tier, out),
            Self::Anthropic(writer) => writer.end(reading, cost_picousd, service_tier, out),
        }
    }
}

#[cfg(test)]
mod tests;
