//! The parent cache of the SDR graph, whole before anyone uses it.
//!
//! The library generates it in place: after a kill, or beside a running generator, the next process would label
//! sectors with a file half of zeros. So it is opened once under a lock, its digest compared with the library's own
//! manifest, and a note beside it says that this was done.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use filecoin_proofs::{parameters::public_params, with_shape};
use host::durable::{self, FileLock};
use sha2::{Digest as _, Sha256};
use storage_proofs_core::{merkle::MerkleTreeTrait, settings::SETTINGS};
use streams::proof::SealProof;

use crate::{
    library::registered_seal,
    progress::{HowFar, Progress},
};

/// Building one for 32 GiB takes tens of minutes.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2 * 3600);
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Takes a lock that another process may hold for a while.
pub(crate) fn lock_within(path: &Path, wait_max: Duration, mut on_wait: impl FnMut()) -> io::Result<FileLock> {
    let began = Instant::now();
    loop {
        match durable::lock_exclusive(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < wait_max => {
                on_wait();
                thread::sleep(LOCK_POLL);
            }
            other => return other,
        }
    }
}

/// Makes sure that the parent cache for this proof type is whole.
pub(crate) fn warm(proof: SealProof, progress: &dyn Progress) -> anyhow::Result<()> {
    let folder = PathBuf::from(&SETTINGS.parent_cache);
    durable::create_dir_all(&folder).context("create the parent cache folder")?;
    let lock = folder.join(".sealstream-lock");
    let _lock = lock_within(&lock, LOCK_WAIT_MAX, || progress.tell("waiting for the parent cache", HowFar::Unknown))
        .with_context(|| format!("lock {}", lock.display()))?;
    progress.tell("parent cache", HowFar::Unknown);
    remove_empty(&folder)?;
    let (path, digest) = open(proof)?;
    if is_noted(&path, &digest)? {
        return Ok(());
    }
    if digest_of(&path)? != digest {
        tracing::warn!(path = %path.display(), "the parent cache is damaged: generating it again");
        durable::remove_file(&path)?;
        let (path, digest) = open(proof)?;
        anyhow::ensure!(digest_of(&path)? == digest, "the parent cache {} is wrong even when new", path.display());
    }
    File::open(&path).and_then(|file| file.sync_all()).with_context(|| format!("sync {}", path.display()))?;
    durable::write(&note_of(&path), note(&path, &digest)?.as_bytes()).context("note the parent cache")
}

/// Opens it, generating it if absent: its path, and the digest it must have.
fn open(proof: SealProof) -> anyhow::Result<(PathBuf, String)> {
    fn of_shape<Tree: 'static + MerkleTreeTrait>(proof: SealProof) -> anyhow::Result<(PathBuf, String)> {
        let cache = public_params::<Tree>(&registered_seal(proof).as_v1_config())?.graph.parent_cache()?;
        anyhow::ensure!(!cache.digest.is_empty(), "the library knows no digest of {}", cache.path.display());
        Ok((cache.path, cache.digest))
    }
    with_shape!(proof.sector_size(), of_shape, proof)
}

/// A generator killed at once leaves an empty file, which the library refuses to open for ever.
fn remove_empty(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let is_cache = path.extension().is_some_and(|e| e == "cache");
        if is_cache && path.metadata()?.len() == 0 {
            durable::remove_file(&path)?;
        }
    }
    Ok(())
}

fn digest_of(path: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    io::copy(&mut file, &mut hasher).with_context(|| format!("read {}", path.display()))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn note_of(path: &Path) -> PathBuf {
    path.with_extension("verified")
}

/// What a verified cache's note says. Length and time of change, since the library may write the file again.
fn note(path: &Path, digest: &str) -> anyhow::Result<String> {
    let metadata = path.metadata()?;
    let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    Ok(format!("{digest} {} {}\n", metadata.len(), changed.as_nanos()))
}

fn is_noted(path: &Path, digest: &str) -> anyhow::Result<bool> {
    let expected = note(path, digest)?;
    Ok(std::fs::read_to_string(note_of(path)).is_ok_and(|found| found == expected))
}
