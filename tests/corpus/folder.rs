//! A folder of recorded interactions: `<provider>/<endpoint>/<id>.json`; beside them `response-only/<provider>/<endpoint>--<case>.json`, which
//! are answers without a request, and `wild-errors.json`.
//!
//! Nothing is left out silently: what is not asked has a reason, and the reasons are counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::dialect::Dialect;

/// Answers without a request.
const ANSWERS: &str = "response-only";

/// Folders beside the interactions that hold something else: answers, and texts of licenses.
const NO_PROVIDERS: [&str; 2] = [ANSWERS, "licenses"];

/// One recorded request with its answer.
#[derive(Debug, Deserialize)]
pub struct Interaction {
    pub id: String,
    pub provider: String,
    /// The dialect it is in.
    pub endpoint: String,
    pub request: Asked,
    pub response: Answered,
    /// An independent reading of the answer.
    pub expect: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub body: Value,
}

#[derive(Debug, Deserialize)]
pub struct Answered {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub is_sse: bool,
    #[serde(default)]
    pub body: Value,
    pub body_text: Option<String>,
    pub body_base64: Option<String>,
}

impl Answered {
    /// The bytes that are served: the exact text where it was kept, else the parsed body written anew.
    pub fn bytes(&self) -> Vec<u8> {
        self.body_text.as_ref().map_or_else(|| self.body.to_string(), Clone::clone).into_bytes()
    }
}

/// A quoted error of `wild-errors.json`.
#[derive(Debug, Deserialize)]
pub struct WildError {
    pub id: String,
    pub provider: String,
    /// `http`: a whole answer. `sse`: an event inside a stream. `message`: the text was quoted, its shape is the provider's usual one.
    pub kind: String,
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Value,
    /// For `sse`: the type and the payload of the event.
    pub event: Option<String>,
    pub data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WildErrors {
    errors: Vec<WildError>,
}

/// What a folder holds.
#[derive(Debug)]
pub struct Folder {
    /// Files of interactions by provider and endpoint.
    pub files: BTreeMap<(String, String), usize>,
    /// In a dialect that is spoken here, to be asked.
    pub spoken: Vec<(Dialect, Interaction)>,
    /// Answers in such a dialect without the request that was asked then.
    pub answers: Vec<(Dialect, Interaction)>,
    /// Questions how many tokens a request in Anthropic's dialect has.
    pub counts: Vec<Interaction>,
    /// Errors of other dialects: a provider's error is judged by its words, so they are served in the dialects that are spoken, too.
    pub foreign_errors: Vec<Interaction>,
    /// Reason and ids of what is not asked.
    pub excluded: BTreeMap<String, Vec<String>>,
    pub wild: Vec<WildError>,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// A file cannot be read or is not in the format; a folder without any interaction.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut read = Self {
            files: BTreeMap::new(),
            spoken: Vec::new(),
            answers: Vec::new(),
            counts: Vec::new(),
            foreign_errors: Vec::new(),
            excluded: BTreeMap::new(),
            wild: Vec::new(),
        };
        for provider in folders(folder)?.into_iter().filter(|path| !NO_PROVIDERS.iter().any(|name| path.ends_with(name))) {
            for endpoint in folders(&provider)? {
                for file in entries(&endpoint)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
                    let text = fs::read(&file).with_context(|| file.display().to_string())?;
                    read.take(serde_json::from_slice(&text).with_context(|| file.display().to_string())?);
                }
            }
        }
        if folder.join(ANSWERS).is_dir() {
            read.take_answers(&folder.join(ANSWERS))?;
        }
        if read.total() == 0 {
            bail!("{} holds no interaction", folder.display());
        }
        let wild = folder.join("wild-errors.json");
        if wild.exists() {
            read.wild = serde_json::from_slice::<WildErrors>(&fs::read(&wild)?).with_context(|| wild.display().to_string())?.errors;
        }
        Ok(read)
    }

    /// All files of interactions.
    pub fn total(&self) -> usize {
        self.files.values().sum()
    }

    fn take(&mut self, interaction: Interaction) {
        *self.files.entry((interaction.provider.clone(), interaction.endpoint.clone())).or_default() += 1;
        let answer = &interaction.response;
        let reason = if let Some(dialect) = Dialect::of_folder(&interaction.endpoint) {
            match &interaction.expect {
                _ if answer.body_base64.is_some() => "the answer was recorded as binary".to_owned(),
                _ if answer.bytes().is_empty() => "no byte of the answer was recorded".to_owned(),
                None => "there is no independent reading to compare with".to_owned(),
                Some(_) if !interaction.request.body.is_object() => "the request was not recorded".to_owned(),
                Some(_) => return self.spoken.push((dialect, interaction)),
            }
        } else if interaction.endpoint == "messages-count" && interaction.request.body.is_object() {
            return self.counts.push(interaction);
        } else if answer.status >= 400 && answer.body_base64.is_none() && !answer.is_sse {
            return self.foreign_errors.push(interaction);
        } else {
            format!("dialect {}, which is not spoken here", interaction.endpoint)
        };
        self.excluded.entry(reason).or_default().push(interaction.id);
    }

    /// `<provider>/<endpoint>--<case>.json`.
    fn take_answers(&mut self, folder: &Path) -> Result<()> {
        for provider in folders(folder)? {
            for file in entries(&provider)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
                let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let Some((endpoint, case)) = stem.split_once("--") else { bail!("{} names no endpoint", file.display()) };
                let read = fs::read(&file).with_context(|| file.display().to_string())?;
                let answer: AnswerAlone = serde_json::from_slice(&read).with_context(|| file.display().to_string())?;
                *self.files.entry((answer.provider.clone(), format!("{endpoint} (answer only)"))).or_default() += 1;
                let id = format!("{}-{case}", answer.provider);
                match Dialect::of_folder(endpoint).map(|dialect| (dialect, answer.interaction(dialect, &id, endpoint))) {
                    Some((dialect, Ok(interaction))) => self.answers.push((dialect, interaction)),
                    Some((_, Err(reason))) => self.excluded.entry(reason).or_default().push(id),
                    None => self.excluded.entry(format!("dialect {endpoint}, which is not spoken here")).or_default().push(id),
                }
            }
        }
        Ok(())
    }
}

