//! The suite on an etcd cluster that all cases share: each gets it alone, and empty.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::{Subject, Time};
use crate::{EtcdSettings, Operation, Range, Store, Transaction};

/// Names a cluster for the tests: `http://host:port` or `host:port`, several with commas between.
pub const ENVIRONMENT: &str = "WAYBILL_TEST_ETCD";

/// One case at a time: they all write to the same keys, and some want nobody else to write at all.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The cluster that the environment names, if it names one.
pub fn settings_of_environment() -> Option<EtcdSettings> {
    let named = std::env::var(ENVIRONMENT).ok()?;
    let addresses: Vec<&str> = named.split(',').map(|address| address.trim().trim_start_matches("http://").trim_end_matches('/')).collect();
    Some(EtcdSettings::from_url(&format!("etcd://{}", addresses.join(","))).unwrap_or_else(|error| panic!("{ENVIRONMENT}: {error}")))
}

/// What a subject of the suite holds on to.
struct Alone<T> {
    _guard: MutexGuard<'static, ()>,
    _surroundings: T,
}

/// A subject on this cluster, once it is free, with everything under `/wb/` deleted. It keeps
/// `surroundings` as long as it lives.
pub async fn emptied<T: Send + 'static>(store: Arc<dyn Store>, surroundings: T) -> Subject {
    let guard = ALONE.lock().await;
    let everything = Operation::Delete(Range::prefix(&b"/wb/"[..]));
    store.commit(Transaction { then: vec![everything], ..Transaction::default() }).await.expect("the cluster can be emptied");
    Subject { store, time: Arc::new(RealTime), surroundings: Box::new(Alone { _guard: guard, _surroundings: surroundings }) }
}

/// A cluster counts by clocks that nobody can set: time is waited for.
struct RealTime;

impl Time for RealTime {
    fn pass(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
