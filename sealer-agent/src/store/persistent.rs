//! A store that keeps finished replicas.

use std::{fs, path::PathBuf};

use host::durable;
use streams::{
    id::{SectorId, StoreId},
    message::Facts,
    proof::{SealProof, Sha256},
};

use super::{
    StoreError, high_water, identity,
    manifest::Manifest,
    paths::{self, ReplicaPaths, SectorPaths},
    scratch::Scratch,
    space,
};
use crate::footprint;

/// The cache files that proving needs; the tree may be in several files.
const P_AUX: &str = "p_aux";
const T_AUX: &str = "t_aux";
const TREE_R_LAST_PREFIX: &str = "sc-02-data-tree-r-last";

/// A store that keeps finished replicas.
#[derive(Debug, Clone)]
pub(crate) struct PersistentStore {
    pub(crate) id: StoreId,
    pub(crate) path: PathBuf,
}

impl PersistentStore {
    pub(crate) const fn new(id: StoreId, path: PathBuf) -> Self {
        Self { id, path }
    }

    /// Where a replica's files are.
    pub(crate) fn files(&self, sector: SectorId) -> ReplicaPaths {
        ReplicaPaths::new(&self.path, sector)
    }

    /// Whether a replica is here, whole.
    pub(crate) fn has(&self, sector: SectorId) -> bool {
        // The manifest is written last.
        self.files(sector).manifest.is_file()
    }

    /// How many replicas are here.
    pub(crate) fn replicas(&self) -> u64 {
        let count = fs::read_dir(paths::manifests(&self.path)).map_or(0, |entries| entries.flatten().count());
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Free bytes, if a replica of this type fits.
    pub(crate) fn room_for(&self, proof: SealProof, keep_free: u64) -> Result<Option<u64>, StoreError> {
        identity::require(&self.path, self.id)?;
        let room = space::space(&self.path)?.free.saturating_sub(keep_free);
        Ok((room >= footprint::replica_bytes(proof)).then_some(room))
    }

    /// Copies a replica here, whole and durable under its final names when this returns. Done again after a crash, it
    /// begins anew and replaces what it finds: the names appear in the order cache, sealed file, manifest.
    pub(crate) fn keep(&self, from: &SectorPaths, manifest: &Manifest) -> Result<Sha256, StoreError> {
        identity::require(&self.path, self.id)?;
        let to = self.files(manifest.sector);
        high_water::raise(&self.path, manifest.sector)?;
        for parent in [&to.sealed, &to.cache, &to.manifest].into_iter().filter_map(|p| p.parent()) {
            durable::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        durable::remove_file(&to.manifest).map_err(StoreError::io("remove", &to.manifest))?;
        host::failpoint!("agent.persist.begun");
        let scratch = Scratch::create(&self.path)?;
        self.publish_cache(from, &to, &scratch)?;
        host::failpoint!("agent.persist.cache_published");
        // Copied as scratch: what an interrupted copy leaves, a sweep finds.
        let copy = scratch.path().join("sealed");
        let digest =
            durable::copy_with_sha256(&from.sealed(), &copy).map_err(StoreError::io("copy the replica to", &copy))?;
        durable::rename(&copy, &to.sealed).map_err(StoreError::io("publish", &to.sealed))?;
        host::failpoint!("agent.persist.sealed_published");
        let sealed_sha256 = streams::proof::Bytes32(digest);
        let mut kept = manifest.clone();
        kept.record(Facts::Persist { store: self.id, sealed_sha256 });
        kept.write(&to.manifest)?;
        host::failpoint!("agent.persist.manifest_written");
        scratch.remove()?;
        Ok(sealed_sha256)
    }

    fn publish_cache(&self, from: &SectorPaths, to: &ReplicaPaths, scratch: &Scratch) -> Result<(), StoreError> {
        let made = scratch.path().join("cache");
        durable::create_dir_all(&made).map_err(StoreError::io("create", &made))?;
        for name in proving_files(from)? {
            let (source, copy) = (from.cache().join(&name), made.join(&name));
            durable::copy_with_sha256(&source, &copy).map_err(StoreError::io("copy to", &copy))?;
        }
        if to.cache.exists() {
            let old = scratch.path().join("old");
            durable::rename(&to.cache, &old).map_err(StoreError::io("set aside", &to.cache))?;
        }
        durable::rename(&made, &to.cache).map_err(StoreError::io("publish", &to.cache))
    }
}

/// Names of the cache files that proving needs; an error when one is missing.
fn proving_files(from: &SectorPaths) -> Result<Vec<String>, StoreError> {
    let cache = from.cache();
    let entries = fs::read_dir(&cache).map_err(StoreError::io("read", &cache))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io("read", &cache))?.file_name().to_string_lossy().into_owned();
        if name == P_AUX || name == T_AUX || name.starts_with(TREE_R_LAST_PREFIX) {
            names.push(name);
        }
    }
    let missing = |what| StoreError::Incomplete { path: cache.clone(), what };
    for what in [P_AUX, T_AUX] {
        if !names.iter().any(|name| name == what) {
            return Err(missing(what));
        }
    }
    if !names.iter().any(|name| name.starts_with(TREE_R_LAST_PREFIX)) {
        return Err(missing("tree-r-last"));
    }
    Ok(names)
}

#[cfg(test)]
#[path = "persistent_tests.rs"]
mod tests;
