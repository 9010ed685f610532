//! A store that keeps finished replicas.
//!
//! ```text
//! copy into partial/ (resumable) ─► read it back ─► cache/, sealed/ under their names ─► vanilla proof ─► manifest
//! ```
//!
//! The manifest is written last: without it there is no replica, whatever lies in the other folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use host::durable;
use streams::{
    id::{SectorId, StoreId},
    message::Facts,
    proof::Sha256,
};

use super::{
    StoreError,
    copy::{self, CHECKPOINT_BYTES, Copying, Pulse},
    held::Held,
    high_water,
    local::Usage,
    manifest::Manifest,
    partial::{self, Origin, Partial},
    paths::{self, ReplicaPaths, SectorPaths},
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
    checkpoint_bytes: u64,
}

impl PersistentStore {
    pub(crate) const fn new(id: StoreId, path: PathBuf) -> Self {
        Self { id, path, checkpoint_bytes: CHECKPOINT_BYTES }
    }

    /// Where a replica's files are.
    pub(crate) fn files(&self, sector: SectorId) -> ReplicaPaths {
        ReplicaPaths::new(&self.path, sector)
    }

    /// Whether a replica is here, whole.
    pub(crate) fn has(&self, sector: SectorId) -> bool {
        self.files(sector).manifest.is_file()
    }

