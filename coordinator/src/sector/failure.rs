//! What a failed attempt leads to: again, back to an earlier stage, a person, or the end.

use streams::{
    id::Timestamp,
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
    wants::{attempts, wants_stage},
};

/// An agent may put a stage off by so much at a time.
const WAIT_MAX_MS: u64 = 24 * 3600 * 1000;

/// An attempt failed. Counted per stage; the count ends when the stage is done.
///
/// A wait costs none: its time is kept beside the errors, once for each stage, and the sector is called again then.
pub(super) fn failed(
    mut record: SectorRecord,
    failed: Failed,
    rules: Rules,
    now: Timestamp,
) -> Result<Change, Refused> {
    let Failed { stage, agent, place, claim, at, failure } = failed;
    if !wants_stage(&record, stage) {
        return Err(Refused::not_now(format!("{stage} failed"), &record.state));
    }
    fence(&record, stage, claim, &place)?;
    let error = StageError {
        at,
        stage,
        attempt: claim.attempt,
        agent,
        code: failure.code,
        message: failure.message.clone(),
        until: match failure.class {
            FailureClass::WaitUntil(until) => Some(until.min(Timestamp(now.0.saturating_add(WAIT_MAX_MS)))),
            _ => None,
        },
        elsewhere: failure.class == FailureClass::RetryElsewhere,
    };
    // Results are delivered at least once: one failure is one attempt, however often it is told.
    if record.errors.contains(&error) {
        return Err(Refused::Again("this failure"));
    }
    let what =
        format!("{stage} failed on {}, attempt {}: {}: {}", error.agent, error.attempt, error.code, error.message);
    record.errors.retain(|e| e.stage != stage || e.until.is_none());
    if record.errors.len() >= ERRORS_MAX {
        record.errors.remove(0);
    }
    record.errors.push(error);
    let tries = attempts(&record, stage).count();
    let exhausted = u32::try_from(tries).is_ok_and(|tries| tries >= rules.attempts_max);
    let mut change = Change::new(record, what);
    match failure.class {
        FailureClass::Park => change.record = park(change.record, Code::AgentAsks, failure.message),
        FailureClass::Abort => change.record = give_up(change.record, failure.message),
        FailureClass::WaitUntil(_) => {}
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
        | S::Proving { .. }
        | S::Resealing { .. }
        | S::PreCommitExpired { .. } => true,
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
pub(super) enum Redo {
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
pub(super) fn redo(state: S, from: Stage, is_cc: bool) -> Redo {
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
            reseal(state, from, is_cc)
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

/// The chain was promised this replica: its files are made again, and its ticket stays. What C1 read of wrong files is
/// as wrong as they are; a proof that verified is not.
fn reseal(state: S, from: Stage, is_cc: bool) -> Redo {
    let (chain, dropped) = match state {
        S::Resealing { files, chain } => {
            return match redo(*files, from, is_cc) {
                Redo::To(files) => Redo::To(S::Resealing { files: Box::new(files), chain }),
                Redo::ToAndDrop(files, artifact) => {
                    Redo::ToAndDrop(S::Resealing { files: Box::new(files), chain }, artifact)
                }
                Redo::Park(files, code, why) => Redo::Park(S::Resealing { files: Box::new(files), chain }, code, why),
            };
        }
        S::C1Done { sealed, pre_commit, seed, c1 } => (S::SeedReady { sealed, pre_commit, seed }, Some(c1)),
        state @ (S::PreCommitSent { .. } | S::PreCommitted { .. } | S::SeedReady { .. } | S::C2Done { .. }) => {
            (state, None)
        }
        state => return Redo::Park(state, Code::RedoAfterPreCommit, "its prove-commit is on its way already"),
    };
    let Some(sealed) = chain.sealed().cloned() else {
        return Redo::Park(chain, Code::RedoAfterPreCommit, "it has no replica");
    };
    let files = match from {
        Stage::Pc2 => S::Pc1Done { at: sealed.at, comm_d: sealed.comm_d, ticket: sealed.ticket },
        _ => anew(sealed.at, from, is_cc),
    };
    let state = S::Resealing { files: Box::new(files), chain: Box::new(chain) };
    match dropped {
        Some(artifact) => Redo::ToAndDrop(state, artifact),
        None => Redo::To(state),
    }
}

/// Tree-d lies in the cache folder of its generation, so a new one begins with tree-d at the latest.
fn anew(at: Placement, from: Stage, is_cc: bool) -> S {
    let at = next_generation(at);
    if from == Stage::AddPiece && !is_cc { S::Placed { at } } else { S::PiecesAdded { at } }
}
