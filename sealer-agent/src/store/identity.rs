//! The file that makes a folder a store.

use std::{fs, io, path::Path};

use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    id::{StoreId, Timestamp},
    message::{Text, decode, encode},
};

use super::{StoreError, paths};

/// Who a store is, wherever it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Its name for ever.
    pub(crate) store: StoreId,
    /// Whether it keeps finished replicas.
    pub(crate) persistent: bool,
    /// When it was made.
    pub(crate) created_at: Timestamp,
}

impl Text for Identity {
    const KIND: &'static str = "store-identity";
    const VERSION: u64 = 1;
}

/// Reads a folder's identity; none when it has none.
pub(crate) fn read(store: &Path) -> Result<Option<Identity>, StoreError> {
    let path = store.join(paths::IDENTITY);
    let bytes = durable::read(&path).map_err(StoreError::io("read", &path))?;
    bytes.map(|bytes| decode(&bytes).map_err(|source| StoreError::Text { path, source })).transpose()
}

/// Makes sure that `id` is still what is at `store`. Asked before every write: what a lost mount leaves is a folder on
/// another disk, which must not be filled.
pub(crate) fn require(store: &Path, id: StoreId) -> Result<(), StoreError> {
    match read(store)? {
        Some(identity) if identity.store == id => Ok(()),
        found => {
            let found = found.map(|found| found.store);
            Err(StoreError::Away { path: store.to_owned(), store: id, found })
        }
    }
}

/// Makes a new or empty folder a store, durably. Refuses one that is a store, or holds anything else.
pub(crate) fn init(store: &Path, persistent: bool, now: Timestamp) -> Result<Identity, StoreError> {
    if let Some(found) = read(store)? {
        return Err(StoreError::AlreadyInitialised { path: store.to_owned(), store: found.store });
    }
    refuse_foreign(store)?;
    durable::create_dir_all(store).map_err(StoreError::io("create", store))?;
    write(store, persistent, now)
}

/// Makes a folder that holds others' replicas a persistent store, durably, and changes nothing else in it. One that is
/// a persistent store stays what it is.
pub(crate) fn adopt(store: &Path, now: Timestamp) -> Result<Identity, StoreError> {
    match read(store)? {
        Some(identity) if identity.persistent => Ok(identity),
        Some(identity) => Err(StoreError::NotPersistent { path: store.to_owned(), store: identity.store }),
        None => write(store, true, now),
    }
}

fn write(store: &Path, persistent: bool, now: Timestamp) -> Result<Identity, StoreError> {
    let identity = Identity { store: StoreId(uuid::Uuid::new_v4()), persistent, created_at: now };
    let path = store.join(paths::IDENTITY);
    let bytes = encode(&identity).map_err(|source| StoreError::Text { path: path.clone(), source })?;
    durable::write_new(&path, &bytes).map_err(StoreError::io("write", &path))?;
    Ok(identity)
}

/// A fresh file system has a `lost+found`, and that is nobody's data.
fn refuse_foreign(store: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", store)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("read", store))?;
        if entry.file_name() != "lost+found" {
            return Err(StoreError::Foreign { path: store.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_becomes_a_store_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let made = init(&path, true, Timestamp(5)).unwrap();
        assert!(made.persistent);
        assert_eq!(read(&path).unwrap(), Some(made.clone()));
        let again = init(&path, true, Timestamp(6)).unwrap_err();
        assert!(matches!(again, StoreError::AlreadyInitialised { store, .. } if store == made.store), "{again}");
    }

    #[test]
    fn a_folder_of_others_becomes_a_store_once_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sealed")).unwrap();
        let made = adopt(dir.path(), Timestamp(5)).unwrap();
        assert!(made.persistent);
        assert_eq!(adopt(dir.path(), Timestamp(6)).unwrap(), made);
        let local = dir.path().join("local");
        init(&local, false, Timestamp(5)).unwrap();
        assert!(matches!(adopt(&local, Timestamp(6)), Err(StoreError::NotPersistent { .. })));
    }

    #[test]
    fn a_folder_with_data_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("photos")).unwrap();
        let error = init(dir.path(), false, Timestamp(5)).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_fresh_file_system_is_not_foreign() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        init(dir.path(), false, Timestamp(5)).unwrap();
    }
}
