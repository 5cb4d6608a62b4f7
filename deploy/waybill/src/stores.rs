//! The configuration store and the ledger, by their URLs.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use waybill_billing::Ledger;
use waybill_store::{MonotonicClock, Store};

use crate::{
    ops::vitals::Phase,
    settings::{Etcd, LedgerUrl, Postgres, StoreUrl},
};

/// The first pause before somebody who does not answer is asked again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the files of the certificates towards etcd are looked at.
#[cfg(feature = "cluster")]
const LOOK: Duration = Duration::from_secs(10);

/// Opens the store, for the role that leads its jobs.
pub async fn open_store(url: &StoreUrl, etcd: &Etcd) -> Result<Arc<dyn Store>> {
    let store: Result<Arc<dyn Store>> = match url {
        StoreUrl::Sqlite(path) => {
            let opened = waybill_store::Sqlite::open(path, Arc::new(MonotonicClock::start())).await;
            Ok(Arc::new(opened.with_context(|| format!("the store {url}"))?))
        }
        StoreUrl::Etcd { hosts, tls } => etcd_store(hosts, *tls, etcd).await.with_context(|| format!("the store {url}")),
    };
    #[cfg(feature = "faults")]
    let store = store.and_then(lying);
    store
}

/// Has the store's watch lie about one event in so many as `WAYBILL_LYING_WATCH=ONE_IN[:SEED]` says.
#[cfg(feature = "faults")]
fn lying(store: Arc<dyn Store>) -> Result<Arc<dyn Store>> {
    const VARIABLE: &str = "WAYBILL_LYING_WATCH";
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(store) };
    let (one_in, seed) = text.split_once(':').unwrap_or((&text, "1"));
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("{VARIABLE}={text}"));
    tracing::warn!(one_in, seed, "the store's watch lies, as a test wants it");
    Ok(Arc::new(waybill_store::conformance::Lying::new(store, number(seed)?, number(one_in)?)))
}

/// Opens the store beside a role that may have it: its terms go on.
pub async fn open_store_beside(url: &StoreUrl, etcd: &Etcd) -> Result<Arc<dyn Store>> {
    let StoreUrl::Sqlite(path) = url else { return open_store(url, etcd).await };
    let opened = waybill_store::Sqlite::open_beside(path, Arc::new(MonotonicClock::start())).await;
    Ok(Arc::new(opened.with_context(|| format!("the store {url}"))?))
}

/// Opens the ledger.
pub async fn open_ledger(url: &LedgerUrl, postgres: &Postgres) -> Result<Arc<dyn Ledger>> {
    match url {
        LedgerUrl::Sqlite(path) => sqlite_ledger(path).await,
        LedgerUrl::Postgres(text) => postgres_ledger(text, postgres).await.with_context(|| format!("the ledger {url}")),
    }
}

/// The ledger in a file.
pub async fn sqlite_ledger(path: &Path) -> Result<Arc<dyn Ledger>> {
    let opened = waybill_billing::Sqlite::open(path).await;
    Ok(Arc::new(opened.with_context(|| format!("the ledger sqlite:{}", path.display()))?))
}

/// Opens what may be away: it is asked again and again, and meanwhile the process says what it waits for. What lies in a file is opened or not.
pub async fn patiently<T, F>(phase: &Phase, is_remote: bool, open: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match open().await {
            Err(error) if is_remote => {
                tracing::warn!(error = format!("{error:#}"), "waiting; asked again in {pause:?}");
                phase.lacks(format!("waiting for {error:#}"));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(not(feature = "cluster"))]
async fn etcd_store(_: &[String], _: bool, _: &Etcd) -> Result<Arc<dyn Store>> {
    anyhow::bail!("this build has no etcd: take one with the feature `cluster`, or store in a file (sqlite:PATH)")
}

#[cfg(feature = "cluster")]
async fn etcd_store(hosts: &[String], tls: bool, etcd: &Etcd) -> Result<Arc<dyn Store>> {
    use waybill_store::{EtcdSettings, EtcdTiming, EtcdUser};

    let tls = if tls { Some(etcd_tls(etcd)?) } else { None };
    let user = match (&etcd.username, &etcd.password_file) {
        (Some(name), Some(file)) => {
            let password = crate::secrets::read_line(file, "password of etcd", "It holds the password of etcd.username.")?;
            Some(EtcdUser { name: name.clone(), password })
        }
        _ => None,
    };
    let settings = EtcdSettings { endpoints: hosts.to_vec(), tls: tls.clone(), user, timing: EtcdTiming::default() };
    let store = waybill_store::Etcd::connect(settings).await?;
    if let Some(tls) = tls {
        let etcd = etcd.clone();
        store.follow_tls(tls, LOOK, move || etcd_tls(&etcd).map_err(|error| format!("{error:#}")));
    }
    Ok(Arc::new(store))
}

/// The certificates towards etcd, as their files are now.
#[cfg(feature = "cluster")]
fn etcd_tls(etcd: &Etcd) -> Result<waybill_store::EtcdTls> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let Some(ca) = &etcd.ca_file else {
        anyhow::bail!("etcds:// wants the authority that signed etcd's certificates: give --etcd-ca-file (etcd.caFile)")
    };
    let identity = match (&etcd.cert_file, &etcd.key_file) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    Ok(waybill_store::EtcdTls { ca: read(ca)?, identity, server_name: etcd.server_name.clone() })
}

#[cfg(not(feature = "cluster"))]
async fn postgres_ledger(_: &str, _: &Postgres) -> Result<Arc<dyn Ledger>> {
    anyhow::bail!("{NO_POSTGRES}")
}

#[cfg(not(feature = "cluster"))]
const NO_POSTGRES: &str = "this build has no PostgreSQL: take one with the feature `cluster`, or keep the bill in a file (sqlite:PATH)";

#[cfg(feature = "cluster")]
async fn postgres_ledger(url: &str, postgres: &Postgres) -> Result<Arc<dyn Ledger>> {
    Ok(Arc::new(waybill_billing::Postgres::open(&access(url, postgres)?).await?))
}

#[cfg(feature = "cluster")]
fn access(url: &str, postgres: &Postgres) -> Result<waybill_billing::Access> {
    let read = |path: &std::path::PathBuf| {
        let password = waybill_billing::Password::from_file(path);
        password.with_context(|| format!("the ledger's password (postgres.passwordFile): {} cannot be read", path.display()))
    };
    let password = postgres.password_file.as_ref().map(read).transpose()?;
    Ok(waybill_billing::Access::read(url, password)?)
}

/// Brings a ledger's tables to this build's, and gives their schema. A file is brought there by opening it.
pub async fn migrate_ledger(url: &LedgerUrl, postgres: &Postgres) -> Result<String> {
    match url {
        LedgerUrl::Sqlite(path) => {
            sqlite_ledger(path).await?.close().await?;
            Ok("of this build".to_owned())
        }
        LedgerUrl::Postgres(text) => migrate_postgres(text, postgres).await.with_context(|| format!("the ledger {url}")),
    }
}

#[cfg(not(feature = "cluster"))]
async fn migrate_postgres(_: &str, _: &Postgres) -> Result<String> {
    anyhow::bail!("{NO_POSTGRES}")
}

#[cfg(feature = "cluster")]
async fn migrate_postgres(url: &str, postgres: &Postgres) -> Result<String> {
    let done = waybill_billing::Postgres::migrate(&access(url, postgres)?).await?;
    Ok(format!("{} (was {})", done.to, done.from))
}
