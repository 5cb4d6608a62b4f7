//! What the room needs of the others.

use std::{pin::Pin, sync::Arc};

use waybill_model::world::World;
use waybill_proto::sync::v1::{Advice, ProxyState};

/// States to come.
pub type States<'a> = Pin<Box<dyn Future<Output = Vec<ProxyState>> + Send + 'a>>;

/// The fleet: all proxies, whichever replica serves them, and those of this replica to be advised.
pub trait Fleet: Send + Sync {
    /// The states of all proxies, each once. A replica that does not answer in time is left out.
    fn states(&self) -> States<'_>;

    /// The configuration now.
    fn world(&self) -> Arc<World>;

    /// Gives advice to every proxy of this replica; it stands in place of what was advised before.
    fn advise(&self, advice: Advice);
}
