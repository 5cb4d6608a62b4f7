//! The conformance suite on real servers, and what is true of a cluster only.

mod faults;
mod figures;
mod servers;
mod together;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::conformance::cluster;
use crate::{Etcd, EtcdSettings};
use servers::{FAST, Servers};

/// Connects as soon as the servers answer.
async fn connect(settings: EtcdSettings) -> Etcd {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match Etcd::connect(settings.clone()).await {
            Ok(store) => return store,
            Err(error) if error.may_retry() && std::time::Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The suite, on the cluster that the environment names, else on a server of its own.
mod conformance {
    use super::*;

    /// A server lives as long as a case holds or awaits it.
    static SERVER: Mutex<Weak<Servers>> = Mutex::new(Weak::new());

    fn there_is_a_cluster() -> bool {
        cluster::settings_of_environment().is_some() || servers::program().is_some()
    }

    fn own_server() -> Arc<Servers> {
        let mut running = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Servers::start(servers::program().expect("etcd"), 1, None, &[FAST]));
            *running = Arc::downgrade(&started);
            started
        })
    }

    fn a_cluster() -> crate::conformance::Making {
        Box::pin(async {
            match cluster::settings_of_environment() {
                Some(settings) => cluster::emptied(Arc::new(connect(settings).await), ()).await,
                None => {
                    let server = own_server();
                    cluster::emptied(Arc::new(connect(server.settings()).await), server).await
                }
            }
        })
    }

    crate::conformance_suite!(a_cluster, when there_is_a_cluster, histories 6);
}
