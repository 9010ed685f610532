//! Stores: folders that hold sectors, known by the UUID in their identity file and never by their path.
//!
//! A *local* store holds sectors while they are sealed; a *persistent* one keeps finished replicas. Both are folders
//! that `sealer-agent store init` made. An unmounted disk leaves an empty folder, and an empty folder is no store:
//! that is what the identity file is for.

pub(crate) mod high_water;
pub(crate) mod holdings;
pub(crate) mod identity;
pub(crate) mod local;
pub(crate) mod manifest;
pub(crate) mod paths;
pub(crate) mod persistent;
pub(crate) mod registered;
pub(crate) mod scratch;
pub(crate) mod sector_lock;
pub(crate) mod space;

use std::{
    io,
    path::{Path, PathBuf},
};

use streams::{
    id::{SectorId, StoreId},
    message::BadText,
};

use self::{local::LocalStore, persistent::PersistentStore};

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No identity file.
    #[error("{} is not an initialised store: it has no {}", path.display(), paths::IDENTITY)]
    NotInitialised { path: PathBuf, persistent: bool },
    /// A store that was open is not at its path any more: its disk is gone, or another one is mounted there.
    #[error("store {store} is not at {} any more: is its disk mounted?", path.display())]
    Away { path: PathBuf, store: StoreId },
    /// `store init` on a folder that is a store.
    #[error("{} is a store already: {store}", path.display())]
    AlreadyInitialised { path: PathBuf, store: StoreId },
    /// `store init` on a folder with something in it.
    #[error("{} is not empty and no store", path.display())]
    Foreign { path: PathBuf },
    /// Two paths, one identity: a copied or doubly mounted store.
    #[error("{} and {} are the same store: {store}", first.display(), second.display())]
    Twice { store: StoreId, first: PathBuf, second: PathBuf },
    /// The sector's folder or manifest is gone.
    #[error("sector {sector} is not in store {}", path.display())]
    SectorMissing { sector: SectorId, path: PathBuf },
    /// A file that should be there after PC2 is not.
    #[error("replica in {} is not whole: {what} is missing", path.display())]
    Incomplete { path: PathBuf, what: &'static str },
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
            _ => None,
        }
    }
}

/// The stores of this place that this agent has open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    pub(crate) local: Vec<LocalStore>,
    pub(crate) persistent: Vec<PersistentStore>,
}

impl Stores {
    /// Opens every path, or says which one cannot be opened.
    pub(crate) fn open(entries: &[registered::Entry]) -> Result<Self, StoreError> {
        let mut stores = Self::default();
        for entry in entries {
            let identity = identity::read(&entry.path)?
                .ok_or_else(|| StoreError::NotInitialised { path: entry.path.clone(), persistent: entry.persistent })?;
            if let Some(first) = stores.path_of(identity.store) {
                let (first, second) = (first.to_owned(), entry.path.clone());
                return Err(StoreError::Twice { store: identity.store, first, second });
            }
            if identity.persistent {
                stores.persistent.push(PersistentStore::new(identity.store, entry.path.clone()));
            } else {
                stores.local.push(LocalStore::new(identity.store, entry.path.clone()));
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

    fn path_of(&self, id: StoreId) -> Option<&Path> {
        self.paths().find(|(found, _)| *found == id).map(|(_, path)| path)
    }
}
