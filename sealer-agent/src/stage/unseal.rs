//! Reading data back out of a replica, and delivering it.

use std::path::{Path, PathBuf};

use prover::job::Output;
use streams::{
    id::StoreId,
    message::{Facts, FailureClass, UnsealOrder},
    sector::SectorRecord,
};

use super::{Tools, deliver};
use crate::{
    blocking::blocking,
    child::AtWork,
    footprint,
    halt::{BUSY_DELAY, Halt, ROOM_DELAY},
    outcome::wrong_output,
    request,
    store::{StoreError, health::Health, identity, scratch::Scratch, space},
};

/// Unseals into scratch and puts the payload where the order says.
pub(crate) async fn run(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    order: &UnsealOrder,
) -> Result<Facts, Halt> {
    check(order)?;
    let Some(replica) = replica(tools, record).await else {
        return Err(Halt::back(ROOM_DELAY, "no store that is open in this agent has the replica"));
    };
    let root = roomy_store(tools, record).await?;
    let job = at.dir.path().to_owned();
    let scratch = blocking(move || -> Result<_, StoreError> {
        let scratch = Scratch::create(&root)?;
        scratch.hold_for(&job)?;
        let cache = scratch.path().join("cache");
        host::durable::create_dir_all(&cache).map_err(StoreError::io("create", &cache))?;
        Ok(scratch)
    })
    .await?;
    let done = unseal(tools, at, record, order, replica, scratch.path()).await;
    blocking(move || scratch.remove()).await?;
    done
}

async fn unseal(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    order: &UnsealOrder,
    replica: PathBuf,
    scratch: &Path,
) -> Result<Facts, Halt> {
    let request = request::unseal(record, order, replica, scratch)
        .ok_or_else(|| Halt::back(BUSY_DELAY, format!("the record is {}", record.state.name())))?;
    let Output::Unseal {} = tools.prover.run(at, &request).await? else {
        return Err(wrong_output().into());
    };
    at.posted.phase("deliver");
    let data = scratch.join("data");
    host::failpoint!("agent.unseal.made");
    tokio::select! {
        delivered = deliver::put(&tools.uploads, &data, order) => {
            delivered.map(|sha256| Facts::Unseal { sha256 }).map_err(|error| {
                let error = error.context(format!("deliver to {}", order.deliver_to));
                Halt::failed(FailureClass::RetryHere, "not-delivered", format!("{error:#}"))
            })
        }
        () = at.stop.cancelled() => Err(Halt::Interrupted),
    }
}

/// An order comes off a wire.
fn check(order: &UnsealOrder) -> Result<(), Halt> {
    if order.payload_bytes > order.length_unpadded {
        let message = format!("asks for {} bytes of {}", order.payload_bytes, order.length_unpadded);
        return Err(Halt::failed(FailureClass::Abort, "bad-task", message));
    }
    Ok(())
}

/// The replica's file: the local one, else the persisted one. A store that does not answer is passed over.
async fn replica(tools: &Tools, record: &SectorRecord) -> Option<PathBuf> {
    let sealed = record.state.sealed()?;
    let local = tools.stores.local(sealed.at.store).map(|s| (s.id, s.path.clone(), s.files(record.id).sealed()));
    let kept = sealed
        .persisted
        .as_ref()
        .and_then(|kept| tools.stores.persistent(kept.store))
        .map(|s| (s.id, s.path.clone(), s.files(record.id).sealed));
    let health = &tools.stores.health;
    for (store, path, sealed) in [local, kept].into_iter().flatten() {
        let at = path.clone();
        let look = move || identity::require(&at, store).map(|()| sealed.is_file().then_some(sealed));
        if let Some(Some(found)) = look_at(health, store, &path, look).await {
            return Some(found);
        }
    }
    None
}

async fn roomy_store(tools: &Tools, record: &SectorRecord) -> Result<PathBuf, Halt> {
    let needed = footprint::unseal_bytes(record.proof);
    let health = &tools.stores.health;
    for (id, path) in tools.stores.paths() {
        let at = path.to_owned();
        let look = move || identity::require(&at, id).and_then(|()| space::space(&at));
        match look_at(health, id, path, look).await {
            Some(space) if space.free.saturating_sub(tools.keep_free) >= needed => return Ok(path.to_owned()),
            Some(_) | None => {}
        }
    }
    Err(Halt::back(ROOM_DELAY, format!("no store has the {needed} bytes of scratch that reading it back takes")))
}

/// What a look at a store that is well shows; nothing of the others.
async fn look_at<T: Send + 'static>(
    health: &Health,
    store: StoreId,
    path: &Path,
    look: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Option<T> {
    let condition = health.condition(store);
    if !condition.can_be_read() {
        tracing::warn!(store = %path.display(), "passed over: {condition}");
        return None;
    }
    match health.within(store, path, look).await {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(store = %path.display(), "passed over: {:#}", anyhow::Error::from(error));
            None
        }
    }
}
