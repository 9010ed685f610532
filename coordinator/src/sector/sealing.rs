//! From a number to a replica, and what agents report after it: place, add-piece, tree-d, ticket, PC1, PC2, persist,
//! C1, C2, finalize.

use streams::{
    id::{Epoch, Place},
    message::{ArtifactRef, ClaimRef, Facts},
    proof::Drawn,
    sector::{Persisted, Placement, Replica, STORY_MAX, Sealed, SectorRecord, SectorState, StageRun},
    stage::Stage,
};

use super::{Change, event::Done, refusal::Refused, resealing, wants::queued_at};

/// A stage is done.
pub(super) fn done(mut record: SectorRecord, done: Done) -> Result<Change, Refused> {
    let stage = done.facts.stage();
    fence(&record, stage, done.claim, &done.place)?;
    let run = StageRun {
        stage,
        queued_at: queued_at(&record, stage),
        started_at: done.started_at,
        ended_at: done.ended_at,
        agent: done.agent.clone(),
        attempt: done.claim.attempt,
    };
    let mut dropped = None;
    let life = Life { is_cc: record.pieces.is_empty(), generations_lost: record.generations_lost };
    record.state = match record.state {
        // What ended while the sector is parked is kept: a person's `retry` goes on from there.
        SectorState::Parked { was, reason } => match advance(*was, done, life, &mut dropped)? {
            parked @ SectorState::Parked { .. } => parked,
            was => SectorState::Parked { was: Box::new(was), reason },
        },
        state => advance(state, done, life, &mut dropped)?,
    };
    let took_ms = run.ended_at.ms_since(run.started_at);
    let what = format!("{stage} done by {} in {}.{} s", run.agent, took_ms / 1000, took_ms % 1000 / 100);
    record.errors.retain(|e| e.stage > stage);
    if record.story.len() >= STORY_MAX {
        record.story.remove(0);
    }
    record.story.push(run);
    Ok(Change { record, what, dropped })
}

/// In-place work counts only from the place, the generation and the incarnation that the record names. C1 and C2 only
/// read: any result that verifies wins.
pub(super) fn fence(record: &SectorRecord, stage: Stage, claim: ClaimRef, place: &Place) -> Result<(), Refused> {
    if !stage.writes_in_place() {
        return Ok(());
    }
    if claim.incarnation != record.incarnation {
        return Err(Refused::OtherIncarnation { stage, found: claim.incarnation, current: record.incarnation });
    }
    let Some(at) = record.state.placement() else { return Ok(()) };
    if at.generation != claim.generation {
        return Err(Refused::OldGeneration { stage, found: claim.generation, current: at.generation });
    }
    if at.place != *place {
        return Err(Refused::OtherPlace { stage, found: place.to_string(), current: at.place.to_string() });
    }
    Ok(())
}

/// What of the record decides how a stage's end is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    is_cc: bool,
    generations_lost: u32,
}

impl Life {
    /// A replica that is made again is of a later generation than the one that was promised.
    pub(super) fn after(self, generation: u32) -> Self {
        Self { generations_lost: self.generations_lost.max(generation), ..self }
    }
}

/// A proven sector of which nothing is left that proving does not need.
pub(super) fn trimmed(mut state: SectorState) -> SectorState {
    if let SectorState::Proving { finalized, .. } = &mut state {
        *finalized = true;
    }
    state
}

pub(super) fn advance(
    state: SectorState,
    done: Done,
    life: Life,
    dropped: &mut Option<ArtifactRef>,
) -> Result<SectorState, Refused> {
    use SectorState as S;
    if let S::Resealing { files, chain } = state {
        return resealing::advanced(*files, *chain, done, life, dropped);
    }
    Ok(match (done.facts, state) {
        (Facts::Place { store }, S::Allocated {}) => {
            let generation = life.generations_lost.saturating_add(1);
            let at = Placement { place: done.place, store, generation };
            if life.is_cc { S::PiecesAdded { at } } else { S::Placed { at } }
        }
        (Facts::AddPiece { .. }, S::Placed { at }) => S::PiecesAdded { at },
        (Facts::TreeD { comm_d }, S::PiecesAdded { at }) => S::TreeDDone { at, comm_d },
        (Facts::Pc1 {}, S::Ticketed { at, comm_d, ticket }) => S::Pc1Done { at, comm_d, ticket },
        (Facts::Pc2 { comm_r, .. }, S::Pc1Done { at, comm_d, ticket }) => {
            S::Pc2Done { sealed: Sealed { at, ticket, comm_d, comm_r, persisted: None } }
        }
        (Facts::Persist { store, sealed_sha256 }, state) => {
            with_persisted(state, Persisted { store, place: done.place, sealed_sha256 })?
        }
        (Facts::C1 { artifact }, S::SeedReady { sealed, pre_commit, seed }) => {
            S::C1Done { sealed, pre_commit, seed, c1: artifact }
        }
        (Facts::C2 { .. }, S::C1Done { seed, .. } | S::SeedReady { seed, .. }) if done.verified_over != Some(seed) => {
            return Err(Refused::OtherSeed);
        }
        (Facts::C2 { proof }, S::C1Done { sealed, pre_commit, seed, c1 }) => {
            *dropped = Some(c1);
            S::C2Done { sealed, pre_commit, seed, proof }
        }
        // A proof over the present seed is as good when C1 was ordered again meanwhile.
        (Facts::C2 { proof }, S::SeedReady { sealed, pre_commit, seed }) => {
            S::C2Done { sealed, pre_commit, seed, proof }
        }
        (Facts::Finalize {}, state @ S::Proving { finalized: false, .. }) => trimmed(state),
        (facts, state) => return Err(Refused::not_now(format!("{} done", facts.stage()), &state)),
    })
}

