//! Verification by filecoin-proofs-api.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bellperson::groth16::{Proof, aggregate::AggregateProof};
use blstrs::{Bls12, Scalar};
use ff::PrimeField as _;
use filecoin_proofs_api::{
    PublicReplicaInfo, RegisteredAggregationProof,
    post::verify_window_post,
    seal::{get_seal_inputs, verify_aggregate_seal_commit_proofs, verify_seal},
};
use storage_proofs_core::parameter_cache::parameter_cache_srs_key_path;
use streams::proof::Commitment;

use crate::{
    library::{PROOF_BYTES, catch, post_randomness, prover_id, registered_seal, registered_window_post, sector_id},
    params::folder_in_use,
    verify::{SealStatement, Verifier, VerifyError, WindowPostStatement},
};

/// Sectors of one aggregate: the chain's limit.
const AGGREGATE_STATEMENTS_MAX: usize = 819;
/// Bytes of an aggregate: the chain's limit.
const AGGREGATE_BYTES_MAX: usize = 81_960;

/// The verifier that ships.
///
/// What a stranger controls (proof bytes, commitments) is checked before the library is asked, so that an error of the
/// library is never taken for a wrong proof, nor the other way round.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealVerifier;

impl RealVerifier {
    /// A verifier with the keys in the folder that `FIL_PROOFS_PARAMETER_CACHE` names.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Verifier for RealVerifier {
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        let proof = registered_seal(statement.proof);
        if !is_sound(statement) || !are_points(proof_bytes, usize::from(proof.partitions())) {
            return Ok(false);
        }
        require(&ask(|| proof.cache_verifying_key_path())?, "porep", statement.proof.size_name())?;
        ask(|| {
            verify_seal(
                proof,
                statement.comm_r.0,
                statement.comm_d.0,
                prover_id(statement.miner),
                sector_id(statement.number),
                statement.ticket.value.0,
                statement.seed.value.0,
                proof_bytes,
            )
        })
    }

    fn aggregate(&self, statements: &[SealStatement], proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        let Some(first) = statements.first() else { return Ok(false) };
        let alike = statements.iter().all(|s| s.proof == first.proof && is_sound(s));
        if !alike || statements.len() > AGGREGATE_STATEMENTS_MAX || proof_bytes.len() > AGGREGATE_BYTES_MAX {
            return Ok(false);
        }
        let proof = registered_seal(first.proof);
        let circuits = (statements.len() * usize::from(proof.partitions())).max(2).next_power_of_two();
        let aggregated = catch(|| AggregateProof::<Bls12>::read(proof_bytes));
        let Ok(Ok(aggregated)) = aggregated else { return Ok(false) };
        if usize::try_from(aggregated.tmipp.gipa.nproofs).ok() != Some(circuits) {
            return Ok(false);
        }
        require(&ask(|| proof.cache_verifying_key_path())?, "porep", first.proof.size_name())?;
        require(&parameter_cache_srs_key_path("", circuits), "aggregation", first.proof.size_name())?;
        ask(|| {
            let mut inputs = Vec::new();
            for s in statements {
                let miner = prover_id(s.miner);
                let number = sector_id(s.number);
                inputs.extend(get_seal_inputs(
                    proof,
                    s.comm_r.0,
                    s.comm_d.0,
                    miner,
                    number,
                    s.ticket.value.0,
                    s.seed.value.0,
                )?);
            }
            let comm_rs: Vec<_> = statements.iter().map(|s| s.comm_r.0).collect();
            let seeds: Vec<_> = statements.iter().map(|s| s.seed.value.0).collect();
            let version = RegisteredAggregationProof::SnarkPackV2;
            verify_aggregate_seal_commit_proofs(proof, version, proof_bytes.to_vec(), &comm_rs, &seeds, inputs)
        })
    }

    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        let post = registered_window_post(statement.proof);
        let partitions = statement.sectors.len().div_ceil(post.sector_count());
        let replicas: BTreeMap<_, _> = statement
            .sectors
            .iter()
            .map(|(number, comm_r)| (sector_id(*number), PublicReplicaInfo::new(post, comm_r.0)))
            .collect();
        let is_sound = !replicas.is_empty()
            && replicas.len() == statement.sectors.len()
            && statement.sectors.iter().all(|(_, comm_r)| is_element(comm_r));
        if !is_sound || !are_points(proof_bytes, partitions) {
            return Ok(false);
        }
        require(&ask(|| post.cache_verifying_key_path())?, "window-post", statement.proof.size_name())?;
        let randomness = post_randomness(statement.randomness);
        ask(|| verify_window_post(&randomness, &[(post, proof_bytes)], &replicas, prover_id(statement.miner)))
    }
}

fn is_sound(statement: &SealStatement) -> bool {
    is_element(&statement.comm_r) && is_element(&statement.comm_d)
}

/// Whether a commitment is one at all: a field element, and not zero.
fn is_element(commitment: &Commitment) -> bool {
    commitment.0 != [0; 32] && bool::from(Scalar::from_repr(commitment.0).is_some())
}

/// Whether the bytes are exactly `count` proofs, each of three points on the curve.
fn are_points(bytes: &[u8], count: usize) -> bool {
    count > 0
        && count.checked_mul(PROOF_BYTES) == Some(bytes.len())
        && bytes.chunks(PROOF_BYTES).all(|one| Proof::<Bls12>::read(one).is_ok())
}

fn require(path: &Path, circuit: &str, size: &str) -> Result<(), VerifyError> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().map_or_else(folder_in_use, PathBuf::from);
    Err(VerifyError::MissingKey { circuit: format!("{circuit} {size}"), folder })
}

fn ask<T>(call: impl FnOnce() -> anyhow::Result<T>) -> Result<T, VerifyError> {
    catch(call)
        .map_err(|panicked| VerifyError::Library(panicked.to_string()))?
        .map_err(|error| VerifyError::Library(format!("{error:#}")))
}