/// An answer without a request.
#[derive(Debug, Deserialize)]
struct AnswerAlone {
    provider: String,
    response: Alone,
    expect: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Alone {
    /// `ndjson`: a stream, one event a line.
    body_kind: String,
    #[serde(default)]
    body: Value,
    body_text: Option<String>,
}

impl AnswerAlone {
    /// As an interaction that asks for next to nothing; the reason, if it cannot be served.
    fn interaction(self, dialect: Dialect, id: &str, endpoint: &str) -> Result<Interaction, String> {
        let Some(expect) = self.expect else { return Err("there is no independent reading to compare with".to_owned()) };
        if expect["finish"].is_null() {
            return Err("an answer alone that is none of its dialect".to_owned());
        }
        let is_sse = self.response.body_kind == "ndjson";
        let body_text = match self.response.body_text {
            Some(lines) if is_sse => {
                if lines.matches("\"type\":\"message_stop\"").count() > 1 {
                    return Err("several answers written into one stream".to_owned());
                }
                Some(framed(dialect, &lines))
            }
            text => text,
        };
        let names = expect["tool_calls"].as_array().into_iter().flatten().filter_map(|call| call["name"].as_str());
        let body = dialect.plain_request(is_sse, &names.map(str::to_owned).collect::<Vec<_>>());
        let response = Answered { status: 200, headers: BTreeMap::new(), is_sse, body: self.response.body, body_text, body_base64: None };
        let (id, endpoint) = (id.to_owned(), endpoint.to_owned());
        Ok(Interaction { id, provider: self.provider, endpoint, request: Asked { body }, response, expect: Some(expect) })
    }
}

/// Events, one a line, in the frames that their dialect has.
fn framed(dialect: Dialect, lines: &str) -> String {
    let frame = |line: &str| match dialect {
        Dialect::OpenAi => format!("data: {line}\n\n"),
        Dialect::Anthropic => {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            format!("event: {}\ndata: {line}\n\n", event["type"].as_str().unwrap_or_default())
        }
    };
    let mut stream: String = lines.lines().filter(|line| !line.trim().is_empty()).map(frame).collect();
    if dialect == Dialect::OpenAi && !stream.contains("[DONE]") {
        stream.push_str("data: [DONE]\n\n");
    }
    stream
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = listed.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    // The order of a folder is the file system's own affair; a run is to be repeatable.
    paths.sort();
    Ok(paths)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}
