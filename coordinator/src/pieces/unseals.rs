//! Unsealed data: ordered by a person, delivered by an agent, fetched once it is whole.
//!
//! `unsealed/<id>.order` says that the bytes are awaited, `<id>.bin` holds them, or `<id>.object` says which object of the
//! bucket does; `<id>.failed` says why they will not come. A restart loses none of it; what is older than a day is
//! removed, but never an object that a person named.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use streams::{
    id::SectorId,
    message::{Outcome, TaskResult, Text, decode, encode},
    proof::Sha256,
};

use super::{
    depot::Depot,
    store::{TakeError, file},
};

/// How long delivered data is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// `<id>.order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) sector: SectorId,
    pub(crate) bytes: u64,
    /// The digest that they must have, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<Sha256>,
    /// The key that a person named for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

impl Text for Order {
    const KIND: &'static str = "unseal-order";
    const VERSION: u64 = 1;
}

/// `<id>.object`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    key: String,
    /// Nobody named it: it goes when it is too old.
    ours: bool,
}

impl Text for Object {
    const KIND: &'static str = "unsealed-object";
    const VERSION: u64 = 1;
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Delivery {
    Unknown,
    Awaited(Order),
    Failed(String),
    /// In a file.
    There(PathBuf),
    /// In the bucket, under this key.
    InBucket(String),
}

/// The folder of unsealed data.
#[derive(Debug)]
pub(crate) struct Unseals {
    dir: PathBuf,
    depot: Option<Arc<Depot>>,
}

impl Unseals {
    pub(crate) fn open(data: &Path, now_unix_ms: u64) -> io::Result<Self> {
        let unseals = Self { dir: data.join("unsealed"), depot: None };
        host::durable::create_dir_all(&unseals.dir)?;
        for entry in std::fs::read_dir(&unseals.dir)? {
            let entry = entry?;
            // The note of an object is all that is known of it: it goes with it.
            if !is(&entry.path(), "object") && is_old(&entry.path(), now_unix_ms)? {
                host::durable::remove_file(&entry.path())?;
            }
        }
        Ok(unseals)
    }

    /// From now on bytes go into this bucket, if there is one.
    pub(crate) fn in_bucket(self, depot: Option<Arc<Depot>>) -> Self {
        Self { depot, ..self }
    }

    /// The bucket that they go into.
    pub(crate) fn depot(&self) -> Option<&Arc<Depot>> {
        self.depot.as_ref()
    }

    /// Awaits bytes of a sector, under a new id.
    pub(crate) fn order(&self, order: &Order) -> io::Result<String> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let text = encode(order).map_err(io::Error::other)?;
        host::durable::write(&self.file(&id, "order"), &text)?;
        Ok(id)
    }

    /// Takes an order back.
    pub(crate) fn forget(&self, id: &str) {
        if let Err(error) = host::durable::remove_file(&self.file(id, "order")) {
            tracing::debug!("forget unseal {id}: {error}");
        }
    }

    /// Notes an agent's failure, so that whoever waits learns of it.
    pub(crate) fn settle(&self, result: &TaskResult) {
        let failure = match &result.outcome {
            Outcome::Done { .. } => return,
            Outcome::Failed { failure } => failure,
        };
        let words = format!("{} on {}: {}", failure.code, result.agent, failure.message);
        tracing::warn!("{words}");
        for id in self.awaited(result.sector) {
            if let Err(error) = host::durable::write(&self.file(&id, "failed"), words.as_bytes()) {
                tracing::warn!("note the failure of unseal {id}: {error}");
            }
        }
    }

    pub(super) fn look(&self, id: &str) -> Delivery {
        if !is_id(id) {
            return Delivery::Unknown;
        }
        let bin = self.path(id);
        if bin.exists() {
            return Delivery::There(bin);
        }
        if let Some(object) = read::<Object>(&self.file(id, "object")) {
            return Delivery::InBucket(object.key);
        }
        if let Ok(Some(words)) = host::durable::read(&self.file(id, "failed")) {
            return Delivery::Failed(String::from_utf8_lossy(&words).into_owned());
        }
        read(&self.file(id, "order")).map_or(Delivery::Unknown, Delivery::Awaited)
    }

    /// The bytes of an order are an object now.
    pub(super) fn delivered(&self, id: &str, key: &str, ours: bool) -> Result<(), TakeError> {
        let path = self.file(id, "object");
        let text = encode(&Object { key: key.to_owned(), ours }).map_err(io::Error::other);
        text.and_then(|text| host::durable::write(&path, &text)).map_err(file("write", &path))
    }

    /// Objects of ours that are too old, by the id of their order.
    pub(super) fn expired(&self, now_unix_ms: u64) -> Vec<(String, String)> {
        let old = self.files("object").filter(|path| is_old(path, now_unix_ms).unwrap_or(false));
        let objects = old.filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), read::<Object>(&path)?)));
        objects.filter(|(_, object)| object.ours).map(|(id, object)| (id, object.key)).collect()
    }

    /// The object of an order is gone.
    pub(super) fn forget_object(&self, id: &str) {
        if let Err(error) = host::durable::remove_file(&self.file(id, "object")) {
            tracing::warn!("forget the unsealed data {id}: {error}");
        }
    }

    /// Where the bytes of an order end up.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.file(id, "bin")
    }

    fn awaited(&self, sector: SectorId) -> Vec<String> {
        self.files("order")
            .filter(|path| read::<Order>(path).is_some_and(|order| order.sector == sector))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .filter(|id| !self.path(id).exists() && !self.file(id, "object").exists())
            .collect()
    }

    fn files(&self, what: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(move |path| is(path, what))
    }

    fn file(&self, id: &str, what: &str) -> PathBuf {
        self.dir.join(format!("{id}.{what}"))
    }
}

fn is(path: &Path, what: &str) -> bool {
    path.extension().is_some_and(|extension| extension == what)
}

fn is_old(path: &Path, now_unix_ms: u64) -> io::Result<bool> {
    let written = path.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Duration::from_millis(now_unix_ms).saturating_sub(written) > KEPT)
}

fn read<T: Text>(path: &Path) -> Option<T> {
    let bytes = host::durable::read(path).ok()??;
    decode(&bytes).map_err(|error| tracing::warn!("read {}: {error}", path.display())).ok()
}

/// Ids come back over HTTP: only our own form may become a path.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}
