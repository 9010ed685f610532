//! A copy on its way into a persistent store: a folder that is also the promise of the room it will take.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use host::durable::{self, FileLock};
use serde::{Deserialize, Serialize};
use streams::{
    id::SectorId,
    message::{Text, decode, encode},
    proof::Sha256,
};

use super::{
    StoreError,
    copy::Prefix,
    entries::entries,
    manifest::Mark,
    paths,
    space::{self, Promise},
    turn,
};

/// What is known of a copy on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    sector: SectorId,
    reserved_bytes: u64,
    origin: Origin,
    /// How much of the sealed file is on disk.
    sealed: Option<Prefix>,
    /// Whether the copy has its final names, and waits to be proven.
    published: bool,
}

impl Text for Note {
    const KIND: &'static str = "store-copy";
    const VERSION: u64 = 1;
}

/// Which file is copied: a replica that was made anew is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(crate) mark: Mark,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Origin {
    /// The file at `path`, made in the life that `mark` names.
    pub(crate) fn of(path: &Path, mark: Mark) -> Result<Self, StoreError> {
        let meta = fs::metadata(path).map_err(|source| StoreError::Source { path: path.to_owned(), source })?;
        Ok(Self { mark, bytes: meta.len(), modified_s: meta.mtime(), modified_ns: meta.mtime_nsec() })
    }
}

/// A copy on its way, that this process alone works on.
#[derive(Debug)]
pub(crate) struct Partial {
    root: PathBuf,
    note: Note,
    _lock: FileLock,
}

impl Partial {
    /// Takes up what an earlier copy of the same file left, or begins anew. Whoever copies already is left alone.
    pub(crate) fn take(
        store: &Path,
        sector: SectorId,
        origin: Origin,
        reserved_bytes: u64,
    ) -> Result<Self, StoreError> {
        let root = paths::partial(store, sector);
        durable::create_dir_all(&root).map_err(StoreError::io("create", &root))?;
        let lock = turn::take(&root.join("lock"), turn::HARDLY)?;
        let left = match read(&root) {
            Ok(left) => left.filter(|left| left.sector == sector && left.origin == origin),
            Err(error) => {
                tracing::warn!(%sector, "what an interrupted copy noted cannot be read: {:#}", anyhow::Error::from(error));
                None
            }
        };
        let note = left.unwrap_or(Note { sector, reserved_bytes, origin, sealed: None, published: false });
        let partial = Self { root, note, _lock: lock };
        partial.write()?;
        Ok(partial)
    }

