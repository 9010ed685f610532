//! The only code that may write, rename or remove files that must outlive a crash.

use std::{io, path::Path};

/// Puts `bytes` at `path`, replacing what was there: after a crash one finds the old bytes or the new, whole.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn write(_path: &Path, _bytes: &[u8]) -> io::Result<()> {
    todo!()
}

/// Like [`write`], and fails with [`io::ErrorKind::AlreadyExists`] if `path` is there.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn write_new(_path: &Path, _bytes: &[u8]) -> io::Result<()> {
    todo!()
}

/// Like [`write_new`], readable by its owner only: for keys and tokens.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn write_new_private(_path: &Path, _bytes: &[u8]) -> io::Result<()> {
    todo!()
}

/// The bytes at `path`; `None` if nothing is there.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for a file that this module cannot have written (empty, all zeros, over
/// the limit): corrupt is not absent. Otherwise those of the file system, with the path.
pub fn read(_path: &Path) -> io::Result<Option<Vec<u8>>> {
    todo!()
}

/// Renames a file or a folder, and makes the new name durable.
///
/// # Errors
///
/// Those of the file system, with both paths.
pub fn rename(_from: &Path, _to: &Path) -> io::Result<()> {
    todo!()
}

/// Makes the names within a folder durable.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn sync_dir(_dir: &Path) -> io::Result<()> {
    todo!()
}

/// Makes a file, or a folder with everything below it, durable.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn sync_tree(_path: &Path) -> io::Result<()> {
    todo!()
}

/// Creates a folder and those above it, durably.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn create_dir_all(_dir: &Path) -> io::Result<()> {
    todo!()
}

/// Removes a folder with everything below it, durably. One that is not there is fine.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn remove_dir_all(_dir: &Path) -> io::Result<()> {
    todo!()
}

/// Removes a file, durably. One that is not there is fine.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn remove_file(_path: &Path) -> io::Result<()> {
    todo!()
}

/// Copies a file, durably and under its final name only when whole; answers the SHA-256 of its bytes.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn copy_with_sha256(_from: &Path, _to: &Path) -> io::Result<[u8; 32]> {
    todo!()
}

/// Takes the lock file at `path` (created if absent) for this process, until the answer is dropped.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it. Otherwise those of the file system, with the path.
pub fn lock_exclusive(_path: &Path) -> io::Result<FileLock> {
    todo!()
}

/// A lock that this process holds.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct FileLock {}
