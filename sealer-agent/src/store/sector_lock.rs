//! The lock on a sector's folder: one job at a time changes it, whatever the queue says.

use std::{io, path::Path};

use host::durable::{self, FileLock};

use super::{StoreError, paths::SectorPaths};
use crate::{holder, job_dir, process};

/// A sector's folder that this agent alone changes.
#[derive(Debug)]
pub(crate) struct SectorFolder {
    _lock: FileLock,
}

/// Locks the folder for `job`. A prover that a killed agent left at work in it is ended first, unless `job` is that very
/// job, taken over, or a live agent has taken it over and is about to lock the folder for it. Blocks while that one dies.
pub(crate) fn lock(files: &SectorPaths, job: &Path) -> Result<SectorFolder, StoreError> {
    let path = files.lock();
    let lock = durable::lock_exclusive(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked { path: files.root.clone() },
        _ => StoreError::Io { what: "lock", path, source },
    })?;
    let holder = files.holder();
    if let Some(before) = holder::read(&holder)?.filter(|before| before != job) {
        if job_dir::is_in_hand(&before) {
            return Err(StoreError::Locked { path: files.root.clone() });
        }
        process::end_job(&before).map_err(StoreError::io("end the job of", &files.root))?;
    }
    holder::write(&holder, job)?;
    host::failpoint!("agent.sector_lock.taken");
    Ok(SectorFolder { _lock: lock })
}
