//! What worker threads read: the snapshot in force, the deny overlay, the advice on health. Reading never waits, whatever is being compiled or written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::watch;
use waybill_model::snapshot::Snapshot;

use crate::{advised::Advised, overlay::Denied};

/// Stands for a proxy that is in step now.
const NOW: i64 = i64::MAX;

/// What is in force. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct Current {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    denied: ArcSwap<Denied>,
    advised: ArcSwap<Advised>,
    /// The revision in force, for those who wait for one.
    revision: watch::Sender<u64>,
    began: Instant,
    /// When it was last in step, milliseconds since `began`; below 0 = in an earlier life.
    fresh_ms: AtomicI64,
    differences: AtomicU64,
    /// Why the control plane does not want this proxy as it is.
    refused: ArcSwapOption<Refused>,
}

/// The control plane does not want this proxy as it is: somebody has to mend that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// The proxy would refuse keys that are good: it must not be asked.
    pub unfit: bool,
}

impl Current {
    /// What is in force from the start, and how long before it was known to be in step.
    pub(crate) fn new(snapshot: Snapshot, denied: Denied, age_ms: i64) -> Self {
        let shared = Shared {
            revision: watch::Sender::new(snapshot.revision),
            snapshot: ArcSwap::from_pointee(snapshot),
            denied: ArcSwap::from_pointee(denied),
            advised: ArcSwap::default(),
            began: Instant::now(),
            fresh_ms: AtomicI64::new(age_ms.saturating_neg().min(0)),
            differences: AtomicU64::new(0),
            refused: ArcSwapOption::empty(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The snapshot in force, to be kept for a whole request: it pins the revision.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// The snapshot in force, for a look that does not outlive a few lines; cheaper than [`Self::load`], since no count that all threads share is
    /// touched.
    #[must_use]
    pub fn peek(&self) -> Guard<Arc<Snapshot>> {
        self.shared.snapshot.load()
    }

    /// The deny overlay: read it at each attempt, not once per request.
    #[must_use]
    pub fn denied(&self) -> Guard<Arc<Denied>> {
        self.shared.denied.load()
    }

    /// The key with this uid is refused by the deny overlay.
    #[must_use]
    pub fn is_denied(&self, api_key_uid: &str) -> bool {
        self.shared.denied.load().contains(api_key_uid)
    }

    /// What the fleet knows of the endpoints' health. It has an end of its own: ask it with the time.
    #[must_use]
    pub fn advised(&self) -> Guard<Arc<Advised>> {
        self.shared.advised.load()
    }

    /// How often the control plane believed that something else is held under the revision in force. Should stay 0.
    #[must_use]
    pub fn hash_differences(&self) -> u64 {
        self.shared.differences.load(Ordering::Relaxed)
    }

    /// Why the control plane does not want this proxy as it is; `None` = it does, as far as is known.
    #[must_use]
    pub fn refused(&self) -> Option<Arc<Refused>> {
        self.shared.refused.load_full()
    }

    /// There is a configuration to serve by.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.peek().revision > 0
    }

    /// Seconds since the proxy was last in step with the control plane; 0 = it is, as far as it can know.
    #[must_use]
    pub fn stale_seconds(&self) -> u64 {
        let fresh_ms = self.shared.fresh_ms.load(Ordering::Relaxed);
        let now_ms = i64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(NOW);
        if fresh_ms == NOW { 0 } else { u64::try_from(now_ms.saturating_sub(fresh_ms)).unwrap_or(0) / 1000 }
    }

    /// The proxy is in step with the control plane, as far as it can know.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.shared.fresh_ms.load(Ordering::Relaxed) == NOW
    }

    /// Waits until a revision is in force.
    pub async fn reached(&self, revision: u64) {
        // The sender lives in `self`, so this cannot fail.
        drop(self.shared.revision.subscribe().wait_for(|reached| *reached >= revision).await);
    }

    pub(crate) fn swap(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision;
        self.shared.snapshot.store(snapshot);
        self.shared.revision.send_replace(revision);
    }

    pub(crate) fn deny(&self, denied: Arc<Denied>) {
        self.shared.denied.store(denied);
    }

    pub(crate) fn advise(&self, advised: Advised) {
        self.shared.advised.store(Arc::new(advised));
    }

    pub(crate) fn refuse(&self, refused: Refused) {
        self.shared.refused.store(Some(Arc::new(refused)));
    }

    /// The control plane talks to this proxy: whatever was in the way is mended.
    pub(crate) fn welcome(&self) {
        if self.shared.refused.load().is_some() {
            self.shared.refused.store(None);
        }
    }

    pub(crate) fn differed(&self) {
        self.shared.differences.fetch_add(1, Ordering::Relaxed);
    }

    /// In step now, or not any more since this moment.
    pub(crate) fn note(&self, in_step: bool) {
        let was = self.shared.fresh_ms.load(Ordering::Relaxed);
        if in_step {
            self.shared.fresh_ms.store(NOW, Ordering::Relaxed);
        } else if was == NOW {
            let now_ms = i64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(0);
            self.shared.fresh_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}
