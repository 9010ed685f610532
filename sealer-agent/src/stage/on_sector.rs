//! Stages that work on the sector's own files in its local store.

use std::sync::Arc;

use prover::job::Output;
use streams::{
    kv::CasError,
    message::Facts,
    records::SectorLock,
    sector::{Placement, SectorRecord},
    stage::Stage,
};
use tokio_util::sync::CancellationToken;

use super::{Tools, pieces, ticket};
use crate::{
    blocking::blocking,
    child::AtWork,
    halt::{BUSY_DELAY, Halt, ROOM_DELAY},
    outcome, parting, request,
    store::{
        StoreError,
        local::LocalStore,
        sector_lock::{self, SectorFolder},
    },
};

/// Does one of: add-piece, tree-d, pc1, pc2, c1, finalize.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, stage: Stage, record: &SectorRecord) -> Result<Facts, Halt> {
    let store = local_store(tools, record)?;
    if !stage.writes_in_place() {
        return prove(tools, at, stage, record, &store).await;
    }
    let held = Exclusive::take(tools, at, record, &store).await?;
    let done = in_place(tools, at, stage, record, (&store, &held)).await;
    held.release(tools).await;
    done
}

/// The store the record names, if this agent has it open.
pub(crate) fn local_store(tools: &Tools, record: &SectorRecord) -> Result<LocalStore, Halt> {
    let at = placement(record)?;
    tools
        .stores
        .local(at.store)
        .cloned()
        .ok_or_else(|| Halt::back(ROOM_DELAY, format!("store {} is not open in this agent", at.store)))
}

async fn in_place(
    tools: &Tools,
    at: &AtWork<'_>,
    stage: Stage,
    record: &SectorRecord,
    (store, held): (&LocalStore, &Exclusive),
) -> Result<Facts, Halt> {
    let with_ticket;
    // Labels that are being made have their ticket, whoever answers now.
    let record = if stage == Stage::Pc1 && !has_begun(at, stage, record, store) {
        at.posted.phase("waits for its ticket");
        let asked = parting::within(at.stop, ticket::ticketed(tools, record)).await;
        with_ticket = asked.unwrap_or(Err(Halt::Interrupted))?;
        host::failpoint!("agent.ticket.drawn");
        &with_ticket
    } else {
        record
    };
    let (sector, mark) = (record.id, request::mark(record));
    let on = store.clone();
    held.change(tools, store, move || on.begin(sector, stage, mark)).await?;
    host::failpoint!("agent.stage.begun");
    let facts = if stage == Stage::AddPiece {
        let fetched = fetch_pieces(tools, at, record, store).await;
        let proved = match fetched {
            Ok(()) => prove(tools, at, stage, record, store).await,
            Err(halt) => Err(halt),
        };
        pieces::remove(&store.files(sector)).await?;
        proved?
    } else {
        prove(tools, at, stage, record, store).await?
    };
    let (on, done) = (store.clone(), facts.clone());
    held.change(tools, store, move || on.finish(sector, done, mark)).await?;
    host::failpoint!("agent.stage.finished");
    Ok(facts)
}

/// A prover that was begun before has its pieces, or has read them.
async fn fetch_pieces(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord, store: &LocalStore) -> Result<(), Halt> {
    if has_begun(at, Stage::AddPiece, record, store) {
        return Ok(());
    }
    pieces::fetch(tools, at, record, &store.files(record.id)).await?;
    host::failpoint!("agent.pieces.fetched");
    Ok(())
}

/// Whether an earlier agent's prover does just this, or has done it.
fn has_begun(at: &AtWork<'_>, stage: Stage, record: &SectorRecord, store: &LocalStore) -> bool {
    let request = request::on_sector(stage, record, &store.files(record.id), at.dir.path());
    request.is_some_and(|request| at.has_begun(&request))
}

async fn prove(
    tools: &Tools,
    at: &AtWork<'_>,
    stage: Stage,
    record: &SectorRecord,
    store: &LocalStore,
) -> Result<Facts, Halt> {
    let dir = at.dir.path();
    if stage == Stage::AddPiece && record.pieces.is_empty() {
        return Ok(Facts::AddPiece { pieces: Vec::new() });
    }
    let request = request::on_sector(stage, record, &store.files(record.id), dir).ok_or_else(|| moved(record))?;
    match tools.prover.run(at, &request).await? {
        Output::C1 {} => {
            at.posted.phase("store the vanilla proofs");
            // A name of its own for each try: a late one must not replace what the record refers to.
            let name = format!("c1/{}/{}", record.id.key(), uuid::Uuid::new_v4());
            let output = request::c1_output(dir);
            let stored = parting::within(at.stop, tools.artifacts.put(&name, &output)).await;
            let artifact = stored.ok_or(Halt::Interrupted)??;
            host::failpoint!("agent.c1.artifact_stored");
            Ok(Facts::C1 { artifact })
        }
        other => Ok(outcome::facts(other)?),
    }
}

/// The sector's files are changed by this job alone: a lock in its folder against other agents of this host, and a key
/// in `LOCKS` that tells other places.
pub(crate) struct Exclusive {
    folder: Arc<SectorFolder>,
    key: String,
    revision: u64,
    stop: CancellationToken,
}

impl Exclusive {
    pub(crate) async fn take(
        tools: &Tools,
        at: &AtWork<'_>,
        record: &SectorRecord,
        store: &LocalStore,
    ) -> Result<Self, Halt> {
        let (sector, on, job) = (record.id, store.clone(), at.dir.path().to_owned());
        let folder = blocking(move || {
            on.manifest(sector)?;
            sector_lock::lock(&on.files(sector), &job)
        })
        .await?;
        let generation = placement(record)?.generation;
        let (place, agent, incarnation) = (tools.place.clone(), tools.agent.clone(), record.incarnation);
        let lock = SectorLock { place, agent, generation, incarnation };
        let key = sector.key();
        // Whoever holds the folder's lock, and the record's word that the sector is here, outranks what an earlier
        // holder left in the bucket.
        let revision = match tools.locks.get(&key).await? {
            Some(entry) => tools.locks.update(&key, &lock, entry.revision).await?,
            None => tools.locks.create(&key, &lock).await?,
        };
        host::failpoint!("agent.sector_lock.told");
        Ok(Self { folder: Arc::new(folder), key, revision, stop: at.stop.clone() })
    }

    /// A change of the folder, within the time that a disk may be silent. One that takes longer keeps the folder locked
    /// until it is over: nobody else works there while it may still write.
    pub(crate) async fn change(
        &self,
        tools: &Tools,
        store: &LocalStore,
        change: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), Halt> {
        let folder = Arc::clone(&self.folder);
        let changed = move || {
            let changed = change();
            drop(folder);
            changed
        };
        tools.stores.health.halting(store.id, &store.path, changed).await
    }

    pub(crate) async fn release(self, tools: &Tools) {
        match parting::within(&self.stop, tools.locks.delete_if(&self.key, self.revision)).await {
            // The next holder replaces what is still there.
            None | Some(Ok(()) | Err(CasError::Lost { .. })) => {}
            Some(Err(CasError::Queue(error))) => tracing::warn!("release the lock: {:#}", anyhow::Error::from(error)),
        }
        host::failpoint!("agent.sector_lock.released");
    }
}

fn placement(record: &SectorRecord) -> Result<&Placement, Halt> {
    record.state.placement().ok_or_else(|| moved(record))
}

fn moved(record: &SectorRecord) -> Halt {
    Halt::back(BUSY_DELAY, format!("the record is {}, which this stage is not for", record.state.name()))
}
