//! Copies of the queue's state in a folder, and back.
//!
//! ```text
//!  backups/2026-11-24T06-33-34Z/   backup.json     which life, when, what is in it with digests, what was remembered
//!                                  KV_SECTORS.snapshot, KV_NUMBERS.snapshot, …   the server's own snapshots
//! ```
//!
//! A backup is filled aside and renamed, so that it is whole or absent. Each stream is one moment of itself; two
//! streams are not of the same moment, and need not be: a restore is followed by a rebuild, which asks chain and stores.

mod restore;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use host::{clock::Clock, failpoint};
use serde::{Deserialize, Serialize};
use streams::{
    error::QueueError,
    id::Timestamp,
    message::{Text, decode, encode},
    nats::Nats,
    records::ClusterRecord,
    whole::{Kept, Snapshot, snapshot},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::restore::{RestoreError, restore};
use crate::{
    config::BackupSection,
    incarnation::{Lives, look},
    memory::{Memory, MemoryFile},
};

/// Its manifest within a backup's folder.
const MANIFEST: &str = "backup.json";
/// What is being filled begins with this, and is swept by the next one.
const UNFINISHED: &str = ".unfinished-";
/// A backup that failed is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backup {
    /// The life of the queue it was taken in.
    pub(crate) life: ClusterRecord,
    /// When.
    pub(crate) taken_at: Timestamp,
    /// Each stream, with its digest.
    pub(crate) streams: Vec<Snapshot>,
    /// What the coordinator remembered: numbers and nonces that were used since then are above these.
    pub(crate) memory: Option<Memory>,
}

impl Text for Backup {
    const KIND: &'static str = "queue-backup";
    const VERSION: u64 = 1;
}

impl Backup {
    pub(crate) fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// Messages of a stream, zero where it is not in it.
    pub(crate) fn messages(&self, stream: &str) -> u64 {
        self.streams.iter().find(|snapshot| snapshot.stream == stream).map_or(0, |snapshot| snapshot.progress.messages)
    }
}

/// A backup that was not taken, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("copy the queue")]
    Queue(#[from] QueueError),
    #[error("{what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the queue is in no life that could be copied: no coordinator has led it yet, or it was wiped")]
    NoLife,
    #[error("a rebuild of the queue is not finished: what is there is no state to keep")]
    Unfinished,
}

impl BackupError {
    fn file<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source: source.into() }
    }
}

/// Takes backups into one folder.
pub(crate) struct Backups {
    nats: Nats,
    dir: PathBuf,
    every: Duration,
    keep: usize,
    memory: Arc<MemoryFile>,
    clock: Arc<dyn Clock>,
}

/// The folder backups are in.
pub(crate) fn folder(section: &BackupSection, data: &Path) -> PathBuf {
    section.dir.clone().unwrap_or_else(|| data.join("backups"))
}

impl Backups {
    /// Those of a leading coordinator, unless they are turned off.
    pub(crate) fn of(nats: &Nats, section: &BackupSection, data: &Path, lives: &Lives) -> Option<Self> {
        if section.every.is_zero() {
            tracing::warn!("backup.every is 0: the queue's state is not backed up");
            return None;
        }
        Some(Self::new(nats, section, data, &lives.memory, &lives.clock))
    }

