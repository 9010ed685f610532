//! A backup becomes the queue again.
//!
//! `CLUSTER next` is written first: from then on nobody leads, until the rebuild that follows has finished. A restore
//! that was cut off is run again, with `--replace`.

use std::path::{Path, PathBuf};

use host::failpoint;
use sha2::{Digest as _, Sha256 as Hasher};
use streams::{
    error::QueueError,
    id::{Incarnation, Timestamp},
    kv::{Bucket, BucketName, CasError},
    nats::Nats,
    proof::Bytes32,
    records::ClusterRecord,
    whole::{self, Kept, Snapshot},
};
use tokio::io::AsyncReadExt as _;

use super::{Backup, BackupError, file_name};
use crate::{
    incarnation::{Found, NEXT, RESTORED, look},
    memory::{Memory, MemoryError, MemoryFile},
};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A backup that was not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("use the queue")]
    Queue(#[from] QueueError),
    #[error("{} is not what was written: its SHA-256 is {found}, the backup says {wanted}", path.display())]
    Corrupt { path: PathBuf, found: Bytes32, wanted: Bytes32 },
    #[error("the backup is of network {backup}, and the chain node is of {node}")]
    WrongNetwork { backup: String, node: String },
    #[error("the queue is not empty: {0}")]
    NotEmpty(String),
    #[error("CLUSTER next was changed by another process")]
    Changed,
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Puts a backup in the place of what is there. Whoever runs it holds the lease of the coordinator.
pub(crate) async fn restore(
    nats: &Nats,
    folder: &Path,
    memory: &MemoryFile,
    network: &str,
    replace: bool,
    now: Timestamp,
) -> Result<Backup, RestoreError> {
    let backup = super::read(folder)?;
    if backup.life.network != network {
        return Err(RestoreError::WrongNetwork { backup: backup.life.network, node: network.to_owned() });
    }
    for stream in &backup.streams {
        verify(folder, stream).await?;
    }
    let found = look(nats).await?;
    if !replace && let Some(what) = contents(nats, &found).await? {
        return Err(RestoreError::NotEmpty(what));
    }
    begin(nats, &found, &backup, memory.get().as_ref(), now).await?;
    failpoint!("coordinator.backup.restore-begun");
    learn(memory, &backup)?;
    failpoint!("coordinator.backup.restore-remembered");
    for stream in &backup.streams {
        whole::delete(nats, &stream.stream).await?;
        failpoint!("coordinator.backup.stream-deleted");
        let path = folder.join(file_name(&stream.stream));
        let mut file = tokio::fs::File::open(&path).await.map_err(BackupError::file("open", &path))?;
        whole::restore(nats, stream, &mut file).await?;
        failpoint!("coordinator.backup.stream-restored");
    }
    Ok(backup)
}

async fn verify(folder: &Path, stream: &Snapshot) -> Result<(), RestoreError> {
    let path = folder.join(file_name(&stream.stream));
    let mut file = tokio::fs::File::open(&path).await.map_err(BackupError::file("open", &path))?;
    let mut hasher = Hasher::new();
    let mut part = vec![0; READ_BYTES];
    loop {
        let length = file.read(&mut part).await.map_err(BackupError::file("read", &path))?;
        if length == 0 {
            break;
        }
        hasher.update(part.get(..length).unwrap_or_default());
    }
    let found = Bytes32(hasher.finalize().into());
    if found == stream.sha256 {
        return Ok(());
    }
    Err(RestoreError::Corrupt { path, found, wanted: stream.sha256 })
}

/// What of a queue's state is there, in words.
async fn contents(nats: &Nats, found: &Found) -> Result<Option<String>, QueueError> {
    if let Some(life) = found.next.as_ref().or(found.life.as_ref()) {
        return Ok(Some(format!("incarnation {} is there, {}", life.incarnation, life.because)));
    }
    for kept in Kept::ALL {
        let stream = kept.stream();
        if let Some(progress) = whole::progress(nats, &stream).await?
            && progress.messages > 0
        {
            return Ok(Some(format!("stream {stream} has {} messages", progress.messages)));
        }
    }
    Ok(None)
}

/// Begins a life above every one that is known here; the rebuild raises it if stores know of a later one.
async fn begin(
    nats: &Nats,
    found: &Found,
    backup: &Backup,
    memory: Option<&Memory>,
    now: Timestamp,
) -> Result<(), RestoreError> {
    let lives = [found.life.as_ref(), found.next.as_ref(), Some(&backup.life)];
    let known = lives.into_iter().flatten().map(|life| life.incarnation);
    let incarnation = known.chain(memory.map(Memory::incarnation)).max().unwrap_or(Incarnation(0)).next();
    let life =
        ClusterRecord { incarnation, network: backup.life.network.clone(), began_at: now, because: because(backup) };
    let bucket: Bucket<ClusterRecord> = Bucket::open(nats, BucketName::Cluster).await?;
    let written = match bucket.get(NEXT).await? {
        Some(entry) => bucket.update(NEXT, &life, entry.revision).await,
        None => bucket.create(NEXT, &life).await,
    };
    match written {
        Ok(_) => Ok(()),
        Err(CasError::Lost { .. }) => Err(RestoreError::Changed),
        Err(CasError::Queue(error)) => Err(error.into()),
    }
}

/// Why a life begins, in the words of `CLUSTER`.
pub(crate) fn because(backup: &Backup) -> String {
    format!("{RESTORED} of {}", super::name_of(backup.taken_at))
}

/// What the backup remembers, where this folder remembers less.
fn learn(file: &MemoryFile, backup: &Backup) -> Result<(), MemoryError> {
    let Some(theirs) = &backup.memory else { return Ok(()) };
    let mut memory = file.get().unwrap_or_else(|| theirs.clone());
    memory.learn(theirs);
    file.put(memory)
}
