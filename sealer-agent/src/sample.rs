//! What tests begin with.

use streams::{
    id::{Incarnation, SectorId, Timestamp},
    message::{ClaimRef, Task},
    proof::SealProof,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::order::{Order, Ordered};

/// An order for a stage of sector 1.
pub(crate) fn order(stage: Stage) -> Order {
    let sector = allocated(1).id;
    let claim = ClaimRef { attempt: 1, fence: 7, generation: 1, incarnation: Incarnation::FIRST };
    let task = Task { sector, stage, unseal: None };
    let subject = format!("seal.{}.here.{}.{stage}", stage.class(), sector.key());
    Order { subject, class: stage.class(), what: Ordered::Sector { task, claim } }
}

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
