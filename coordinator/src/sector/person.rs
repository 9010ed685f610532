//! What a person, or the chain's last word, does to a sector.

use streams::{
    sector::{SectorRecord, SectorState as S},
    stage::Stage,
};

use super::{
    Change,
    failure::{Redo, is_on_chain, redo},
    park::{Code, park},
    refusal::Refused,
    wants::next_stage,
};

/// Goes on from where it was parked, or from an earlier stage, with a fresh count of attempts.
pub(super) fn retry(mut record: SectorRecord, from: Option<Stage>) -> Result<Change, Refused> {
    let was = match record.state {
        S::Parked { was, .. } => *was,
        state => return Err(Refused::not_now("retry", &state)),
    };
    let mut dropped = None;
    record.errors.clear();
    record.state = match from {
        None => was,
        Some(Stage::Place) => {
            let former = was.placement().map_or(0, |at| at.generation);
            record.generations_lost = record.generations_lost.max(former);
            placed_anew(was)?
        }
        Some(from) => {
            may_begin_with(&was, from)?;
            match redo(was, from, record.pieces.is_empty()) {
                Redo::To(state) => state,
                Redo::ToAndDrop(state, artifact) => {
                    dropped = Some(artifact);
                    state
                }
                Redo::Park(_, _, why) => return Err(Refused::TooLate(why)),
            }
        }
    };
    let stage = from.map(|stage| format!(" from {stage}")).unwrap_or_default();
    let what = format!("resumed by a person{stage}: {}", record.state.name());
    Ok(Change { record, what, dropped })
}

/// A person may move a sector; what lies at its former place is of a generation that does not count any more.
fn placed_anew(was: S) -> Result<S, Refused> {
    match was {
        S::Resealing { chain, .. } => Ok(S::Resealing { files: Box::new(S::Allocated {}), chain }),
        chain @ (S::PreCommitSent { .. }
        | S::PreCommitted { .. }
        | S::SeedReady { .. }
        | S::C1Done { .. }
        | S::C2Done { .. }) => Ok(S::Resealing { files: Box::new(S::Allocated {}), chain: Box::new(chain) }),
        state if is_on_chain(&state) => Err(Refused::TooLate("its prove-commit is on its way, or on chain")),
        _ => Ok(S::Allocated {}),
    }
}

/// Nothing is skipped: a stage that the sector has not come to is not one to begin with.
fn may_begin_with(state: &S, from: Stage) -> Result<(), Refused> {
    let sealed = state.sealed().is_some();
    let next = match next_stage(state) {
        Some(next) => next,
        None if sealed => Stage::Persist,
        None => return Err(Refused::not_now(format!("retry from {from}"), state)),
    };
    let reached = if sealed { next.max(Stage::Persist) } else { next };
    let fits = match from {
        Stage::C1 => matches!(state, S::SeedReady { .. } | S::C1Done { .. } | S::C2Done { .. }),
        Stage::C2 => matches!(state, S::C1Done { .. }),
        Stage::Finalize | Stage::Unseal => false,
        from => from <= reached,
    };
    if fits { Ok(()) } else { Err(Refused::NotThere { stage: from, next: reached.to_string() }) }
}

/// Gives up a sector that is not on chain.
pub(super) fn abort(mut record: SectorRecord, reason: String) -> Result<Change, Refused> {
    if matches!(record.state, S::Aborted { .. } | S::PreCommitExpired { .. }) {
        return Err(Refused::Again("the end"));
    }
    if is_on_chain(&record.state) {
        return Err(Refused::TooLate("its pre-commit may be on chain: aborting it would lose the deposit"));
    }
    record.state = S::Aborted { reason: reason.clone() };
    Ok(Change::new(record, format!("aborted by a person: {reason}")))
}

/// The chain would refuse what comes next, whatever message carries it.
pub(super) fn rejected(record: SectorRecord, code: Code, text: String) -> Result<Change, Refused> {
    let fits = match code {
        Code::PreCommitRefused => matches!(record.state, S::Pc2Done { .. } | S::PreCommitSent { .. }),
        Code::ProveCommitRefused => matches!(record.state, S::C2Done { .. } | S::ProveCommitSent { .. }),
        Code::PreCommitGone => {
            is_on_chain(&record.state)
                && !matches!(record.state, S::Proving { .. } | S::Parked { .. } | S::PreCommitExpired { .. })
        }
        Code::AttemptsExhausted
        | Code::AgentAsks
        | Code::LostAfterPreCommit
        | Code::RedoAfterPreCommit
        | Code::MustMove
        | Code::FilesLost
        | Code::NumberSpent
        | Code::OtherReplica
        | Code::TooLateToReseal => false,
    };
    if !fits {
        return Err(Refused::not_now(format!("rejection {code}"), &record.state));
    }
    let what = format!("parked, reason {code}: {text}");
    Ok(Change::new(park(record, code, text), what))
}
