//! What a fork of the chain takes back.

use streams::{
    id::{Epoch, Timestamp},
    proof::ProofBytes,
    sector::{MessageRef, PreCommit, Replica, SectorRecord, SectorState as S},
};

use super::{
    Change,
    commit::{PRE_COMMIT, PROVE_COMMIT, note_landing, same},
    event::Landing,
    refusal::Refused,
};

/// The pre-commit is gone or elsewhere. Its message is the sector's only one still, and is pushed again; the seed may
/// be another when it has landed, so C1 and C2 over the old one are void.
pub(super) fn pre_commit_reorged(mut record: SectorRecord, message: &MessageRef) -> Result<Change, Refused> {
    let mut dropped = None;
    let (sealed, pre_commit) = match record.state {
        S::PreCommitted { sealed, pre_commit }
        | S::SeedReady { sealed, pre_commit, .. }
        | S::C2Done { sealed, pre_commit, .. } => (sealed, pre_commit),
        S::C1Done { sealed, pre_commit, c1, .. } => {
            dropped = Some(c1);
            (sealed, pre_commit)
        }
        state => return Err(Refused::not_now("pre-commit reorganised away", &state)),
    };
    let Some(joined) = pre_commit.message else { return Err(Refused::MessageUnknown("pre-commit")) };
    same(&joined, message)?;
    record.state = S::PreCommitSent { sealed, message: joined };
    forget_landing(&mut record, message);
    let what = format!(
        "a fork took {PRE_COMMIT} of epoch {} away: nonce {} is awaited again",
        pre_commit.epoch, message.nonce
    );
    Ok(Change { record, what, dropped })
}

/// The prove-commit is gone or elsewhere, and with it the sector's place in a deadline.
pub(super) fn prove_commit_reorged(
    mut record: SectorRecord,
    message: &MessageRef,
    proof: ProofBytes,
) -> Result<Change, Refused> {
    let S::Proving { sealed, pre_commit, seed, prove_commit, activation, .. } = record.state else {
        return Err(Refused::not_now("prove-commit reorganised away", &record.state));
    };
    let (Replica::Sealed(sealed), Some(pre_commit), Some(seed), Some(prove_commit)) =
        (sealed, pre_commit, seed, prove_commit)
    else {
        return Err(Refused::MessageUnknown("prove-commit"));
    };
    same(&prove_commit, message)?;
    record.state = S::ProveCommitSent { sealed, pre_commit, seed, proof, message: prove_commit };
    forget_landing(&mut record, message);
    let what =
        format!("a fork took {PROVE_COMMIT} of epoch {activation} away: nonce {} is awaited again", message.nonce);
    Ok(Change::new(record, what))
}

/// The proof was over a seed that is not the chain's any more: the sector goes on from its pre-commit as it is now.
pub(super) fn prove_commit_void(
    mut record: SectorRecord,
    landing: Landing,
    exit_code: u32,
    epoch: Option<Epoch>,
    now: Timestamp,
) -> Result<Change, Refused> {
    let S::ProveCommitSent { sealed, pre_commit, message, .. } = record.state else {
        return Err(Refused::not_now("prove-commit void", &record.state));
    };
    same(&message, &landing.message)?;
    let message = pre_commit.message;
    let mut what = format!("{PROVE_COMMIT} landed at epoch {} with exit code {exit_code} after a fork", landing.height);
    record.state = match epoch {
        Some(epoch) => {
            what = format!("{what}: pre-committed at epoch {epoch}");
            S::PreCommitted { sealed, pre_commit: PreCommit { message, epoch } }
        }
        None => match message {
            Some(message) => S::PreCommitSent { sealed, message },
            // A rebuild found the pre-commit on chain: what would bring it back is not known.
            None => return Err(Refused::MessageUnknown("pre-commit")),
        },
    };
    note_landing(&mut record, &landing, exit_code, now);
    Ok(Change::new(record, what))
}

fn forget_landing(record: &mut SectorRecord, message: &MessageRef) {
    for note in record.messages.iter_mut().filter(|note| note.message == *message) {
        note.cid = None;
        note.landed_at = None;
        note.height = None;
        note.exit_code = None;
        note.gas_used = None;
    }
}
