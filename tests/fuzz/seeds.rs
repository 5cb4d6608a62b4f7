//! Well-formed input to begin with: the corpus suite's own fixtures, and the recordings where they are there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longest seed: recordings of whole books say nothing that a page does not.
const LONGEST: usize = 32 << 10;

/// What a seed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    ChatRequest,
    MessagesRequest,
    ChatAnswer,
    MessagesAnswer,
    ChatStream,
    MessagesStream,
    /// An error, whole.
    Error,
}

pub struct Seeds(Vec<(Shape, Vec<u8>)>);

impl Seeds {
    pub fn read() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        list(&here.join("corpus/fixtures"), &mut files)?;
        let recorded = here.join("../../shared/corpus");
        if recorded.is_dir() {
            list(&recorded, &mut files)?;
        } else {
            println!("the recordings are not present at ../shared/corpus: the fixtures alone are the beginning");
        }
        files.sort();
        let mut seeds = Self(Vec::new());
        for file in files {
            let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            if let Ok(interaction) = serde_json::from_slice(&text) {
                seeds.take(&interaction);
            }
        }
        for shape in
            [Shape::ChatRequest, Shape::MessagesRequest, Shape::ChatAnswer, Shape::MessagesAnswer, Shape::ChatStream, Shape::MessagesStream]
        {
            ensure!(seeds.0.iter().any(|(found, _)| *found == shape), "no fixture is a {shape:?}");
        }
        Ok(seeds)
    }

    fn take(&mut self, interaction: &Value) {
        let shapes = match interaction["endpoint"].as_str() {
            Some("chat") => (Shape::ChatRequest, Shape::ChatAnswer, Shape::ChatStream),
            Some("messages") => (Shape::MessagesRequest, Shape::MessagesAnswer, Shape::MessagesStream),
            _ => return,
        };
        let (request, answer, stream) = shapes;
        if interaction["request"]["body"].is_object() {
            self.add(request, interaction["request"]["body"].to_string());
        }
        let response = &interaction["response"];
        let text = response["body_text"].as_str().map(str::to_owned);
        let Some(text) = text.or_else(|| response["body"].is_object().then(|| response["body"].to_string())) else { return };
        if response["is_sse"] == true {
            self.add(stream, text);
        } else if response["status"].as_u64().is_some_and(|status| status >= 300) {
            self.add(Shape::Error, text);
        } else {
            self.add(answer, text);
        }
    }

    fn add(&mut self, shape: Shape, text: String) {
        if text.len() <= LONGEST {
            self.0.push((shape, text.into_bytes()));
        }
    }

    pub fn of(&self, shape: Shape) -> Vec<Vec<u8>> {
        self.0.iter().filter(|(found, _)| *found == shape).map(|(_, text)| text.clone()).collect()
    }

    fn count(&self, shapes: &[Shape]) -> usize {
        self.0.iter().filter(|(shape, _)| shapes.contains(shape)).count()
    }

    pub fn requests(&self) -> usize {
        self.count(&[Shape::ChatRequest, Shape::MessagesRequest])
    }

    pub fn answers(&self) -> usize {
        self.count(&[Shape::ChatAnswer, Shape::MessagesAnswer, Shape::Error])
    }

    pub fn streams(&self) -> usize {
        self.count(&[Shape::ChatStream, Shape::MessagesStream])
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}
