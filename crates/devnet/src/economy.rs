//! What deposits and pledges are computed from.
//!
//! Block rewards are not paid here, so the network's reward and power estimates stay what the reward and power actors
//! start with: amounts follow from the real formulas and do not drift as a small chain ages.

use fil_actor_miner_state::v18 as miner;
use fil_actor_power_state::v18::{INITIAL_QA_POWER_ESTIMATE_POSITION, INITIAL_QA_POWER_ESTIMATE_VELOCITY};
use fil_actors_shared::v18::{
    reward::FilterEstimate,
    runtime::{Policy, policy_constants::CREATE_MINER_DEPOSIT_POWER},
};
use fvm_shared::{
    bigint::BigInt,
    econ::TokenAmount,
    sector::{SectorSize, StoragePower},
};

/// The network's estimates.
#[derive(Debug, Clone)]
pub(crate) struct Economy {
    /// Smoothed reward per epoch.
    pub(crate) reward: FilterEstimate,
    /// Smoothed quality-adjusted power of the network.
    pub(crate) power: FilterEstimate,
    /// Baseline power.
    pub(crate) baseline: StoragePower,
}

impl Default for Economy {
    fn default() -> Self {
        let reward = fil_actor_reward_state::v18::State::new(StoragePower::from(0));
        Self {
            reward: reward.this_epoch_reward_smoothed,
            power: FilterEstimate::new(
                INITIAL_QA_POWER_ESTIMATE_POSITION.clone(),
                INITIAL_QA_POWER_ESTIMATE_VELOCITY.clone(),
            ),
            baseline: reward.this_epoch_baseline_power,
        }
    }
}

impl Economy {
    /// Deposit of one pre-commit: as if the sector were filled with verified data.
    #[must_use]
    pub(crate) fn pre_commit_deposit(&self, size: SectorSize) -> TokenAmount {
        miner::pre_commit_deposit_for_power(&self.reward, &self.power, &miner::qa_power_max(size))
    }

    /// Pledge for power that is about to be committed.
    #[must_use]
    pub(crate) fn initial_pledge(&self, qa_power: &StoragePower, circulating: &TokenAmount) -> TokenAmount {
        // The ramp of FIP-0081 has ended.
        let (since_ramp_start, ramp_duration) = (1, 0);
        miner::initial_pledge_for_power(
            qa_power,
            &self.baseline,
            &self.reward,
            &self.power,
            circulating,
            since_ramp_start,
            ramp_duration,
        )
    }

    /// What a new miner locks (FIP-0077).
    #[must_use]
    pub(crate) fn creation_deposit(&self, circulating: &TokenAmount) -> TokenAmount {
        self.initial_pledge(&BigInt::from(CREATE_MINER_DEPOSIT_POWER), circulating)
    }

    /// Fee of power that stays faulty over a deadline.
    #[must_use]
    pub(crate) fn continued_fault(&self, qa_power: &StoragePower) -> TokenAmount {
        miner::pledge_penalty_for_continued_fault(&self.reward, &self.power, qa_power)
    }

    /// The daily fee due at a deadline's end, under its cap (FIP-0100).
    #[must_use]
    pub(crate) fn daily_fee_payable(&self, policy: &Policy, fee: &TokenAmount, live_qa: &StoragePower) -> TokenAmount {
        let day = fil_actors_shared::v18::EPOCHS_IN_DAY;
        let reward = miner::expected_reward_for_power(&self.reward, &self.power, live_qa, day);
        miner::daily_proof_fee_payable(policy, fee, &reward)
    }
}
