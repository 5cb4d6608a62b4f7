//! The way of usage records into the ledger: Kafka with the control plane behind it, or the control plane alone.

use std::sync::Arc;

use anyhow::Result;
use tokio::{sync::watch, task::JoinHandle};
use waybill_meter::Spool;
use waybill_sync::UsageClient;

use super::sending::{self, Sent};
use crate::{
    ops::{Vital, Vitals},
    settings::{Proxy as Settings, Transport},
};

/// Begins to send what the spool holds; it ends after `stop`, when the spool is empty or the time for that is over.
pub fn begin(
    settings: &Settings,
    spool: Spool,
    usage: UsageClient,
    vitals: &Vitals,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    match settings.usage.transport {
        Transport::Ingest => {
            let sent = Arc::new(Sent::default());
            vitals.add_shared(Arc::clone(&sent) as Arc<dyn Vital>);
            Ok(tokio::spawn(sending::run(spool, usage, sent, stop)))
        }
        Transport::Kafka => by_kafka(settings, spool, usage, vitals, stop),
    }
}

#[cfg(not(feature = "cluster"))]
fn by_kafka(_: &Settings, _: Spool, _: UsageClient, _: &Vitals, _: watch::Receiver<bool>) -> Result<JoinHandle<()>> {
    anyhow::bail!("this build does not speak to Kafka: take one with the feature `cluster`")
}

#[cfg(feature = "cluster")]
use kafka::by_kafka;

#[cfg(feature = "cluster")]
mod kafka {
    use std::sync::Arc;

    use anyhow::Result;
    use tokio::{sync::watch, task::JoinHandle};
    use waybill_meter::{
        Spool,
        emit::{Emitted, Ingest, IngestFailed, Ingesting, Options, run},
    };
    use waybill_proto::usage::v1::Spooled;
    use waybill_sync::UsageClient;

    use crate::{
        ops::{Look, Sheet, Vital, Vitals},
        settings::Proxy as Settings,
    };

    pub fn by_kafka(
        settings: &Settings,
        spool: Spool,
        usage: UsageClient,
        vitals: &Vitals,
        stop: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>> {
        let mut options = Options::new(&settings.kafka)?;
        options.limits.silence_ms = u64::try_from(settings.usage.silence.0.as_millis()).unwrap_or(u64::MAX);
        options.stop_time = settings.drain.flush.0;
        let emitted = Arc::new(Emitted::default());
        vitals.add(Emission(Arc::clone(&emitted)));
        let second = Arc::new(SecondWay(usage));
        // What is left shows in the spool.
        Ok(tokio::spawn(async move {
            let _left = run(spool, options, Some(second), emitted, stop).await;
        }))
    }

    /// The control plane takes records while Kafka is silent.
    #[derive(Debug)]
    struct SecondWay(UsageClient);

    impl Ingest for SecondWay {
        fn ingest(&self, records: Vec<Spooled>) -> Ingesting<'_> {
            Box::pin(async move { self.0.ingest(records).await.map(drop).map_err(|error| IngestFailed(error.to_string())) })
        }
    }

    struct Emission(Arc<Emitted>);

    impl Vital for Emission {
        fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
            for metric in self.0.metrics() {
                sheet.told(metric.name, metric.help, metric.counter, metric.value);
            }
            Box::pin(async {})
        }
    }
}