    pub(crate) fn sealed(&self) -> PathBuf {
        self.root.join("sealed")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where an earlier copy is put when this one takes its name.
    pub(crate) fn replaced(&self) -> PathBuf {
        self.root.join("replaced")
    }

    pub(crate) const fn left(&self) -> Option<Prefix> {
        self.note.sealed
    }

    /// So much of the sealed file is synced.
    pub(crate) fn note(&mut self, sealed: Option<Prefix>) -> Result<(), StoreError> {
        self.note.sealed = sealed;
        self.write()
    }

    /// The digest of a copy that has its final names already.
    pub(crate) fn published(&self) -> Option<Sha256> {
        self.note.sealed.filter(|_| self.note.published).map(|sealed| sealed.sha256)
    }

    /// The copy takes its final names, or begins anew.
    pub(crate) fn note_published(&mut self, published: bool) -> Result<(), StoreError> {
        self.note.published = published;
        if !published {
            self.note.sealed = None;
        }
        self.write()
    }

    fn write(&self) -> Result<(), StoreError> {
        let path = note_path(&self.root);
        let bytes = encode(&self.note).map_err(|source| StoreError::Text { path: path.clone(), source })?;
        durable::write(&path, &bytes).map_err(StoreError::io("write", &path))
    }
}

/// A copy is done, or given up: its folder and its promise go.
pub(crate) fn remove(store: &Path, sector: SectorId) -> Result<(), StoreError> {
    let root = paths::partial(store, sector);
    durable::remove_dir_all(&root).map_err(StoreError::io("remove", &root))
}

/// Removes copies that nobody went on with for so long: their sectors were given up, or are kept elsewhere. Returns how
/// many.
pub(crate) fn sweep(store: &Path, patience: Duration) -> Result<usize, StoreError> {
    let mut removed = 0;
    for root in entries(&paths::partials(store))? {
        let is_old = fs::metadata(note_path(&root))
            .and_then(|meta| meta.modified())
            .is_ok_and(|noted| noted.elapsed().is_ok_and(|age| age >= patience));
        // One that cannot be locked is at work.
        if is_old && let Ok(_held) = durable::lock_exclusive(&root.join("lock")) {
            durable::remove_dir_all(&root).map_err(StoreError::io("remove", &root))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Room promised to copies on their way, but for `sector`'s own.
pub(crate) fn promises(store: &Path, sector: Option<SectorId>) -> Result<Vec<Promise>, StoreError> {
    let mut promises = Vec::new();
    for root in entries(&paths::partials(store))? {
        // One that is just begun, or ends, has none; one that cannot be read begins anew.
        if let Ok(Some(note)) = read(&root)
            && Some(note.sector) != sector
            && !note.published
        {
            promises.push(Promise { reserved: note.reserved_bytes, taken: space::taken(&root) });
        }
    }
    Ok(promises)
}

fn read(root: &Path) -> Result<Option<Note>, StoreError> {
    let path = note_path(root);
    let bytes = durable::read(&path).map_err(StoreError::io("read", &path))?;
    bytes.map(|bytes| decode(&bytes).map_err(|source| StoreError::Text { path, source })).transpose()
}

fn note_path(root: &Path) -> PathBuf {
    root.join("copy.json")
}

#[cfg(test)]
mod tests {
    use streams::{id::Incarnation, proof::Bytes32};

    use super::*;
    use crate::sample::{self, allocated};

    fn mark(generation: u32) -> Mark {
        Mark { incarnation: Incarnation::FIRST, generation, ticket: None }
    }

    #[test]
    fn a_copy_of_another_replica_is_not_gone_on_with() {
        let _quiet = sample::no_forks();
        let dir = tempfile::tempdir().unwrap();
        let sector = allocated(1).id;
        let source = dir.path().join("source");
        durable::write(&source, b"replica").unwrap();
        let of = |generation| Origin::of(&source, mark(generation)).unwrap();
        let prefix = Prefix { bytes: 3, sha256: Bytes32([1; 32]) };
        let mut partial = Partial::take(dir.path(), sector, of(1), 100).unwrap();
        let second = Partial::take(dir.path(), sector, of(1), 100).unwrap_err();
        assert!(matches!(second, StoreError::Locked { .. }), "{second}");
        partial.note(Some(prefix)).unwrap();
        drop(partial);
        assert_eq!(Partial::take(dir.path(), sector, of(1), 100).unwrap().left(), Some(prefix));
        assert_eq!(Partial::take(dir.path(), sector, of(2), 100).unwrap().left(), None);
    }

    #[test]
    fn room_is_promised_until_it_is_written() {
        let _quiet = sample::no_forks();
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        durable::write(&source, b"replica").unwrap();
        let origin = Origin::of(&source, mark(1)).unwrap();
        let partial = Partial::take(dir.path(), allocated(1).id, origin, 1 << 30).unwrap();
        let of = |sector| promises(dir.path(), sector).unwrap().iter().map(|p| p.reserved).sum::<u64>();
        assert_eq!((of(None), of(Some(allocated(1).id)), of(Some(allocated(2).id))), (1 << 30, 0, 1 << 30));
        assert_eq!(sweep(dir.path(), Duration::ZERO).unwrap(), 0, "it is at work");
        drop(partial);
        assert_eq!(sweep(dir.path(), Duration::from_secs(3600)).unwrap(), 0, "it may be gone on with");
        assert_eq!(sweep(dir.path(), Duration::ZERO).unwrap(), 1);
        assert_eq!(of(None), 0);
        remove(dir.path(), allocated(1).id).unwrap();
        assert_eq!(of(None), 0);
    }
}
