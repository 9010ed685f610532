//! A store's folder, held open: what is done through it cannot land on another disk.
//!
//! A path is looked up anew by each call, and a mount may go between the look at the identity and the write. So a folder
//! is opened first, its identity read through that, and everything is done through it. When the mount goes meanwhile
//! (`umount -l`), the writes follow the disk, and the bare mount point stays empty.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use streams::id::StoreId;

use super::{StoreError, identity};

/// A store's folder, held open.
#[derive(Debug)]
pub(crate) struct Held {
    _dir: File,
    root: PathBuf,
    path: PathBuf,
    store: StoreId,
}

impl Held {
    /// Opens what is at `path`, which must be `store`.
    pub(crate) fn open(path: &Path, store: StoreId) -> Result<Self, StoreError> {
        let away = || StoreError::Away { path: path.to_owned(), store, found: None };
        let dir = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => away(),
            _ => StoreError::io("open", path)(error),
        })?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let held = Self { _dir: dir, root, path: path.to_owned(), store };
        match identity::read(&held.root).map_err(|error| held.told(error))? {
            Some(identity) if identity.store == store => Ok(held),
            found => Err(StoreError::Away { path: path.to_owned(), store, found: found.map(|found| found.store) }),
        }
    }

    /// The folder, whatever is mounted over its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is still what its path leads to: else what was written is nowhere that anybody looks.
    pub(crate) fn require_mounted(&self) -> Result<(), StoreError> {
        identity::require(&self.path, self.store)
    }

    /// An error in words that name the store's own path.
    pub(crate) fn told(&self, error: StoreError) -> StoreError {
        let named = |path: &Path| match path.strip_prefix(&self.root) {
            Ok(within) => self.path.join(within),
            Err(_) => path.to_owned(),
        };
        match error {
            StoreError::Io { what, path, source } => {
                let (root, own) = (self.root.display().to_string(), self.path.display().to_string());
                let source = io::Error::new(source.kind(), source.to_string().replace(&root, &own));
                StoreError::Io { what, path: named(&path), source }
            }
            StoreError::Text { path, source } => StoreError::Text { path: named(&path), source },
            StoreError::Locked { path } => StoreError::Locked { path: named(&path) },
            StoreError::Incomplete { path, what } => StoreError::Incomplete { path: named(&path), what },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use host::durable;
    use streams::id::Timestamp;

    use super::*;

    #[test]
    fn writes_follow_the_disk_and_not_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mnt");
        let store = identity::init(&path, true, Timestamp(1)).unwrap().store;
        let held = Held::open(&path, store).unwrap();
        durable::rename(&path, &dir.path().join("gone")).unwrap();
        fs::create_dir(&path).unwrap();
        durable::create_dir_all(&held.root().join("sealed")).unwrap();
        durable::write(&held.root().join("sealed/a"), b"a").unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert!(dir.path().join("gone/sealed/a").is_file());
        assert!(matches!(held.require_mounted(), Err(StoreError::Away { .. })));
        assert!(matches!(Held::open(&path, store), Err(StoreError::Away { found: None, .. })));
    }

    #[test]
    fn errors_name_the_path_that_people_know() {
        let dir = tempfile::tempdir().unwrap();
        let store = identity::init(dir.path(), true, Timestamp(1)).unwrap().store;
        let held = Held::open(dir.path(), store).unwrap();
        let file = held.root().join("none/file");
        let error = durable::write(&file, b"a").map_err(StoreError::io("write", &file)).unwrap_err();
        let words = format!("{:#}", anyhow::Error::from(held.told(error)));
        assert!(words.contains(&dir.path().join("none/file").display().to_string()), "{words}");
        assert!(!words.contains("/proc/self"), "{words}");
    }
}
