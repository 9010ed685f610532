//! What happens to a miner at the last epoch of each deadline: missed proofs become faults, sectors and pre-commits
//! expire, fees fall due, funds vest.

use fil_actor_miner_state::v18::{PowerPair, Sectors, State, pledge_penalty_for_termination, qa_power_for_sector};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorDowncast as _, ActorError},
};
use fvm_shared::{econ::TokenAmount, error::ExitCode};

use super::{info, load, save};
use crate::{
    call::{Call, illegal_state},
    journal::{DeadlineClose, PartitionClose},
};

/// Rounds of early terminations at one epoch; each takes 25,000 sectors.
const TERMINATION_ROUNDS_MAX: usize = 64;

/// Runs a miner's cron at the end of an epoch, if its deadline ends there.
pub(crate) fn end_of_epoch(call: &mut Call<'_>) -> Result<(), ActorError> {
    let state = load(call)?;
    let deadline = state.deadline_info(&call.world.rules.policy, call.world.epoch);
    if state.deadline_cron_active && deadline.last() == call.world.epoch {
        end_deadline(call, state)?;
        terminate_early(call)?;
    }
    Ok(())
}

fn end_deadline(call: &mut Call<'_>, mut state: State) -> Result<(), ActorError> {
    let (policy, economy) = (&call.world.rules.policy, call.world.economy);
    let (blocks, epoch) = (call.world.blocks, call.world.epoch);
    let mut close = before_close(call, &state)?;
    let forfeited = state
        .cleanup_expired_pre_commits(policy, blocks, epoch)
        .map_err(illegal_state("failed to expire pre-committed sectors"))?;
    state.apply_penalty(&forfeited).map_err(illegal_state("failed to apply penalty"))?;

    let ended = state.advance_deadline(policy, blocks, epoch).map_err(illegal_state("failed to advance deadline"))?;
    // Newly detected faults cost nothing; those that were faulty already pay.
    let continued = economy.continued_fault(&ended.previously_faulty_power.qa);
    state.apply_penalty(&continued).map_err(illegal_state("failed to apply penalty"))?;
    if ended.daily_fee.is_positive() {
        let fee = economy.daily_fee_payable(policy, &ended.daily_fee, &ended.live_power.qa);
        state.apply_penalty(&fee).map_err(illegal_state("failed to apply penalty"))?;
    }
    let (burnt, unlocked) = state
        .repay_partial_debt_in_priority_order(blocks, epoch, &call.balance())
        .map_err(illegal_state("failed to unlock penalty"))?;
    let vested = state.unlock_vested_funds(blocks, epoch).map_err(illegal_state("failed to vest funds"))?;
    if !state.continue_deadline_cron() {
        state.deadline_cron_active = false;
    }
    save(call, &state)?;
    after_close(call, &state, &mut close)?;
    report(call, &ended.detected_faulty_power);
    if !call.ledger.add_power(call.to, &ended.power_delta.raw, &ended.power_delta.qa) {
        return Err(actor_error_v18!(illegal_state, "negative claimed power of f0{}", call.to));
    }
    call.burn(&burnt)?;
    call.ledger.add_pledge(&(ended.pledge_delta - unlocked - vested));
    Ok(())
}

/// The ending deadline's partitions, with what was faulty before.
fn before_close(call: &Call<'_>, state: &State) -> Result<DeadlineClose, ActorError> {
    let blocks = call.world.blocks;
    let index = state.deadline_info(&call.world.rules.policy, call.world.epoch).index;
    let deadline = state.load_deadlines(blocks)?.load_deadline(blocks, index)?;
    let mut partitions = Vec::new();
    deadline
        .for_each(blocks, |number, partition| {
            let live = partition.live_sectors();
            if !live.is_empty() {
                partitions.push(PartitionClose {
                    partition: number,
                    proven: deadline.partitions_posted.get(number),
                    live: live.iter().collect(),
                    faulty: partition.faults.iter().collect(),
                    missed: Vec::new(),
                });
            }
            Ok(())
        })
        .map_err(illegal_state("failed to read the ending deadline"))?;
    Ok(DeadlineClose { miner: call.miner(), deadline: index, epoch: call.world.epoch, partitions })
}

/// Notes how a deadline with live sectors ended.
fn after_close(call: &mut Call<'_>, state: &State, close: &mut DeadlineClose) -> Result<(), ActorError> {
    let blocks = call.world.blocks;
    let deadline = state.load_deadlines(blocks)?.load_deadline(blocks, close.deadline)?;
    for partition in &mut close.partitions {
        let after = deadline.load_partition(blocks, partition.partition)?;
        let before = std::mem::replace(&mut partition.faulty, after.faults.iter().collect());
        partition.missed = partition.faulty.iter().copied().filter(|number| !before.contains(number)).collect();
    }
    if !close.partitions.is_empty() {
        call.observed.closes.push(close.clone());
    }
    Ok(())
}

fn report(call: &Call<'_>, detected: &PowerPair) {
    if detected.raw > 0.into() {
        tracing::warn!(miner = %call.miner(), epoch = call.world.epoch, bytes = %detected.raw, "sectors became faulty: no proof in their window");
    }
}

/// Sectors that were faulty too long pay their fee and go.
fn terminate_early(call: &mut Call<'_>) -> Result<(), ActorError> {
    for _ in 0..TERMINATION_ROUNDS_MAX {
        if !terminate_some(call)? {
            break;
        }
    }
    Ok(())
}

/// One round; `true` when there is more to do.
fn terminate_some(call: &mut Call<'_>) -> Result<bool, ActorError> {
    let (policy, economy) = (&call.world.rules.policy, call.world.economy);
    let (blocks, epoch) = (call.world.blocks, call.world.epoch);
    let mut state = load(call)?;
    let (terminated, more) = state
        .pop_early_terminations(policy, blocks, policy.addressed_partitions_max, policy.addressed_sectors_max)
        .map_err(illegal_state("failed to pop early terminations"))?;
    if terminated.is_empty() {
        return Ok(false);
    }
    let info = info(call, &state)?;
    let sectors = Sectors::load(blocks, &state.sectors)
        .map_err(|e| e.downcast_default(ExitCode::USR_ILLEGAL_STATE, "failed to load sectors array"))?;
    let mut pledge = TokenAmount::default();
    let mut penalty = TokenAmount::default();
    for (at, numbers) in terminated.iter() {
        for sector in sectors.load_sectors(numbers)? {
            let fee = economy.continued_fault(&qa_power_for_sector(info.sector_size, &sector));
            penalty += pledge_penalty_for_termination(&sector.initial_pledge, at - sector.activation, &fee);
            pledge += &sector.initial_pledge;
        }
    }
    state.apply_penalty(&penalty).map_err(illegal_state("failed to apply penalty"))?;
    state.add_initial_pledge(&-pledge.clone()).map_err(illegal_state("failed to release pledge"))?;
    let (burnt, unlocked) = state
        .repay_partial_debt_in_priority_order(blocks, epoch, &call.balance())
        .map_err(illegal_state("failed to repay penalty"))?;
    save(call, &state)?;
    call.burn(&burnt)?;
    call.ledger.add_pledge(&-(pledge + unlocked));
    Ok(more)
}
