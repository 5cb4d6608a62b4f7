//! Signals: the first one asks for a graceful end, the second one ends at once.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Installed before anybody is told that this process is ready, so that none of them ends it undrained.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn install() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the first one.
    pub async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends gracefully, unless the operator becomes impatient.
    pub async fn unless_again<T>(&mut self, end: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            ended = end => ended,
            _ = self.interrupt.recv() => bail!("ended without draining; the next start recovers what was open"),
        }
    }
}

/// A server that is stopping: a client who keeps its stream open does not keep the process.
pub async fn ended(server: tokio::task::JoinHandle<()>) {
    drop(tokio::time::timeout(Duration::from_secs(2), server).await);
}
