//! What a person, or the chain's last word, does to a sector.

use streams::sector::{SectorRecord, SectorState as S};

use super::{
    Change,
    failure::is_on_chain,
    park::{Code, park},
    refusal::Refused,
};

/// Goes on from where it was parked, with a fresh count of attempts.
pub(super) fn retry(mut record: SectorRecord) -> Result<Change, Refused> {
    record.state = match record.state {
        S::Parked { was, .. } => *was,
        state => return Err(Refused::not_now("retry", &state)),
    };
    record.errors.clear();
    let what = format!("resumed by a person: {}", record.state.name());
    Ok(Change::new(record, what))
}

/// Gives up a sector that is not on chain.
pub(super) fn abort(mut record: SectorRecord, reason: String) -> Result<Change, Refused> {
    if matches!(record.state, S::Aborted { .. }) {
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
            is_on_chain(&record.state) && !matches!(record.state, S::Proving { .. } | S::Parked { .. })
        }
        Code::AttemptsExhausted
        | Code::AgentAsks
        | Code::LostAfterPreCommit
        | Code::RedoAfterPreCommit
        | Code::MustMove
        | Code::FilesLost
        | Code::NumberSpent => false,
    };
    if !fits {
        return Err(Refused::not_now(format!("rejection {code}"), &record.state));
    }
    let what = format!("parked, reason {code}: {text}");
    Ok(Change::new(park(record, code, text), what))
}
