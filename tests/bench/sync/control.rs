//! The control plane's side: a store with a large configuration, the publisher, the listener; told by lines to change something.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use waybill_model::resource::{Kind, metadata};
use waybill_peer::{Credentials, Files, PeerServer, Role};
use waybill_proto::model::v1::{ApiKey, Endpoint, Metadata, Model, Org, Provider, ProviderAccount, Resource, Workspace, resource::Spec};
use waybill_publish::{Limits, Publisher, Served, stored};
use waybill_store::{MonotonicClock, Operation, Sqlite, Store, Transaction, keys};

/// Endpoints of one model.
const PER_MODEL: usize = 10;

/// Operations of one transaction.
const OPERATIONS: usize = 120;

/// How large the configuration is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub endpoints: usize,
    pub keys: usize,
}

/// Serves until the pipe closes.
pub fn serve(folder: &Path, size: Size) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(serving(folder, size, runtime.handle().clone()))
}

async fn serving(folder: &Path, size: Size, runtime: tokio::runtime::Handle) -> Result<()> {
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.join("store.db"), Arc::new(MonotonicClock::start())).await?);
    for resources in configuration(size).chunks(OPERATIONS) {
        put(&*store, resources, None).await?;
    }
    put(&*store, &[], Some(1)).await?;
    let publisher = Publisher::start(Arc::clone(&store)).await?;
    let files = Files { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let peers = PeerServer::new(Credentials::load(files, Role::Control)?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (replica, build) = ("bench".to_owned(), String::new());
    let served = Served { publisher, usage: None, replica, build, peppers: Vec::new(), limits: Limits::default() };
    tokio::spawn(async move { waybill_publish::serve(listener, &peers, served, std::future::pending()).await });
    // The pipe is read on this thread, which has nothing else to do.
    tokio::task::block_in_place(|| orders(&*store, size, &runtime))
}

fn orders(store: &dyn Store, size: Size, runtime: &tokio::runtime::Handle) -> Result<()> {
    let mut revision = 1;
    for line in std::io::stdin().lock().lines() {
        line?;
        revision += 1;
        let number = usize::try_from(revision)? % size.endpoints;
        let changed = endpoint(number, revision);
        let began_us = unix_us();
        runtime.block_on(put(store, &[changed], Some(revision)))?;
        println!("{revision} {began_us}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Microseconds since 1970.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

async fn put(store: &dyn Store, resources: &[Resource], revision: Option<u64>) -> Result<()> {
    let key = |resource: &Resource| {
        let kind = Kind::of(resource).map(Kind::name).unwrap_or_default();
        keys::resource(kind, &metadata(resource).uid)
    };
    let mut then: Vec<Operation> =
        resources.iter().map(|resource| Operation::Put(key(resource), stored::resource_value(resource))).collect();
    then.extend(revision.map(|revision| Operation::Put(keys::head(), stored::Head { revision, log_hash: vec![0; 32] }.to_value())));
    store.commit(Transaction { then, ..Transaction::default() }).await?;
    Ok(())
}

/// Uids as they are made: 26 digits.
fn resource(name: String, generation: u64, spec: Spec) -> Resource {
    let uid = format!("{:0>26}", format!("{}x{}", name.len(), name.replace(['/', '-'], "")));
    Resource { metadata: Some(Metadata { name, uid, generation, ..Metadata::default() }), spec: Some(spec) }
}

fn endpoint(number: usize, generation: u64) -> Resource {
    let model = format!("author/model-{}", number / PER_MODEL);
    let spec = Endpoint {
        provider_model: format!("model-{}-{generation}", number / PER_MODEL),
        model,
        provider: "provider".to_owned(),
        account: "account".to_owned(),
        ..Endpoint::default()
    };
    resource(format!("provider/model-{number}"), generation, Spec::Endpoint(spec))
}

fn configuration(size: Size) -> Vec<Resource> {
    let workspace = Workspace { org: "org".to_owned(), ..Workspace::default() };
    let provider = Provider { dialect: "openai".to_owned(), base_url: "https://api.example.com/v1".to_owned(), ..Provider::default() };
    let account = ProviderAccount { provider: "provider".to_owned(), ..ProviderAccount::default() };
    let mut all = vec![
        resource("org".to_owned(), 1, Spec::Org(Org::default())),
        resource("workspace".to_owned(), 1, Spec::Workspace(workspace)),
        resource("provider".to_owned(), 1, Spec::Provider(provider)),
        resource("account".to_owned(), 1, Spec::ProviderAccount(account)),
    ];
    let model = |number: usize| {
        let spec = Model { context_window: 128_000, ..Model::default() };
        resource(format!("author/model-{number}"), 1, Spec::Model(spec))
    };
    all.extend((0..size.endpoints.div_ceil(PER_MODEL)).map(model));
    all.extend((0..size.endpoints).map(|number| endpoint(number, 1)));
    let key = |number: usize| {
        let mut hash = vec![0; 16];
        hash[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let spec = ApiKey { workspace: "workspace".to_owned(), hash: hash.into(), ..ApiKey::default() };
        resource(format!("key-{number}"), 1, Spec::ApiKey(spec))
    };
    all.extend((0..size.keys).map(key));
    all
}
