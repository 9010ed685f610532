//! What a sector needs to go on, from its record alone.
//!
//! The happy path carries out what a step newly wants; the reconciler carries out all of it. A sector that is not
//! at its end and wants nothing would be lost, so a test holds that there is none.

use streams::{
    id::{Epoch, Place, Timestamp},
    message::{ArtifactRef, Task},
    sector::{MessageRef, SectorRecord, SectorState, StageError, Succession},
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
    /// Make the sector that takes its pieces over.
    Succeed,
    /// Delete an artifact nothing needs any more.
    DropArtifact(ArtifactRef),
}

/// Pause before the second, third, … attempt at a stage, in seconds.
const RETRY_PAUSES_S: [u64; 4] = [1, 4, 16, 60];

/// What a sector wants now.
pub(crate) fn wants(record: &SectorRecord) -> Vec<Action> {
    let mut wanted = Vec::new();
    match &record.state {
        SectorState::Resealing { files, chain } => {
            wanted.extend(of_files(record, files));
            wanted.extend(of_chain(chain));
        }
        SectorState::PreCommitExpired { successor: Succession::Begun { .. }, .. }
        | SectorState::Proving { finalized: true, .. }
        | SectorState::Parked { .. }
        | SectorState::Aborted { .. } => {}
        SectorState::PreCommitExpired { .. } => wanted.push(Action::Succeed),
        state => {
            wanted.extend(of_files(record, state));
            wanted.extend(of_chain(state));
            if state.sealed().is_some_and(|sealed| sealed.persisted.is_none()) {
                wanted.push(publish(record, Stage::Persist));
            }
        }
    }
    wanted
}

/// The stage that comes next.
pub(super) const fn next_stage(state: &SectorState) -> Option<Stage> {
    match state {
        SectorState::Allocated {} => Some(Stage::Place),
        SectorState::Placed { .. } => Some(Stage::AddPiece),
        SectorState::PiecesAdded { .. } => Some(Stage::TreeD),
        SectorState::TreeDDone { .. } | SectorState::Ticketed { .. } => Some(Stage::Pc1),
        SectorState::Pc1Done { .. } => Some(Stage::Pc2),
        SectorState::SeedReady { .. } => Some(Stage::C1),
        SectorState::C1Done { .. } => Some(Stage::C2),
        SectorState::Proving { finalized: false, .. } => Some(Stage::Finalize),
        SectorState::Resealing { files, .. } => next_stage(files),
        SectorState::Pc2Done { .. }
        | SectorState::PreCommitSent { .. }
        | SectorState::PreCommitted { .. }
        | SectorState::C2Done { .. }
        | SectorState::ProveCommitSent { .. }
        | SectorState::Proving { .. }
        | SectorState::PreCommitExpired { .. }
        | SectorState::Parked { .. }
        | SectorState::Aborted { .. } => None,
    }
}

fn of_files(record: &SectorRecord, state: &SectorState) -> Option<Action> {
    next_stage(state).map(|stage| publish(record, stage))
}

fn of_chain(state: &SectorState) -> Option<Action> {
    match state {
        SectorState::Pc2Done { .. } => Some(Action::OfferPreCommit),
        SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. } => {
            Some(Action::Follow { message: message.clone() })
        }
        SectorState::PreCommitted { pre_commit, .. } => Some(Action::AwaitSeed { pre_commit: pre_commit.epoch }),
        SectorState::C2Done { sealed, .. } if sealed.persisted.is_some() => Some(Action::OfferProveCommit),
        _ => None,
    }
}

/// Whether a sector is at its end, or waits for a person.
pub(crate) const fn is_at_rest(state: &SectorState) -> bool {
    matches!(
        state,
        SectorState::Proving { finalized: true, .. }
            | SectorState::PreCommitExpired { successor: Succession::Begun { .. }, .. }
            | SectorState::Parked { .. }
            | SectorState::Aborted { .. }
    )
}

/// Whether the sector's state asks for this stage now.
pub(super) fn wants_stage(record: &SectorRecord, stage: Stage) -> bool {
    wants(record).iter().any(|action| matches!(action, Action::Publish { stage: s, .. } if *s == stage))
}

/// The failed attempts at a stage; a wait is none.
pub(super) fn attempts(record: &SectorRecord, stage: Stage) -> impl Iterator<Item = &StageError> {
    record.errors.iter().filter(move |error| error.stage == stage && error.until.is_none())
}

fn publish(record: &SectorRecord, stage: Stage) -> Action {
    Action::Publish { stage, not_before: not_before(record, stage) }
}

/// When a stage may be tried again: after the pause that follows a failure, or at the time an agent asked for.
pub(crate) fn not_before(record: &SectorRecord, stage: Stage) -> Option<Timestamp> {
    let last = record.errors.iter().rev().find(|error| error.stage == stage)?;
    if last.until.is_some() {
        return last.until;
    }
    let failed = attempts(record, stage).count();
    let pause = RETRY_PAUSES_S.get(failed.saturating_sub(1)).or(RETRY_PAUSES_S.last()).copied().unwrap_or(0);
    Some(Timestamp(last.at.0.saturating_add(pause.saturating_mul(1000))))
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
