//! Who is at the other end of a connection between the planes: mutual TLS with identities of our own.
//!
//! # Layout
//!
//! - [`identity`]: what a certificate says about its holder. Pure.
//! - `files`: the PEM files of one process, and what is wrong with them
//! - `verify`: a peer is believed by its chain and its identity; names of hosts mean nothing here
//! - `credentials`: the files as they are in force; a change of them needs no restart
//! - `connection`: a connection with the peer that showed itself on it
//! - `server`: takes connections
//! - `client`: makes them
//! - [`details`]: when to try again and for which reason not, as a refusal says it
//!
//! # Invariants
//!
//! - Both sides show a certificate of the same authority, with an identity; without one there is no connection.
//! - A session is never resumed: every connection is judged by the files in force when it begins.
//! - A bad new file never replaces a good old one, and is said in the log once.
//! - Without certificates only loopback is served and asked.

mod client;
mod connection;
mod credentials;
pub mod details;
mod files;
pub mod identity;
mod server;
#[cfg(test)]
mod tests;
mod verify;

pub use client::{ConnectError, PeerClient, chain};
pub use connection::{Peer, PeerConnection};
pub use credentials::{Credentials, Reloaded};
pub use files::{Error, Files};
pub use identity::{Identity, Role};
pub use server::{ListenError, PeerServer};
