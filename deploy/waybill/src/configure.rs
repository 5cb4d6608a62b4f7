//! The configuration of a start: what was found in the environment, what the operator wrote, and the first key.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use waybill_admin::{Admin, Host, Surroundings};
use waybill_model::{
    document,
    key::{self, Pepper},
    resource::Kind,
};
use waybill_proto::model::v1::{ApiKey, Metadata, Org, Resource, SecretRef, Workspace, resource::Spec};
use waybill_publish::Publisher;

use crate::{
    providers::{self, SandboxMode},
    state::State,
};

/// What a start brings with it.
pub struct Wanted<'a> {
    /// Files and folders of resources.
    pub files: &'a [PathBuf],
    pub sandbox: SandboxMode,
    pub state: &'a State,
    pub pepper: &'a Pepper,
    /// Our own, which no provider's base URL may name.
    pub listeners: &'a [SocketAddr],
}

/// This host, whose first key is made of randomness that is kept until the key has been shown.
pub struct FirstStart {
    first_key: Option<[u8; 20]>,
    /// The first key is being made, and nothing else.
    makes_it: AtomicBool,
}

impl FirstStart {
    pub const fn of(first_key: Option<[u8; 20]>) -> Self {
        Self { first_key, makes_it: AtomicBool::new(false) }
    }
}

impl Surroundings for FirstStart {
    fn unix_us(&self) -> i64 {
        Host.unix_us()
    }

    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        match self.first_key {
            // Only keys take twenty bytes. A change set may be planned more than once before it lands.
            Some(random) if bytes.len() == random.len() && self.makes_it.load(Ordering::Relaxed) => {
                bytes.copy_from_slice(&random);
                Ok(())
            }
            _ => Host.random(bytes),
        }
    }

    fn secret(&self, reference: &SecretRef) -> Result<String, String> {
        Host.secret(reference)
    }
}

/// Applies what is wanted at this start. Gives the first key's text at the first start.
pub async fn configure(
    wanted: &Wanted<'_>,
    admin: &Admin,
    host: &FirstStart,
    publisher: &Publisher,
) -> Result<(Option<String>, providers::Discovered)> {
    let world = publisher.world();
    let documents = read_documents(wanted.files)?;
    let addresses = wanted.listeners.to_vec();
    // Listing the models of an own base URL blocks, so it is kept off the runtime's thread.
    let mut discovered = tokio::task::spawn_blocking(move || providers::discover(&addresses)).await??;
    let written: Vec<Resource> = documents.iter().map(|document| document.resource.clone()).collect();
    providers::sandbox(wanted.sandbox, wanted.state.folder().path(), &mut discovered, &world, &written)?;
    let first_key = host.first_key.map(|random| key::generate(true, random));
    if first_key.is_some() {
        // In a change set of its own, so that the first key is the one that is made of the kept randomness.
        host.makes_it.store(true, Ordering::Relaxed);
        let made = admin.apply_all(bootstrap(), &[], "up").await;
        host.makes_it.store(false, Ordering::Relaxed);
        made.map_err(|error| explain(&error, &[]))?;
    }
    let mut upserts: Vec<Resource> = Vec::new();
    upserts.extend(discovered.resources.iter().cloned());
    // What the operator has written stands above what was found.
    let named = |resource: &Resource| (Kind::of(resource), waybill_model::resource::metadata(resource).name.clone());
    let own: std::collections::HashSet<_> = written.iter().map(named).collect();
    upserts.retain(|resource| !own.contains(&named(resource)));
    upserts.extend(written);
    let gone = providers::gone(&world, &upserts);
    let deletes: Vec<(Kind, &str)> = gone.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    let applied = admin.apply_all(upserts, &deletes, "up").await.map_err(|error| explain(&error, &documents))?;
    admin.remember_prices().await?;
    publisher.wait_for(applied.revision).await?;
    for key in &applied.generated_keys {
        println!("API key {} (shown once): {}", key.name, key.key);
    }
    let first_key = first_key.filter(|text| is_in_force(publisher, wanted.pepper, text));
    Ok((first_key, discovered))
}

/// Name of the org, the workspace and the key of a first start.
const FIRST: &str = "default";

/// An org, a workspace and a key, so that the first request needs no document.
fn bootstrap() -> Vec<Resource> {
    let resource = |spec| Resource { metadata: Some(Metadata { name: FIRST.to_owned(), ..Metadata::default() }), spec: Some(spec) };
    vec![
        resource(Spec::Org(Org { display_name: "Default".to_owned() })),
        resource(Spec::Workspace(Workspace { org: FIRST.to_owned(), display_name: "Default".to_owned(), ..Workspace::default() })),
        resource(Spec::ApiKey(ApiKey { workspace: FIRST.to_owned(), display_name: "First key".to_owned(), ..ApiKey::default() })),
    ]
}

/// Reads all documents of `--config`.
fn read_documents(paths: &[PathBuf]) -> Result<Vec<document::Document>> {
    let mut sources = Vec::new();
    for path in paths {
        let files = if path.is_dir() {
            let mut files: Vec<PathBuf> = fs::read_dir(path)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
            files.retain(|file| file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)));
            files.sort();
            files
        } else {
            vec![path.clone()]
        };
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {} (--config)", file.display()))?;
            sources.push((file.display().to_string(), bytes));
        }
    }
    let sources: Vec<(&str, &[u8])> = sources.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    document::read(&sources).map_err(|faults| {
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{} in the configuration; nothing was applied\n{}", counted(all.len()), all.join("\n"))
    })
}

fn counted(faults: usize) -> String {
    if faults == 1 { "one fault".to_owned() } else { format!("{faults} faults") }
}

/// Says what the check of the whole world refused, at the lines of the documents where it can.
fn explain(error: &waybill_admin::Error, documents: &[document::Document]) -> anyhow::Error {
    let waybill_admin::Error::Invalid(faults) = error else { return anyhow::anyhow!("the configuration was not applied: {error}") };
    let line = |fault: &waybill_admin::Fault| {
        let is_meant = |document: &&document::Document| {
            let resource = &document.resource;
            Kind::of(resource).is_some_and(|kind| kind.name() == fault.kind)
                && waybill_model::resource::metadata(resource).name == fault.name
        };
        let code = fault.code.parse::<waybill_model::check::Code>();
        match (documents.iter().find(is_meant), code) {
            (Some(document), Ok(code)) => document.fault(&fault.path, code, &fault.message).to_string(),
            _ => fault.to_string(),
        }
    };
    let lines: Vec<String> = faults.iter().map(line).collect();
    anyhow::anyhow!("{} in the configuration; nothing was applied\n{}", counted(lines.len()), lines.join("\n"))
}

/// This text is the key of that name, and was not replaced by a document of the operator's.
fn is_in_force(publisher: &Publisher, pepper: &Pepper, text: &str) -> bool {
    let hash = pepper.hash(text);
    let world = publisher.world();
    world.of_kind(Kind::ApiKey).any(|resource| matches!(&resource.spec, Some(Spec::ApiKey(key)) if key.hash[..] == hash))
}

/// The first characters of the first key's text.
pub fn key_prefix(publisher: &Publisher) -> Option<String> {
    let world = publisher.world();
    let first = world.of_kind(Kind::ApiKey).find(|resource| waybill_model::resource::metadata(resource).name == FIRST)?;
    match &first.spec {
        Some(Spec::ApiKey(key)) => Some(key.prefix.clone()),
        _ => None,
    }
}
