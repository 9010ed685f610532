//! Vanilla proofs of the challenges that the seed draws. The library checks them before it answers.

use std::path::Path;

use filecoin_proofs_api::seal::{SealPreCommitPhase2Output, seal_commit_phase1};
use streams::{
    id::SectorId,
    proof::{Bytes32, Commitment, SealProof},
    stage::Stage,
};

use super::file;
use crate::{
    commitment,
    failure::StageFailure,
    job::{Output, PieceCommitment},
    library::{catch, prover_id, registered_seal, sector_id},
    progress::{HowFar, Progress},
};

pub(super) struct C1<'a> {
    pub(super) proof: SealProof,
    pub(super) sector: SectorId,
    pub(super) ticket: Bytes32,
    pub(super) seed: Bytes32,
    pub(super) pieces: &'a [PieceCommitment],
    pub(super) comm_d: Commitment,
    pub(super) comm_r: Commitment,
    pub(super) cache: &'a Path,
    pub(super) sealed: &'a Path,
    pub(super) output: &'a Path,
}

impl C1<'_> {
    pub(super) fn run(&self, progress: &dyn Progress) -> Result<Output, StageFailure> {
        self.check()?;
        let tiles =
            commitment::tile(self.proof, self.pieces).map_err(|error| StageFailure::bad_input(error.to_string()))?;
        let phase2 = SealPreCommitPhase2Output {
            registered_proof: registered_seal(self.proof),
            comm_r: self.comm_r.0,
            comm_d: self.comm_d.0,
        };
        progress.tell("vanilla proofs", HowFar::Unknown);
        let output = catch(|| {
            seal_commit_phase1(
                self.cache,
                self.sealed,
                prover_id(self.sector.miner),
                sector_id(self.sector.number),
                self.ticket.0,
                self.seed.0,
                phase2,
                &tiles,
            )
        })?
        .map_err(explain)?;
        file::write_json(self.output, &output)?;
        Ok(Output::C1 {})
    }

    fn check(&self) -> Result<(), StageFailure> {
        // The library takes a zero seed here and refuses it in C2.
        if self.seed.0 == [0; 32] {
            return Err(StageFailure::bad_input("the seed is zero"));
        }
        let comm_d =
            commitment::comm_d(self.proof, self.pieces).map_err(|error| StageFailure::bad_input(error.to_string()))?;
        if comm_d != self.comm_d {
            return Err(StageFailure::bad_input(format!(
                "the pieces have CommD {comm_d}, the request says {}",
                self.comm_d
            )));
        }
        file::require_folder("cache", self.cache)?;
        file::require_length("replica", self.sealed, self.proof.sector_size())
    }
}

/// C1 is where damage of earlier stages shows: PC2 reads layers without checking them.
fn explain(error: anyhow::Error) -> StageFailure {
    let text = format!("{error:#}");
    let is_damage = ["Invalid", "invalid", "inconsistent", "Inconsistent"].iter().any(|word| text.contains(word));
    if is_damage {
        let message = format!("layers, trees or replica are damaged: {text}");
        return StageFailure::BadEarlierWork { from: Stage::Pc1, code: "damaged-sector", message };
    }
    error.context("make vanilla proofs").into()
}
