//! Where things lie within a store. Nothing here touches the disk.
//!
//! ```text
//! local store                          persistent store
//! sealstream-store.json                sealstream-store.json
//! high-water.json                      high-water.json
//! placement.lock                       sealed/s-t01000-17
//! sectors/s-t01000-17/                 cache/s-t01000-17/{p_aux, t_aux, sc-02-data-tree-r-last*}
//!   manifest.json  lock                manifests/s-t01000-17.json
//!   pieces/  staged  sealed  cache/    partial/s-t01000-17/{copy.json, lock, sealed, cache/}
//!   pc1.json
//! scratch/{<uuid>/, <uuid>.lock}        scratch/{<uuid>/, <uuid>.lock}
//! ```
//!
//! `sealed` and `cache` of a persistent store, and `update`, `update-cache` and `unsealed` once there are any, are the
//! folders of lotus and damocles, with their names.

use std::path::{Path, PathBuf};

use streams::id::SectorId;

/// The file that makes a folder a store.
pub(crate) const IDENTITY: &str = "sealstream-store.json";

/// The files of a sector that is being sealed, or was sealed, in a local store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SectorPaths {
    /// The sector's folder.
    pub(crate) root: PathBuf,
}

impl SectorPaths {
    pub(crate) fn new(store: &Path, sector: SectorId) -> Self {
        Self { root: sectors(store).join(sector.file_name()) }
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Names the job of the lock's holder.
    pub(crate) fn holder(&self) -> PathBuf {
        self.root.join("holder.json")
    }

    pub(crate) fn pieces(&self) -> PathBuf {
        self.root.join("pieces")
    }

    pub(crate) fn piece(&self, index: usize) -> PathBuf {
        self.pieces().join(index.to_string())
    }

    pub(crate) fn staged(&self) -> PathBuf {
        self.root.join("staged")
    }

    pub(crate) fn sealed(&self) -> PathBuf {
        self.root.join("sealed")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn pc1_output(&self) -> PathBuf {
        self.root.join("pc1.json")
    }
}

/// The files of a replica in a persistent store: the layout lotus and damocles use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaPaths {
    pub(crate) sealed: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) manifest: PathBuf,
}

impl ReplicaPaths {
    pub(crate) fn new(store: &Path, sector: SectorId) -> Self {
        let name = sector.file_name();
        Self {
            sealed: replicas(store).join(&name),
            cache: store.join("cache").join(&name),
            manifest: manifests(store).join(format!("{name}.json")),
        }
    }
}

/// The sector whose folder or file has a name such as `s-t01000-17`.
pub(crate) fn sector_of(name: &str) -> Option<SectorId> {
    let (miner, number) = name.strip_prefix("s-")?.split_once('-')?;
    SectorId::from_key(&format!("{miner}.{number}")).ok()
}

/// The folder of a persistent store's manifests.
pub(crate) fn manifests(store: &Path) -> PathBuf {
    store.join("manifests")
}

/// The folder of a persistent store's replicas.
pub(crate) fn replicas(store: &Path) -> PathBuf {
    store.join("sealed")
}

/// The folder of copies on their way.
pub(crate) fn partials(store: &Path) -> PathBuf {
    store.join("partial")
}

/// The folder of a sector's copy on its way.
pub(crate) fn partial(store: &Path, sector: SectorId) -> PathBuf {
    partials(store).join(sector.file_name())
}

/// The highest number of each miner that the store ever held.
pub(crate) fn high_water(store: &Path) -> PathBuf {
    store.join("high-water.json")
}

/// Held while that changes.
pub(crate) fn high_water_lock(store: &Path) -> PathBuf {
    store.join("high-water.lock")
}

/// The folder of a local store's sectors.
pub(crate) fn sectors(store: &Path) -> PathBuf {
    store.join("sectors")
}

/// The folder of work that nobody needs after its job.
pub(crate) fn scratch(store: &Path) -> PathBuf {
    store.join("scratch")
}

/// Held while room is promised, so that two agents never promise the same bytes.
pub(crate) fn placement_lock(store: &Path) -> PathBuf {
    store.join("placement.lock")
}
