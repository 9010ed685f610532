//! The stores of this host: `stores.toml` in the home, which `store init` writes and every agent reads.
//!
//! What a person says of a store is here and not in the store: one that is away, read-only or broken can still be
//! retired, and agents take a change up with their next look.

use std::path::{Path, PathBuf};

use host::durable;
use serde::{Deserialize, Serialize};
use streams::id::{MinerId, StoreId, Timestamp};

use super::{StoreError, identity};

/// Stores that one host may have.
const STORES_MAX: usize = 1024;

/// The list as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    #[serde(default)]
    store: Vec<Entry>,
}

/// One store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Entry {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Whether it keeps finished replicas.
    pub(crate) persistent: bool,
    /// The UUID in its identity file: what must be at the path. A list of an older version does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreId>,
    /// How much it is preferred: free bytes times this is what stores are chosen by. 0 is the last resort.
    #[serde(skip_serializing_if = "is_one")]
    pub(crate) weight: u32,
    /// Whether it is only read from.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) read_only: bool,
    /// The only miners whose replicas it takes; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow_miners: Vec<MinerId>,
    /// Miners whose replicas it does not take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deny_miners: Vec<MinerId>,
    /// Since when it takes no new sectors, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retired_at: Option<Timestamp>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            persistent: false,
            store: None,
            weight: 1,
            read_only: false,
            allow_miners: Vec::new(),
            deny_miners: Vec::new(),
            retired_at: None,
        }
    }
}

impl Entry {
    /// Whether no new sector is to begin there.
    pub(crate) const fn is_closed(&self) -> bool {
        self.read_only || self.retired_at.is_some()
    }
}

const fn is_one(weight: &u32) -> bool {
    *weight == 1
}

const fn is_false(flag: &bool) -> bool {
    !*flag
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

/// Adds a store, durably. One that is listed stays listed once, with what was said of it.
pub(crate) fn add(home: &Path, entry: Entry) -> Result<(), StoreError> {
    durable::create_dir_all(home).map_err(StoreError::io("create", home))?;
    change(home, |stores| {
        stores.retain(|known| known.path != entry.path);
        if stores.len() >= STORES_MAX {
            let full = format!("it lists {STORES_MAX} stores already");
            return Err(StoreError::io("write", &path(home))(std::io::Error::other(full)));
        }
        stores.push(entry);
        Ok(())
    })
}

/// Changes what is said of one store, durably; answers it as it is then. Nothing when none is at `path`.
pub(crate) fn edit(home: &Path, at: &Path, edit: impl FnOnce(&mut Entry)) -> Result<Option<Entry>, StoreError> {
    let mut edited = None;
    change(home, |stores| {
        if let Some(entry) = stores.iter_mut().find(|entry| entry.path == at) {
            edit(entry);
            edited = Some(entry.clone());
        }
        Ok(())
    })?;
    Ok(edited)
}

/// Notes the UUIDs of stores that are there and were listed by an older version, so that they are known once they are
/// away.
pub(crate) fn note_identities(home: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut listed = read(home)?;
    let mut noted = false;
    for entry in listed.iter_mut().filter(|entry| entry.store.is_none()) {
        if let Some(identity) = identity::read(&entry.path)? {
            (entry.store, entry.persistent) = (Some(identity.store), identity.persistent);
            noted = true;
        }
    }
    if noted {
        change(home, |stores| {
            for entry in stores.iter_mut().filter(|entry| entry.store.is_none()) {
                if let Some(known) = listed.iter().find(|known| known.path == entry.path) {
                    (entry.store, entry.persistent) = (known.store, known.persistent);
                }
            }
            Ok(())
        })?;
    }
    Ok(listed)
}

fn change(home: &Path, change: impl FnOnce(&mut Vec<Entry>) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let lock = home.join("stores.lock");
    let _held = durable::lock_exclusive(&lock).map_err(StoreError::io("lock", &lock))?;
    let path = path(home);
    let mut store = read(home)?;
    change(&mut store)?;
    let text =
        toml::to_string(&Registered { store }).map_err(|e| StoreError::io("write", &path)(std::io::Error::other(e)))?;
    durable::write(&path, text.as_bytes()).map_err(StoreError::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, persistent: bool) -> Entry {
        Entry { path: path.into(), persistent, ..Entry::default() }
    }

    #[test]
    fn stores_are_added_once_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()).unwrap(), vec![]);
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

    #[test]
    fn what_a_person_says_of_a_store_is_kept() {
        let home = tempfile::tempdir().unwrap();
        add(home.path(), entry("/a", true)).unwrap();
        let miner = |n| MinerId(n);
        let said = Entry {
            weight: 3,
            read_only: true,
            allow_miners: vec![miner(1000)],
            deny_miners: vec![miner(2000)],
            retired_at: Some(Timestamp(7)),
            store: Some(StoreId(uuid::Uuid::nil())),
            ..entry("/a", true)
        };
        assert_eq!(edit(home.path(), Path::new("/a"), |entry| *entry = said.clone()).unwrap(), Some(said.clone()));
        assert_eq!(read(home.path()).unwrap(), [said]);
        let text = String::from_utf8(durable::read(&path(home.path())).unwrap().unwrap()).unwrap();
        assert!(text.contains("allow_miners = [\"f01000\"]"), "{text}");
        assert_eq!(edit(home.path(), Path::new("/b"), |_| ()).unwrap(), None);
    }

    #[test]
    fn a_list_of_an_older_version_learns_the_uuids() {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join("store");
        let identity = identity::init(&store, true, Timestamp(1)).unwrap();
        let text = format!("[[store]]\npath = \"{}\"\n\n[[store]]\npath = \"/away\"\n", store.display());
        durable::write(&path(home.path()), text.as_bytes()).unwrap();
        let known = Entry { path: store, persistent: true, store: Some(identity.store), ..Entry::default() };
        let expected = [known, entry("/away", false)];
        assert_eq!(note_identities(home.path()).unwrap(), expected);
        assert_eq!(read(home.path()).unwrap(), expected);
    }
}
