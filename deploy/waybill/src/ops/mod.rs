//! The ops listener of every role: `/healthz`, `/readyz`, `/metrics`. On an address of its own, loopback unless told otherwise.
//!
//! # Layout
//! - `names`: every metric, once. `sheet`: what a look at the process writes down.
//! - `vitals`: the parts of a process, each with what it lacks and what it measures. This file: the listener over them.

pub mod names;
mod sheet;
pub mod vitals;

use std::{io, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use waybill_telemetry::CONTENT_TYPE;

pub use sheet::Sheet;

/// A look that takes a moment.
pub type Look<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A part of the process that can be looked at.
pub trait Vital: Send + Sync {
    /// What keeps the process from doing its work, for people; nothing if this part does not.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// Writes down what it measures.
    fn measure<'a>(&'a self, sheet: &'a mut Sheet) -> Look<'a> {
        let _ = sheet;
        Box::pin(async {})
    }
}

/// The parts of a process. They come as it starts; those that are there are looked at.
#[derive(Clone, Default)]
pub struct Vitals(Arc<std::sync::RwLock<Vec<Arc<dyn Vital>>>>);

impl Vitals {
    /// Adds a part.
    pub fn add(&self, vital: impl Vital + 'static) {
        self.add_shared(Arc::new(vital));
    }

    /// Adds a part that others hold too.
    pub fn add_shared(&self, vital: Arc<dyn Vital>) {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(vital);
    }

    fn all(&self) -> Vec<Arc<dyn Vital>> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Serves until the process stops.
pub async fn serve(listener: TcpListener, vitals: Vitals, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let router =
        Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(vitals);
    axum::serve(listener, router).with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) }).await
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process can do its work; else what is missing, a line each.
async fn readyz(State(vitals): State<Vitals>) -> (StatusCode, String) {
    let lacking: Vec<String> = vitals.all().iter().filter_map(|vital| vital.lacks()).collect();
    if lacking.is_empty() { (StatusCode::OK, "ready\n".to_owned()) } else { (StatusCode::SERVICE_UNAVAILABLE, lacking.join("\n") + "\n") }
}

async fn metrics(State(vitals): State<Vitals>) -> impl IntoResponse {
    let mut sheet = Sheet::default();
    for vital in vitals.all() {
        vital.measure(&mut sheet).await;
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], sheet.finish())
}
