//! Copying one file so that an interrupted copy goes on where it was: from a prefix that is read back and found to be
//! what was written, and from zero where it is not.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::proof::{Bytes32, Sha256};

use super::StoreError;

/// Bytes between two points that a copy can go on from. Each is synced: at 30 s of patience with a silent disk this is
/// a disk of 4 MiB/s.
pub(crate) const CHECKPOINT_BYTES: u64 = 128 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// The head of a copy that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prefix {
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
}

/// What a copy shows while it runs, so that others can see whether it moves; and how they stop it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    done: AtomicU64,
    resumed: AtomicU64,
    at_source: AtomicBool,
    stopped: AtomicBool,
}

impl Pulse {
    /// Counts every step.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Bytes copied.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes that an earlier copy had left, and that were gone on with.
    pub(crate) fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Whether the disk that is waited for is the one that is read from.
    pub(crate) fn waits_for_source(&self) -> bool {
        self.at_source.load(Ordering::Relaxed)
    }

    /// The copy ends at its next step, and publishes nothing.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn step(&self, at_source: bool) -> Result<(), StoreError> {
        self.at_source.store(at_source, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
        if self.stopped.load(Ordering::Relaxed) { Err(StoreError::Interrupted) } else { Ok(()) }
    }
}

/// One file to be copied.
pub(crate) struct Copying<'a> {
    pub(crate) from: &'a Path,
    pub(crate) to: &'a Path,
    /// What an earlier copy of the same file left.
    pub(crate) left: Option<Prefix>,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) pulse: &'a Pulse,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
    /// Where it went on.
    pub(crate) from_byte: u64,
}

impl Copying<'_> {
    /// Copies; the bytes are synced when this returns, and `note` was told every synced prefix before.
    pub(crate) fn run(&self, mut note: impl FnMut(Prefix) -> Result<(), StoreError>) -> Result<Copied, StoreError> {
        let mut source = File::open(self.from).map_err(self.source_error())?;
        let length = source.metadata().map_err(self.source_error())?.len();
        let mut target = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.to)
            .map_err(StoreError::io("create", self.to))?;
        let (mut hasher, from_byte) = self.resumed(&mut target, length)?;
        target.set_len(from_byte).map_err(StoreError::io("write", self.to))?;
        target.seek(SeekFrom::Start(from_byte)).map_err(StoreError::io("write", self.to))?;
        source.seek(SeekFrom::Start(from_byte)).map_err(self.source_error())?;
        self.pulse.done.store(from_byte, Ordering::Relaxed);
        self.pulse.resumed.store(from_byte, Ordering::Relaxed);

        let (mut done, mut noted) = (from_byte, from_byte);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.pulse.step(true)?;
            let read = source.read(&mut buffer).map_err(self.source_error())?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
            self.pulse.step(false)?;
            target.write_all(chunk).map_err(StoreError::io("write", self.to))?;
            hasher.update(chunk);
            done = done.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            self.pulse.done.store(done, Ordering::Relaxed);
            if done.saturating_sub(noted) >= self.checkpoint_bytes {
                target.sync_data().map_err(StoreError::io("sync", self.to))?;
                note(Prefix { bytes: done, sha256: finished(hasher.clone()) })?;
                noted = done;
            }
        }
        if done != length {
            let changed = format!("it had {length} bytes, and now {done}");
            return Err(self.source_error()(io::Error::other(changed)));
        }
        self.pulse.step(false)?;
        target.sync_all().map_err(StoreError::io("sync", self.to))?;
        let sha256 = finished(hasher);
        note(Prefix { bytes: done, sha256 })?;
        Ok(Copied { bytes: done, sha256, from_byte })
    }

    /// The state to go on with: that of the prefix if it can be read back as it was written, that of nothing otherwise.
    fn resumed(&self, target: &mut File, length: u64) -> Result<(Hasher, u64), StoreError> {
        let Some(left) = self.left.filter(|left| left.bytes <= length) else { return Ok((Hasher::new(), 0)) };
        let (hasher, bytes) = hash(target, self.to, left.bytes, self.pulse)?;
        if bytes == left.bytes && finished(hasher.clone()) == left.sha256 {
            return Ok((hasher, bytes));
        }
        tracing::warn!(file = %self.to.display(), "what an interrupted copy left is not what was written: it begins anew");
        Ok((Hasher::new(), 0))
    }

    fn source_error(&self) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.from.to_owned();
        move |source| StoreError::Source { path, source }
    }
}

