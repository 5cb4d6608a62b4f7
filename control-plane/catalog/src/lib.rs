//! The built-in catalogue: which providers an environment names, and their models and prices as resources.
//!
//! # Layout
//! - [`PROVIDERS`], [`Row`]: the closed table of providers with their quirks. [`from_environment`]: the ones that an environment names.
//! - [`resources`]: built-in models and prices of those. [`custom`]: what a base URL of the operator's own serves, unpriced.
//! - [`sandbox`]: the resources of the sandbox provider. [`is_own`]: a base URL that leads back to ourselves.
//!
//! # Invariants
//! - Pure: variables, listeners and model lists are arguments; the data is compiled in (`data/`, licences in `data/NOTICE`, made by
//!   `import/build.py`) and read only for the providers that are found.
//! - A secret is never read: accounts refer to the variable.
//! - Prices are decimals as text from the source to the resource.

mod custom;
mod data;
mod environment;
mod own;
mod providers;
mod resources;
mod sandbox;
#[cfg(test)]
mod tests;

pub use custom::custom;
pub use data::Malformed;
pub use environment::{Found, Refused, from_environment};
pub use own::is_own;
pub use providers::{PROVIDERS, Row};
pub use resources::{ORIGIN, resources};
pub use sandbox::{SandboxModel, sandbox};
