//! A folder within a store for work that nobody needs after its job. Its lock says whether the job still runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use host::durable::{self, FileLock};

use super::{StoreError, paths};
use crate::{holder, process};

/// A folder that is gone when the work is, or with the next sweep.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    lock: FileLock,
}

impl Scratch {
    /// A new, empty folder in `store`.
    pub(crate) fn create(store: &Path) -> Result<Self, StoreError> {
        let root = paths::scratch(store);
        durable::create_dir_all(&root).map_err(StoreError::io("create", &root))?;
        let path = root.join(uuid::Uuid::new_v4().to_string());
        // Locked before it exists: a sweep never sees it unlocked.
        let lock = lock_path(&path);
        let lock = durable::lock_exclusive(&lock).map_err(StoreError::io("lock", &lock))?;
        durable::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        Ok(Self { path, lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says which job writes here, so that a sweep can end it before it removes the folder under it.
    pub(crate) fn hold_for(&self, job: &Path) -> Result<(), StoreError> {
        holder::write(&holder_path(&self.path), job)
    }

    pub(crate) fn remove(self) -> Result<(), StoreError> {
        remove(&self.path)?;
        drop(self.lock);
        Ok(())
    }
}

/// Removes the scratch of jobs that are dead; returns how many.
pub(crate) fn sweep(store: &Path) -> Result<usize, StoreError> {
    let root = paths::scratch(store);
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StoreError::io("read", &root)(error)),
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(StoreError::io("read", &root))?.path();
        if !path.is_dir() {
            continue;
        }
        // One that cannot be locked is in use.
        let Ok(held) = durable::lock_exclusive(&lock_path(&path)) else { continue };
        if let Some(job) = holder::read(&holder_path(&path))? {
            process::end_job(&job).map_err(StoreError::io("end the job of", &path))?;
        }
        remove(&path)?;
        drop(held);
        removed += 1;
    }
    Ok(removed)
}

fn remove(scratch: &Path) -> Result<(), StoreError> {
    durable::remove_dir_all(scratch).map_err(StoreError::io("remove", scratch))?;
    let lock = lock_path(scratch);
    durable::remove_file(&lock).map_err(StoreError::io("remove", &lock))
}

fn lock_path(scratch: &Path) -> PathBuf {
    scratch.with_extension("lock")
}

fn holder_path(scratch: &Path) -> PathBuf {
    scratch.join("holder.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_takes_what_nobody_holds() {
        let _quiet = crate::sample::no_forks();
        let store = tempfile::tempdir().unwrap();
        assert_eq!(sweep(store.path()).unwrap(), 0);
        let held = Scratch::create(store.path()).unwrap();
        let left = Scratch::create(store.path()).unwrap();
        fs::create_dir(left.path().join("cache")).unwrap();
        let left_path = left.path().to_owned();
        drop(left);
        assert_eq!(sweep(store.path()).unwrap(), 1);
        assert!(!left_path.exists());
        assert!(held.path().exists());
        held.remove().unwrap();
        assert_eq!(fs::read_dir(paths::scratch(store.path())).unwrap().count(), 0);
    }
}
