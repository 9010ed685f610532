//! What a prove-commit must prove: the statement of each pre-commit, from the chain's own randomness.

use chain::{
    cids,
    randomness::{entropy, tag},
};
use fil_actor_miner_state::v18::{SectorPreCommitOnChainInfo, max_prove_commit_duration};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorError, BatchReturn, BatchReturnGen},
};
use fvm_shared::{error::ExitCode, sector::RegisteredSealProof};
use prover::SealStatement;
use streams::{
    id::SectorNumber,
    proof::{Drawn, SealProof},
};

use crate::call::Call;

/// Which pre-commits may be proven now, and the statement of each: of the others too, since an aggregate covers all.
pub(super) fn statements(
    call: &Call<'_>,
    pre_commits: &[SectorPreCommitOnChainInfo],
    all_or_nothing: bool,
) -> Result<(BatchReturn, Vec<SealStatement>), ActorError> {
    let (policy, epoch) = (&call.world.rules.policy, call.world.epoch);
    let mut batch = BatchReturnGen::new(pre_commits.len());
    let mut statements = Vec::with_capacity(pre_commits.len());
    let mut group: Option<RegisteredSealProof> = None;
    for (index, pre_commit) in pre_commits.iter().enumerate() {
        let proof = pre_commit.info.seal_proof;
        let duration = max_prove_commit_duration(policy, proof).ok_or_else(|| {
            actor_error_v18!(illegal_state, "no max seal duration for proof type: {}", i64::from(proof))
        })?;
        if *group.get_or_insert(proof) != proof {
            return Err(actor_error_v18!(
                illegal_state,
                "seal proof group for verification contains mismatched seal proofs"
            ));
        }
        let seed_epoch = pre_commit.pre_commit_epoch + policy.pre_commit_challenge_delay;
        if epoch <= seed_epoch {
            return Err(actor_error_v18!(forbidden, "too early to prove sector"));
        }
        statements.push(statement(call, pre_commit, seed_epoch)?);

        let late = epoch > pre_commit.pre_commit_epoch + duration;
        if !late && pre_commit.info.deal_ids.is_empty() {
            batch.add_success();
        } else if all_or_nothing {
            return Err(actor_error_v18!(
                illegal_argument,
                "invalid pre-commit {} while requiring activation success: {:?}",
                index,
                pre_commit
            ));
        } else {
            batch.add_fail(ExitCode::USR_ILLEGAL_ARGUMENT);
        }
    }
    Ok((batch.generate(), statements))
}

fn statement(
    call: &Call<'_>,
    pre_commit: &SectorPreCommitOnChainInfo,
    seed_epoch: i64,
) -> Result<SealStatement, ActorError> {
    let info = &pre_commit.info;
    let unsealed = info.unsealed_cid.get_cid(info.seal_proof)?;
    let entropy = entropy(call.miner());
    let ticket = call.ticket(tag::SEAL_RANDOMNESS, info.seal_rand_epoch, &entropy)?;
    let seed = call.beacon(tag::INTERACTIVE_SEAL_CHALLENGE_SEED, seed_epoch, &entropy)?;
    Ok(SealStatement {
        proof: seal_proof(info.seal_proof)?,
        miner: call.miner(),
        number: SectorNumber(info.sector_number),
        comm_r: cids::comm_r(&info.sealed_cid).map_err(|e| actor_error_v18!(illegal_argument, e))?,
        comm_d: cids::comm_d(&unsealed).map_err(|e| actor_error_v18!(illegal_argument, e))?,
        ticket: Drawn { epoch: info.seal_rand_epoch, value: ticket },
        seed: Drawn { epoch: seed_epoch, value: seed },
    })
}

/// The proof types that are verified here: interactive V1.1.
pub(super) fn seal_proof(proof: RegisteredSealProof) -> Result<SealProof, ActorError> {
    SealProof::try_from(i64::from(proof)).map_err(|e| actor_error_v18!(illegal_argument, e))
}
