//! A configuration that is read again while its program runs: at SIGHUP, and when its file changes.
//!
//! Nothing is applied here. Whoever listens is told which keys have other values, applies what can be applied, and says
//! of the rest that it needs a restart. A file that makes no sense changes nothing.

use std::{
    collections::BTreeMap,
    io,
    marker::PhantomData,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Sources, merge, raw_settings, secret};
use crate::exit::CliError;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A configuration with its sources.
#[derive(Debug)]
pub struct Live<T> {
    sources: Sources,
    known: BTreeMap<String, Value>,
    stamp: Option<Stamp>,
    kind: PhantomData<fn() -> T>,
}

/// The same, listening.
#[derive(Debug)]
pub struct Listening<T> {
    live: Live<T>,
    hangup: Signal,
}

/// A configuration that was read again.
#[derive(Debug)]
pub struct Change<T> {
    /// All of it.
    pub config: T,
    /// What is not as it was, in the order of the keys.
    pub keys: Vec<ChangedKey>,
}

/// A key with another value, as both may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKey {
    /// Its dotted name.
    pub key: String,
    /// What it was; null where it was unset.
    pub from: Value,
    /// What it is.
    pub to: Value,
}

/// By what a file that was written again is told: editors put a new file in the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl<T> Live<T>
where
    T: Default + Serialize + DeserializeOwned,
{
    /// Reads a configuration that may change.
    ///
    /// # Errors
    ///
    /// As [`super::load`].
    pub fn load(sources: Sources) -> Result<(T, Self), CliError> {
        let stamp = stamp(&sources);
        let (config, known) = read(&sources)?;
        Ok((config, Self { sources, known, stamp, kind: PhantomData }))
    }

    /// Listens from now on: until then SIGHUP ends the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The signal cannot be listened to.
    pub fn listen(self) -> io::Result<Listening<T>> {
        Ok(Listening { live: self, hangup: signal(SignalKind::hangup())? })
    }

    fn read_again(&mut self) -> Result<Change<T>, CliError> {
        let (config, known) = read(&self.sources)?;
        let keys = difference(&self.known, &known);
        self.known = known;
        Ok(Change { config, keys })
    }
}

impl<T> Listening<T>
where
    T: Default + Serialize + DeserializeOwned,
{
    /// Waits until the configuration is to be read again, and reads it.
    ///
    /// # Errors
    ///
    /// As [`super::load`]; the old configuration holds, and the next change is waited for as before.
    pub async fn next(&mut self) -> Result<Change<T>, CliError> {
        loop {
            tokio::select! {
                came = self.hangup.recv() => {
                    if came.is_none() {
                        std::future::pending::<()>().await;
                    }
                    self.live.stamp = stamp(&self.live.sources);
                    return self.live.read_again();
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let seen = stamp(&self.live.sources);
            if seen == self.live.stamp {
                continue;
            }
            // An editor may still be writing: what looks the same twice is read.
            tokio::time::sleep(LOOK_EVERY / 4).await;
            if stamp(&self.live.sources) == seen {
                self.live.stamp = seen;
                return self.live.read_again();
            }
        }
    }
}

fn read<T: Default + Serialize + DeserializeOwned>(
    sources: &Sources,
) -> Result<(T, BTreeMap<String, Value>), CliError> {
    let merged = merge::<T>(sources, std::env::vars())?;
    let config = merged.extract()?;
    Ok((config, raw_settings(&merged.figment)))
}

fn stamp(sources: &Sources) -> Option<Stamp> {
    let metadata = std::fs::metadata(sources.file.as_ref()?).ok()?;
    Some(Stamp { inode: metadata.ino(), bytes: metadata.len(), modified: metadata.modified().ok() })
}

fn difference(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<ChangedKey> {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &BTreeMap<String, Value>, key: &str| of.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|key| value(before, key) != value(after, key))
        .map(|key| ChangedKey {
            from: secret::shown(key, value(before, key)),
            to: secret::shown(key, value(after, key)),
            key: key.clone(),
        })
        .collect()
}
