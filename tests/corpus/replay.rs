//! The providers of the recordings, and the proxy in front of them, in this process.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use prost::Message;
use waybill_meter::{Options as SpoolOptions, Spool, tally::orphan_of};
use waybill_model::compile::compile;
use waybill_model::key::{Pepper, generate};
use waybill_model::snapshot::{Secret, Snapshot};
use waybill_model::world::World;
use waybill_proto::model::v1::{self as wire, resource::Spec};
use waybill_proto::usage::v1::Event;
use waybill_proxy::{Asked, Books, Configuration, Limits, Owner, Proxy, Settings, Spent, SpoolFull};
use waybill_sandbox::{Keep, Options, Provider, Record, Recording, Recordings, Reply, Request, Respond};

use crate::bill::PRICES;
use crate::dialect::Dialect;

/// Answers when the one that was recorded has refused: the end of a failover.
pub const SPARE: &str = "spare";

/// A provider that answers with one recording.
pub struct Played {
    /// Also its id in the path.
    pub name: String,
    pub dialect: Dialect,
    pub recording: Recording,
    pub quirks: Quirks,
}

/// What is special about a provider.
#[derive(Clone, Copy, Default)]
pub struct Quirks {
    /// It understands the request fields of gateways.
    pub is_gateway: bool,
    /// It tells usage unasked, and refuses to be asked.
    pub tells_usage: bool,
}

/// A model and the providers that have it, in the order they are to be tried.
pub struct Offer {
    pub model: String,
    pub providers: Vec<String>,
}

/// The name of a model at its provider: another one than the caller's, so that both are seen to be exchanged.
pub fn provider_model(model: &str) -> String {
    format!("{model}-upstream")
}

/// Everything that is running.
pub struct Replay {
    proxy: Proxy,
    provider: Provider,
    folder: tempfile::TempDir,
    pub key: String,
}

struct Fixed(Arc<Snapshot>);

impl Configuration for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn deny_epoch(&self) -> u64 {
        0
    }

    fn is_denied(&self, _: &str) -> bool {
        false
    }
}

/// The spool is read by the suite itself, when all is over.
struct NoBooks;

impl Books for NoBooks {
    fn generation<'a>(&'a self, _: &'a Owner, _: &'a str, _: Duration) -> Asked<'a, Vec<Event>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn spent<'a>(&'a self, _: &'a Owner) -> Asked<'a, Spent> {
        Box::pin(async { Ok(Spent { total: 0, day: 0, week: 0, month: 0 }) })
    }
}

/// Cuts each answer at random positions, which depend on the seed, the recording and how often it was asked for, and on nothing else:
/// a miss can be repeated alone.
struct Cutting {
    recordings: Recordings,
    seed: u64,
    times: Mutex<HashMap<String, u64>>,
}

impl Respond for Cutting {
    fn respond(&self, request: &Request) -> Reply {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let time = times.entry(request.path.clone()).or_default();
        *time += 1;
        // FNV-1a: a hash that is the same everywhere and for ever.
        let path =
            request.path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        self.recordings.respond(request).cut(self.seed ^ path ^ time.rotate_left(40))
    }
}

/// What is there when all is over.
pub struct Traces {
    /// Terminal events by the text of the generation id.
    pub events: BTreeMap<String, Vec<Event>>,
    /// What the providers were asked, by the text of the attempt id.
    pub records: BTreeMap<String, Record>,
}

impl Replay {
    /// Starts the providers, then the proxy with a world that leads to them.
    pub fn start(played: Vec<Played>, offers: &[Offer], seed: u64) -> Result<Self> {
        let names: Vec<(String, Dialect, Quirks)> =
            played.iter().map(|played| (played.name.clone(), played.dialect, played.quirks)).collect();
        let recordings = played.into_iter().map(|played| (played.name, played.recording)).collect();
        let options = Options { records: Keep::Memory, ..Options::default() };
        let provider = Provider::spawn_thread(options, Cutting { recordings, seed, times: Mutex::default() })?;
        let folder = tempfile::tempdir()?;
        let key = generate(true, [3; 20]);
        let pepper = Pepper::new(1, &[4; 32]);
        let compiled = compile(&world(provider.addr(), &names, offers, &pepper, &key), &|_| Some(Secret::new("a-provider-s-secret")));
        ensure!(compiled.rejected.is_empty(), "{:?}", compiled.rejected);
        let proxy = Proxy::start(Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 1,
            limits: Limits::default(),
            peppers: vec![pepper],
            configuration: Arc::new(Fixed(Arc::new(compiled.snapshot))),
            books: Arc::new(NoBooks),
            spool: spool(&folder)?,
            process: 0xc0,
            incarnations: vec![1],
            strict: false,
            spool_full: SpoolFull::Block,
            seed,
        })?;
        Ok(Self { proxy, provider, folder, key })
    }

    /// Where the proxy listens.
    pub const fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// Stops the proxy and reads what it has written.
    pub fn end(self) -> Result<Traces> {
        self.proxy.stop();
        let mut events = BTreeMap::<String, Vec<Event>>::new();
        let spool = spool(&self.folder)?;
        let mut reader = spool.reader([]);
        loop {
            let batch = reader.next(10_000).context("reading the spool")?;
            ensure!(batch.damage.is_empty(), "the spool is damaged: {:?}", batch.damage);
            for record in batch.records.iter().filter(|record| record.kind != waybill_meter::Kind::Closed) {
                let event = Event::decode(&record.payload[..])?;
                let generation = event.attempt.as_ref().map_or_else(Default::default, |attempt| attempt.generation_id.to_vec());
                let generation: [u8; 16] = generation.try_into().ok().context("an event without a generation")?;
                events.entry(waybill_model::id::GenerationId::from_bytes(generation).to_string()).or_default().push(event);
            }
            if batch.is_empty() {
                break;
            }
        }
        let records = self.provider.records().into_iter().filter_map(|record| Some((record.attempt_ids.first()?.clone(), record)));
        Ok(Traces { events, records: records.collect() })
    }
}

