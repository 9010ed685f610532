//! What a sector's folder holds, written durably beside its files: enough to know them without any queue.

use std::path::Path;

use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    id::{SectorId, Timestamp},
    message::{Facts, Text, decode, encode},
    proof::{Drawn, SealProof},
    sector::{Piece, SectorRecord},
    stage::Stage,
};

use super::StoreError;

/// The facts about one sector's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The sector.
    pub(crate) sector: SectorId,
    /// Its seal proof type.
    pub(crate) proof: SealProof,
    /// Its pieces, with their sources.
    pub(crate) pieces: Vec<Piece>,
    /// When room was promised.
    pub(crate) placed_at: Timestamp,
    /// How much room: what it may fill, whether it has yet or not.
    pub(crate) reserved_bytes: u64,
    /// What the cache folder belongs to, once PC1 was claimed.
    pub(crate) tag: Option<Tag>,
    /// What is true of the files, in the order of a sector's life.
    pub(crate) done: Vec<Facts>,
}

/// What layers and trees belong to: the library would reuse those of another ticket without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tag {
    /// One ticket, one generation.
    pub(crate) generation: u32,
    /// The ticket.
    pub(crate) ticket: Drawn,
}

impl Text for Manifest {
    const KIND: &'static str = "sector-manifest";
    const VERSION: u64 = 1;
}

impl Manifest {
    /// A folder with nothing in it yet.
    pub(crate) fn new(record: &SectorRecord, reserved_bytes: u64, now: Timestamp) -> Self {
        Self {
            sector: record.id,
            proof: record.proof,
            pieces: record.pieces.clone(),
            placed_at: now,
            reserved_bytes,
            tag: None,
            done: Vec::new(),
        }
    }

    /// Whether a stage's files are there.
    pub(crate) fn has(&self, stage: Stage) -> bool {
        self.done.iter().any(|facts| facts.stage() == stage)
    }

    /// A stage begins: what was true from it on is true no longer.
    pub(crate) fn forget_from(&mut self, stage: Stage) {
        self.done.retain(|facts| facts.stage() < stage);
    }

    /// A stage is done.
    pub(crate) fn record(&mut self, facts: Facts) {
        self.done.retain(|known| known.stage() != facts.stage());
        self.done.push(facts);
        self.done.sort_by_key(Facts::stage);
    }

    /// Reads the manifest at `path`; none when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let bytes = durable::read(path).map_err(StoreError::io("read", path))?;
        bytes
            .map(|bytes| decode(&bytes).map_err(|source| StoreError::Text { path: path.to_owned(), source }))
            .transpose()
    }

    /// Writes it, durably.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let bytes = encode(self).map_err(|source| StoreError::Text { path: path.to_owned(), source })?;
        durable::write(path, &bytes).map_err(StoreError::io("write", path))
    }
}
