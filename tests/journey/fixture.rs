//! A proxy in this process, the sandbox on a thread of its own, and a configuration that leads from one to the other.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prost::Message;
use waybill_meter::{Options, Spool, tally::orphan_of};
use waybill_model::{
    compile::compile,
    key::{Pepper, generate},
    resource::Kind as ResourceKind,
    snapshot::{Secret, Snapshot},
    world::World,
};
use waybill_proto::{
    model::v1::{self as wire, resource::Spec},
    usage::v1::{Event, Kind},
};
use waybill_proxy::{Asked, Books, Configuration, Limits, Owner, Proxy, Settings, Spent, SpoolFull};
use waybill_sandbox::{Keep, Options as SandboxOptions, Record, Sandbox};
use waybill_tests::{Answer, Client, Request};

/// Longest wait of a client.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Prices of the fixture, pico-USD per token: written by hand, so that no price code is trusted with its own check.
pub const INPUT: i64 = 3_000_000;
pub const CACHED: i64 = 300_000;
pub const OUTPUT: i64 = 15_000_000;

pub struct Fixture {
    pub proxy: Option<Proxy>,
    pub sandbox: Sandbox,
    pub key: String,
    /// The key is revoked.
    pub revoked: Arc<AtomicBool>,
    folder: tempfile::TempDir,
}

struct Fixed(Arc<Snapshot>, Arc<AtomicBool>);

impl Configuration for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn deny_epoch(&self) -> u64 {
        u64::from(self.1.load(Ordering::Relaxed))
    }

    fn is_denied(&self, key_uid: &str) -> bool {
        key_uid == "uid-first" && self.1.load(Ordering::Relaxed)
    }
}

struct NoBooks;

impl Books for NoBooks {
    fn generation<'a>(&'a self, _: &'a Owner, _: &'a str, _: Duration) -> Asked<'a, Vec<Event>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn spent<'a>(&'a self, _: &'a Owner) -> Asked<'a, Spent> {
        Box::pin(async { Ok(Spent { total: 1, day: 1, week: 1, month: 1 }) })
    }
}

/// An end as it lies in the spool.
#[derive(Debug)]
pub struct End {
    pub kind: Kind,
    pub event: Event,
}

impl Fixture {
    pub fn start() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::beside(limits, None)
    }

    /// With one more provider, `beside`, at this base URL; every model has an endpoint there.
    pub fn beside(limits: Limits, beside: Option<&str>) -> Self {
        Self::speaking(limits, beside.map(|url| (url, "openai")))
    }

    /// The same with the dialect of that provider.
    pub fn speaking(limits: Limits, beside: Option<(&str, &str)>) -> Self {
        Self::bounded(limits, beside, &[], Options::new(""), SpoolFull::Block)
    }

    /// With Guardrails. One that cannot be compiled may be among them.
    pub fn guarded(guardrails: &[(&str, wire::Guardrail)]) -> Self {
        Self::bounded(Limits::default(), None, guardrails, Options::new(""), SpoolFull::Block)
    }

    /// With a spool of one segment of so many bytes.
    pub fn cramped(segment_bytes: u32, full: SpoolFull) -> Self {
        let options = Options { segment_bytes, bound_bytes: segment_bytes.into(), ..Options::new("") };
        Self::bounded(Limits::default(), None, &[], options, full)
    }

    fn bounded(
        limits: Limits,
        beside: Option<(&str, &str)>,
        guardrails: &[(&str, wire::Guardrail)],
        options: Options,
        spool_full: SpoolFull,
    ) -> Self {
        let sandbox = Sandbox::spawn_thread(SandboxOptions { records: Keep::Memory, ..SandboxOptions::default() }).expect("a sandbox");
        let folder = tempfile::tempdir().expect("a folder");
        let key = generate(true, [7; 20]);
        let pepper = Pepper::new(1, &[9; 32]);
        let world = world(&sandbox, &pepper, &key, beside, guardrails);
        let compiled = compile(&world, &|_| Some(Secret::new("sandbox-secret")));
        let others: Vec<_> = compiled.rejected.iter().filter(|fault| fault.kind != ResourceKind::Guardrail).collect();
        assert!(others.is_empty(), "{others:?}");
        let options = Options { folder: folder.path().to_owned(), max_end_bytes: 4096, ..options };
        let (spool, _) = Spool::start(options, [0; 16], |intent| orphan_of(intent.payload)).expect("a spool");
        let revoked = Arc::new(AtomicBool::new(false));
        let settings = Settings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            workers: 1,
            limits,
            peppers: vec![pepper],
            configuration: Arc::new(Fixed(Arc::new(compiled.snapshot), Arc::clone(&revoked))),
            books: Arc::new(NoBooks),
            spool,
            process: 0xabc,
            incarnations: vec![1],
            strict: false,
            spool_full,
            seed: 42,
        };
        Self { proxy: Some(Proxy::start(settings).expect("a proxy")), sandbox, key, revoked, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.as_ref().map(Proxy::address).expect("it runs")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address(), PATIENCE).expect("a connection")
    }

    /// A chat request with the fixture's key.
    pub fn chat(&self, body: &serde_json::Value) -> Request {
        Request::post("/v1/chat/completions", body.to_string()).bearer(&self.key)
    }

    /// A messages request, as Anthropic's clients send it.
    pub fn messages(&self, body: &serde_json::Value) -> Request {
        Request::post("/v1/messages", body.to_string()).field("x-api-key", &self.key).field("anthropic-version", "2023-06-01")
    }

    pub fn send(&self, request: &Request) -> Answer {
        self.client().send(request).expect("an answer")
    }

    /// Stops the proxy and reads what it has written.
    pub fn ends(mut self) -> (Vec<End>, Vec<Record>) {
        self.proxy.take().expect("it runs").stop();
        let (spool, recovered) =
            Spool::start(Options { max_end_bytes: 4096, ..Options::new(self.folder.path()) }, [0; 16], |intent| orphan_of(intent.payload))
                .expect("a spool");
        assert!(recovered.is_empty(), "the log was closed: {recovered:?}");
        let batch = spool.reader([]).next(10_000).expect("readable");
        assert!(batch.damage.is_empty());
        let ends = batch
            .records
            .iter()
            .filter(|record| record.kind != waybill_meter::Kind::Closed)
            .map(|record| Event::decode(&record.payload[..]).expect("an event"))
            .map(|event| End { kind: event.kind(), event })
            .collect();
        (ends, self.sandbox.records())
    }
}