fn spool(folder: &tempfile::TempDir) -> Result<Spool> {
    let options = SpoolOptions { max_end_bytes: 4096, ..SpoolOptions::new(folder.path()) };
    let (spool, recovered) = Spool::start(options, [0; 16], |intent| orphan_of(intent.payload))?;
    ensure!(recovered.is_empty(), "the log was not closed in good order: {recovered:?}");
    Ok(spool)
}

fn world(address: SocketAddr, played: &[(String, Dialect, Quirks)], offers: &[Offer], pepper: &Pepper, key: &str) -> World {
    let hash = pepper.hash(key).to_vec().into();
    let mut resources = vec![
        resource("default", Spec::Org(wire::Org::default())),
        resource("main", Spec::Workspace(wire::Workspace { org: "default".into(), ..wire::Workspace::default() })),
        resource("first", Spec::ApiKey(wire::ApiKey { workspace: "main".into(), hash, ..wire::ApiKey::default() })),
        resource("prices", Spec::PriceBook(prices())),
    ];
    for (name, dialect, quirks) in played {
        let asks_usage = if quirks.tells_usage { wire::AsksUsage::Always } else { wire::AsksUsage::StreamOptions };
        let provider = wire::Provider {
            dialect: dialect.name().into(),
            base_url: format!("http://{address}/r/{name}/v1"),
            takes_gateway_fields: quirks.is_gateway,
            asks_usage: asks_usage.into(),
            ..wire::Provider::default()
        };
        resources.push(resource(name, Spec::Provider(provider)));
    }
    for offer in offers {
        resources.push(resource(&offer.model, Spec::Model(model())));
        for provider in &offer.providers {
            // An account of its own: one that refuses the credential at several endpoints is put behind as a whole.
            let name = format!("{}@{provider}", offer.model);
            let secret = wire::SecretRef { env: "ANY".into(), file: String::new() };
            let account = wire::ProviderAccount { provider: provider.clone(), secret: Some(secret), ..Default::default() };
            resources.push(resource(&name, Spec::ProviderAccount(account)));
            let endpoint = wire::Endpoint {
                model: offer.model.clone(),
                provider: provider.clone(),
                account: name.clone(),
                provider_model: provider_model(&offer.model),
                price_book: "prices".into(),
                price_item: "all".into(),
                ..wire::Endpoint::default()
            };
            resources.push(resource(&name, Spec::Endpoint(endpoint)));
        }
    }
    World::new(1, resources.into_iter().map(Arc::new))
}

/// Larger than any recorded request needs: limits of models are not what is tested.
fn model() -> wire::Model {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    wire::Model {
        context_window: 20_000_000,
        max_output: 1_000_000,
        input_modalities: all(&["text", "image", "audio", "file", "video"]),
        output_modalities: all(&["text", "image", "audio"]),
        ..wire::Model::default()
    }
}

fn prices() -> wire::PriceBook {
    let rate = |(meter, usd, _): &(&str, &str, i64)| wire::Rate {
        meter: (*meter).into(),
        usd_per_million: (*usd).into(),
        ..wire::Rate::default()
    };
    let entry = wire::PriceEntry { item: "all".into(), rates: PRICES.iter().map(rate).collect(), ..wire::PriceEntry::default() };
    wire::PriceBook { currency: "USD".into(), entries: vec![entry], ..wire::PriceBook::default() }
}

fn resource(name: &str, spec: Spec) -> wire::Resource {
    let metadata = wire::Metadata { name: name.into(), uid: format!("uid-{name}"), generation: 1, ..wire::Metadata::default() };
    wire::Resource { metadata: Some(metadata), spec: Some(spec) }
}
