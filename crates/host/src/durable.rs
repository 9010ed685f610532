//! Files that must outlive a crash: the only code that may write, rename or remove them.
//!
//! *Atomic is not durable.* A rename makes a change whole, and only syncing the folder makes it last: until then a
//! power failure may bring the old name back, or a name without its bytes. So every change here is: write beside the
//! target, sync the file, rename, sync the folder. When a function answers `Ok`, the change survives a power failure;
//! when it answers `Err` or the process dies, one finds the old state or the new, and a repeat is harmless.
//!
//! The file being written is `.<name>.tmp` in the folder of the target, locked while its writer lives. What a crash
//! left behind is cleared by the next write to the same target, and two writers to one target wait for each other
//! instead of renaming each other's half.
//!
//! All functions block. In async code call them from `spawn_blocking`.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// The longest file that [`read`] takes into memory.
pub const READ_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How often a writer tries to become the only one; each round but the last was lost to another writer's success.
const WRITER_TURNS_MAX: u32 = 1_000;

const COPY_BUFFER_BYTES: usize = 1024 * 1024;

/// Puts `bytes` at `path`, replacing what was there: after a crash one finds the old bytes or the new, whole.
///
/// # Errors
///
/// Those of the file system, with the path; [`io::ErrorKind::InvalidInput`] for no bytes, since an empty file is what
/// other writers leave after a crash.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::begin(path, PUBLIC)?;
    draft.fill(bytes)?;
    draft.replace()
}

/// Like [`write()`], and fails with [`io::ErrorKind::AlreadyExists`] if `path` is there.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::begin(path, PUBLIC)?;
    draft.fill(bytes)?;
    draft.appear()
}

/// Like [`write_new`], for its owner's eyes only: for keys and tokens.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_new_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::begin(path, PRIVATE)?;
    draft.fill(bytes)?;
    draft.appear()
}

/// The bytes at `path`; `None` if nothing is there.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for a file that [`write()`] cannot have left (empty, nothing but zeros, longer than
/// [`READ_BYTES_MAX`]): corrupt is not absent. Otherwise those of the file system. All with the path.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("open", path, &error)),
    };
    let len = file.metadata().map_err(|error| at("look at", path, &error))?.len();
    let mut bytes = Vec::new();
    if len <= READ_BYTES_MAX {
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| at("read", path, &error))?;
    }
    let corrupt = if len > READ_BYTES_MAX {
        "it is longer than anything written here"
    } else if bytes.is_empty() {
        "it is empty"
    } else if bytes.iter().all(|byte| *byte == 0) {
        "it holds nothing but zeros, as after a power failure"
    } else {
        return Ok(Some(bytes));
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is corrupt: {corrupt}", path.display())))
}

/// Renames a file or a folder, and makes the new name durable. Both are on one file system. A file at `to` is replaced;
/// a folder there is not, unless it is empty.
///
/// # Errors
///
/// Those of the file system, with both paths.
#[expect(clippy::disallowed_methods, reason = "the one place that syncs the folders after a rename")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|error| {
        io::Error::new(error.kind(), format!("rename {} to {}: {error}", from.display(), to.display()))
    })?;
    let (old, new) = (parent(from), parent(to));
    sync_dir(new)?;
    if old != new {
        sync_dir(old)?;
    }
    Ok(())
}

/// Makes the names within a folder durable.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    sync(dir)
}

/// Makes a file, or a folder with everything below it, durable. Links are not followed.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path).map_err(|error| at("look at", path, &error))?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(|error| at("list", path, &error))? {
            sync_tree(&entry.map_err(|error| at("list", path, &error))?.path())?;
        }
    }
    if kind.is_dir() || kind.is_file() {
        sync(path)?;
    }
    Ok(())
}

/// Creates a folder and those above it, durably.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn create_dir_all(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_dir_all(above)?;
    match fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) => return Err(at("create", dir, &error)),
    }
    sync_dir(above)
}

/// Removes a folder with everything below it, durably. One that is not there is fine. After a crash a part of it may be
/// left; a repeat finishes it.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn remove_dir_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Ok(()) => sync_dir(parent(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at("remove", dir, &error)),
    }
}

