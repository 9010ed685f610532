//! `ProveCommitSectors3`: one proof a sector, or one aggregate over all.

use fil_actor_miner_state::v18::{ERR_NOTIFICATION_SEND_FAILED, ProveCommitSectors3Params, ProveCommitSectors3Return};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorError, BatchReturn, BatchReturnGen, runtime::Policy, stack},
};
use fvm_ipld_encoding::RawBytes;
use fvm_shared::{
    error::ExitCode,
    sector::{RegisteredAggregateProof, RegisteredSealProof},
};
use prover::SealStatement;

use super::{activation, check_caller, info, load, pieces, pieces::Activation, seal};
use crate::call::{Call, unverifiable};

/// Proves pre-committed sectors and activates those that pass.
pub(super) fn sectors(
    call: &mut Call<'_>,
    params: ProveCommitSectors3Params,
) -> Result<ProveCommitSectors3Return, ActorError> {
    let state = load(call)?;
    let info = info(call, &state)?;
    check_caller(call, &info)?;
    let numbers = params.sector_activations.iter().map(|sector| sector.sector_number);
    let pre_commits = state.get_precommitted_sectors(call.world.blocks, numbers)?;
    let Some(first) = pre_commits.first() else {
        return Err(actor_error_v18!(illegal_argument, "no sectors to prove"));
    };
    check_proofs(&call.world.rules.policy, first.info.seal_proof, &params)?;

    let all_or_nothing = params.require_activation_success;
    let (valid, statements) = seal::statements(call, &pre_commits, all_or_nothing)?;
    if valid.success_count == 0 {
        return Err(actor_error_v18!(illegal_argument, "no valid precommits specified"));
    }
    let eligible: Vec<Activation<'_>> =
        valid.successes(&params.sector_activations).into_iter().zip(valid.successes(&pre_commits)).collect();
    let proven = if params.sector_proofs.is_empty() {
        verify_aggregate(call, &statements, &params.aggregate_proof)?;
        BatchReturn::ok(valid.success_count)
    } else {
        let statements = valid.successes(&statements);
        verify_each(call, &statements, &valid.successes(&params.sector_proofs), all_or_nothing)?
    };
    if proven.success_count == 0 {
        return Err(actor_error_v18!(illegal_argument, "no valid proofs specified"));
    }
    let proven_sectors: Vec<Activation<'_>> = proven.successes(&eligible).into_iter().copied().collect();

    let (with_data, data) = pieces::activate(&proven_sectors, all_or_nothing)?;
    if with_data.success_count == 0 {
        return Err(actor_error_v18!(illegal_argument, "all data activations failed"));
    }
    let activated = with_data.successes(&proven_sectors);
    let new: Vec<_> = activated.iter().map(|(_, pre_commit)| *pre_commit).zip(data).collect();
    activation::activate(call, &info, &new)?;
    notify(&activated, params.require_notification_success)?;
    Ok(ProveCommitSectors3Return { activation_results: stack(&[valid, proven, with_data]) })
}

fn check_proofs(
    policy: &Policy,
    proof: RegisteredSealProof,
    params: &ProveCommitSectors3Params,
) -> Result<(), ActorError> {
    if params.sector_proofs.is_empty() == params.aggregate_proof.is_empty() {
        return Err(actor_error_v18!(
            illegal_argument,
            "exactly one of sector proofs or aggregate proof must be non-empty"
        ));
    }
    if params.sector_proofs.is_empty() {
        return check_aggregate(policy, params);
    }
    if params.aggregate_proof_type.is_some() {
        return Err(actor_error_v18!(illegal_argument, "aggregate proof type must be null with batched proofs"));
    }
    if params.sector_activations.len() != params.sector_proofs.len() {
        return Err(actor_error_v18!(
            illegal_argument,
            "mismatched lengths: {} sector activations, {} proofs",
            params.sector_activations.len(),
            params.sector_proofs.len()
        ));
    }
    let size_max = proof.proof_size().map_err(|e| actor_error_v18!(illegal_state, e))?;
    match params.sector_proofs.iter().find(|bytes| bytes.len() > size_max) {
        Some(bytes) => {
            Err(actor_error_v18!(illegal_argument, "sector proof size {} exceeds max {}", bytes.len(), size_max))
        }
        None => Ok(()),
    }
}

fn check_aggregate(policy: &Policy, params: &ProveCommitSectors3Params) -> Result<(), ActorError> {
    if params.aggregate_proof_type != Some(RegisteredAggregateProof::SnarkPackV2) {
        return Err(actor_error_v18!(illegal_argument, "aggregate proof type must be SnarkPackV2"));
    }
    let count = u64::try_from(params.sector_activations.len()).unwrap_or(u64::MAX);
    let (min, max) = (policy.min_aggregated_sectors, policy.max_aggregated_sectors);
    if count > max {
        return Err(actor_error_v18!(
            illegal_argument,
            "too many sectors addressed, addressed {} want <= {}",
            count,
            max
        ));
    }
    if count < min {
        return Err(actor_error_v18!(
            illegal_argument,
            "too few sectors addressed, addressed {} want >= {}",
            count,
            min
        ));
    }
    if params.aggregate_proof.len() > policy.max_aggregated_proof_size {
        return Err(actor_error_v18!(
            illegal_argument,
            "sector prove-commit proof of size {} exceeds max size of {}",
            params.aggregate_proof.len(),
            policy.max_aggregated_proof_size
        ));
    }
    Ok(())
}

fn verify_each(
    call: &Call<'_>,
    statements: &[&SealStatement],
    proofs: &[&RawBytes],
    all_or_nothing: bool,
) -> Result<BatchReturn, ActorError> {
    let mut batch = BatchReturnGen::new(statements.len());
    for (statement, proof) in statements.iter().zip(proofs) {
        if call.world.verifier.seal(statement, proof.bytes()).map_err(unverifiable)? {
            batch.add_success();
        } else if all_or_nothing {
            return Err(actor_error_v18!(
                illegal_argument,
                "invalid proof for sector {} while requiring activation success",
                statement.number
            ));
        } else {
            batch.add_fail(ExitCode::USR_ILLEGAL_ARGUMENT);
        }
    }
    Ok(batch.generate())
}

fn verify_aggregate(call: &Call<'_>, statements: &[SealStatement], proof: &RawBytes) -> Result<(), ActorError> {
    if call.world.verifier.aggregate(statements, proof.bytes()).map_err(unverifiable)? {
        return Ok(());
    }
    Err(actor_error_v18!(illegal_argument, "aggregate seal verify failed"))
}

/// Nobody listens here: there is no market, and no contract can be deployed.
fn notify(activated: &[&Activation<'_>], required: bool) -> Result<(), ActorError> {
    let wanted = activated.iter().flat_map(|(manifest, _)| &manifest.pieces).flat_map(|piece| &piece.notify).next();
    match wanted {
        Some(notification) if required => Err(ActorError::unchecked(
            ERR_NOTIFICATION_SEND_FAILED,
            format!("send of notification to {} failed: no such actor", notification.address),
        )),
        _ => Ok(()),
    }
}
