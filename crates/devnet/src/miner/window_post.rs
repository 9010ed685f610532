//! `SubmitWindowedPoSt`: accepted as on chain, and always verified besides.

use chain::randomness::{entropy, tag};
use fil_actor_miner_state::v18::{
    DeadlineInfo, MinerInfo, PoStResult, SectorOnChainInfo, Sectors, State, SubmitWindowedPoStParams,
    load_partitions_sectors_max,
};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorDowncast as _, ActorError, runtime::Policy},
};
use fvm_shared::{clock::ChainEpoch, error::ExitCode, randomness::RANDOMNESS_LENGTH, sector::PoStProof};
use prover::WindowPostStatement;
use streams::{
    id::SectorNumber,
    proof::{Bytes32, Commitment},
};

use super::{check_balance, check_caller, create::check_post_proof, info, load, save, seal::seal_proof};
use crate::{
    blocks::Blocks,
    call::{Call, PostVerdict, illegal_state, unverifiable},
};

/// Records the proof of up to three partitions of the open deadline.
pub(super) fn submit(call: &mut Call<'_>, mut params: SubmitWindowedPoStParams) -> Result<(), ActorError> {
    let (policy, blocks) = (&call.world.rules.policy, call.world.blocks);
    let proof = check_params(policy, &params)?;
    let mut state = load(call)?;
    let info = info(call, &state)?;
    check_caller(call, &info)?;
    check_size(policy, &info, &params, &proof)?;
    let deadline_now = state.deadline_info(policy, call.world.epoch);
    check_time(&deadline_now, call.world.epoch, &params)?;
    let committed = call.ticket(tag::POST_CHAIN_COMMIT, params.chain_commit_epoch, &[])?;
    if params.chain_commit_rand.0 != committed.0 {
        return Err(actor_error_v18!(illegal_argument, "post commit randomness mismatched"));
    }

    let sectors = Sectors::load(blocks, &state.sectors)
        .map_err(|e| e.downcast_default(ExitCode::USR_ILLEGAL_STATE, "failed to load sectors"))?;
    let mut deadlines = state.load_deadlines(blocks)?;
    let mut deadline = deadlines.load_deadline(blocks, params.deadline)?;
    let result = deadline
        .record_proven_sectors(
            blocks,
            &sectors,
            info.sector_size,
            deadline_now.quant_spec(),
            deadline_now.last() + policy.fault_max_age,
            &mut params.partitions,
        )
        .map_err(illegal_state("failed to process post submission"))?;
    if (&result.sectors - &result.ignored_sectors).is_empty() {
        return Err(actor_error_v18!(illegal_argument, "cannot prove partitions with no active sectors"));
    }
    let valid = verify(call, &sectors, &result, deadline_now.challenge, &proof)?;
    call.observed.posts.push(PostVerdict {
        miner: call.miner(),
        deadline: params.deadline,
        partitions: result.partitions.iter().collect(),
        epoch: call.world.epoch,
        valid,
    });
    let recovers = !result.recovered_power.raw.eq(&0.into()) || !result.recovered_power.qa.eq(&0.into());
    if !valid && (recovers || call.world.rules.strict_posts) {
        return Err(actor_error_v18!(illegal_argument, "invalid post was submitted"));
    }
    if !recovers {
        deadline
            .record_post_proofs(blocks, &result.partitions, &params.proofs)
            .map_err(illegal_state("failed to record proof for optimistic verification"))?;
    }
    deadlines
        .update_deadline(policy, blocks, params.deadline, &deadline)
        .map_err(illegal_state("failed to update deadline"))?;
    state.save_deadlines(blocks, deadlines).map_err(illegal_state("failed to save deadlines"))?;
    finish(call, &state, &result)
}

fn finish(call: &mut Call<'_>, state: &State, result: &PoStResult) -> Result<(), ActorError> {
    save(call, state)?;
    if !call.ledger.add_power(call.to, &result.power_delta.raw, &result.power_delta.qa) {
        return Err(actor_error_v18!(illegal_state, "negative claimed power of f0{}", call.to));
    }
    check_balance(call, state)
}

