//! From a replica to a proven sector: the two messages, the seed between them.

use streams::{
    id::{Epoch, Timestamp},
    proof::Drawn,
    sector::{MessageNote, MessageRef, PreCommit, SectorRecord, SectorState as S},
};

use super::{
    Change, Rules,
    event::{Landing, OnChain},
    park::{Code, park},
    refusal::Refused,
};

/// Method names as people know them.
pub(crate) const PRE_COMMIT: &str = "PreCommitSectorBatch2";
/// See [`PRE_COMMIT`].
pub(crate) const PROVE_COMMIT: &str = "ProveCommitSectors3";

/// `SysErrOutOfGas`: the same message with more gas may go through.
const OUT_OF_GAS: u32 = 7;

/// A sector belongs to one message before that message is signed, so no second one can carry it.
pub(super) fn joined_pre_commit(
    mut record: SectorRecord,
    message: MessageRef,
    now: Timestamp,
) -> Result<Change, Refused> {
    record.state = match record.state {
        S::Pc2Done { sealed } => S::PreCommitSent { sealed, message: message.clone() },
        state => return Err(Refused::not_now("joined a pre-commit", &state)),
    };
    Ok(joined(record, PRE_COMMIT, message, now))
}

/// See [`joined_pre_commit`]. Without a persisted copy it stays out: what is proven must be there to be proven again.
pub(super) fn joined_prove_commit(
    mut record: SectorRecord,
    message: MessageRef,
    now: Timestamp,
) -> Result<Change, Refused> {
    record.state = match record.state {
        S::C2Done { sealed, .. } if sealed.persisted.is_none() => return Err(Refused::NotPersisted),
        S::C2Done { sealed, pre_commit, seed, proof } => {
            S::ProveCommitSent { sealed, pre_commit, seed, proof, message: message.clone() }
        }
        state => return Err(Refused::not_now("joined a prove-commit", &state)),
    };
    Ok(joined(record, PROVE_COMMIT, message, now))
}

fn joined(mut record: SectorRecord, method: &str, message: MessageRef, now: Timestamp) -> Change {
    let what = format!("joined {method} {} nonce {}", message.sender, message.nonce);
    record.messages.push(MessageNote {
        method: method.to_owned(),
        message,
        cid: None,
        sent_at: now,
        landed_at: None,
        height: None,
        exit_code: None,
        gas_used: None,
    });
    Change::new(record, what)
}

/// The message it joined is not in the outbox, or carries others: it goes back into the queue.
pub(super) fn never_sent(mut record: SectorRecord, message: &MessageRef) -> Result<Change, Refused> {
    record.state = leave(record.state, message, "message never sent")?;
    record.messages.retain(|note| note.message != *message || note.landed_at.is_some());
    Ok(Change::new(record, format!("nonce {} never carried it", message.nonce)))
}

fn leave(state: S, message: &MessageRef, event: &str) -> Result<S, Refused> {
    match state {
        S::PreCommitSent { sealed, message: joined } => {
            same(&joined, message)?;
            Ok(S::Pc2Done { sealed })
        }
        S::ProveCommitSent { sealed, pre_commit, seed, proof, message: joined } => {
            same(&joined, message)?;
            Ok(S::C2Done { sealed, pre_commit, seed, proof })
        }
        state => Err(Refused::not_now(event, &state)),
    }
}

pub(super) fn same(joined: &MessageRef, found: &MessageRef) -> Result<(), Refused> {
    if joined == found {
        return Ok(());
    }
    Err(Refused::OtherMessage { found: Box::new(found.clone()), current: Box::new(joined.clone()) })
}

pub(super) fn note_landing(record: &mut SectorRecord, landing: &Landing, exit_code: u32, now: Timestamp) {
    if let Some(note) = record.messages.iter_mut().rev().find(|note| note.message == landing.message) {
        note.cid = Some(landing.cid.clone());
        note.landed_at = Some(now);
        note.height = Some(landing.height);
        note.exit_code = Some(exit_code);
        note.gas_used = Some(landing.gas_used);
    }
}

