//! The Groth16 proof of a seal. No proof leaves here that does not verify.

use std::path::Path;

use filecoin_proofs_api::seal::{SealCommitPhase1Output, seal_commit_phase2};
use streams::{proof::ProofBytes, stage::Stage};

use super::file;
use crate::{
    failure::{HOW_TO_GET_PARAMS, StageFailure},
    job::Output,
    library::{catch, prover_id, registered_seal, sector_id},
    progress::{HowFar, Progress},
    real::RealVerifier,
    verify::{SealStatement, Verifier as _},
};

pub(super) fn run(statement: &SealStatement, input: &Path, progress: &dyn Progress) -> Result<Output, StageFailure> {
    let proof = registered_seal(statement.proof);
    let params = catch(|| proof.cache_params_path())??;
    if !params.exists() {
        let size = statement.proof.size_name();
        return Err(StageFailure::MissingParams(format!(
            "PoRep parameters for {size} sectors are missing ({}): {HOW_TO_GET_PARAMS}",
            params.display()
        )));
    }
    let phase1: SealCommitPhase1Output = file::read_json(input, Stage::C1)?;
    let is_same = phase1.registered_proof == proof
        && phase1.comm_r == statement.comm_r.0
        && phase1.comm_d == statement.comm_d.0
        && phase1.ticket == statement.ticket.value.0
        && phase1.seed == statement.seed.value.0;
    if !is_same {
        let message = format!("{} was made for other commitments, another ticket or another seed", input.display());
        return Err(StageFailure::BadEarlierWork { from: Stage::C1, code: "wrong-c1-output", message });
    }
    progress.tell("groth16 proof", HowFar::Unknown);
    let miner = prover_id(statement.miner);
    let made = catch(|| seal_commit_phase2(phase1, miner, sector_id(statement.number)))?
        .map_err(|error| error.context("make the proof"))?;
    progress.tell("verifying", HowFar::Unknown);
    if !RealVerifier::new().seal(statement, &made.proof)? {
        return Err(StageFailure::DoesNotVerify("the proof does not verify".to_owned()));
    }
    Ok(Output::C2 { proof: ProofBytes(made.proof) })
}
