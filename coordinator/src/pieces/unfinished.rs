//! Uploads in parts that are not finished: `uploads/<id>.json` in the data folder.
//!
//! S3 keeps the parts of an upload that nobody finishes, unseen and for money, for ever. So each is noted before its
//! first part is sent, and whatever ends it otherwise than well (an error, a client that went away, `kill -9`) leaves
//! the note, after which the parts are thrown away.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use host::retry::Backoff;
use serde::{Deserialize, Serialize};
use streams::message::{Text, decode, encode};
use tokio::sync::Notify;

use super::bucket::Bucket;

/// How long the bucket is left alone after it could not be asked.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// `<id>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    bucket: String,
    key: String,
    upload: String,
}

impl Text for Note {
    const KIND: &'static str = "unfinished-upload";
    const VERSION: u64 = 1;
}

/// The folder of notes.
#[derive(Debug)]
pub(super) struct Unfinished {
    dir: PathBuf,
    /// Files of uploads that go on in this process.
    going_on: Mutex<HashSet<PathBuf>>,
    left: Notify,
}

/// An upload that goes on. Dropped, it is left to be thrown away.
#[derive(Debug)]
pub(super) struct Begun {
    unfinished: Arc<Unfinished>,
    file: PathBuf,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.unfinished.going_on().remove(&self.file);
        self.unfinished.left.notify_one();
    }
}

impl Begun {
    /// It is an object now, and nothing is left to throw away.
    pub(super) fn finished(self) {
        if let Err(error) = host::durable::remove_file(&self.file) {
            // Throwing away what is finished does nothing.
            tracing::warn!("remove {}: {error}", self.file.display());
        }
    }
}

impl Unfinished {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let dir = data.join("uploads");
        host::durable::create_dir_all(&dir)?;
        Ok(Self { dir, going_on: Mutex::default(), left: Notify::new() })
    }

    /// Notes an upload, before its first part is sent.
    pub(super) fn begin(self: &Arc<Self>, bucket: &str, key: &str, upload: &str) -> io::Result<Begun> {
        let file = self.dir.join(format!("{}.json", uuid::Uuid::new_v4().simple()));
        let note = Note { bucket: bucket.to_owned(), key: key.to_owned(), upload: upload.to_owned() };
        let text = encode(&note).map_err(io::Error::other)?;
        self.going_on().insert(file.clone());
        let begun = Begun { unfinished: Arc::clone(self), file };
        host::durable::write(&begun.file, &text)?;
        Ok(begun)
    }

    /// Throws away what is left, now and whenever an upload is left.
    pub(super) async fn run(&self, bucket: &Bucket) {
        let mut failures = 0_u32;
        let plan = Backoff::new(RETRY_FIRST, RETRY_MAX);
        loop {
            if self.sweep(bucket).await {
                failures = 0;
                self.left.notified().await;
            } else {
                failures = failures.saturating_add(1);
                tokio::time::sleep(plan.delay_after(failures).unwrap_or(RETRY_MAX)).await;
            }
        }
    }

    /// Whether nothing is left that could not be thrown away.
    async fn sweep(&self, bucket: &Bucket) -> bool {
        let mut swept = true;
        for (file, note) in self.left() {
            if note.bucket != bucket.name() {
                tracing::warn!("{}: an upload to bucket {}, which is not configured now", file.display(), note.bucket);
                continue;
            }
            let Ok(key) = object_store::path::Path::parse(&note.key) else { continue };
            match bucket.abandon(&key, &note.upload).await {
                Ok(()) => {
                    host::failpoint!("coordinator.bucket.upload-thrown-away");
                    tracing::info!(
                        "threw away what was uploaded of s3://{}/{key}, which was not finished",
                        note.bucket
                    );
                    if let Err(error) = host::durable::remove_file(&file) {
                        tracing::warn!("remove {}: {error}", file.display());
                    }
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    swept = false;
                }
            }
        }
        swept
    }

    /// Notes of uploads that do not go on.
    fn left(&self) -> Vec<(PathBuf, Note)> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
        let left: Vec<PathBuf> = files.filter(|file| !self.going_on().contains(file)).collect();
        left.into_iter().filter_map(|file| Some((read(&file)?, file))).map(|(note, file)| (file, note)).collect()
    }

    fn going_on(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.going_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Option<Note> {
    let bytes = host::durable::read(file).ok()??;
    decode(&bytes).map_err(|error| tracing::warn!("read {}: {error}", file.display())).ok()
}
