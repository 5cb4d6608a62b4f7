//! Health between the rooms: what the proxy counts goes out on its stream, what the fleet decides comes from the keeper.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use waybill_health::{Fleet, States};
use waybill_model::world::World;
use waybill_proto::sync::v1::Advice;
use waybill_proxy::Sightings;
use waybill_publish::{Peers, Publisher};
use waybill_sync::Outgoing;

/// How often a proxy tells what it counted.
const REPORT: Duration = Duration::from_secs(1);

/// The proxies, as the keeper of health wants them.
pub struct Proxies {
    pub publisher: Publisher,
    /// The other replicas; none where there is one process only.
    pub peers: Option<Peers>,
}

impl Fleet for Proxies {
    fn states(&self) -> States<'_> {
        Box::pin(async {
            match &self.peers {
                Some(peers) => peers.fleet().await.proxies.into_iter().map(|(_, state)| state).collect(),
                None => self.publisher.proxies(),
            }
        })
    }

    fn world(&self) -> Arc<World> {
        self.publisher.world()
    }

    fn advise(&self, advice: Advice) {
        self.publisher.advise(advice);
    }
}

/// Tells the control plane once a second what the workers counted, until told to stop.
pub async fn report(sightings: Arc<Sightings>, outgoing: Outgoing, mut stop: watch::Receiver<bool>) {
    let mut seconds = interval(REPORT);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let counts = sightings.take();
        if !counts.endpoints.is_empty() {
            outgoing.report_health(counts);
        }
    }
}
