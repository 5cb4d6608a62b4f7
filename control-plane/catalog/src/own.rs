//! Base URLs that lead back to ourselves.

use std::net::{IpAddr, SocketAddr};

use waybill_model::compile::parse_base_url;

/// A request to this base URL would reach one of these listeners: a name or an address of this machine that every machine has, and a
/// listener's port. Loops through other names of this machine are stopped by the hop header.
#[must_use]
pub fn is_own(base_url: &str, listeners: &[SocketAddr]) -> bool {
    let Ok((origin, _)) = parse_base_url(base_url) else {
        return false;
    };
    let host = origin.host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let is_here = match address {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => host == "localhost" || host.ends_with(".localhost"),
    };
    listeners.iter().any(|listener| listener.port() == origin.port && (is_here || address == Some(listener.ip().to_canonical())))
}
