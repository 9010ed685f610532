//! `PreCommitSectorBatch2`.

use fil_actor_miner_state::v18::{
    CollisionPolicy, MinerInfo, PreCommitSectorBatchParams2, SectorPreCommitInfo, SectorPreCommitOnChainInfo,
    can_pre_commit_seal_proof, is_sealed_sector, is_unsealed_sector, max_prove_commit_duration,
    seal_proof_sector_maximum_lifetime, sector_deals_max,
};
use fil_actors_shared::{
    actor_error_v18,
    v18::{
        ActorDowncast as _, ActorError,
        runtime::{Policy, policy_constants::MAX_SECTOR_NUMBER},
    },
};
use fvm_ipld_bitfield::BitField;
use fvm_shared::{clock::ChainEpoch, error::ExitCode};

use super::{check_balance, check_caller, consensus_fault_active, info, load, save};
use crate::call::{Call, illegal_state};

/// Registers sectors for proving, with one deposit each.
pub(super) fn batch(call: &mut Call<'_>, params: PreCommitSectorBatchParams2) -> Result<(), ActorError> {
    let (policy, blocks, epoch) = (&call.world.rules.policy, call.world.blocks, call.world.epoch);
    let numbers = check_sectors(policy, epoch, &params.sectors)?;
    check_deals(&params.sectors)?;

    let mut state = load(call)?;
    let available = state.get_available_balance(&call.balance()).map_err(illegal_state("available balance"))?;
    let debt = state
        .repay_debts(&call.balance())
        .map_err(|e| e.downcast_default(ExitCode::USR_ILLEGAL_STATE, "unlocked balance can not repay fee debt"))?;
    let info = info(call, &state)?;
    check_caller(call, &info)?;
    if consensus_fault_active(&info, epoch) {
        return Err(actor_error_v18!(forbidden, "pre-commit not allowed during active consensus fault"));
    }

    let deposit = call.world.economy.pre_commit_deposit(info.sector_size);
    let mut on_chain = Vec::with_capacity(params.sectors.len());
    let mut clean_ups = Vec::with_capacity(params.sectors.len());
    for sector in params.sectors {
        check_fits_miner(policy, &info, &sector)?;
        let duration = max_prove_commit_duration(policy, sector.seal_proof).ok_or_else(|| {
            actor_error_v18!(
                illegal_argument,
                "no max seal duration set for proof type: {}",
                i64::from(sector.seal_proof)
            )
        })?;
        clean_ups.push((epoch + duration + policy.expired_pre_commit_clean_up_delay, sector.sector_number));
        on_chain.push(SectorPreCommitOnChainInfo {
            info: sector,
            pre_commit_deposit: deposit.clone(),
            pre_commit_epoch: epoch,
        });
    }
    let total = on_chain.iter().map(|sector| &sector.pre_commit_deposit).sum();
    if available < total {
        return Err(actor_error_v18!(
            insufficient_funds,
            "insufficient funds {} for pre-commit deposit: {}",
            available,
            total
        ));
    }
    state.add_pre_commit_deposit(&total).map_err(illegal_state("failed to add pre-commit deposit"))?;
    state.allocate_sector_numbers(blocks, &numbers, CollisionPolicy::DenyCollisions)?;
    state.put_precommitted_sectors(blocks, on_chain).map_err(illegal_state("failed to write pre-committed sectors"))?;
    state
        .add_pre_commit_clean_ups(policy, blocks, clean_ups)
        .map_err(illegal_state("failed to add pre-commit expiry to queue"))?;
    state.deadline_cron_active = true;
    save(call, &state)?;
    call.burn(&debt)?;
    check_balance(call, &state)
}

/// What can be said of the sectors without the miner's state.
fn check_sectors(policy: &Policy, epoch: ChainEpoch, sectors: &[SectorPreCommitInfo]) -> Result<BitField, ActorError> {
    if sectors.is_empty() {
        return Err(actor_error_v18!(illegal_argument, "batch empty"));
    }
    let mut numbers = BitField::new();
    for sector in sectors {
        if numbers.get(sector.sector_number) {
            return Err(actor_error_v18!(illegal_argument, "duplicate sector number {}", sector.sector_number));
        }
        if sector.sector_number > MAX_SECTOR_NUMBER {
            return Err(actor_error_v18!(
                illegal_argument,
                "sector number {} out of range 0..(2^63-1)",
                sector.sector_number
            ));
        }
        numbers.set(sector.sector_number);
        check_sector(policy, epoch, sector)?;
    }
    Ok(numbers)
}

