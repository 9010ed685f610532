//! The end of sealing: layers and big trees go, and then the local copy, since a proven one is in a persistent store.
//!
//! The coordinator orders this when the chain counts the sector. That order, and the record's word that a persisted copy
//! was accepted, are what a local copy is removed by; and the copy is looked at once more before.

use streams::{
    message::Facts,
    sector::{Persisted, SectorRecord},
    stage::Stage,
};

use super::{
    Tools,
    on_sector::{self, local_store},
};
use crate::{
    child::AtWork,
    halt::{Halt, ROOM_DELAY},
    store::{StoreError, local::LocalStore, sector_lock},
};

/// Trims the sector's folder, and removes it if its copy is in a persistent store of this agent.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord) -> Result<Facts, Halt> {
    let store = local_store(tools, record)?;
    let copy = record.state.sealed().and_then(|sealed| sealed.persisted.as_ref());
    if let Some(copy) = copy
        && is_gone(tools, record, &store).await?
        && is_kept(tools, record, copy).await?
    {
        // Done before, and its result was lost.
        return Ok(Facts::Finalize {});
    }
    let facts = on_sector::run(tools, at, Stage::Finalize, record).await?;
    if let Some(copy) = copy
        && is_kept(tools, record, copy).await?
    {
        at.posted.phase("remove the local copy");
        let (sector, on, job) = (record.id, store.clone(), at.dir.path().to_owned());
        let remove = move || {
            let _folder = sector_lock::lock(&on.files(sector), &job)?;
            on.remove(sector)
        };
        tools.stores.health.halting(store.id, &store.path, remove).await?;
        host::failpoint!("agent.finalize.local_removed");
    }
    Ok(facts)
}

async fn is_gone(tools: &Tools, record: &SectorRecord, store: &LocalStore) -> Result<bool, Halt> {
    let (sector, on) = (record.id, store.clone());
    let looked = move || match on.manifest(sector) {
        Ok(_) => Ok(false),
        Err(StoreError::SectorMissing { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    tools.stores.health.halting(store.id, &store.path, looked).await
}

/// Whether the copy is in a store of this agent, as it was accepted. One at another place is not seen from here, and the
/// local copy stays. One that is away may be back later.
async fn is_kept(tools: &Tools, record: &SectorRecord, copy: &Persisted) -> Result<bool, Halt> {
    let Some(store) = tools.stores.persistent(copy.store) else { return Ok(false) };
    let (sector, on) = (record.id, store.clone());
    let kept = tools.stores.health.within(store.id, &store.path, move || on.kept(sector)).await;
    match kept {
        Ok(manifest) if manifest.sealed_sha256() == Some(copy.sealed_sha256) => Ok(true),
        Ok(_) => {
            tracing::warn!(store = %store.path.display(), "the copy there is another one: the local copy stays");
            Ok(false)
        }
        Err(error @ (StoreError::SectorMissing { .. } | StoreError::Incomplete { .. })) => {
            tracing::warn!("the local copy stays: {:#}", anyhow::Error::from(error));
            Ok(false)
        }
        Err(error) => Err(Halt::back(ROOM_DELAY, format!("{:#}", anyhow::Error::from(error)))),
    }
}
