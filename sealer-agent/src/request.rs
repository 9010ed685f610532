//! What a stage asks of the prover: from the sector's record and the place of its files.
//!
//! Pure: no disk, no clock. The record says what is true; a task only points at it, and may be old.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use prover::job::{PieceCommitment, PieceFile, Request, Work};
use streams::{
    id::{AgentId, Place, Timestamp},
    message::UnsealOrder,
    records::AgentRecord,
    sector::{Sealed, SectorRecord, SectorState, StageError},
    stage::Stage,
};

use crate::store::{manifest::Mark, paths::SectorPaths};

/// Whether a stage is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The record waits for it.
    Now,
    /// The record has not come to it: the pointer was faster than the truth.
    NotYet,
    /// The record is past it, or elsewhere: the pointer is old.
    MovedOn,
}

/// Whether `stage` is what the record waits for, here.
pub(crate) fn due(stage: Stage, record: &SectorRecord, here: &Place) -> Due {
    let elsewhere = record.state.placement().is_some_and(|at| at.place != *here);
    let Some(reached) = rank(record.state.of_files()) else { return Due::MovedOn };
    let (from, to) = window(stage);
    if reached < from {
        return Due::NotYet;
    }
    if reached > to {
        return Due::MovedOn;
    }
    let done = match stage {
        Stage::Persist => elsewhere || record.state.sealed().is_none_or(|s| s.persisted.is_some()),
        Stage::Finalize => elsewhere || matches!(record.state, SectorState::Proving { finalized: true, .. }),
        // A replica can be read back wherever a copy is.
        Stage::Unseal | Stage::C2 | Stage::Place => false,
        Stage::AddPiece | Stage::TreeD | Stage::Pc1 | Stage::Pc2 | Stage::C1 => elsewhere,
    };
    if done { Due::MovedOn } else { Due::Now }
}

/// Times `ack_wait` that an agent leaves to others what failed here as work for another.
pub(crate) const ELSEWHERE_WAITS: u32 = 3;

/// Whether a stage that failed here is left to another agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere<'a> {
    /// It is not: it did not fail here last, or not for a reason of this machine, or nobody else is there.
    No,
    /// For now: another live agent can do it.
    Leave { code: &'a str },
    /// Not any more: nobody took it in all that time.
    NobodyTook { code: &'a str },
}

/// Whether `me`, at `here`, leaves to others what failed with `error`.
pub(crate) fn elsewhere<'a>(
    error: &'a StageError,
    me: &AgentId,
    here: &Place,
    agents: &[AgentRecord],
    now: Timestamp,
    window: Duration,
) -> Elsewhere<'a> {
    let stage = error.stage;
    let can = |other: &AgentRecord| {
        other.agent != *me
            && (!stage.is_bound() || other.place == *here)
            && other.duty.takes(stage.is_bound())
            && other.classes.iter().any(|slots| slots.class == stage.class())
    };
    let code = error.code.as_str();
    if !agents.iter().any(can) {
        Elsewhere::No
    } else if u128::from(now.ms_since(error.at)) < window.as_millis() {
        Elsewhere::Leave { code }
    } else {
        Elsewhere::NobodyTook { code }
    }
}

/// The states, by [`rank`], in which a stage is wanted.
const fn window(stage: Stage) -> (u8, u8) {
    match stage {
        Stage::Place => (0, 0),
        Stage::AddPiece => (1, 1),
        Stage::TreeD => (2, 2),
        Stage::Pc1 => (3, 4),
        Stage::Pc2 => (5, 5),
        Stage::Persist | Stage::Unseal => (6, 13),
        Stage::C1 => (9, 9),
        Stage::C2 => (10, 10),
        Stage::Finalize => (13, 13),
    }
}

/// How far a sector has come; none when nothing is to be done about it.
const fn rank(state: &SectorState) -> Option<u8> {
    Some(match state {
        SectorState::Allocated {} => 0,
        SectorState::Placed { .. } => 1,
        SectorState::PiecesAdded { .. } => 2,
        SectorState::TreeDDone { .. } => 3,
        SectorState::Ticketed { .. } => 4,
        SectorState::Pc1Done { .. } => 5,
        SectorState::Pc2Done { .. } => 6,
        SectorState::PreCommitSent { .. } => 7,
        SectorState::PreCommitted { .. } => 8,
        SectorState::SeedReady { .. } => 9,
        SectorState::C1Done { .. } => 10,
        SectorState::C2Done { .. } => 11,
        SectorState::ProveCommitSent { .. } => 12,
        SectorState::Proving { .. } => 13,
        SectorState::Resealing { .. }
        | SectorState::PreCommitExpired { .. }
        | SectorState::Parked { .. }
        | SectorState::Aborted { .. } => return None,
    })
}