fn with_persisted(mut state: SectorState, persisted: Persisted) -> Result<SectorState, Refused> {
    match sealed_mut(&mut state) {
        Some(sealed) if sealed.persisted.is_none() => {
            sealed.persisted = Some(persisted);
            Ok(state)
        }
        Some(_) => Err(Refused::Again("the persisted copy")),
        None => Err(Refused::not_now("persist done", &state)),
    }
}

pub(super) fn sealed_mut(state: &mut SectorState) -> Option<&mut Sealed> {
    use SectorState as S;
    match state {
        S::Pc2Done { sealed }
        | S::PreCommitSent { sealed, .. }
        | S::PreCommitted { sealed, .. }
        | S::SeedReady { sealed, .. }
        | S::C1Done { sealed, .. }
        | S::C2Done { sealed, .. }
        | S::ProveCommitSent { sealed, .. }
        | S::Proving { sealed: Replica::Sealed(sealed), .. } => Some(sealed),
        S::Allocated {}
        | S::Placed { .. }
        | S::PiecesAdded { .. }
        | S::TreeDDone { .. }
        | S::Ticketed { .. }
        | S::Pc1Done { .. }
        | S::Proving { sealed: Replica::Attached(_), .. }
        | S::Resealing { .. }
        | S::PreCommitExpired { .. }
        | S::Parked { .. }
        | S::Aborted { .. } => None,
    }
}

/// PC1 is claimed: from here on this generation has this ticket and no other.
pub(super) fn ticket_drawn(mut record: SectorRecord, ticket: Drawn) -> Result<Change, Refused> {
    record.state = ticketed(record.state, ticket)?;
    Ok(Change::new(record, format!("ticket of epoch {}", ticket.epoch)))
}

fn ticketed(state: SectorState, ticket: Drawn) -> Result<SectorState, Refused> {
    match state {
        SectorState::TreeDDone { at, comm_d } => Ok(SectorState::Ticketed { at, comm_d, ticket }),
        SectorState::Ticketed { .. } => Err(Refused::Again("a ticket of this generation")),
        SectorState::Resealing { files, chain } => match chain.sealed() {
            Some(sealed) if sealed.ticket != ticket => Err(Refused::OtherTicket { promised: sealed.ticket.epoch }),
            _ => Ok(SectorState::Resealing { files: Box::new(ticketed(*files, ticket)?), chain }),
        },
        state => Err(Refused::not_now("ticket drawn", &state)),
    }
}

/// Work over a ticket that no pre-commit can use any more is void: a new generation begins in an empty cache folder.
pub(super) fn ticket_expired(mut record: SectorRecord, head: Epoch) -> Result<Change, Refused> {
    let (at, ticket) = match record.state {
        SectorState::Ticketed { at, ticket, .. } | SectorState::Pc1Done { at, ticket, .. } => (at, ticket),
        SectorState::Pc2Done { sealed } => (sealed.at, sealed.ticket),
        state => return Err(Refused::not_now("ticket expired", &state)),
    };
    record.state = SectorState::PiecesAdded { at: next_generation(at) };
    Ok(Change::new(
        record,
        format!("ticket of epoch {} is too old at epoch {head}: sealed anew from tree-d", ticket.epoch),
    ))
}

pub(super) fn next_generation(at: Placement) -> Placement {
    Placement { generation: at.generation.saturating_add(1), ..at }
}