    /// The store as it is.
    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        let space = space::space(&self.path)?;
        let promises = partial::promises(&self.path, None)?;
        let reserved = promises.iter().fold(0u64, |sum, promise| sum.saturating_add(promise.reserved));
        Ok(Usage { space, reserved, sectors: self.replicas()?, room: space::room(space.free, promises, 0) })
    }

    fn replicas(&self) -> Result<u64, StoreError> {
        let folder = paths::manifests(&self.path);
        match fs::read_dir(&folder) {
            Ok(entries) => Ok(u64::try_from(entries.flatten().count()).unwrap_or(u64::MAX)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(StoreError::io("read", &folder)(error)),
        }
    }

    /// What can still be promised; what `sector` was promised already is its own.
    pub(crate) fn room(&self, sector: SectorId, keep_free: u64) -> Result<u64, StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let free = space::space(held.root()).map_err(|error| held.told(error))?.free;
        let own = space::taken(&paths::partial(held.root(), sector));
        let promises = partial::promises(held.root(), Some(sector)).map_err(|error| held.told(error))?;
        Ok(space::room(free.saturating_add(own), promises, keep_free))
    }

    /// Copies a replica under its final names, durably, and reads it back. It counts as kept once
    /// [vouched for](Self::vouch). Interrupted, it goes on where it was when it is done again.
    pub(crate) fn copy(&self, from: &SectorPaths, manifest: &Manifest, pulse: &Pulse) -> Result<Sha256, StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let copied = self.copy_into(&held, from, manifest, pulse).map_err(|error| held.told(error))?;
        // On a disk that went meanwhile it is nowhere.
        held.require_mounted()?;
        Ok(copied)
    }

    fn copy_into(
        &self,
        held: &Held,
        from: &SectorPaths,
        manifest: &Manifest,
        pulse: &Pulse,
    ) -> Result<Sha256, StoreError> {
        let (root, sector) = (held.root(), manifest.sector);
        let to = ReplicaPaths::new(root, sector);
        high_water::raise(root, sector)?;
        for parent in [&to.sealed, &to.cache, &to.manifest].into_iter().filter_map(|p| p.parent()) {
            durable::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        let origin = Origin::of(&from.sealed(), manifest.mark)?;
        let mut partial = Partial::take(root, sector, origin, footprint::replica_bytes(manifest.proof))?;
        if let Some(known) = Self::kept_of(&to, manifest)?
            && Self::is_whole(&to, manifest, known, pulse)?
        {
            // Done before, and its result was lost.
            return Ok(known);
        }
        durable::remove_file(&to.manifest).map_err(StoreError::io("remove", &to.manifest))?;
        host::failpoint!("agent.persist.begun");
        if let Some(published) = partial.published() {
            if Self::is_whole(&to, manifest, published, pulse)? {
                return Ok(published);
            }
            partial.note_published(false)?;
        }

        let cache = self.copy_cache(from, &partial, pulse)?;
        let sealed = partial.sealed();
        let copying = Copying {
            from: &from.sealed(),
            to: &sealed,
            left: partial.left(),
            checkpoint_bytes: self.checkpoint_bytes,
            pulse,
        };
        let copied = copying.run(|prefix| {
            held.require_mounted()?;
            partial.note(Some(prefix))?;
            host::failpoint!("agent.persist.checkpointed");
            Ok(())
        })?;
        if pulse.resumed() > 0 {
            tracing::info!(%sector, from_byte = pulse.resumed(), "the copy went on where an earlier one ended");
        }
        host::failpoint!("agent.persist.copied");
        let mut written = cache;
        written.push((sealed, copied.sha256));
        self.require_same(held, sector, &written, &mut partial, pulse)?;

        pulse.step(false)?;
        partial.note_published(true)?;
        if to.cache.exists() {
            let replaced = partial.replaced();
            durable::remove_dir_all(&replaced).map_err(StoreError::io("remove", &replaced))?;
            durable::rename(&to.cache, &replaced).map_err(StoreError::io("set aside", &to.cache))?;
        }
        durable::rename(&partial.cache(), &to.cache).map_err(StoreError::io("publish", &to.cache))?;
        host::failpoint!("agent.persist.cache_published");
        durable::rename(&partial.sealed(), &to.sealed).map_err(StoreError::io("publish", &to.sealed))?;
        host::failpoint!("agent.persist.sealed_published");
        Ok(copied.sha256)
    }

    /// The digest of a copy of this very replica that somebody vouched for.
    fn kept_of(to: &ReplicaPaths, manifest: &Manifest) -> Result<Option<Sha256>, StoreError> {
        match Manifest::read(&to.manifest) {
            Ok(kept) => Ok(kept.filter(|kept| kept.mark == manifest.mark).and_then(|kept| kept.sealed_sha256())),
            // It is written anew.
            Err(StoreError::Text { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether what an earlier copy published is there. It was told before it was done.
    fn is_whole(to: &ReplicaPaths, manifest: &Manifest, published: Sha256, pulse: &Pulse) -> Result<bool, StoreError> {
        match require_files(to, manifest.proof.sector_size()) {
            Ok(()) => Ok(copy::read_back(&to.sealed, pulse)?.0 == published),
            Err(StoreError::Incomplete { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The files beside the replica are small: each is copied anew.
    fn copy_cache(
        &self,
        from: &SectorPaths,
        partial: &Partial,
        pulse: &Pulse,
    ) -> Result<Vec<(PathBuf, Sha256)>, StoreError> {
        let made = partial.cache();
        durable::remove_dir_all(&made).map_err(StoreError::io("remove", &made))?;
        durable::create_dir_all(&made).map_err(StoreError::io("create", &made))?;
        let mut written = Vec::new();
        for name in proving_files(&from.cache())? {
            let (source, copy) = (from.cache().join(&name), made.join(&name));
            let checkpoint_bytes = self.checkpoint_bytes;
            let copying = Copying { from: &source, to: &copy, left: None, checkpoint_bytes, pulse };
            written.push((copy.clone(), copying.run(|_| Ok(()))?.sha256));
        }
        durable::sync_dir(&made).map_err(StoreError::io("sync", &made))?;
        Ok(written)
    }

    /// Reads back what was written. What differs is not gone on with.
    fn require_same(
        &self,
        held: &Held,
        sector: SectorId,
        written: &[(PathBuf, Sha256)],
        partial: &mut Partial,
        pulse: &Pulse,
    ) -> Result<(), StoreError> {
        for (path, expected) in written {
            let (found, _) = copy::read_back(path, pulse)?;
            if found != *expected {
                partial.note(None)?;
                let file = path.strip_prefix(held.root()).map_or_else(|_| path.clone(), |file| self.path.join(file));
                return Err(StoreError::Differs { store: self.id, sector, file, expected: *expected, found });
            }
        }
        Ok(())
    }

    /// Says that the copy was proven: from now on the replica is here.
    pub(crate) fn vouch(&self, manifest: &Manifest, sealed_sha256: Sha256) -> Result<(), StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let mut kept = manifest.clone();
        kept.record(Facts::Persist { store: self.id, sealed_sha256 });
        kept.write(&ReplicaPaths::new(held.root(), manifest.sector).manifest).map_err(|error| held.told(error))?;
        host::failpoint!("agent.persist.manifest_written");
        partial::remove(held.root(), manifest.sector).map_err(|error| held.told(error))?;
        held.require_mounted()
    }

    /// Takes back a copy that could not be proven, so that nobody finds it.
    pub(crate) fn retract(&self, sector: SectorId) -> Result<(), StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let at = ReplicaPaths::new(held.root(), sector);
        let removed = durable::remove_file(&at.manifest)
            .and_then(|()| durable::remove_file(&at.sealed))
            .and_then(|()| durable::remove_dir_all(&at.cache));
        removed
            .map_err(StoreError::io("remove the copy of", &at.sealed))
            .and_then(|()| partial::remove(held.root(), sector))
            .map_err(|error| held.told(error))
    }

    /// Says that others' files, which are here, were proven to be the replica on chain: from now on it is here.
    pub(crate) fn attach(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let at = ReplicaPaths::new(held.root(), manifest.sector);
        let write = || {
            require_files(&at, manifest.proof.sector_size())?;
            let folder = paths::manifests(held.root());
            durable::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
            manifest.write(&at.manifest)
        };
        write().map_err(|error| held.told(error))?;
        host::failpoint!("agent.attach.manifest_written");
        held.require_mounted()
    }

    /// Takes back that others' files are here: the cluster does not count on them. The files stay.
    pub(crate) fn detach(&self, sector: SectorId) -> Result<(), StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let at = ReplicaPaths::new(held.root(), sector);
        let remove = || match Manifest::read(&at.manifest)? {
            Some(manifest) if manifest.attached.is_some() => {
                durable::remove_file(&at.manifest).map_err(StoreError::io("remove", &at.manifest))
            }
            _ => Ok(()),
        };
        remove().map_err(|error| held.told(error))
    }

    /// The manifest of a replica that is here, with its files in place and of the right sizes.
    pub(crate) fn kept(&self, sector: SectorId) -> Result<Manifest, StoreError> {
        let held = Held::open(&self.path, self.id)?;
        let at = ReplicaPaths::new(held.root(), sector);
        let manifest = Manifest::read(&at.manifest)
            .map_err(|error| held.told(error))?
            .ok_or_else(|| StoreError::SectorMissing { sector, path: self.path.clone() })?;
        require_files(&at, manifest.proof.sector_size()).map_err(|error| held.told(error))?;
        Ok(manifest)
    }
}

/// Whether a replica's files are there, the sealed one in its whole size.
pub(crate) fn require_files(at: &ReplicaPaths, sector_size: u64) -> Result<(), StoreError> {
    let missing = |what| StoreError::Incomplete { path: at.sealed.clone(), what };
    match fs::metadata(&at.sealed) {
        Ok(found) if found.len() == sector_size => {}
        Ok(_) => return Err(missing("a part of the sealed file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing("the sealed file")),
        Err(error) => return Err(StoreError::io("look at", &at.sealed)(error)),
    }
    proving_files(&at.cache).map(|_| ())
}

/// Names of the cache files that proving needs; an error when one is missing.
pub(super) fn proving_files(cache: &Path) -> Result<Vec<String>, StoreError> {
    let missing = |what| StoreError::Incomplete { path: cache.to_owned(), what };
    let entries = match fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing("its cache folder")),
        Err(error) => return Err(StoreError::io("read", cache)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io("read", cache))?.file_name().to_string_lossy().into_owned();
        if name == P_AUX || name == T_AUX || name.starts_with(TREE_R_LAST_PREFIX) {
            names.push(name);
        }
    }
    for what in [P_AUX, T_AUX] {
        if !names.iter().any(|name| name == what) {
            return Err(missing(what));
        }
    }
    if !names.iter().any(|name| name.starts_with(TREE_R_LAST_PREFIX)) {
        return Err(missing("tree-r-last"));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[path = "persistent_tests.rs"]
mod tests;
