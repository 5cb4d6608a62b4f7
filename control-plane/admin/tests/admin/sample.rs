//! An admin on stores in a folder of its own, with a host whose clock, randomness and secrets the test sets.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use waybill_admin::{Admin, Alone, Error, Parts, Running, Surroundings};
use waybill_billing::Ledger;
use waybill_model::key::Pepper;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ResourceName},
    model::v1::{
        ApiKey, Endpoint, Metadata, Model, Org, PriceBook, PriceEntry, Provider, ProviderAccount, Rate, Resource, SecretRef, Workspace,
        resource::Spec,
    },
};
use waybill_publish::stored::{Head, LogEntry};
use waybill_store::{MonotonicClock, Read, Sqlite, Store, keys};

/// When the host's clock begins, microseconds since 1970.
pub const BEGIN_US: i64 = 1_764_000_000_000_000;

/// A host that a test controls: every look at the clock is a second later, randomness counts, secrets are set.
#[derive(Default)]
pub struct TestHost {
    pub looks: AtomicU64,
    drawn: AtomicU64,
    pub secrets: Mutex<HashMap<String, String>>,
}

impl Surroundings for TestHost {
    fn unix_us(&self) -> i64 {
        BEGIN_US + 1_000_000 * self.looks.fetch_add(1, Ordering::Relaxed).cast_signed()
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        bytes.iter_mut().zip(number.to_le_bytes().iter().cycle()).for_each(|(byte, random)| *byte = *random);
        Ok(())
    }

    fn secret(&self, reference: &SecretRef) -> Result<String, String> {
        let secrets = self.secrets.lock().expect("secrets");
        secrets.get(&reference.env).cloned().ok_or_else(|| format!("`{}` is not set", reference.env))
    }
}

pub struct Sample {
    /// Goes with the sample.
    _folder: TempDir,
    pub store: Arc<Sqlite>,
    pub ledger: Arc<dyn Ledger>,
    pub host: Arc<TestHost>,
    pub admin: Arc<Admin>,
}

impl Sample {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("waybill.db");
        let store = Arc::new(Sqlite::open(&file, Arc::new(MonotonicClock::start())).await.expect("a store"));
        let ledger = Arc::new(waybill_billing::Sqlite::open(&file).await.expect("a ledger")) as Arc<dyn Ledger>;
        let host = Arc::new(TestHost::default());
        let admin = Arc::new(admin(&store, &ledger, &host, Arc::new(Alone)));
        Self { _folder: folder, store, ledger, host, admin }
    }

    /// Another admin on the same stores, as another replica is.
    pub fn replica(&self) -> Admin {
        self.beside(Arc::new(Alone))
    }

    /// The same beside something that runs.
    pub fn beside(&self, running: Arc<dyn Running>) -> Admin {
        admin(&self.store, &self.ledger, &self.host, running)
    }

    /// Applies upserts; says the revision.
    pub async fn upsert(&self, upserts: &[Resource]) -> Result<u64, Error> {
        let request = ApplyChangeSetRequest { upserts: upserts.to_vec(), ..ApplyChangeSetRequest::default() };
        Ok(self.admin.apply(request, "ada").await?.revision)
    }

    /// The change log, after a look at its chain: every entry has the hash of the one before, and the head that of the last.
    pub async fn log(&self) -> Vec<LogEntry> {
        let listing = self.store.list(&Read::now(keys::logs())).await.expect("the log");
        let log: Vec<LogEntry> = listing.entries.iter().map(|entry| LogEntry::from_value(&entry.value).expect("an entry")).collect();
        let mut before: Vec<u8> = Vec::new();
        for (entry, revision) in log.iter().zip(1..) {
            assert_eq!((entry.revision, &entry.previous_hash), (revision, &before));
            before = entry.hash().to_vec();
        }
        let head = self.store.get(&keys::head()).await.expect("the head").entry;
        let head = head.map(|entry| Head::from_value(&entry.value).expect("a head")).unwrap_or_default();
        assert_eq!((head.revision, head.log_hash), (log.len() as u64, before));
        log
    }
}

fn admin(store: &Arc<Sqlite>, ledger: &Arc<dyn Ledger>, host: &Arc<TestHost>, running: Arc<dyn Running>) -> Admin {
    Admin::new(Parts {
        store: Arc::clone(store) as Arc<dyn Store>,
        ledger: Arc::clone(ledger),
        peppers: vec![pepper()],
        surroundings: Arc::clone(host) as Arc<dyn Surroundings>,
        running,
        build: "test".to_owned(),
    })
}

pub fn pepper() -> Pepper {
    Pepper::new(1, &[7; 32])
}

pub fn resource(name: &str, spec: Spec) -> Resource {
    Resource { metadata: Some(Metadata { name: name.to_owned(), ..Metadata::default() }), spec: Some(spec) }
}

pub fn org(name: &str, display_name: &str) -> Resource {
    resource(name, Spec::Org(Org { display_name: display_name.to_owned() }))
}

pub fn workspace(name: &str, org: &str) -> Resource {
    resource(name, Spec::Workspace(Workspace { org: org.to_owned(), ..Workspace::default() }))
}

pub fn key(name: &str, workspace: &str, from: Option<&str>) -> Resource {
    let key_from = from.map(|env| SecretRef { env: env.to_owned(), file: String::new() });
    resource(name, Spec::ApiKey(ApiKey { workspace: workspace.to_owned(), key_from, ..ApiKey::default() }))
}

pub fn provider(name: &str) -> Resource {
    let (dialect, base_url) = ("openai".to_owned(), "http://127.0.0.1:9/v1".to_owned());
    resource(name, Spec::Provider(Provider { dialect, base_url, ..Provider::default() }))
}

pub fn account(name: &str, provider: &str) -> Resource {
    resource(name, Spec::ProviderAccount(ProviderAccount { provider: provider.to_owned(), ..ProviderAccount::default() }))
}

pub fn model(name: &str) -> Resource {
    let text = || vec!["text".to_owned()];
    let model = Model { context_window: 1_000, input_modalities: text(), output_modalities: text(), ..Model::default() };
    resource(name, Spec::Model(model))
}

pub fn endpoint(name: &str, model: &str, provider: &str, book: &str) -> Resource {
    let (model, provider, account) = (model.to_owned(), provider.to_owned(), provider.to_owned());
    let (price_book, price_item) = (book.to_owned(), "any".to_owned());
    let provider_model = "m".to_owned();
    resource(name, Spec::Endpoint(Endpoint { model, provider, account, provider_model, price_book, price_item, ..Endpoint::default() }))
}

pub fn book(name: &str, price: &str) -> Resource {
    let rate = Rate { meter: "input".to_owned(), usd_per_million: price.to_owned(), ..Rate::default() };
    let entry = PriceEntry { item: "any".to_owned(), rates: vec![rate], ..PriceEntry::default() };
    let (currency, source, as_of) = ("USD".to_owned(), "test".to_owned(), "2026-01-01".to_owned());
    resource(name, Spec::PriceBook(PriceBook { currency, source, as_of, entries: vec![entry] }))
}

pub fn named(kind: &str, name: &str) -> ResourceName {
    ResourceName { kind: kind.to_owned(), name: name.to_owned() }
}
