//! The provider: a process of its own that is never killed, and what it has recorded, which is the truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Launch, Process, program, wait_until};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ids::{self, Id};

/// How long its start and its end may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The running provider.
pub struct Provider {
    process: Process,
    records: PathBuf,
    /// Where it answers.
    pub base_url: String,
}

impl Provider {
    /// Starts it; its records go to a file in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Ready {
            base_url: String,
        }
        let (records, ready) = (folder.join("records.jsonl"), folder.join("provider.json"));
        let launch = Launch::new(program("waybill-sandbox")?).args(["--records"]).args([&records]).args(["--ready-file"]).args([&ready]);
        let mut process = launch.spawn(&folder.join("provider.log"))?;
        let Ready { base_url } = wait_until("the provider's ready file", LIMIT, || {
            process.still_runs()?;
            Ok(fs::read(&ready).ok().and_then(|text| serde_json::from_slice(&text).ok()))
        })?;
        Ok(Self { process, records, base_url })
    }

    /// What it has recorded so far.
    pub fn records(&self) -> Result<Vec<Record>> {
        read(&self.records)
    }

    /// Ends it and reads its records.
    pub fn stop(mut self) -> Result<Vec<Record>> {
        let status = self.process.terminate(LIMIT)?;
        ensure!(status.success(), "the provider ended with {status}: {}", self.process.printed());
        read(&self.records)
    }
}

/// Tokens by the provider's books: the cached ones are part of the prompt, reasoning is part of the completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub cached: u64,
    pub reasoning: u64,
}

/// What the provider knows of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The attempt ids in its headers, each once.
    pub attempts: Vec<Id>,
    /// The first word of the caller's message.
    pub marker: String,
    /// The model that it was asked for.
    pub model: String,
    /// The status that was sent, if the answer came so far.
    pub status: Option<u16>,
    /// What the call costs by its books.
    pub usage: Option<Usage>,
    /// The last statement of usage that it sent.
    pub usage_sent: Option<Usage>,
    /// Bytes of what the model says that a stream had brought out when it was over or broke.
    pub said_bytes: u64,
}

/// What the provider takes for a token of a text.
const BYTES_PER_TOKEN: u64 = 4;

impl Record {
    /// What it has written, as its books would have it: of a stream as far as it came.
    pub fn delivered(&self, is_streamed: bool) -> Option<Usage> {
        let usage = self.usage?;
        let completion = if is_streamed { self.said_bytes.div_ceil(BYTES_PER_TOKEN) } else { usage.completion };
        Some(Usage { completion, reasoning: 0, ..usage })
    }
}

#[derive(Deserialize)]
struct Line {
    arrival: u64,
    event: String,
    headers: Option<Vec<(String, String)>>,
    body: Option<Body>,
    status: Option<u16>,
    usage: Option<Usage>,
    #[serde(default)]
    said_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Utf8(String),
    Hex(#[allow(dead_code, reason = "no body of this suite is sent in it")] String),
}

#[derive(Deserialize)]
struct Asked {
    model: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

fn read(file: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(file).with_context(|| format!("the records {}", file.display()))?;
    // The last line may be half written while it runs.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut records = BTreeMap::<u64, Record>::new();
    for line in whole.lines() {
        let line: Line = serde_json::from_str(line).context("a line of the provider's records")?;
        add(records.entry(line.arrival).or_default(), line)?;
    }
    Ok(records.into_values().collect())
}

fn add(record: &mut Record, line: Line) -> Result<()> {
    match line.event.as_str() {
        "arrived" => {
            let Some(Body::Utf8(body)) = line.body else { anyhow::bail!("a request whose body is no text") };
            let asked: Asked = serde_json::from_str(&body).with_context(|| format!("a request's body: {body}"))?;
            let words = asked.messages.last().map(|message| message.content.as_str()).unwrap_or_default();
            record.marker = words.split(' ').next().unwrap_or_default().to_owned();
            record.model = asked.model;
            for (_, value) in line.headers.unwrap_or_default() {
                record.attempts.extend(ids::parse("att-", &value).filter(|id| !record.attempts.contains(id)));
            }
        }
        "answering" => (record.status, record.usage) = (line.status, line.usage),
        "usage" => record.usage_sent = line.usage,
        "over" => record.said_bytes = line.said_bytes,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_folded_from_their_lines() {
        let usage = r#"{"prompt":3,"completion":4,"cached":1,"reasoning":2}"#;
        let body = r#"{\"model\":\"m\",\"messages\":[{\"content\":\"first\"},{\"content\":\"kill-1-2 count\"}]}"#;
        let attempt = "att-00000000000000000000000007";
        let text = format!(
            r#"{{"arrival":1,"at_us":1,"event":"arrived","method":"POST","path":"/","headers":[["x-client-request-id","{attempt}"],["a","b"]],"body":{{"utf8":"{body}"}}}}
{{"arrival":2,"at_us":1,"event":"arrived","method":"POST","path":"/","headers":[],"body":{{"utf8":"{body}"}}}}
{{"arrival":1,"at_us":2,"event":"answering","status":200,"usage":{usage}}}
{{"arrival":1,"at_us":3,"event":"usage","usage":{usage}}}
{{"arrival":1,"at_us":3,"event":"done"}}
{{"arrival":2,"at_us":4,"event":"answering","status":500,"usage":null}}
{{"arrival":1,"at_us":5,"event":"over","outcome":"ended","body_bytes":9,"said_bytes":7}}
"#
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records");
        fs::write(&file, text).unwrap();
        let usage = Some(Usage { prompt: 3, completion: 4, cached: 1, reasoning: 2 });
        let seven = ids::parse("att-", attempt).unwrap();
        let (marker, model) = ("kill-1-2".to_owned(), "m".to_owned());
        let first = Record {
            attempts: vec![seven],
            marker: marker.clone(),
            model: model.clone(),
            status: Some(200),
            usage,
            usage_sent: usage,
            said_bytes: 7,
        };
        assert_eq!(first.delivered(true), Some(Usage { prompt: 3, completion: 2, cached: 1, reasoning: 0 }));
        let second = Record { marker, model, status: Some(500), ..Record::default() };
        assert_eq!(read(&file).unwrap(), [first, second]);
    }
}