/// Where the bulky output of a stage goes: within the job's directory.
pub(crate) fn c1_output(job_dir: &Path) -> PathBuf {
    job_dir.join("c1.json")
}

/// The request of a stage that works on the sector's own files. `None` when the record does not wait for it; `place`,
/// `persist` and `unseal` are no such stages.
pub(crate) fn on_sector(stage: Stage, record: &SectorRecord, files: &SectorPaths, job_dir: &Path) -> Option<Request> {
    let sector = record.id;
    let staged = staged(record, files);
    let cache = files.cache();
    let sealed = files.sealed();
    let pc1_output = files.pc1_output();
    let work = match (stage, record.state.of_files()) {
        (Stage::AddPiece, SectorState::Placed { .. }) => {
            Work::AddPiece { pieces: piece_files(record, files), staged: files.staged() }
        }
        (Stage::TreeD, SectorState::PiecesAdded { .. }) => Work::TreeD { staged, cache },
        (Stage::Pc1, SectorState::Ticketed { ticket, .. }) => {
            Work::Pc1 { sector, ticket: *ticket, pieces: piece_commitments(record), staged, cache, sealed, pc1_output }
        }
        (Stage::Pc2, SectorState::Pc1Done { .. }) => Work::Pc2 { sector, pc1_output, staged, cache, sealed },
        (Stage::C1, SectorState::SeedReady { sealed: made, seed, .. }) => Work::C1 {
            sector,
            ticket: made.ticket,
            seed: *seed,
            pieces: piece_commitments(record),
            comm_d: made.comm_d,
            comm_r: made.comm_r,
            cache,
            sealed,
            c1_output: c1_output(job_dir),
        },
        (Stage::Finalize, SectorState::Proving { .. }) => Work::Finalize { cache },
        _ => return None,
    };
    Some(Request { proof: record.proof, work })
}

/// The request of C2, which needs no file of the sector but what C1 made.
pub(crate) fn c2(record: &SectorRecord, job_dir: &Path) -> Option<Request> {
    let SectorState::C1Done { sealed, seed, .. } = &record.state else { return None };
    let &Sealed { ticket, comm_d, comm_r, .. } = sealed;
    let work = Work::C2 { sector: record.id, comm_d, comm_r, ticket, seed: *seed, c1_output: c1_output(job_dir) };
    Some(Request { proof: record.proof, work })
}

/// The request of an unseal that reads `sealed`.
pub(crate) fn unseal(record: &SectorRecord, order: &UnsealOrder, sealed: PathBuf, scratch: &Path) -> Option<Request> {
    let made = record.state.sealed()?;
    let work = Work::Unseal {
        sector: record.id,
        ticket: made.ticket,
        comm_d: made.comm_d,
        sealed,
        scratch: scratch.join("cache"),
        output: scratch.join("data"),
        offset_unpadded: order.offset_unpadded,
        length_unpadded: order.length_unpadded,
    };
    Some(Request { proof: record.proof, work })
}

/// What the files that a stage makes belong to.
pub(crate) fn mark(record: &SectorRecord) -> Mark {
    let files = record.state.of_files();
    let ticket = match files {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(*ticket),
        state => state.sealed().map(|sealed| sealed.ticket),
    };
    let generation = files.placement().map_or(1, |at| at.generation);
    Mark { incarnation: record.incarnation, generation, ticket }
}

fn staged(record: &SectorRecord, files: &SectorPaths) -> Option<PathBuf> {
    (!record.pieces.is_empty()).then(|| files.staged())
}

fn piece_files(record: &SectorRecord, files: &SectorPaths) -> Vec<PieceFile> {
    let file = |(index, piece): (usize, &streams::sector::Piece)| PieceFile {
        path: files.piece(index),
        padded_bytes: piece.padded_bytes,
        offset_padded: piece.offset_padded,
    };
    record.pieces.iter().enumerate().map(file).collect()
}

fn piece_commitments(record: &SectorRecord) -> Vec<PieceCommitment> {
    let known = |piece: &streams::sector::Piece| PieceCommitment {
        commitment: piece.commitment,
        padded_bytes: piece.padded_bytes,
        offset_padded: piece.offset_padded,
    };
    record.pieces.iter().map(known).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