    pub(crate) fn new(
        nats: &Nats,
        section: &BackupSection,
        data: &Path,
        memory: &Arc<MemoryFile>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            nats: nats.clone(),
            dir: folder(section, data),
            every: section.every,
            keep: section.keep,
            memory: Arc::clone(memory),
            clock: Arc::clone(clock),
        }
    }

    /// Takes one whenever one is due, until told to stop. What is due follows from the last one there is.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let wait = match list(&self.dir) {
                Ok(all) => all.last().map_or(Duration::ZERO, |(_, last)| self.due_in(last)),
                Err(error) => {
                    tracing::warn!("look for backups: {}", host::exit::chain(&error));
                    Duration::ZERO
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => return Ok(()),
            }
            let taken = tokio::select! {
                taken = self.take() => taken,
                () = cancel.cancelled() => return Ok(()),
            };
            match taken {
                Ok((path, backup)) => {
                    tracing::info!(path = %path.display(), bytes = backup.bytes(), "backed the queue up");
                }
                Err(error) => {
                    tracing::error!("no backup of the queue, tried again soon: {}", host::exit::chain(&error));
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN_AFTER.min(self.every)) => {}
                        () = cancel.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    fn due_in(&self, last: &Backup) -> Duration {
        let age = Timestamp(self.clock.now_unix_ms()).ms_since(last.taken_at);
        self.every.saturating_sub(Duration::from_millis(age))
    }

    /// Takes one now, and removes those beyond the number to keep.
    pub(crate) async fn take(&self) -> Result<(PathBuf, Backup), BackupError> {
        let found = look(&self.nats).await?;
        if found.next.is_some() {
            return Err(BackupError::Unfinished);
        }
        let life = found.life.ok_or(BackupError::NoLife)?;
        host::durable::create_dir_all(&self.dir).map_err(BackupError::file("create", &self.dir))?;
        self.sweep()?;
        let taken_at = Timestamp(self.clock.now_unix_ms());
        let filling = self.dir.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple()));
        host::durable::create_dir_all(&filling).map_err(BackupError::file("create", &filling))?;
        let mut streams = Vec::new();
        for kept in Kept::ALL {
            streams.push(self.copy(&kept.stream(), &filling).await?);
            failpoint!("coordinator.backup.stream-copied");
        }
        let backup = Backup { life, taken_at, streams, memory: self.memory.get() };
        let manifest = filling.join(MANIFEST);
        let text = encode(&backup).map_err(BackupError::file("write", &manifest))?;
        host::durable::write(&manifest, &text).map_err(BackupError::file("write", &manifest))?;
        host::durable::sync_tree(&filling).map_err(BackupError::file("sync", &filling))?;
        failpoint!("coordinator.backup.filled");
        let path = self.free_name(taken_at);
        host::durable::rename(&filling, &path).map_err(BackupError::file("publish", &path))?;
        failpoint!("coordinator.backup.published");
        self.prune()?;
        Ok((path, backup))
    }

    async fn copy(&self, stream: &str, folder: &Path) -> Result<Snapshot, BackupError> {
        let path = folder.join(file_name(stream));
        let mut file = tokio::fs::File::create(&path).await.map_err(BackupError::file("create", &path))?;
        let taken = snapshot(&self.nats, stream, &mut file).await?;
        file.sync_all().await.map_err(BackupError::file("sync", &path))?;
        Ok(taken)
    }

    /// Two in one second are told apart.
    fn free_name(&self, at: Timestamp) -> PathBuf {
        let name = name_of(at);
        let mut path = self.dir.join(&name);
        let mut other: u32 = 2;
        while path.exists() {
            path = self.dir.join(format!("{name}.{other}"));
            other = other.saturating_add(1);
        }
        path
    }

    /// Removes what an interrupted backup left.
    fn sweep(&self) -> Result<(), BackupError> {
        let entries = std::fs::read_dir(&self.dir).map_err(BackupError::file("read", &self.dir))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                host::durable::remove_dir_all(&entry.path()).map_err(BackupError::file("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn prune(&self) -> Result<(), BackupError> {
        let all = list(&self.dir)?;
        let surplus = all.len().saturating_sub(self.keep);
        for (path, _) in all.into_iter().take(surplus) {
            // Aside first: half a backup must not look like one.
            let aside = self.dir.join(format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple()));
            host::durable::rename(&path, &aside).map_err(BackupError::file("set aside", &path))?;
            failpoint!("coordinator.backup.set-aside");
            host::durable::remove_dir_all(&aside).map_err(BackupError::file("remove", &aside))?;
        }
        Ok(())
    }
}

/// A stream's file within a backup's folder.
fn file_name(stream: &str) -> String {
    format!("{stream}.snapshot")
}

/// A folder's name: the time, in characters that every file system takes.
fn name_of(at: Timestamp) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at.0)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string().replace(':', "-")
}

/// Reads a backup's manifest.
pub(crate) fn read(folder: &Path) -> Result<Backup, BackupError> {
    let path = folder.join(MANIFEST);
    let bytes = host::durable::read(&path).map_err(BackupError::file("read", &path))?;
    let bytes = bytes.ok_or_else(|| BackupError::file("read", &path)("there is no backup"))?;
    decode(&bytes).map_err(BackupError::file("read", &path))
}

/// Every whole backup in a folder, oldest first.
pub(crate) fn list(dir: &Path) -> Result<Vec<(PathBuf, Backup)>, BackupError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::file("read", dir)(error)),
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') || !path.join(MANIFEST).is_file() {
            continue;
        }
        match read(&path) {
            Ok(backup) => all.push((path, backup)),
            Err(error) => tracing::warn!("passed over: {}", host::exit::chain(&error)),
        }
    }
    all.sort_by_key(|(_, backup)| backup.taken_at);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_its_time() {
        assert_eq!(name_of(Timestamp(1_795_502_014_000)), "2026-11-24T06-33-34Z");
    }
}