fn world(sandbox: &Sandbox, pepper: &Pepper, key: &str, beside: Option<(&str, &str)>, guardrails: &[(&str, wire::Guardrail)]) -> World {
    let here = sandbox.base_url().to_string();
    let nowhere = format!("http://{}/v1", sandbox.refusing_addr());
    let mut resources = vec![
        resource("default", Spec::Org(wire::Org::default())),
        resource("main", Spec::Workspace(wire::Workspace { org: "default".into(), ..wire::Workspace::default() })),
        resource(
            "first",
            Spec::ApiKey(wire::ApiKey { workspace: "main".into(), hash: pepper.hash(key).to_vec().into(), ..wire::ApiKey::default() }),
        ),
        resource("prices", Spec::PriceBook(prices())),
    ];
    resources.extend(guardrails.iter().map(|(name, spec)| resource(name, Spec::Guardrail(spec.clone()))));
    let mut providers = vec![
        ("here", here.as_str(), wire::HangUp::Drain, "openai"),
        ("cancelling", here.as_str(), wire::HangUp::Cancel, "openai"),
        ("nowhere", nowhere.as_str(), wire::HangUp::Drain, "openai"),
        ("across", here.as_str(), wire::HangUp::Drain, "anthropic"),
    ];
    // Anthropic stops, and stops billing, when its caller goes.
    let hang_up = |dialect| if dialect == "anthropic" { wire::HangUp::Cancel } else { wire::HangUp::Drain };
    providers.extend(beside.map(|(url, dialect)| ("beside", url, hang_up(dialect), dialect)));
    for (name, url, hang_up, dialect) in &providers {
        let (name, hang_up) = (*name, *hang_up);
        let provider = wire::Provider {
            dialect: (*dialect).to_owned(),
            base_url: (*url).to_owned(),
            hang_up: hang_up.into(),
            ..wire::Provider::default()
        };
        resources.push(resource(name, Spec::Provider(provider)));
        let secret = wire::SecretRef { env: "ANY".into(), file: String::new() };
        resources.push(resource(
            name,
            Spec::ProviderAccount(wire::ProviderAccount { provider: name.into(), secret: Some(secret), ..Default::default() }),
        ));
    }
    for row in waybill_sandbox::models::TABLE {
        let model = row.model();
        let text = || vec!["text".to_owned()];
        let spec = wire::Model {
            context_window: 100_000,
            max_output: 1000,
            input_modalities: text(),
            output_modalities: text(),
            ..wire::Model::default()
        };
        resources.push(resource(&model, Spec::Model(spec)));
        for provider in providers.iter().map(|(name, ..)| *name) {
            let endpoint = wire::Endpoint {
                model: model.clone(),
                provider: provider.into(),
                account: provider.into(),
                provider_model: model.clone(),
                price_book: "prices".into(),
                price_item: "all".into(),
                ..wire::Endpoint::default()
            };
            resources.push(resource(&format!("{model}@{provider}"), Spec::Endpoint(endpoint)));
        }
    }
    World::new(7, resources.into_iter().map(Arc::new))
}

fn prices() -> wire::PriceBook {
    let rate = |meter: &str, usd: &str| wire::Rate { meter: meter.into(), usd_per_million: usd.into(), ..wire::Rate::default() };
    let mut rates = vec![rate("input", "3"), rate("cache_read", "0.3"), rate("output", "15")];
    // Twice the price of the standard tier.
    for (meter, usd) in [("input", "6"), ("output", "30")] {
        rates.push(wire::Rate { tier: "priority".into(), ..rate(meter, usd) });
    }
    wire::PriceBook {
        currency: "USD".into(),
        entries: vec![wire::PriceEntry { item: "all".into(), rates, ..wire::PriceEntry::default() }],
        ..wire::PriceBook::default()
    }
}

fn resource(name: &str, spec: Spec) -> wire::Resource {
    let metadata = wire::Metadata { name: name.into(), uid: format!("uid-{name}"), generation: 1, ..wire::Metadata::default() };
    wire::Resource { metadata: Some(metadata), spec: Some(spec) }
}
