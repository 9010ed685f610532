//! Copying a replica to a persistent store of this place.

use streams::{
    message::{Facts, FailureClass},
    sector::SectorRecord,
    stage::Stage,
};

use super::{
    Tools,
    on_sector::{Exclusive, local_store},
};
use crate::{
    blocking::blocking,
    child::AtWork,
    halt::Halt,
    request,
    store::{StoreError, local::LocalStore, persistent::PersistentStore},
};

/// Copies the replica, whole and durable when this returns.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord) -> Result<Facts, Halt> {
    let store = local_store(tools, record)?;
    let held = Exclusive::take(tools, at, record, &store).await?;
    let done = copy(tools, at, record, &store).await;
    held.release(tools).await;
    done
}

async fn copy(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord, store: &LocalStore) -> Result<Facts, Halt> {
    let target = choose(tools, record)?;
    let (sector, from, to, mark) = (record.id, store.clone(), target.clone(), request::mark(record));
    at.posted.phase(&format!("copy to {}", target.path.display()), None);
    let copied = blocking(move || -> Result<_, StoreError> {
        let mut manifest = from.manifest(sector)?;
        manifest.mark(mark);
        if !manifest.has(Stage::Pc2) {
            return Err(StoreError::Incomplete { path: from.files(sector).root, what: "a finished pc2" });
        }
        let sealed_sha256 = to.keep(&from.files(sector), &manifest)?;
        let facts = Facts::Persist { store: to.id, sealed_sha256 };
        from.finish(sector, facts.clone(), mark)?;
        host::failpoint!("agent.persist.finished");
        Ok(facts)
    });
    tokio::select! {
        facts = copied => facts,
        // The thread's half-made copy is scratch, which the next start sweeps.
        () = at.stop.cancelled() => Err(Halt::Interrupted),
    }
}

/// The store that has it already, else the one with most room.
fn choose(tools: &Tools, record: &SectorRecord) -> Result<PersistentStore, Halt> {
    let stores = &tools.stores.persistent;
    if stores.is_empty() {
        return Err(Halt::failed(
            FailureClass::RetryHere,
            "no-persistent-store",
            format!("place {} has no persistent store: `sealer-agent store init --persistent PATH`", tools.place),
        ));
    }
    if let Some(store) = stores.iter().find(|store| store.has(record.id)) {
        return Ok(store.clone());
    }
    let (mut fitting, mut failed) = (Vec::new(), None);
    for store in stores {
        match store.room_for(record.proof, tools.keep_free) {
            Ok(Some(room)) => fitting.push((room, store)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(store = %store.path.display(), "passed over: {error}");
                failed = Some(error);
            }
        }
    }
    fitting.into_iter().max_by_key(|(room, _)| *room).map(|(_, store)| store.clone()).ok_or_else(|| {
        if let Some(error) = failed {
            return error.into();
        }
        let message = format!("no persistent store of place {} has room for a {} replica", tools.place, record.proof);
        Halt::failed(FailureClass::RetryHere, "no-space", message)
    })
}