fn check_params(policy: &Policy, params: &SubmitWindowedPoStParams) -> Result<PoStProof, ActorError> {
    let [proof] = params.proofs.as_slice() else {
        return Err(actor_error_v18!(illegal_argument, "expected exactly one proof, got {}", params.proofs.len()));
    };
    if check_post_proof(policy, proof.post_proof).is_err() {
        return Err(actor_error_v18!(illegal_argument, "proof type {:?} not allowed", proof.post_proof));
    }
    if params.deadline >= policy.wpost_period_deadlines {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid deadline {} of {}",
            params.deadline,
            policy.wpost_period_deadlines
        ));
    }
    if params.chain_commit_rand.0.len() > RANDOMNESS_LENGTH {
        return Err(actor_error_v18!(
            illegal_argument,
            "expected at most {} bytes of randomness, got {}",
            RANDOMNESS_LENGTH,
            params.chain_commit_rand.0.len()
        ));
    }
    Ok(proof.clone())
}

fn check_size(
    policy: &Policy,
    info: &MinerInfo,
    params: &SubmitWindowedPoStParams,
    proof: &PoStProof,
) -> Result<(), ActorError> {
    if proof.post_proof != info.window_post_proof_type {
        return Err(actor_error_v18!(
            illegal_argument,
            "expected proof of type {:?}, got {:?}",
            info.window_post_proof_type,
            proof.post_proof
        ));
    }
    let one = info.window_post_proof_type.proof_size().map_err(|e| actor_error_v18!(illegal_state, e))?;
    let size_max = one.saturating_mul(params.partitions.len());
    if proof.proof_bytes.len() > size_max {
        return Err(actor_error_v18!(illegal_argument, "expected proof to be smaller than {} bytes", size_max));
    }
    let limit =
        load_partitions_sectors_max(policy, info.window_post_partition_sectors).min(policy.posted_partitions_max);
    if u64::try_from(params.partitions.len()).is_ok_and(|partitions| partitions > limit) {
        return Err(actor_error_v18!(
            illegal_argument,
            "too many partitions {}, limit {}",
            params.partitions.len(),
            limit
        ));
    }
    Ok(())
}

fn check_time(deadline: &DeadlineInfo, epoch: ChainEpoch, params: &SubmitWindowedPoStParams) -> Result<(), ActorError> {
    if !deadline.is_open() {
        return Err(actor_error_v18!(
            illegal_state,
            "proving period {} not yet open at {}",
            deadline.period_start,
            epoch
        ));
    }
    if params.deadline != deadline.index {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid deadline {} at epoch {}, expected {}",
            params.deadline,
            epoch,
            deadline.index
        ));
    }
    if params.chain_commit_epoch < deadline.challenge {
        return Err(actor_error_v18!(
            illegal_argument,
            "expected chain commit epoch {} to be after {}",
            params.chain_commit_epoch,
            deadline.challenge
        ));
    }
    if params.chain_commit_epoch >= epoch {
        return Err(actor_error_v18!(
            illegal_argument,
            "chain commit epoch {} must be less than the current epoch {}",
            params.chain_commit_epoch,
            epoch
        ));
    }
    Ok(())
}

fn verify(
    call: &Call<'_>,
    sectors: &Sectors<'_, Blocks>,
    result: &PoStResult,
    challenge: ChainEpoch,
    proof: &PoStProof,
) -> Result<bool, ActorError> {
    // A faulty sector is replaced by a good one, which the proof then holds once: so it is listed once.
    let mut proven = sectors
        .load_for_proof(&result.sectors, &result.ignored_sectors)
        .map_err(illegal_state("failed to load sectors for post verification"))?;
    proven.sort_by_key(|sector| sector.sector_number);
    proven.dedup_by_key(|sector| sector.sector_number);
    let statement = WindowPostStatement {
        proof: proven.first().map_or_else(
            || Err(actor_error_v18!(illegal_argument, "no sectors to prove")),
            |sector| seal_proof(sector.seal_proof),
        )?,
        miner: call.miner(),
        randomness: challenge_seed(call, challenge)?,
        sectors: proven.iter().map(commitment).collect::<Result<_, _>>()?,
    };
    call.world.verifier.window_post(&statement, &proof.proof_bytes).map_err(unverifiable)
}

fn challenge_seed(call: &Call<'_>, challenge: ChainEpoch) -> Result<Bytes32, ActorError> {
    call.beacon(tag::WINDOWED_POST_CHALLENGE_SEED, challenge, &entropy(call.miner()))
}

fn commitment(sector: &SectorOnChainInfo) -> Result<(SectorNumber, Commitment), ActorError> {
    let comm_r = chain::cids::comm_r(&sector.sealed_cid).map_err(|e| actor_error_v18!(illegal_state, e))?;
    Ok((SectorNumber(sector.sector_number), comm_r))
}
