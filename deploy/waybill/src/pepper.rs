//! The pepper of a store: key records made with one pepper mean nothing with another, so a start with the wrong one is refused.

use anyhow::{Result, bail};
use waybill_model::key::Pepper;
use waybill_proto::sync::v1::PepperPrint;
use waybill_store::{Compare, Operation, Store, Transaction, keys};

/// What tells the other plane which peppers are had here.
pub fn prints(peppers: &[Pepper]) -> Vec<PepperPrint> {
    peppers.iter().map(|pepper| PepperPrint { id: pepper.id().into(), fingerprint: pepper.fingerprint().to_vec().into() }).collect()
}

/// Compares the pepper with the store's; the first start notes it there.
pub async fn check(store: &dyn Store, pepper: &Pepper) -> Result<()> {
    let key = keys::pepper(pepper.id());
    if let Some(entry) = store.get(&key).await?.entry {
        return compare(&entry.value, pepper);
    }
    let put = Operation::Put(key.clone(), pepper.fingerprint().to_vec().into());
    let outcome = store
        .commit(Transaction { compares: vec![Compare::absent(key.clone())], then: vec![put], otherwise: vec![Operation::Get(key)] })
        .await?;
    if outcome.succeeded {
        return Ok(());
    }
    // Somebody else was first; theirs is the store's.
    match store.get(&keys::pepper(pepper.id())).await?.entry {
        Some(entry) => compare(&entry.value, pepper),
        None => Ok(()),
    }
}

fn compare(noted: &[u8], pepper: &Pepper) -> Result<()> {
    if noted == pepper.fingerprint() {
        return Ok(());
    }
    bail!(
        "secrets/pepper is not the pepper that this store's API keys were made with, so every key would be refused. Restore the right file from a backup"
    )
}
