//! What a failed attempt leads to: again, back to an earlier stage, a person, or the end.

use streams::{
    message::{ArtifactRef, FailureClass},
    sector::{ERRORS_MAX, Placement, SectorRecord, SectorState as S, StageError},
    stage::Stage,
};

use super::{
    Change, Rules,
    event::Failed,
    park::{Code, park},
    refusal::Refused,
    sealing::{fence, next_generation, sealed_mut},
    wants::wants_stage,
};

/// An attempt failed. Counted per stage; the count ends when the stage is done.
pub(super) fn failed(mut record: SectorRecord, failed: Failed, rules: Rules) -> Result<Change, Refused> {
    let Failed { stage, agent, place, claim, at, failure } = failed;
    if !wants_stage(&record, stage) {
        return Err(Refused::not_now(format!("{stage} failed"), &record.state));
    }
    fence(&record.state, stage, claim.generation, place.as_str())?;
    let what = format!("{stage} failed on {agent}, attempt {}: {}: {}", claim.attempt, failure.code, failure.message);
    if record.errors.len() >= ERRORS_MAX {
        record.errors.remove(0);
    }
    record.errors.push(StageError {
        at,
        stage,
        attempt: claim.attempt,
        agent,
        code: failure.code.clone(),
        message: failure.message.clone(),
    });
    let tries = record.errors.iter().filter(|e| e.stage == stage).count();
    let exhausted = u32::try_from(tries).is_ok_and(|tries| tries >= rules.attempts_max);
    let mut change = Change::new(record, what);
    match failure.class {
        FailureClass::Park => change.record = park(change.record, Code::AgentAsks, failure.message),
        FailureClass::Abort => change.record = give_up(change.record, failure.message),
        _ if exhausted => {
            let text = format!("{stage} failed {tries} times, last: {}", failure.message);
            change.record = park(change.record, Code::AttemptsExhausted, text);
        }
        FailureClass::RetryHere | FailureClass::RetryElsewhere => {}
        FailureClass::RedoFrom(from) => change = redo_from(change, from),
    }
    Ok(change)
}

/// Before the pre-commit an unsealable sector costs only its number; after it a deposit, which a person decides on.
fn give_up(mut record: SectorRecord, reason: String) -> SectorRecord {
    if is_on_chain(&record.state) {
        return park(record, Code::LostAfterPreCommit, reason);
    }
    record.state = S::Aborted { reason };
    record
}

/// Whether a message may carry it, or one did.
pub(super) fn is_on_chain(state: &S) -> bool {
    match state {
        S::PreCommitSent { .. }
        | S::PreCommitted { .. }
        | S::SeedReady { .. }
        | S::C1Done { .. }
        | S::C2Done { .. }
        | S::ProveCommitSent { .. }
        | S::Proving { .. } => true,
        S::Allocated {}
        | S::Placed { .. }
        | S::PiecesAdded { .. }
        | S::TreeDDone { .. }
        | S::Ticketed { .. }
        | S::Pc1Done { .. }
        | S::Pc2Done { .. }
        | S::Aborted { .. } => false,
        S::Parked { was, .. } => is_on_chain(was),
    }
}

/// Where going back to a stage leads.
enum Redo {
    To(S),
    /// Also drops the vanilla proofs.
    ToAndDrop(S, ArtifactRef),
    Park(S, Code, &'static str),
}

fn redo_from(change: Change, from: Stage) -> Change {
    let Change { mut record, what, mut dropped } = change;
    match redo(record.state, from, record.pieces.is_empty()) {
        Redo::To(state) => record.state = state,
        Redo::ToAndDrop(state, artifact) => {
            record.state = state;
            dropped = Some(artifact);
        }
        Redo::Park(state, code, why) => {
            record.state = state;
            record = park(record, code, format!("{why} (redo from {from}): {what}"));
        }
    }
    Change { record, what, dropped }
}

/// A stage at or after the present one is simply tried again.
fn redo(state: S, from: Stage, is_cc: bool) -> Redo {
    match (from, state) {
        (Stage::Place, state) if state.placement().is_some() => {
            Redo::Park(state, Code::MustMove, "an agent asks to have it placed anew")
        }
        (
            Stage::AddPiece | Stage::TreeD | Stage::Pc1,
            S::PiecesAdded { at } | S::TreeDDone { at, .. } | S::Ticketed { at, .. } | S::Pc1Done { at, .. },
        ) => Redo::To(anew(at, from, is_cc)),
        (Stage::AddPiece | Stage::TreeD | Stage::Pc1, S::Pc2Done { sealed }) => Redo::To(anew(sealed.at, from, is_cc)),
        (Stage::Pc2, S::Pc2Done { sealed }) => {
            Redo::To(S::Pc1Done { at: sealed.at, comm_d: sealed.comm_d, ticket: sealed.ticket })
        }
        (Stage::AddPiece | Stage::TreeD | Stage::Pc1 | Stage::Pc2, state) if is_on_chain(&state) => {
            Redo::Park(state, Code::RedoAfterPreCommit, "its files must be made again with the same ticket")
        }
        (Stage::C1, S::C1Done { sealed, pre_commit, seed, c1 }) => {
            Redo::ToAndDrop(S::SeedReady { sealed, pre_commit, seed }, c1)
        }
        (Stage::C1, S::C2Done { sealed, pre_commit, seed, .. }) => Redo::To(S::SeedReady { sealed, pre_commit, seed }),
        (Stage::Persist, mut state) => {
            if let Some(sealed) = sealed_mut(&mut state) {
                sealed.persisted = None;
            }
            Redo::To(state)
        }
        (_, state) => Redo::To(state),
    }
}

/// Tree-d lies in the cache folder of its generation, so a new one begins with tree-d at the latest.
fn anew(at: Placement, from: Stage, is_cc: bool) -> S {
    let at = next_generation(at);
    if from == Stage::AddPiece && !is_cc { S::Placed { at } } else { S::PiecesAdded { at } }
}