/// Removes a file, durably. One that is not there is fine.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at("remove", path, &error)),
    }
}

/// Copies a file, durably, under its final name only when whole; answers the SHA-256 of its bytes.
///
/// # Errors
///
/// Those of the file system, with the path.
pub fn copy_with_sha256(from: &Path, to: &Path) -> io::Result<[u8; 32]> {
    let mut source = File::open(from).map_err(|error| at("open", from, &error))?;
    let mut draft = Draft::begin(to, PUBLIC)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let count = source.read(&mut buffer).map_err(|error| at("read", from, &error))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        draft.file.write_all(bytes).map_err(|error| at("write", &draft.tmp, &error))?;
    }
    draft.replace()?;
    Ok(digest.finalize().into())
}

/// Takes the lock file at `path` (created if absent) for as long as the answer lives. The kernel lets go of it when the
/// process dies; the file itself stays and means nothing.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if somebody holds it. Otherwise those of the file system, with the path.
pub fn lock_exclusive(path: &Path) -> io::Result<FileLock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| at("open the lock", path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(FileLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("the lock {} is held by another process", path.display()),
        )),
        Err(TryLockError::Error(error)) => Err(at("lock", path, &error)),
    }
}

/// A lock that this process holds.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct FileLock {
    _file: File,
}

const PUBLIC: u32 = 0o666;
const PRIVATE: u32 = 0o600;

/// The file being written beside its target. Dropped before it has its final name, it is removed.
struct Draft {
    target: PathBuf,
    tmp: PathBuf,
    file: File,
}

impl Draft {
    fn begin(target: &Path, mode: u32) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", target.display()))
        })?);
        name.push(".tmp");
        let tmp = target.with_file_name(name);
        for _ in 0..WRITER_TURNS_MAX {
            if let Some(file) = Self::take_turn(&tmp, mode).map_err(|error| at("create", &tmp, &error))? {
                return Ok(Self { target: target.to_owned(), tmp, file });
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{}: too many writers at once", target.display())))
    }

    /// One try to be the only writer. A leftover is never truncated but unlinked: it may be a second name of a file that
    /// [`Draft::appear`] has published.
    fn take_turn(tmp: &Path, mode: u32) -> io::Result<Option<File>> {
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(tmp) {
            Ok(file) => {
                file.lock()?;
                // Between creation and lock, another writer may have taken it for a leftover.
                Ok(is_named(tmp, &file)?.then_some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let leftover = match OpenOptions::new().write(true).open(tmp) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                };
                // Held for as long as a living writer needs it; a dead one's is free.
                leftover.lock()?;
                if is_named(tmp, &leftover)? {
                    fs::remove_file(tmp)?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            let message = format!("write {}: refused without a byte", self.target.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.file.write_all(bytes).map_err(|error| at("write", &self.tmp, &error))
    }

    /// Takes the target's name, from whoever had it.
    fn replace(self) -> io::Result<()> {
        self.file.sync_all().map_err(|error| at("sync", &self.tmp, &error))?;
        rename(&self.tmp, &self.target)
    }

    /// Takes the target's name if nobody has it. A link fails on a taken name where a rename would replace it.
    fn appear(self) -> io::Result<()> {
        self.file.sync_all().map_err(|error| at("sync", &self.tmp, &error))?;
        fs::hard_link(&self.tmp, &self.target).map_err(|error| at("create", &self.target, &error))?;
        fs::remove_file(&self.tmp).map_err(|error| at("remove", &self.tmp, &error))?;
        sync_dir(parent(&self.target))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once renamed, the name may be another writer's already; while it is ours, our lock keeps others off it.
        // Only tidiness: what stays is cleared by the next writer.
        if is_named(&self.tmp, &self.file).unwrap_or(false) {
            let _ = fs::remove_file(&self.tmp);
        }
    }
}

/// Whether `path` is a name of the open `file`.
fn is_named(path: &Path, file: &File) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| at("sync", path, &error))
}

/// The folder of a path; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn at(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
