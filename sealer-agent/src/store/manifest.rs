//! What a sector's folder holds, written durably beside its files: enough to know them without any queue.
//!
//! Version 2 says in which life of the queue its last stage ran. Version 1 is read as what it was: of the first life.

use std::path::Path;

use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    id::{Incarnation, SectorId, Timestamp},
    message::{BadText, Facts, Text, decode, encode},
    proof::{Commitment, Drawn, SealProof, Sha256},
    sector::{Piece, SectorRecord},
    stage::Stage,
};

use super::StoreError;
use crate::footprint;

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
    /// What the cache folder belongs to, by its last stage.
    pub(crate) mark: Mark,
    /// What is true of the files, in the order of a sector's life.
    pub(crate) done: Vec<Facts>,
    /// CommR on chain of a replica that others sealed: a vanilla proof was made against it from these files, where they
    /// were. Nothing else is known of it, and no digest: to read all of every one would take days a PiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attached: Option<Commitment>,
}

/// What layers and trees belong to: the library would reuse those of another ticket without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    /// The record's incarnation when its last stage began.
    pub(crate) incarnation: Incarnation,
    /// One ticket, one generation.
    pub(crate) generation: u32,
    /// The ticket, once PC1 was claimed.
    pub(crate) ticket: Option<Drawn>,
}

impl Mark {
    /// Of a sector that was just placed.
    const fn first(incarnation: Incarnation) -> Self {
        Self { incarnation, generation: 1, ticket: None }
    }

    /// After a stage that says `newer`: a ticket stays with its generation.
    fn then(self, newer: Self) -> Self {
        let same = self.generation == newer.generation;
        Self { ticket: newer.ticket.or(if same { self.ticket } else { None }), ..newer }
    }
}

impl Text for Manifest {
    const KIND: &'static str = "sector-manifest";
    const VERSION: u64 = 2;
}

/// A manifest of version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestV1 {
    sector: SectorId,
    proof: SealProof,
    pieces: Vec<Piece>,
    placed_at: Timestamp,
    reserved_bytes: u64,
    tag: Option<TagV1>,
    done: Vec<Facts>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TagV1 {
    generation: u32,
    ticket: Drawn,
}

impl Text for ManifestV1 {
    const KIND: &'static str = Manifest::KIND;
    const VERSION: u64 = 1;
}

impl From<ManifestV1> for Manifest {
    fn from(old: ManifestV1) -> Self {
        let ManifestV1 { sector, proof, pieces, placed_at, reserved_bytes, tag, done } = old;
        let first = Mark::first(Incarnation::FIRST);
        let mark = tag.map_or(first, |tag| Mark { generation: tag.generation, ticket: Some(tag.ticket), ..first });
        Self { sector, proof, pieces, placed_at, reserved_bytes, mark, done, attached: None }
    }
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
            mark: Mark::first(record.incarnation),
            done: Vec::new(),
            attached: None,
        }
    }

    /// Of a replica that others sealed, once its files were proven to be the one on chain.
    pub(crate) fn attached(
        sector: SectorId,
        proof: SealProof,
        comm_r: Commitment,
        incarnation: Incarnation,
        now: Timestamp,
    ) -> Self {
        Self {
            sector,
            proof,
            pieces: Vec::new(),
            placed_at: now,
            reserved_bytes: footprint::replica_bytes(proof),
            mark: Mark::first(incarnation),
            done: Vec::new(),
            attached: Some(comm_r),
        }
    }

    /// Whether a stage's files are there.
    pub(crate) fn has(&self, stage: Stage) -> bool {
        self.done.iter().any(|facts| facts.stage() == stage)
    }

    /// Digest of the sealed file, once it was copied.
    pub(crate) fn sealed_sha256(&self) -> Option<Sha256> {
        self.done.iter().find_map(|facts| match facts {
            Facts::Persist { sealed_sha256, .. } => Some(*sealed_sha256),
            _ => None,
        })
    }

    /// A stage begins: what was true from it on is true no longer.
    pub(crate) fn forget_from(&mut self, stage: Stage) {
        self.done.retain(|facts| facts.stage() < stage);
    }

    /// A stage begins or ends in the life that `newer` names.
    pub(crate) fn mark(&mut self, newer: Mark) {
        self.mark = self.mark.then(newer);
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
        let read = |bytes: Vec<u8>| match decode(&bytes) {
            Err(BadText::UnknownVersion { found: ManifestV1::VERSION, .. }) => {
                decode::<ManifestV1>(&bytes).map(Self::from)
            }
            read => read,
        };
        bytes.map(|bytes| read(bytes).map_err(|source| StoreError::Text { path: path.to_owned(), source })).transpose()
    }

    /// Writes it, durably.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StoreError> {
        let bytes = encode(self).map_err(|source| StoreError::Text { path: path.to_owned(), source })?;
        durable::write(path, &bytes).map_err(StoreError::io("write", path))
    }
}

#[cfg(test)]
mod tests {
    use streams::proof::Bytes32;

    use super::*;
    use crate::sample::allocated;

    fn drawn(byte: u8) -> Drawn {
        Drawn { epoch: 5, value: Bytes32([byte; 32]) }
    }

    fn read(text: &[u8]) -> Result<Option<Manifest>, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.json");
        durable::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    #[test]
    fn version_1_is_read_as_of_the_first_life() {
        let zeros = "0".repeat(64);
        let text = |tag: &str| {
            format!(
                r#"{{"v":1,"sector":"f01000/1","proof":5,"pieces":[],"placed_at":7,"reserved_bytes":9,"tag":{tag},"done":[{{"stage":"tree-d","comm_d":"{zeros}"}}]}}"#
            )
        };
        let old = read(text("null").as_bytes()).unwrap().unwrap();
        let first = Mark::first(Incarnation::FIRST);
        assert_eq!((old.mark, old.placed_at, old.reserved_bytes), (first, Timestamp(7), 9));
        assert!(old.has(Stage::TreeD));
        let tag = format!(r#"{{"generation":3,"ticket":{}}}"#, serde_json::to_string(&drawn(1)).unwrap());
        let old = read(text(&tag).as_bytes()).unwrap().unwrap();
        assert_eq!(old.mark, Mark { generation: 3, ticket: Some(drawn(1)), ..first });
    }

    #[test]
    fn what_is_written_is_read_and_other_versions_are_refused() {
        let mut manifest = Manifest::new(&allocated(1), 9, Timestamp(7));
        manifest
            .record(Facts::Persist { store: streams::id::StoreId(uuid::Uuid::nil()), sealed_sha256: Bytes32([4; 32]) });
        assert_eq!(read(&encode(&manifest).unwrap()).unwrap(), Some(manifest.clone()));
        assert_eq!(manifest.sealed_sha256(), Some(Bytes32([4; 32])));
        for bad in [&br#"{"v":3}"#[..], br#"{"v":1}"#, b"{}"] {
            let refused = read(bad).unwrap_err();
            assert!(matches!(refused, StoreError::Text { .. }), "{refused}");
        }
    }

    #[test]
    fn a_ticket_stays_with_its_generation() {
        let first = Mark::first(Incarnation::FIRST);
        let ticketed = first.then(Mark { ticket: Some(drawn(1)), ..first });
        let later = Mark { incarnation: Incarnation::FIRST.next(), ..first };
        assert_eq!(ticketed.then(later), Mark { ticket: Some(drawn(1)), ..later });
        let again = Mark { generation: 2, ..first };
        assert_eq!(ticketed.then(again), again);
    }
}
