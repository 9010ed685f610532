//! `DeclareFaultsRecovered`.

use fil_actor_miner_state::v18::{
    DeadlineInfo, DeadlineSectorMap, DeclareFaultsRecoveredParams, Sectors, new_deadline_info,
};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorDowncast as _, ActorError, runtime::Policy},
};
use fvm_shared::{clock::ChainEpoch, error::ExitCode};

use super::{check_balance, check_caller, consensus_fault_active, info, load, save};
use crate::call::{Call, illegal_state};

/// Declares faulty sectors recovered: they count again with their next window PoSt.
pub(super) fn declare(call: &mut Call<'_>, params: DeclareFaultsRecoveredParams) -> Result<(), ActorError> {
    let (policy, blocks, epoch) = (&call.world.rules.policy, call.world.blocks, call.world.epoch);
    let mut declared = DeadlineSectorMap::new();
    for term in params.recoveries {
        let (deadline, partition) = (term.deadline, term.partition);
        declared.add(policy, deadline, partition, term.sectors).map_err(|e| {
            actor_error_v18!(
                illegal_argument,
                "failed to process deadline {}, partition {}: {}",
                deadline,
                partition,
                e
            )
        })?;
    }
    declared
        .check(policy.addressed_partitions_max, policy.addressed_sectors_max)
        .map_err(|e| actor_error_v18!(illegal_argument, "cannot process requested parameters: {}", e))?;

    let mut state = load(call)?;
    let debt = state
        .repay_debts(&call.balance())
        .map_err(|e| e.downcast_default(ExitCode::USR_ILLEGAL_STATE, "unlocked balance can not repay fee debt"))?;
    let info = info(call, &state)?;
    check_caller(call, &info)?;
    if consensus_fault_active(&info, epoch) {
        return Err(actor_error_v18!(forbidden, "recovery not allowed during active consensus fault"));
    }
    let mut deadlines = state.load_deadlines(blocks)?;
    let sectors = Sectors::load(blocks, &state.sectors)
        .map_err(|e| e.downcast_default(ExitCode::USR_ILLEGAL_STATE, "failed to load sectors array"))?;
    let period_start = state.current_proving_period_start(policy, epoch);
    for (index, partitions) in declared.iter() {
        let target = target_deadline(policy, period_start, index, epoch)?;
        if target.fault_cutoff_passed() {
            return Err(actor_error_v18!(
                illegal_argument,
                "failed recovery declaration at deadline {}: late fault or recovery declaration",
                index
            ));
        }
        let mut deadline = deadlines.load_deadline(blocks, index)?;
        deadline
            .declare_faults_recovered(blocks, &sectors, info.sector_size, partitions)
            .map_err(illegal_state("failed to declare recoveries"))?;
        deadlines
            .update_deadline(policy, blocks, index, &deadline)
            .map_err(illegal_state("failed to store deadline"))?;
    }
    state.save_deadlines(blocks, deadlines).map_err(illegal_state("failed to save deadlines"))?;
    save(call, &state)?;
    call.burn(&debt)?;
    check_balance(call, &state)
}

/// The deadline's next window that has not elapsed.
fn target_deadline(
    policy: &Policy,
    period_start: ChainEpoch,
    index: u64,
    epoch: ChainEpoch,
) -> Result<DeadlineInfo, ActorError> {
    if index >= policy.wpost_period_deadlines {
        return Err(actor_error_v18!(
            illegal_argument,
            "invalid deadline {}, must be < {}",
            index,
            policy.wpost_period_deadlines
        ));
    }
    Ok(new_deadline_info(policy, period_start, index, epoch).next_not_elapsed())
}
