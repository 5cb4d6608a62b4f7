//! Reading: sources → documents, or every fault.

use std::{collections::HashMap, sync::Arc};

use waybill_proto::model::v1::Resource;

use super::{
    API_VERSION,
    decode::decode,
    fault::{Fault, FaultCode},
    source::{DOCUMENT_BYTES, Text, count, divide},
    spans::{Outline, Spans, outline},
};
use crate::{
    check::{self, Code, Violation, nearest, or_nothing},
    resource::{Kind, metadata},
};

/// A resource with its place.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub resource: Resource,
    /// Name of its file.
    pub file: Arc<str>,
    /// Its place among the documents of its file, from 0.
    pub index: usize,
    /// The file's line on which it begins, from 1.
    pub first_line: u32,
    /// Where its fields are, in lines of the document.
    pub spans: Spans,
    /// Its text.
    pub text: Arc<str>,
}

impl Document {
    /// The fault that a violation of this document is.
    #[must_use]
    pub fn fault(&self, path: &str, code: Code, message: &str) -> Fault {
        let text = Text { file: &self.file, text: &self.text, first_line: self.first_line };
        let (line, column) = self.spans.find(path);
        let mut fault = text.fault(line, column, path, FaultCode::Rule(code), message.to_owned());
        if code == Code::SecretMalformed {
            // The usual cause is a secret in the place of its name.
            fault.snippet.clear();
        }
        fault
    }
}

/// Reads named sources.
///
/// # Errors
/// Every source or document that cannot be read has one fault (its first). If there is any, the faults of the documents that can be read
/// are there too, as far as they show without other resources; if there is none, the caller checks the whole world and [`locate`]s what that
/// finds.
pub fn read(sources: &[(&str, &[u8])]) -> Result<Vec<Document>, Vec<Fault>> {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for (file, bytes) in sources {
        match divide(file, bytes) {
            Ok(texts) => {
                let file: Arc<str> = (*file).into();
                for (index, text) in texts.into_iter().enumerate() {
                    match read_one(text, Arc::clone(&file), index) {
                        Ok(document) => documents.push(document),
                        Err(fault) => faults.push(fault),
                    }
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        return Ok(documents);
    }
    for document in &documents {
        faults.extend(check::alone(&document.resource).into_iter().map(|found| document.fault(&found.path, found.code, &found.message)));
    }
    let order = |fault: &Fault| (sources.iter().position(|(file, _)| *file == fault.file), fault.line, fault.column);
    faults.sort_by_key(order);
    Err(faults)
}

/// The fault of each violation in the document of its kind and name, or nothing if there is no such document. Of several it is the last,
/// which is the one that a check calls a duplicate.
#[must_use]
pub fn locate(documents: &[Document], violations: &[Violation]) -> Vec<Option<Fault>> {
    let key = |document: &'_ Document| Some((Kind::of(&document.resource)?.name(), metadata(&document.resource).name.clone()));
    let index: HashMap<_, _> = documents.iter().filter_map(|document| Some((key(document)?, document))).collect();
    let fault = |violation: &Violation| {
        let document = index.get(&(violation.kind, violation.name.clone()))?;
        Some(document.fault(&violation.path, violation.code, &violation.message))
    };
    violations.iter().map(fault).collect()
}

fn read_one(text: Text<'_>, file: Arc<str>, index: usize) -> Result<Document, Fault> {
    if text.text.len() > DOCUMENT_BYTES {
        let message = format!("the document has {} bytes: at most {DOCUMENT_BYTES}", text.text.len());
        return Err(text.fault(1, 1, "", FaultCode::Limit, message));
    }
    let found = outline(text)?;
    let kind = head(&found, text)?;
    let resource = decode(kind, text, &found.spans)?;
    Ok(Document { resource, file, index, first_line: text.first_line, spans: found.spans, text: text.text.into() })
}

/// The kind, after a look at what every document begins with.
fn head(found: &Outline, text: Text<'_>) -> Result<Kind, Fault> {
    let fault = |path: &str, message: String| {
        let (line, column) = if found.is_mapping { found.spans.find(path) } else { (first_line(text), 1) };
        Err(text.fault(line, column, path, FaultCode::Header, message))
    };
    if !found.is_mapping {
        return fault("", format!("a document has the keys apiVersion: {API_VERSION}, kind, metadata, spec"));
    }
    match found.head.get("apiVersion").map(String::as_str) {
        Some(API_VERSION) => {}
        Some(other) => {
            return fault("apiVersion", format!("`{other}` is not a version that is read here: write apiVersion: {API_VERSION}"));
        }
        None => return fault("apiVersion", format!("`apiVersion` is missing: write apiVersion: {API_VERSION}")),
    }
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    let Some(word) = found.head.get("kind") else {
        return fault("kind", format!("`kind` is missing: use one of {}", names().collect::<Vec<_>>().join(", ")));
    };
    match Kind::ALL.iter().find(|kind| kind.name() == word) {
        Some(kind) => Ok(*kind),
        None => {
            let guess = or_nothing(nearest(word, names()));
            fault("kind", format!("there is no kind `{word}`{guess}: use one of {}", names().collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The first line of the text that says something.
fn first_line(text: Text<'_>) -> u32 {
    let says = |line: &str| !(line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---");
    text.text.lines().position(says).map_or(1, |position| count(position + 1))
}
