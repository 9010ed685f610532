//! Proven sectors become sectors: pledge instead of deposit, a place in a deadline.

use fil_actor_miner_state::v18::{
    MinerInfo, SectorOnChainInfo, SectorOnChainInfoFlags, SectorPreCommitOnChainInfo, daily_proof_fee,
    qa_power_for_weight,
};
use fil_actors_shared::{actor_error_v18, v18::ActorError};
use fvm_shared::{bigint::BigInt, econ::TokenAmount};

use super::{check_balance, load, save};
use crate::call::{Call, illegal_state};

/// Activates pre-committed sectors, each with the bytes of data in it. Power follows with their first window PoSt.
pub(super) fn activate(
    call: &mut Call<'_>,
    info: &MinerInfo,
    proven: &[(&SectorPreCommitOnChainInfo, BigInt)],
) -> Result<(), ActorError> {
    let (policy, blocks, epoch) = (&call.world.rules.policy, call.world.blocks, call.world.epoch);
    let sectors =
        proven.iter().map(|(sector, data)| new_sector(call, info, sector, data)).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<_> = sectors.iter().map(|sector| sector.sector_number).collect();
    let pledge: TokenAmount = sectors.iter().map(|sector| &sector.initial_pledge).sum();
    let deposits: TokenAmount = proven.iter().map(|(sector, _)| &sector.pre_commit_deposit).sum();

    let mut state = load(call)?;
    state.put_sectors(blocks, sectors.clone()).map_err(illegal_state("failed to put new sectors"))?;
    state.delete_precommitted_sectors(blocks, &numbers)?;
    let partition = info.window_post_partition_sectors;
    state
        .assign_sectors_to_deadlines(policy, blocks, epoch, sectors, partition, info.sector_size)
        .map_err(illegal_state("failed to assign new sectors to deadlines"))?;
    state.add_pre_commit_deposit(&-deposits).map_err(illegal_state("failed to add precommit deposit"))?;
    let unlocked =
        state.get_unlocked_balance(&call.balance()).map_err(illegal_state("failed to calculate unlocked balance"))?;
    if unlocked < pledge {
        return Err(actor_error_v18!(
            insufficient_funds,
            "insufficient funds for aggregate initial pledge requirement {}, available: {}",
            pledge,
            unlocked
        ));
    }
    state.add_initial_pledge(&pledge).map_err(illegal_state("failed to add initial pledge"))?;
    check_balance(call, &state)?;
    save(call, &state)?;
    call.ledger.add_pledge(&pledge);
    Ok(())
}

fn new_sector(
    call: &Call<'_>,
    info: &MinerInfo,
    pre_commit: &SectorPreCommitOnChainInfo,
    data: &BigInt,
) -> Result<SectorOnChainInfo, ActorError> {
    let (policy, epoch) = (&call.world.rules.policy, call.world.epoch);
    let duration = pre_commit.info.expiration - epoch;
    if duration < policy.min_sector_expiration {
        return Err(actor_error_v18!(
            illegal_argument,
            "precommit {} has lifetime {} less than minimum {}. ignoring",
            pre_commit.info.sector_number,
            duration,
            policy.min_sector_expiration
        ));
    }
    let verified = BigInt::from(0);
    let power = qa_power_for_weight(info.sector_size, duration, &verified);
    let circulating = call.ledger.circulating();
    Ok(SectorOnChainInfo {
        sector_number: pre_commit.info.sector_number,
        seal_proof: pre_commit.info.seal_proof,
        sealed_cid: pre_commit.info.sealed_cid,
        deprecated_deal_ids: vec![],
        activation: epoch,
        expiration: pre_commit.info.expiration,
        deal_weight: data * duration,
        verified_deal_weight: verified,
        initial_pledge: call.world.economy.initial_pledge(&power, &circulating),
        expected_day_reward: None,
        expected_storage_pledge: None,
        power_base_epoch: epoch,
        replaced_day_reward: None,
        sector_key_cid: None,
        flags: SectorOnChainInfoFlags::SIMPLE_QA_POWER,
        daily_fee: daily_proof_fee(policy, &circulating, &power),
    })
}
