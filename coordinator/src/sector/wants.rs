//! What a sector needs to go on, from its record alone.
//!
//! The happy path carries out what a step newly wants; the reconciler carries out all of it. A sector that is not
//! at its end and wants nothing would be lost, so a test holds that there is none.

use streams::{
    id::{Epoch, Place, Timestamp},
    message::{ArtifactRef, Task},
    sector::{MessageRef, SectorRecord, SectorState},
    stage::Stage,
    subject::{TaskSubject, Whither},
};

/// Something to be done for a sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish the pointer to a stage, not before a time when an attempt has just failed.
    Publish { stage: Stage, not_before: Option<Timestamp> },
    /// Offer it to the next pre-commit message.
    OfferPreCommit,
    /// Offer it to the next prove-commit message.
    OfferProveCommit,
    /// Follow the message it joined.
    Follow { message: MessageRef },
    /// Draw the seed once its epoch is reached.
    AwaitSeed { pre_commit: Epoch },
    /// Delete an artifact nothing needs any more.
    DropArtifact(ArtifactRef),
}

/// Pause before the second, third, … attempt at a stage, in seconds.
const RETRY_PAUSES_S: [u64; 4] = [1, 4, 16, 60];

/// What a sector wants now.
pub(crate) fn wants(record: &SectorRecord) -> Vec<Action> {
    let mut wanted = Vec::new();
    match &record.state {
        SectorState::Allocated {} => wanted.push(publish(record, Stage::Place)),
        SectorState::Placed { .. } => wanted.push(publish(record, Stage::AddPiece)),
        SectorState::PiecesAdded { .. } => wanted.push(publish(record, Stage::TreeD)),
        SectorState::TreeDDone { .. } | SectorState::Ticketed { .. } => wanted.push(publish(record, Stage::Pc1)),
        SectorState::Pc1Done { .. } => wanted.push(publish(record, Stage::Pc2)),
        SectorState::Pc2Done { .. } => wanted.push(Action::OfferPreCommit),
        SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. } => {
            wanted.push(Action::Follow { message: message.clone() });
        }
        SectorState::PreCommitted { pre_commit, .. } => wanted.push(Action::AwaitSeed { pre_commit: pre_commit.epoch }),
        SectorState::SeedReady { .. } => wanted.push(publish(record, Stage::C1)),
        SectorState::C1Done { .. } => wanted.push(publish(record, Stage::C2)),
        SectorState::C2Done { sealed, .. } if sealed.persisted.is_some() => wanted.push(Action::OfferProveCommit),
        SectorState::C2Done { .. } => {}
        SectorState::Proving { finalized: false, .. } => wanted.push(publish(record, Stage::Finalize)),
        SectorState::Proving { finalized: true, .. } | SectorState::Parked { .. } | SectorState::Aborted { .. } => {
            return wanted;
        }
    }
    if record.state.sealed().is_some_and(|sealed| sealed.persisted.is_none()) {
        wanted.push(publish(record, Stage::Persist));
    }
    wanted
}

/// Whether a sector is at its end, or waits for a person.
pub(crate) fn is_at_rest(state: &SectorState) -> bool {
    matches!(
        state,
        SectorState::Proving { finalized: true, .. } | SectorState::Parked { .. } | SectorState::Aborted { .. }
    )
}

/// Whether the sector's state asks for this stage now.
pub(super) fn wants_stage(record: &SectorRecord, stage: Stage) -> bool {
    wants(record).iter().any(|action| matches!(action, Action::Publish { stage: s, .. } if *s == stage))
}

fn publish(record: &SectorRecord, stage: Stage) -> Action {
    let failed = record.errors.iter().filter(|e| e.stage == stage);
    let not_before = failed.clone().next_back().map(|last| {
        let pause =
            RETRY_PAUSES_S.get(failed.count().saturating_sub(1)).or(RETRY_PAUSES_S.last()).copied().unwrap_or(0);
        Timestamp(last.at.0.saturating_add(pause.saturating_mul(1000)))
    });
    Action::Publish { stage, not_before }
}

/// The pointer to a stage: its subject and its text. `None` while a bound stage has no place to go to.
pub(crate) fn pointer(record: &SectorRecord, stage: Stage) -> Option<(TaskSubject, Task)> {
    let whither = if stage.is_bound() { Whither::At(place_of(record)?.clone()) } else { Whither::Any };
    let subject = TaskSubject { whither, sector: record.id, stage };
    Some((subject, Task { sector: record.id, stage, unseal: None }))
}

fn place_of(record: &SectorRecord) -> Option<&Place> {
    record.state.placement().map(|at| &at.place)
}

/// When the pointer to a stage became due: what "queued" means in a sector's story.
pub(super) fn queued_at(record: &SectorRecord, stage: Stage) -> Timestamp {
    let ended = |stage| record.story.iter().rev().find(|run| run.stage == stage).map(|run| run.ended_at);
    let due = match stage {
        Stage::Pc1 => ended(Stage::TreeD),
        Stage::Persist => ended(Stage::Pc2),
        _ => None,
    };
    let failed = record.errors.iter().rev().find(|e| e.stage == stage).map(|e| e.at);
    failed.or(due).unwrap_or(record.entered_at)
}
