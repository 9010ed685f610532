//! Waiting for a lock that others hold for moments only.
//!
//! A lock may seem held when it is not: a child that is being started has a copy of every open file until it runs.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use host::durable::{self, FileLock};

use super::StoreError;

/// For what takes moments: a file that is changed.
pub(crate) const SHORT: Duration = Duration::from_secs(10);
/// For what may be held for hours: long enough for a child to be started.
pub(crate) const HARDLY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Takes the lock at `path`, waiting for it so long. Blocks.
pub(crate) fn take(path: &Path, most: Duration) -> Result<FileLock, StoreError> {
    let began = Instant::now();
    loop {
        match durable::lock_exclusive(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < most => {
                thread::sleep(LOOK_EVERY);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(StoreError::Locked { path: path.to_owned() });
            }
            locked => return locked.map_err(StoreError::io("lock", path)),
        }
    }
}
