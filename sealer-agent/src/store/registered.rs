//! The stores of this host: `stores.toml` in the home, which `store init` writes and every agent reads.

use std::path::{Path, PathBuf};

use host::durable;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Stores that one host may have.
const STORES_MAX: usize = 1024;

/// The list as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    #[serde(default)]
    store: Vec<Entry>,
}

/// One store by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Whether it was made to keep finished replicas. The identity file decides; this is for hints while it is away.
    #[serde(default)]
    pub(crate) persistent: bool,
}

/// Where the list is.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("stores.toml")
}

/// Every store of this host.
pub(crate) fn read(home: &Path) -> Result<Vec<Entry>, StoreError> {
    let path = path(home);
    let Some(bytes) = durable::read(&path).map_err(StoreError::io("read", &path))? else { return Ok(Vec::new()) };
    let malformed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::io("read", &path)(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    };
    let text = std::str::from_utf8(&bytes).map_err(|e| malformed(e.into()))?;
    let list: Registered = toml::from_str(text).map_err(|e| malformed(e.into()))?;
    Ok(list.store)
}

/// Adds a store, durably. One that is listed stays listed once.
pub(crate) fn add(home: &Path, entry: Entry) -> Result<(), StoreError> {
    durable::create_dir_all(home).map_err(StoreError::io("create", home))?;
    let lock = home.join("stores.lock");
    let _held = durable::lock_exclusive(&lock).map_err(StoreError::io("lock", &lock))?;
    let path = path(home);
    let mut store = read(home)?;
    store.retain(|known| known.path != entry.path);
    if store.len() >= STORES_MAX {
        let full = format!("it lists {STORES_MAX} stores already");
        return Err(StoreError::io("write", &path)(std::io::Error::other(full)));
    }
    store.push(entry);
    let text =
        toml::to_string(&Registered { store }).map_err(|e| StoreError::io("write", &path)(std::io::Error::other(e)))?;
    durable::write(&path, text.as_bytes()).map_err(StoreError::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_added_once_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()).unwrap(), vec![]);
        let entry = |path: &str, persistent| Entry { path: path.into(), persistent };
        add(home.path(), entry("/a", false)).unwrap();
        add(home.path(), entry("/b", true)).unwrap();
        add(home.path(), entry("/a", false)).unwrap();
        assert_eq!(read(home.path()).unwrap(), vec![entry("/b", true), entry("/a", false)]);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_an_error_and_not_an_empty_list() {
        let home = tempfile::tempdir().unwrap();
        durable::write(&path(home.path()), b"[[store]]\npaht = \"/a\"\n").unwrap();
        assert!(read(home.path()).is_err());
    }
}
