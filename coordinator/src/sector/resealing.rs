//! Files that are made again after the chain was promised them.
//!
//! Two things are true at once, and neither may be forgotten: how far the files are, and what is on chain. So a sector
//! that is sealed again owns two states. Agents work on the first; messages, seeds and late proofs move the second.
//! They meet again when PC2 makes the replica that was promised.

use streams::{
    id::{Epoch, StoreId, Timestamp},
    message::{ArtifactRef, Facts},
    sector::{ParkReason, Placement, Replica, Sealed, SectorRecord, SectorState as S},
};

use super::{
    Change, Event, Rules,
    event::{Done, LostStore},
    park::Code,
    react,
    refusal::Refused,
    sealing::{Life, advance, sealed_mut, trimmed},
};

/// Sealing again is begun only while this part of the time that the chain allows is left: 45 hours on mainnet.
const TIME_LEFT: Epoch = 16;

/// An event of the chain moves what is true on chain, and leaves the files alone.
pub(super) fn on_chain(
    mut record: SectorRecord,
    event: Event,
    rules: Rules,
    now: Timestamp,
) -> Result<Change, Refused> {
    let files = match record.state {
        S::Resealing { files, chain } => {
            record.state = *chain;
            files
        }
        state => return Err(Refused::not_now(event.name(), &state)),
    };
    let mut change = react(record, event, rules, now)?;
    change.record.state = meet(files, change.record.state);
    Ok(change)
}

/// Nothing was promised after all when the pre-commit never landed: then the files go on as those of any sector.
fn meet(files: Box<S>, chain: S) -> S {
    match chain {
        S::Pc2Done { .. } => *files,
        S::Parked { was, reason } => S::Parked { was: Box::new(meet(files, *was)), reason },
        chain => S::Resealing { files, chain: Box::new(chain) },
    }
}

/// A stage is done. C1 and C2 that were under way still count; the rest is about the files.
pub(super) fn advanced(
    files: S,
    chain: S,
    done: Done,
    life: Life,
    dropped: &mut Option<ArtifactRef>,
) -> Result<S, Refused> {
    match (&done.facts, files) {
        (Facts::C1 { .. } | Facts::C2 { .. }, files) => {
            Ok(S::Resealing { files: Box::new(files), chain: Box::new(advance(chain, done, life, dropped)?) })
        }
        (Facts::Pc2 { comm_r, .. }, S::Pc1Done { at, comm_d, ticket }) => {
            let found = *comm_r;
            let promised = chain.sealed().map(|sealed| sealed.comm_r);
            if promised == Some(found) {
                return Ok(placed_at(chain, at));
            }
            let promised = promised.map_or_else(|| "nothing".to_owned(), |comm_r| comm_r.to_string());
            let text = format!("sealed again, CommR is {found}; the chain was promised {promised}");
            let files = Box::new(S::Pc1Done { at, comm_d, ticket });
            Ok(parked(S::Resealing { files, chain: Box::new(chain) }, Code::OtherReplica, text))
        }
        (_, files) => {
            let life = life.after(chain.placement().map_or(0, |at| at.generation));
            Ok(S::Resealing { files: Box::new(advance(files, done, life, dropped)?), chain: Box::new(chain) })
        }
    }
}

fn placed_at(mut chain: S, at: Placement) -> S {
    if let Some(sealed) = sealed_mut(&mut chain) {
        sealed.at = at;
    }
    chain
}

fn parked(was: S, code: Code, text: String) -> S {
    S::Parked { was: Box::new(was), reason: ParkReason { code: code.number(), text } }
}

/// What a store that is lost takes with it.
pub(super) fn store_lost(mut record: SectorRecord, lost: LostStore) -> Result<Change, Refused> {
    let store = lost.store;
    let former = record.state.placement().filter(|at| at.store == store).map(|at| at.generation);
    record.state = match record.state {
        S::Parked { was, reason } => match without(*was, lost)? {
            parked @ S::Parked { .. } => parked,
            was => S::Parked { was: Box::new(was), reason },
        },
        state => without(state, lost)?,
    };
    // What was placed there is of a generation that does not count any more, should the store come back.
    if let Some(generation) = former.filter(|_| record.state.placement().is_none()) {
        record.generations_lost = record.generations_lost.max(generation);
        record.errors.clear();
    }
    let what = format!("store {store} is lost: {}", record.state.name());
    Ok(Change::new(record, what))
}

/// The state without what was in the store.
fn without(state: S, lost: LostStore) -> Result<S, Refused> {
    match state {
        S::Placed { at }
        | S::PiecesAdded { at }
        | S::TreeDDone { at, .. }
        | S::Ticketed { at, .. }
        | S::Pc1Done { at, .. } => here(at.store, lost).map(|()| S::Allocated {}),
        S::Pc2Done { sealed } if sealed.at.store == lost.store => Ok(S::Allocated {}),
        state @ S::Pc2Done { .. } => match without_copy(state, lost) {
            (true, state) => Ok(state),
            (false, _) => Err(Refused::NothingLost),
        },
        // C1 reads the layers, which no persisted copy has.
        state @ (S::PreCommitSent { .. } | S::PreCommitted { .. } | S::SeedReady { .. }) => promised(state, lost, true),
        state @ (S::C1Done { .. } | S::C2Done { .. }) => promised(state, lost, false),
        S::Resealing { files, chain } => Ok(S::Resealing { files: Box::new(without(*files, lost)?), chain }),
        // The layers and trees that finalizing would remove are gone.
        S::Proving { sealed: Replica::Sealed(ref sealed), finalized: false, .. } if sealed.at.store == lost.store => {
            Ok(trimmed(state))
        }
        S::Allocated {}
        | S::ProveCommitSent { .. }
        | S::Proving { .. }
        | S::PreCommitExpired { .. }
        | S::Parked { .. }
        | S::Aborted { .. } => Err(Refused::NothingLost),
    }
}

fn here(store: StoreId, lost: LostStore) -> Result<(), Refused> {
    if store == lost.store { Ok(()) } else { Err(Refused::NothingLost) }
}

/// A sector that the chain was promised.
fn promised(state: S, lost: LostStore, wants_layers: bool) -> Result<S, Refused> {
    let (changed, state) = without_copy(state, lost);
    let is_local = state.placement().is_some_and(|at| at.store == lost.store);
    let is_kept = state.sealed().is_some_and(|sealed| sealed.persisted.is_some());
    if !is_local || (is_kept && !wants_layers) {
        return if changed { Ok(state) } else { Err(Refused::NothingLost) };
    }
    let due = state.pre_commit().map(|pre_commit| pre_commit.epoch.saturating_add(lost.prove_commit_max));
    let begin_until = due.map(|due| due.saturating_sub(lost.prove_commit_max / TIME_LEFT));
    if let (Some(due), Some(until)) = (due, begin_until)
        && lost.head > until
    {
        let text = format!("its files are lost at epoch {}, and it is due at epoch {due}", lost.head);
        return Ok(parked(state, Code::TooLateToReseal, text));
    }
    Ok(S::Resealing { files: Box::new(S::Allocated {}), chain: Box::new(state) })
}

/// A persisted copy that was in the store is made again from the local one.
fn without_copy(mut state: S, lost: LostStore) -> (bool, S) {
    let mut changed = false;
    if let Some(Sealed { persisted, .. }) = sealed_mut(&mut state)
        && persisted.as_ref().is_some_and(|copy| copy.store == lost.store)
    {
        *persisted = None;
        changed = true;
    }
    (changed, state)
}
