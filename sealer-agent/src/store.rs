//! Stores: folders that hold sectors, known by the UUID in their identity file and never by their path.
//!
//! A *local* store holds sectors while they are sealed; a *persistent* one keeps finished replicas. Both are folders
//! that `sealer-agent store init` made. An unmounted disk leaves an empty folder, and an empty folder is no store:
//! that is what the identity file is for. A store whose disk is gone, fails, fills or does not answer is set aside
//! ([`health`]) until it is well again; the others are worked with meanwhile.

pub(crate) mod check;
pub(crate) mod choice;
pub(crate) mod condition;
pub(crate) mod copy;
pub(crate) mod entries;
pub(crate) mod foreign;
pub(crate) mod health;
pub(crate) mod held;
pub(crate) mod high_water;
pub(crate) mod holdings;
pub(crate) mod identity;
pub(crate) mod limits;
pub(crate) mod local;
pub(crate) mod look;
pub(crate) mod manifest;
pub(crate) mod partial;
pub(crate) mod paths;
pub(crate) mod persistent;
pub(crate) mod registered;
pub(crate) mod scratch;
pub(crate) mod sector_lock;
pub(crate) mod space;
pub(crate) mod turn;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use streams::{
    id::{SectorId, StoreId},
    message::BadText,
    proof::Sha256,
};

use self::{health::Health, local::LocalStore, persistent::PersistentStore, registered::Entry};

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No identity file.
    #[error("{} is not an initialised store: it has no {}", path.display(), paths::IDENTITY)]
    NotInitialised { path: PathBuf, persistent: bool },
    /// A store is not at its path: its disk is gone, or another one is mounted there.
    #[error("store {store} is not at {}{}: is its disk mounted?", path.display(), instead(*found))]
    Away { path: PathBuf, store: StoreId, found: Option<StoreId> },
    /// A disk does not answer.
    #[error("the disk of {} has not answered for {} s", path.display(), limit.as_secs())]
    Silent { path: PathBuf, limit: Duration },
    /// `store init` on a folder that is a store.
    #[error("{} is a store already: {store}", path.display())]
    AlreadyInitialised { path: PathBuf, store: StoreId },
    /// `store init` on a folder with something in it.
    #[error("{} is not empty and no store", path.display())]
    Foreign { path: PathBuf },
    /// `store attach` on a store for sealing.
    #[error("{} is a local store already: {store}", path.display())]
    NotPersistent { path: PathBuf, store: StoreId },
    /// Two paths, one identity: a copied or doubly mounted store.
    #[error("{} and {} are the same store: {store}", first.display(), second.display())]
    Twice { store: StoreId, first: PathBuf, second: PathBuf },
    /// The sector's folder or manifest is gone.
    #[error("sector {sector} is not in store {}", path.display())]
    SectorMissing { sector: SectorId, path: PathBuf },
    /// A file that should be there after PC2 is not.
    #[error("replica in {} is not whole: {what} is missing", path.display())]
    Incomplete { path: PathBuf, what: &'static str },
    /// What was written is not what is read back.
    #[error(
        "sector {sector} in store {store}: {} has SHA-256 {found}, and {expected} was written: its disk, cable or memory \
         changes bytes",
        file.display()
    )]
    Differs { store: StoreId, sector: SectorId, file: PathBuf, expected: Sha256, found: Sha256 },
    /// The file that is copied cannot be read: no fault of the store it is copied to.
    #[error("read the replica {}", path.display())]
    Source {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The agent stops.
    #[error("interrupted")]
    Interrupted,
    /// Another process works on the sector.
    #[error("{} is locked by another process", path.display())]
    Locked { path: PathBuf },
    /// A file of ours that cannot be read.
    #[error("read {}", path.display())]
    Text {
        path: PathBuf,
        #[source]
        source: BadText,
    },
    /// The file system.
    #[error("{what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err`: an I/O error while doing `what` at `path`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotInitialised { path, persistent } => {
                let flag = if *persistent { "--persistent " } else { "" };
                Some(format!(
                    "is its disk mounted? If this is to become a store: `sealer-agent store init {flag}{}`",
                    path.display()
                ))
            }
            Self::AlreadyInitialised { .. } => Some(
                "nothing to do if `sealer-agent store list` shows it; else pass --store PATH, or list it under `stores` in \
                 agent.toml"
                    .to_owned(),
            ),
            Self::Foreign { .. } => Some("give an empty or a new folder".to_owned()),
            Self::Twice { .. } => Some("keep one of the two paths; a store must not be copied".to_owned()),
            Self::NotPersistent { .. } => Some("sealed sectors of others are taken over where they are, not in a store for sealing".to_owned()),
            Self::Away { .. } => Some("mount its disk; nothing is written there until then".to_owned()),
            _ => None,
        }
    }
}

/// What stands where a store is expected.
fn instead(found: Option<StoreId>) -> String {
    found.map_or_else(String::new, |found| format!(", where store {found} is"))
}

/// The stores of this place that this agent works with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    pub(crate) local: Vec<LocalStore>,
    pub(crate) persistent: Vec<PersistentStore>,
    pub(crate) health: Health,
}

impl Stores {
    /// Takes up every store of the list. One whose UUID is known may be away: it is worked with once it is there. A path
    /// where no store was ever seen is an error.
    pub(crate) fn open(entries: &[Entry], health: Health) -> Result<Self, StoreError> {
        let mut stores = Self { health, ..Self::default() };
        for entry in entries {
            let (store, persistent) = match entry.store {
                Some(store) => (store, entry.persistent),
                None => {
                    let identity = identity::read(&entry.path)?.ok_or_else(|| StoreError::NotInitialised {
                        path: entry.path.clone(),
                        persistent: entry.persistent,
                    })?;
                    (identity.store, identity.persistent)
                }
            };
            if let Some(first) = stores.path_of(store) {
                let (first, second) = (first.to_owned(), entry.path.clone());
                return Err(StoreError::Twice { store, first, second });
            }
            if persistent {
                stores.persistent.push(PersistentStore::new(store, entry.path.clone()));
            } else {
                stores.local.push(LocalStore::new(store, entry.path.clone()));
            }
        }
        Ok(stores)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.local.is_empty() && self.persistent.is_empty()
    }

    pub(crate) fn local(&self, id: StoreId) -> Option<&LocalStore> {
        self.local.iter().find(|s| s.id == id)
    }

    pub(crate) fn persistent(&self, id: StoreId) -> Option<&PersistentStore> {
        self.persistent.iter().find(|s| s.id == id)
    }

    /// Paths of all stores, local ones first: scratch is best where sealing is.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (StoreId, &Path)> {
        let local = self.local.iter().map(|s| (s.id, s.path.as_path()));
        local.chain(self.persistent.iter().map(|s| (s.id, s.path.as_path())))
    }

    /// Those that can be read now. Of the others, nothing is known.
    pub(crate) fn readable(&self) -> Self {
        let can_be_read = |id| self.health.condition(id).can_be_read();
        Self {
            local: self.local.iter().filter(|store| can_be_read(store.id)).cloned().collect(),
            persistent: self.persistent.iter().filter(|store| can_be_read(store.id)).cloned().collect(),
            health: self.health.clone(),
        }
    }

    fn path_of(&self, id: StoreId) -> Option<&Path> {
        self.paths().find(|(found, _)| *found == id).map(|(_, path)| path)
    }
}