fn check_sector(policy: &Policy, epoch: ChainEpoch, sector: &SectorPreCommitInfo) -> Result<(), ActorError> {
    if !can_pre_commit_seal_proof(policy, sector.seal_proof) {
        return Err(actor_error_v18!(illegal_argument, "unsupported seal proof type {}", i64::from(sector.seal_proof)));
    }
    if !is_sealed_sector(&sector.sealed_cid) {
        return Err(actor_error_v18!(illegal_argument, "sealed CID had wrong prefix"));
    }
    if sector.seal_rand_epoch >= epoch {
        return Err(actor_error_v18!(
            illegal_argument,
            "seal challenge epoch {} must be before now {}",
            sector.seal_rand_epoch,
            epoch
        ));
    }
    let earliest = epoch - policy.max_pre_commit_randomness_lookback;
    if sector.seal_rand_epoch < earliest {
        return Err(actor_error_v18!(
            illegal_argument,
            "seal challenge epoch {} too old, must be after {}",
            sector.seal_rand_epoch,
            earliest
        ));
    }
    if sector.unsealed_cid.0.as_ref().is_some_and(|cid| !is_unsealed_sector(cid)) {
        return Err(actor_error_v18!(illegal_argument, "unsealed CID had wrong prefix"));
    }
    check_expiration(policy, epoch, sector)
}

/// The sector's life is counted from its latest possible activation.
fn check_expiration(policy: &Policy, epoch: ChainEpoch, sector: &SectorPreCommitInfo) -> Result<(), ActorError> {
    let activation = epoch + max_prove_commit_duration(policy, sector.seal_proof).unwrap_or_default();
    let (expiration, life) = (sector.expiration, sector.expiration - activation);
    if life <= 0 {
        return Err(actor_error_v18!(
            illegal_argument,
            "sector expiration {} must be after activation {}",
            expiration,
            activation
        ));
    }
    if life < policy.min_sector_expiration {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid expiration {}, total sector lifetime ({}) must exceed {} after activation {}",
            expiration,
            life,
            policy.min_sector_expiration,
            activation
        ));
    }
    if expiration > epoch + policy.max_sector_expiration_extension {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid expiration {}, cannot be more than {} past current epoch {}",
            expiration,
            policy.max_sector_expiration_extension,
            epoch
        ));
    }
    let longest = seal_proof_sector_maximum_lifetime(sector.seal_proof)
        .ok_or_else(|| actor_error_v18!(illegal_argument, "unrecognized seal proof type {:?}", sector.seal_proof))?;
    if life > longest {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid expiration {}, total sector lifetime ({}) cannot exceed {} after activation {}",
            expiration,
            life,
            longest,
            activation
        ));
    }
    Ok(())
}

/// There is no market here, so no deal can be found.
fn check_deals(sectors: &[SectorPreCommitInfo]) -> Result<(), ActorError> {
    match sectors.iter().flat_map(|sector| &sector.deal_ids).next() {
        Some(deal) => Err(actor_error_v18!(not_found, "no such deal {}", deal)),
        None => Ok(()),
    }
}

fn check_fits_miner(policy: &Policy, info: &MinerInfo, sector: &SectorPreCommitInfo) -> Result<(), ActorError> {
    let proof = sector.seal_proof.registered_window_post_proof().map_err(|_| {
        actor_error_v18!(
            illegal_argument,
            "failed to lookup Window PoSt proof type for sector seal proof {}",
            i64::from(sector.seal_proof)
        )
    })?;
    if proof != info.window_post_proof_type {
        return Err(actor_error_v18!(
            illegal_argument,
            "sector Window PoSt proof type {} must match miner Window PoSt proof type {} (seal proof type {})",
            i64::from(proof),
            i64::from(info.window_post_proof_type),
            i64::from(sector.seal_proof)
        ));
    }
    let deals_max = sector_deals_max(policy, info.sector_size);
    if u64::try_from(sector.deal_ids.len()).is_ok_and(|deals| deals > deals_max) {
        return Err(actor_error_v18!(
            illegal_argument,
            "too many deals for sector {} > {}",
            sector.deal_ids.len(),
            deals_max
        ));
    }
    Ok(())
}
