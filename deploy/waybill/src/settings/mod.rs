//! Settings of the roles: one type each, from which the file's form, flags, variables, JSON schema and documentation are made.
//!
//! # Layout
//! - [`Control`], [`Proxy`], [`Billing`]: the roles. `places`: what several of them have. `values`: values with a form of their own.
//! - `chart`: the values of the Helm chart, in which theirs stand.
//! - `leaf`: the single settings, read off the schema. `given`: those of the command line and the environment.
//! - `read`: [`read`], all of it put together and checked. `fault`: what is wrong where.
//!
//! # Invariants
//! - A flag stands above a variable, a variable above the file, the file above the default.
//! - What is not known is refused, and so is what contradicts itself; all that can be found is told at once, each with its place.
//! - No setting holds a secret: those are read from files that settings name.

mod billing;
mod chart;
mod control;
mod fault;
mod given;
mod leaf;
mod places;
mod proxy;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use fault::Contradictions;

pub use billing::Billing;
pub use chart::schema as chart_schema;
pub use control::Control;
pub use given::Given;
pub use leaf::Leaf;
pub use places::{Etcd, Postgres, Tls};
pub use proxy::{Proxy, Transport};
pub use read::read;
pub use values::{LedgerUrl, PepperFile, StoreUrl};

/// A role's settings.
pub trait Role: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// As in `waybill control`.
    const NAME: &'static str;

    /// The schema of its settings.
    fn schema() -> &'static Value;

    /// Its single settings.
    fn leaves() -> &'static [Leaf];

    /// What cannot be meant.
    fn contradictions(&self) -> Contradictions;
}

macro_rules! role {
    ($type:ty, $name:literal) => {
        impl Role for $type {
            const NAME: &'static str = $name;

            fn schema() -> &'static Value {
                static SCHEMA: OnceLock<Value> = OnceLock::new();
                SCHEMA.get_or_init(leaf::schema::<Self>)
            }

            fn leaves() -> &'static [Leaf] {
                static LEAVES: OnceLock<Vec<Leaf>> = OnceLock::new();
                LEAVES.get_or_init(|| leaf::leaves(Self::schema()))
            }

            fn contradictions(&self) -> Contradictions {
                Self::contradictions(self)
            }
        }
    };
}

role!(Control, "control");
role!(Proxy, "proxy");
role!(Billing, "billing");
