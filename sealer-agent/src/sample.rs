//! What tests begin with.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use streams::{
    id::{Incarnation, SectorId, Timestamp},
    message::{ClaimRef, Task},
    proof::SealProof,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::order::{Order, Ordered};

/// A child has a copy of every open file, and so of every lock, until it runs: a test that starts one disturbs those
/// that look whether a lock is held.
static FORKING: RwLock<()> = RwLock::new(());

/// While this is held, no test starts a child.
pub(crate) fn no_forks() -> RwLockReadGuard<'static, ()> {
    FORKING.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that starts one.
pub(crate) fn forks() -> RwLockWriteGuard<'static, ()> {
    FORKING.write().unwrap_or_else(PoisonError::into_inner)
}

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
