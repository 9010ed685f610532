//! A store in which sectors are sealed.

use std::path::{Path, PathBuf};

use host::durable;
use streams::{
    id::{SectorId, StoreId, Timestamp},
    message::Facts,
    sector::SectorRecord,
    stage::Stage,
};

use super::{
    StoreError,
    entries::entries,
    high_water, identity,
    manifest::{Manifest, Mark},
    paths::{self, SectorPaths},
    scratch::Scratch,
    space::{self, Promise, Space},
    turn,
};
use crate::footprint;

/// A store in which sectors are sealed.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    pub(crate) id: StoreId,
    pub(crate) path: PathBuf,
}

/// What came of asking for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// It is promised, durably.
    Yes,
    /// There is too little.
    NoRoom { room: u64 },
}

/// A store as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) space: Space,
    pub(crate) reserved: u64,
    pub(crate) sectors: u64,
    /// What can still be promised, before anything is kept free.
    pub(crate) room: u64,
}

/// Room that sectors were promised.
#[derive(Debug, Default)]
struct Promises {
    known: Vec<Promise>,
    /// Bytes that each sector has written whose promise cannot be read, with the reason.
    unknown: Vec<(u64, StoreError)>,
}

impl Promises {
    /// All of them, where each that cannot be read is taken for one of `needed` bytes.
    fn assuming(self, needed: u64) -> impl Iterator<Item = Promise> {
        let assumed = self.unknown.into_iter().map(move |(taken, _)| Promise { reserved: needed, taken });
        self.known.into_iter().chain(assumed)
    }
}

impl LocalStore {
    pub(crate) const fn new(id: StoreId, path: PathBuf) -> Self {
        Self { id, path }
    }

    /// Where a sector's files are.
    pub(crate) fn files(&self, sector: SectorId) -> SectorPaths {
        SectorPaths::new(&self.path, sector)
    }

    /// What can still be promised to a sector that needs `needed` bytes. One whose promise cannot be read counts as if it
    /// had been promised as much: a broken manifest must neither close a store nor overfill it.
    pub(crate) fn room(&self, needed: u64, keep_free: u64) -> Result<u64, StoreError> {
        let promises = self.promises()?;
        for (_, error) in &promises.unknown {
            tracing::warn!("{}: `sealer-agent store check` says more", host::exit::chain(error));
        }
        Ok(space::room(space::space(&self.path)?.free, promises.assuming(needed), keep_free))
    }

    /// Promises a sector room for its whole life, durably. Asked again for the same sector, it has it already.
    pub(crate) fn reserve(
        &self,
        record: &SectorRecord,
        keep_free: u64,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        identity::require(&self.path, self.id)?;
        let _held = turn::take(&paths::placement_lock(&self.path), turn::SHORT)?;
        let files = self.files(record.id);
        if Manifest::read(&files.manifest())?.is_some() {
            return Ok(Reserved::Yes);
        }
        let needed = footprint::sealing_bytes(record.proof);
        let room = self.room(needed, keep_free)?;
        if room < needed {
            return Ok(Reserved::NoRoom { room });
        }
        high_water::raise(&self.path, record.id)?;
        durable::create_dir_all(&files.root).map_err(StoreError::io("create", &files.root))?;
        host::failpoint!("agent.reserve.folder_made");
        Manifest::new(record, needed, now).write(&files.manifest())?;
        host::failpoint!("agent.reserve.promised");
        Ok(Reserved::Yes)
    }

    /// The manifest of a sector that must be here, in a store that must be: where no disk is, no sector is missing.
    pub(crate) fn manifest(&self, sector: SectorId) -> Result<Manifest, StoreError> {
        identity::require(&self.path, self.id)?;
        Manifest::read(&self.files(sector).manifest())?
            .ok_or_else(|| StoreError::SectorMissing { sector, path: self.path.clone() })
    }

    /// A stage begins: the manifest no longer vouches for what it and later ones will make anew. Which layers and trees
    /// the prover may reuse it decides itself, by the tags that it keeps beside the cache.
    pub(crate) fn begin(&self, sector: SectorId, stage: Stage, mark: Mark) -> Result<(), StoreError> {
        let files = self.files(sector);
        let mut manifest = self.manifest(sector)?;
        manifest.forget_from(stage);
        manifest.mark(mark);
        manifest.write(&files.manifest())?;
        let cache = files.cache();
        durable::create_dir_all(&cache).map_err(StoreError::io("create", &cache))
    }

    /// A stage is done: the manifest says so. After finalize only what proving needs stays, and the rest of the room
    /// is free again.
    pub(crate) fn finish(&self, sector: SectorId, facts: Facts, mark: Mark) -> Result<(), StoreError> {
        let files = self.files(sector);
        let mut manifest = self.manifest(sector)?;
        let finalized = facts.stage() == Stage::Finalize;
        manifest.record(facts);
        manifest.mark(mark);
        if finalized {
            manifest.reserved_bytes = footprint::replica_bytes(manifest.proof);
            remove_file(&files.staged())?;
            remove_file(&files.pc1_output())?;
        }
        manifest.write(&files.manifest())
    }

    /// Removes a sector's folder as a whole: at any moment it is there, or it is scratch.
    pub(crate) fn remove(&self, sector: SectorId) -> Result<(), StoreError> {
        identity::require(&self.path, self.id)?;
        let files = self.files(sector);
        let scratch = Scratch::create(&self.path)?;
        durable::rename(&files.root, &scratch.path().join("sector")).map_err(StoreError::io("remove", &files.root))?;
        host::failpoint!("agent.local.set_aside");
        scratch.remove()
    }

    /// The store as it is; a sector whose manifest cannot be read does not count.
    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        let space = space::space(&self.path)?;
        let (mut reserved, mut sectors) = (0u64, 0u64);
        let promises = self.promises()?.known;
        for promise in &promises {
            reserved = reserved.saturating_add(promise.reserved);
            sectors += 1;
        }
        Ok(Usage { space, reserved, sectors, room: space::room(space.free, promises, 0) })
    }

    fn promises(&self) -> Result<Promises, StoreError> {
        let mut promises = Promises::default();
        for root in entries(&paths::sectors(&self.path))? {
            match Manifest::read(&SectorPaths { root: root.clone() }.manifest()) {
                Ok(Some(manifest)) => {
                    promises.known.push(Promise { reserved: manifest.reserved_bytes, taken: space::taken(&root) });
                }
                Ok(None) => {}
                Err(error) => promises.unknown.push((space::taken(&root), error)),
            }
        }
        Ok(promises)
    }
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    durable::remove_file(path).map_err(StoreError::io("remove", path))
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
