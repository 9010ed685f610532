//! What tests begin with.

use streams::{
    id::{Incarnation, SectorId, Timestamp},
    proof::SealProof,
    sector::{SectorRecord, SectorState},
};

/// An empty 2 KiB sector of f01000 that has no place yet.
pub(crate) fn allocated(number: u64) -> SectorRecord {
    SectorRecord {
        id: SectorId::from_key(&format!("f01000.{number}")).unwrap(),
        incarnation: Incarnation::FIRST,
        proof: SealProof::Drg2KiBV1_1,
        pieces: vec![],
        submitted_at: Timestamp(1),
        state: SectorState::Allocated {},
        entered_at: Timestamp(1),
        seq: 1,
        what: String::new(),
        generations_lost: 0,
        errors: vec![],
        story: vec![],
        messages: vec![],
    }
}