/// The digest of a file as its disk has it, and its length: what is cached in memory is dropped first.
pub(crate) fn read_back(path: &Path, pulse: &Pulse) -> Result<(Sha256, u64), StoreError> {
    let mut file = File::open(path).map_err(StoreError::io("read", path))?;
    // Where it is not obeyed, memory is compared: no worse than without.
    if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed) {
        tracing::debug!(file = %path.display(), "drop it from the cache: {error}");
    }
    let (hasher, bytes) = hash(&mut file, path, u64::MAX, pulse)?;
    Ok((finished(hasher), bytes))
}

fn hash(file: &mut File, path: &Path, most: u64, pulse: &Pulse) -> Result<(Hasher, u64), StoreError> {
    let (mut hasher, mut bytes) = (Hasher::new(), 0u64);
    let mut head = file.take(most);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        pulse.step(false)?;
        let read = head.read(&mut buffer).map_err(StoreError::io("read back", path))?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { return Ok((hasher, bytes)) };
        hasher.update(chunk);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn finished(hasher: Hasher) -> Sha256 {
    Bytes32(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use host::durable;

    use super::*;

    const MIB: usize = BUFFER_BYTES;

    struct Files {
        _dir: tempfile::TempDir,
        from: PathBuf,
        to: PathBuf,
        bytes: Vec<u8>,
    }

    /// Five MiB and a bit, no two blocks alike.
    fn files() -> Files {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let bytes: Vec<u8> = (0..5 * MIB + 77).map(|at| u8::try_from((at / 4096 + at) % 251).unwrap()).collect();
        durable::write(&from, &bytes).unwrap();
        Files { _dir: dir, from, to, bytes }
    }

    fn run(files: &Files, left: Option<Prefix>, pulse: &Pulse) -> (Vec<Prefix>, Result<Copied, StoreError>) {
        let checkpoint_bytes = 2 << 20;
        let copying = Copying { from: &files.from, to: &files.to, left, checkpoint_bytes, pulse };
        let mut noted = Vec::new();
        let copied = copying.run(|prefix| {
            noted.push(prefix);
            if prefix.bytes == 4 << 20 && left.is_none() {
                pulse.stop();
            }
            Ok(())
        });
        (noted, copied)
    }

    fn whole(files: &Files) -> Sha256 {
        Bytes32(Hasher::digest(&files.bytes).into())
    }

    /// A copy that is stopped after 4 MiB.
    fn interrupted(files: &Files) -> Prefix {
        let (noted, ended) = run(files, None, &Pulse::default());
        assert!(matches!(ended, Err(StoreError::Interrupted)), "{ended:?}");
        assert_eq!(noted.len(), 2);
        *noted.last().unwrap()
    }

    #[test]
    fn an_interrupted_copy_goes_on_where_it_was() {
        let files = files();
        let left = interrupted(&files);
        // What was written after the last note does not count.
        OpenOptions::new().append(true).open(&files.to).unwrap().write_all(b"torn").unwrap();
        let (_, copied) = run(&files, Some(left), &Pulse::default());
        let copied = copied.unwrap();
        assert_eq!((copied.from_byte, copied.sha256), (4 << 20, whole(&files)));
        assert_eq!(fs::read(&files.to).unwrap(), files.bytes);
        assert_eq!(read_back(&files.to, &Pulse::default()).unwrap(), (whole(&files), copied.bytes));
    }

    #[test]
    fn a_prefix_that_was_changed_or_cut_is_not_built_upon() {
        let files = files();
        let left = interrupted(&files);
        let mut file = OpenOptions::new().write(true).open(&files.to).unwrap();
        file.seek(SeekFrom::Start(1000)).unwrap();
        file.write_all(&[!files.bytes[1000]]).unwrap();
        let copied = run(&files, Some(left), &Pulse::default()).1.unwrap();
        assert_eq!((copied.from_byte, copied.sha256), (0, whole(&files)));

        OpenOptions::new().write(true).open(&files.to).unwrap().set_len(3 << 20).unwrap();
        let copied = run(&files, Some(left), &Pulse::default()).1.unwrap();
        assert_eq!((copied.from_byte, copied.sha256), (0, whole(&files)));
        assert_eq!(fs::read(&files.to).unwrap(), files.bytes);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_no_fault_of_the_target() {
        let files = files();
        fs::remove_file(&files.from).unwrap();
        let failed = run(&files, None, &Pulse::default()).1.unwrap_err();
        assert!(matches!(&failed, StoreError::Source { path, .. } if *path == files.from), "{failed}");
    }
}
