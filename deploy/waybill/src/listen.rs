//! Addresses and the servers behind them.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result};
use tokio::{sync::watch, task::JoinHandle};
use waybill_admin::{Admin, OperatorToken};

use crate::ops::{self, Vitals};

/// Takes an address. What can be taken by somebody else is taken before anything is started.
pub fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves health and metrics until told to stop.
pub fn serve_ops(listener: TcpListener, vitals: Vitals, stop: watch::Receiver<bool>) -> Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = ops::serve(listener, vitals, stop).await {
            tracing::error!(%error, "the ops listener failed");
        }
    }))
}

/// Serves operators until told to stop.
pub fn serve_admin(listener: TcpListener, admin: Arc<Admin>, token: &str, mut stop: watch::Receiver<bool>) -> Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let token = OperatorToken::new(token);
    Ok(tokio::spawn(async move {
        let stop = async move { drop(stop.wait_for(|stop| *stop).await) };
        if let Err(error) = waybill_admin::serve(listener, admin, token, stop).await {
            tracing::error!(%error, "the admin listener failed");
        }
    }))
}