/// The chain has the pre-commit; `epoch` is what the chain says of it, not the receipt's height.
pub(super) fn pre_commit_landed(
    mut record: SectorRecord,
    landing: Landing,
    epoch: Epoch,
    now: Timestamp,
) -> Result<Change, Refused> {
    record.state = match record.state {
        S::PreCommitSent { sealed, message } => {
            same(&message, &landing.message)?;
            S::PreCommitted { sealed, pre_commit: PreCommit { message: Some(message), epoch } }
        }
        state => return Err(Refused::not_now("pre-commit landed", &state)),
    };
    note_landing(&mut record, &landing, landing.exit_code, now);
    Ok(Change::new(record, format!("pre-committed at epoch {epoch}")))
}

/// The chain counts the sector.
pub(super) fn prove_commit_landed(
    mut record: SectorRecord,
    landing: Landing,
    on_chain: OnChain,
    now: Timestamp,
) -> Result<Change, Refused> {
    let OnChain { activation, expiration, deadline, partition } = on_chain;
    record.state = match record.state {
        S::ProveCommitSent { sealed, pre_commit, seed, message, proof: _ } => {
            same(&message, &landing.message)?;
            S::Proving {
                sealed: sealed.into(),
                pre_commit: Some(pre_commit),
                seed: Some(seed),
                prove_commit: Some(message),
                activation,
                expiration,
                deadline,
                partition,
                finalized: false,
            }
        }
        state => return Err(Refused::not_now("prove-commit landed", &state)),
    };
    note_landing(&mut record, &landing, 0, now);
    Ok(Change::new(record, format!("proving since epoch {activation}: deadline {deadline}, partition {partition}")))
}

/// The message landed without effect on this sector. More gas may help; anything else is for a person.
pub(super) fn message_failed(
    mut record: SectorRecord,
    landing: Landing,
    sector_code: Option<u32>,
    rules: Rules,
    now: Timestamp,
) -> Result<Change, Refused> {
    let (refused, method) = match &record.state {
        S::PreCommitSent { .. } => (Code::PreCommitRefused, PRE_COMMIT),
        S::ProveCommitSent { .. } => (Code::ProveCommitRefused, PROVE_COMMIT),
        state => return Err(Refused::not_now("message failed", state)),
    };
    record.state = leave(record.state, &landing.message, "message failed")?;
    let exit_code = sector_code.unwrap_or(landing.exit_code);
    note_landing(&mut record, &landing, exit_code, now);
    let failed = record.messages.iter().filter(|n| n.method == method && n.exit_code.is_some_and(|c| c != 0)).count();
    let may_retry = exit_code == OUT_OF_GAS && u32::try_from(failed).is_ok_and(|n| n < rules.attempts_max);
    let what = format!("{method} landed at epoch {} with exit code {exit_code}", landing.height);
    if !may_retry {
        record = park(record, refused, what.clone());
    }
    Ok(Change::new(record, what))
}

/// The seed. Drawn again with another value after a reorganisation, C1 and C2 over the old one are void.
pub(super) fn seed_drawn(mut record: SectorRecord, seed: Drawn) -> Result<Change, Refused> {
    let mut dropped = None;
    record.state = match record.state {
        S::PreCommitted { sealed, pre_commit } => S::SeedReady { sealed, pre_commit, seed },
        S::SeedReady { seed: old, .. } | S::C1Done { seed: old, .. } | S::C2Done { seed: old, .. } if old == seed => {
            return Err(Refused::Again("this seed"));
        }
        S::SeedReady { sealed, pre_commit, .. } | S::C2Done { sealed, pre_commit, .. } => {
            S::SeedReady { sealed, pre_commit, seed }
        }
        S::C1Done { sealed, pre_commit, c1, .. } => {
            dropped = Some(c1);
            S::SeedReady { sealed, pre_commit, seed }
        }
        state => return Err(Refused::not_now("seed drawn", &state)),
    };
    Ok(Change { record, what: format!("seed of epoch {}", seed.epoch), dropped })
}
