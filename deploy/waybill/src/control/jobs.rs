//! What a replica does beside answering: it says where it is, notes what proxies report of their logs, and does what one replica does for all.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use waybill_admin::{Admin, conduct_rollouts};
use waybill_billing::Ledger;
use waybill_proto::sync::v1::SpoolReport;
use waybill_publish::{Peers, Publisher};
use waybill_store::{Candidacy, JOB_TTL, Leadership, Store, campaign_until, keys};

use crate::{books::unix_us, ops::vitals::Jobs, peers::host_name, settings::Control as Settings};

/// How often the reports of the proxies are noted. Proxies send theirs as often.
const NOTE: Duration = Duration::from_secs(10);

/// How often what is old is forgotten.
const TIDY: Duration = Duration::from_secs(60 * 60);

/// Whose jobs.
pub struct Of<'a> {
    pub name: &'a str,
    /// Where the other replicas reach this one.
    pub address: String,
    pub store: Arc<dyn Store>,
    pub ledger: Arc<dyn Ledger>,
    pub publisher: &'a Publisher,
    pub peers: Peers,
    pub admin: &'a Arc<Admin>,
    pub jobs: &'a Jobs,
}

/// Under which address the other replicas reach the sync listener.
pub fn sync_address(settings: &Settings, bound: SocketAddr) -> Result<String> {
    match &settings.sync_address {
        Some(address) => Ok(address.to_string()),
        None if bound.ip().is_unspecified() => Ok(format!("{}:{}", host_name()?, bound.port())),
        None => Ok(bound.to_string()),
    }
}

/// Begins all of them.
pub fn begin(of: Of<'_>, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let (peers, address, stop) = (of.peers, of.address, until(stopped));
    let registration = async move { peers.run(&address, stop).await };
    let tidying = {
        let (leads, admin) = (of.jobs.stand_for("tidy"), Arc::clone(of.admin));
        let job = Candidacy { key: keys::leader("tidy", 0), holder: of.name.to_owned().into(), ttl: JOB_TTL };
        let work = move |leadership: Leadership| {
            let (leads, admin) = (Leading::of(&leads), Arc::clone(&admin));
            async move {
                let _leads = leads;
                tidy(&admin, &leadership).await;
            }
        };
        campaign_until(Arc::clone(&of.store), job, work, until(stopped))
    };
    let conducting = {
        let (leads, admin) = (of.jobs.stand_for("rollout"), Arc::clone(of.admin));
        let job = Candidacy { key: keys::leader("rollout", 0), holder: of.name.to_owned().into(), ttl: JOB_TTL };
        let work = move |leadership: Leadership| {
            let (leads, admin) = (Leading::of(&leads), Arc::clone(&admin));
            async move {
                let _leads = leads;
                conduct_rollouts(&admin, &leadership).await;
            }
        };
        campaign_until(of.store, job, work, until(stopped))
    };
    let noting = note_logs(of.publisher.clone(), of.ledger, stopped.clone());
    vec![tokio::spawn(registration), tokio::spawn(tidying), tokio::spawn(conducting), tokio::spawn(noting)]
}

async fn until_of(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
    until_of(stopped.clone())
}

/// Says that this process leads, until it is dropped.
struct Leading(Arc<std::sync::atomic::AtomicBool>);

impl Leading {
    fn of(leads: &Arc<std::sync::atomic::AtomicBool>) -> Self {
        leads.store(true, Ordering::Relaxed);
        Self(Arc::clone(leads))
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Forgets the results of finished calls a day after, so that they do not pile up.
async fn tidy(admin: &Admin, leadership: &Leadership) {
    let fence = leadership.fence();
    loop {
        if let Err(error) = admin.forget_finished_calls(Some(&fence)).await {
            tracing::warn!(%error, "results of finished calls stay for another hour");
        }
        sleep(TIDY).await;
    }
}

/// Notes in the ledger how far the logs of the proxies here reach by their own word: what is missing shows by it.
async fn note_logs(publisher: Publisher, ledger: Arc<dyn Ledger>, mut stopped: watch::Receiver<bool>) {
    let mut noted: HashMap<(String, u64), SpoolReport> = HashMap::new();
    loop {
        tokio::select! {
            () = sleep(NOTE) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let mut seen = HashMap::new();
        for proxy in publisher.proxies() {
            let Some(report) = proxy.spool else { continue };
            let place = (proxy.proxy, proxy.process);
            if noted.get(&place) != Some(&report)
                && let Err(error) = ledger.note_logs(&place.0, place.1, &report.logs, unix_us() / 1_000).await
            {
                tracing::warn!(proxy = place.0, %error, "what the proxy says of its logs is not noted yet");
                continue;
            }
            seen.insert(place, report);
        }
        noted = seen;
    }
}
