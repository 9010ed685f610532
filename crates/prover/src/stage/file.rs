//! Files that stages share: checked when they come in, reserved before they grow, synced when they are whole.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::FallocateFlags;
use serde::{Serialize, de::DeserializeOwned};
use streams::stage::Stage;

use crate::{
    failure::StageFailure,
    progress::{HowFar, Progress},
};

/// Where the library finds endless zeros: its name for a sector without data.
pub(super) const ZEROS: &str = "/dev/zero";

/// Bytes read and written at a time.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// A file of exactly `length` zeros, its blocks reserved: a disk that is too small says so now, and not through a
/// signal to whoever maps the file later.
pub(super) fn create_zeroed(path: &Path, length: u64) -> Result<File, StageFailure> {
    if let Some(folder) = path.parent() {
        host::durable::create_dir_all(folder)?;
    }
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
        // Some file systems cannot reserve.
        Err(rustix::io::Errno::NOTSUP) => file.set_len(length),
        other => other.map_err(io::Error::from),
    }
    .with_context(|| format!("reserve {length} bytes for {}", path.display()))?;
    Ok(file)
}

/// Makes a file with its name durable.
pub(super) fn sync(path: &Path) -> Result<(), StageFailure> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    file.sync_all().with_context(|| format!("sync {}", path.display()))?;
    if let Some(folder) = path.parent() {
        host::durable::sync_dir(folder)?;
    }
    Ok(())
}

/// Refuses a file that is missing or has not the length it must have.
pub(super) fn require_length(what: &str, path: &Path, length: u64) -> Result<(), StageFailure> {
    let metadata =
        path.metadata().map_err(|error| StageFailure::bad_input(format!("{what} {}: {error}", path.display())))?;
    if !metadata.is_file() || metadata.len() != length {
        let found = metadata.len();
        return Err(StageFailure::bad_input(format!("{what} {} has {found} bytes, want {length}", path.display())));
    }
    Ok(())
}

/// Refuses what is not a folder.
pub(super) fn require_folder(what: &str, path: &Path) -> Result<(), StageFailure> {
    if path.is_dir() {
        return Ok(());
    }
    Err(StageFailure::bad_input(format!("{what} {} is not a folder", path.display())))
}

/// Writes what the library answered, for the next stage.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageFailure> {
    let bytes = serde_json::to_vec(value).with_context(|| format!("encode {}", path.display()))?;
    Ok(host::durable::write(path, &bytes)?)
}

/// Reads what an earlier stage wrote. Unreadable, it has to be made again.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, made_by: Stage) -> Result<T, StageFailure> {
    let redo = |message| StageFailure::BadEarlierWork { from: made_by, code: "lost-output", message };
    let bytes = host::durable::read(path)
        .map_err(|error| redo(error.to_string()))?
        .ok_or_else(|| redo(format!("{} is missing", path.display())))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| redo(format!("{} is not what {made_by} writes: {error}", path.display())))
}

/// The path of a file of the library in a cache folder: `sc-02-data-<key>.dat`.
pub(super) fn data_path(cache: &Path, key: &str) -> PathBuf {
    cache.join(format!("sc-02-data-{key}.dat"))
}

/// The names of files in a folder that begin with `prefix`.
pub(super) fn files_with_prefix(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, StageFailure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A reader that tells how far it is.
pub(super) struct Told<'a, R> {
    pub(super) inner: R,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) phase: &'a str,
    pub(super) progress: &'a dyn Progress,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done = self.done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.progress.tell(self.phase, HowFar::bytes(self.done, self.total));
        Ok(count)
    }
}
