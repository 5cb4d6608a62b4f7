//! A folder of recorded interactions: `<provider>/<endpoint>/<id>.json`, and `wild-errors.json` beside them.
//!
//! Nothing is left out silently: what is not asked has a reason, and the reasons are counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// Folders beside the interactions that hold something else: answers without a request, and texts of licenses.
const NO_PROVIDERS: [&str; 2] = ["response-only", "licenses"];

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
    /// OpenAI chat, to be asked.
    pub chats: Vec<Interaction>,
    /// Errors of other dialects: a provider's error is judged by its words, so they are served in answer to a chat request too.
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
        let mut read =
            Self { files: BTreeMap::new(), chats: Vec::new(), foreign_errors: Vec::new(), excluded: BTreeMap::new(), wild: Vec::new() };
        for provider in folders(folder)?.into_iter().filter(|path| !NO_PROVIDERS.iter().any(|name| path.ends_with(name))) {
            for endpoint in folders(&provider)? {
                for file in entries(&endpoint)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
                    let text = fs::read(&file).with_context(|| file.display().to_string())?;
                    read.take(serde_json::from_slice(&text).with_context(|| file.display().to_string())?);
                }
            }
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
        let reason = if interaction.endpoint == "chat" {
            match &interaction.expect {
                _ if answer.body_base64.is_some() => "the answer was recorded as binary".to_owned(),
                _ if answer.bytes().is_empty() => "no byte of the answer was recorded".to_owned(),
                None => "there is no independent reading to compare with".to_owned(),
                Some(_) if !interaction.request.body.is_object() => "the request was not recorded".to_owned(),
                Some(_) => return self.chats.push(interaction),
            }
        } else if answer.status >= 400 && answer.body_base64.is_none() && !answer.is_sse {
            return self.foreign_errors.push(interaction);
        } else {
            format!("dialect {}, which is not OpenAI chat", interaction.endpoint)
        };
        self.excluded.entry(reason).or_default().push(interaction.id);
    }
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
