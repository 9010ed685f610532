//! Unsealed data: ordered by a person, delivered by an agent, fetched once it is whole.
//!
//! `unsealed/<id>.order` says that the bytes are awaited, `<id>.bin` holds them, `<id>.failed` says why they will not
//! come. A restart loses none of it; what is older than a day is removed.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use streams::{
    id::SectorId,
    message::{Outcome, TaskResult, Text, decode, encode},
};

/// How long delivered data is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// `<id>.order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    sector: SectorId,
    bytes: u64,
}

impl Text for Order {
    const KIND: &'static str = "unseal-order";
    const VERSION: u64 = 1;
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Delivery {
    Unknown,
    Awaited { bytes: u64 },
    Failed(String),
    There(PathBuf),
}

/// The folder of unsealed data.
#[derive(Debug)]
pub(crate) struct Unseals {
    dir: PathBuf,
}

impl Unseals {
    pub(crate) fn open(data: &Path, now_unix_ms: u64) -> io::Result<Self> {
        let unseals = Self { dir: data.join("unsealed") };
        host::durable::create_dir_all(&unseals.dir)?;
        for entry in std::fs::read_dir(&unseals.dir)? {
            let entry = entry?;
            let written = entry.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            if Duration::from_millis(now_unix_ms).saturating_sub(written) > KEPT {
                host::durable::remove_file(&entry.path())?;
            }
        }
        Ok(unseals)
    }

    /// Awaits `bytes` bytes of a sector, under a new id.
    pub(crate) fn order(&self, sector: SectorId, bytes: u64) -> io::Result<String> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let text = encode(&Order { sector, bytes }).map_err(io::Error::other)?;
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
        if let Ok(Some(words)) = host::durable::read(&self.file(id, "failed")) {
            return Delivery::Failed(String::from_utf8_lossy(&words).into_owned());
        }
        self.read_order(&self.file(id, "order"))
            .map_or(Delivery::Unknown, |order| Delivery::Awaited { bytes: order.bytes })
    }

    /// Where the bytes of an order end up.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.file(id, "bin")
    }

    fn awaited(&self, sector: SectorId) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let orders = entries.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "order"));
        orders
            .filter(|path| self.read_order(path).is_some_and(|order| order.sector == sector))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .filter(|id| !self.path(id).exists())
            .collect()
    }

    fn read_order(&self, path: &Path) -> Option<Order> {
        let bytes = host::durable::read(path).ok()??;
        decode(&bytes).map_err(|error| tracing::warn!("read {}: {error}", path.display())).ok()
    }

    fn file(&self, id: &str, what: &str) -> PathBuf {
        self.dir.join(format!("{id}.{what}"))
    }
}

/// Ids come back over HTTP: only our own form may become a path.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}
