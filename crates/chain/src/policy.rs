//! What no node tells: numbers that actors compile in, one row a network.
//!
//! Periods of window PoSt, the challenge delay and the block delay are in the rows too, because the embedded devnet is
//! built from them; a client reads those from the node (`StateMinerProvingDeadline`, `StateGetNetworkParams`).
//! Sources: builtin-actors v18 `runtime/policy.rs` and miner `policy.rs`, go-state-types `abi/sector.go`.

use serde::{Deserialize, Serialize};
use streams::id::Epoch;

const EPOCHS_IN_DAY: Epoch = 2_880;

/// The devnet with short deadlines and one-second epochs.
pub const DEVNET_FAST: &str = "sealstream-fast";
/// The devnet with mainnet's numbers.
pub const DEVNET_MAINNET_PRESET: &str = "sealstream-mainnet-preset";

/// The rules of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Epochs after which a tipset is final for every purpose (`ChainFinality`).
    pub finality: Epoch,
    /// Epochs before the head at which a seal ticket is drawn: Lotus' `SealRandomnessLookback`, the finality.
    pub ticket_lookback: Epoch,
    /// A pre-commit's ticket may be this old (`MaxPreCommitRandomnessLookback`).
    pub ticket_age_max: Epoch,
    /// A prove-commit must land this many epochs after its pre-commit, at most (`MaxProveCommitDuration`, V1.1,
    /// challenge delay included).
    pub prove_commit_duration_max: Epoch,
    /// Expired pre-commits are cleaned up, and their deposit burnt, this much later.
    pub pre_commit_clean_up_delay: Epoch,
    /// A sector lives at least so long from its latest possible activation.
    pub sector_life_min: Epoch,
    /// Its expiration is at most so far ahead (`MaxSectorExpirationExtension`).
    pub sector_life_max: Epoch,
    /// Epochs from a pre-commit to its seed.
    pub pre_commit_challenge_delay: Epoch,
    /// Epochs that the seed's epoch should be buried under before it is used (Lotus' `InteractivePoRepConfidence`).
    pub seed_confidence: Epoch,
    /// Epochs after which a landed message is believed.
    pub message_confidence: Epoch,
    /// Milliseconds between epochs.
    pub block_delay_ms: u64,
    /// Epochs of a proving period.
    pub proving_period: Epoch,
    /// Deadlines in it.
    pub period_deadlines: u64,
    /// Epochs of a deadline's window.
    pub challenge_window: Epoch,
    /// Epochs from challenge to open.
    pub challenge_lookback: Epoch,
    /// Epochs before open at which faults and recoveries stop to count.
    pub fault_cutoff: Epoch,
    /// A sector faulty so long is terminated.
    pub fault_age_max: Epoch,
    /// Epochs after a window in which its proofs may be disputed.
    pub dispute_window: Epoch,
    /// `ChainCommitEpoch` may be this old (`WPoStMaxChainCommitAge`).
    pub chain_commit_age_max: Epoch,
    /// Partitions in one `SubmitWindowedPoSt`.
    pub posted_partitions_max: u64,
}

impl NetworkPolicy {
    /// Mainnet, and every network that keeps its numbers.
    #[must_use]
    pub const fn mainnet() -> Self {
        const CHALLENGE_DELAY: Epoch = 150;
        Self {
            finality: 900,
            ticket_lookback: 900,
            ticket_age_max: EPOCHS_IN_DAY + 900,
            prove_commit_duration_max: 30 * EPOCHS_IN_DAY + CHALLENGE_DELAY,
            pre_commit_clean_up_delay: 8 * 120,
            sector_life_min: 180 * EPOCHS_IN_DAY,
            sector_life_max: 1_278 * EPOCHS_IN_DAY,
            pre_commit_challenge_delay: CHALLENGE_DELAY,
            seed_confidence: 6,
            message_confidence: 5,
            block_delay_ms: 30_000,
            proving_period: EPOCHS_IN_DAY,
            period_deadlines: 48,
            challenge_window: 60,
            challenge_lookback: 20,
            fault_cutoff: 70,
            fault_age_max: 42 * EPOCHS_IN_DAY,
            dispute_window: 1_800,
            chain_commit_age_max: 60,
            posted_partitions_max: 3,
        }
    }

    /// A network with mainnet's numbers, four-second blocks and a challenge delay of ten: Lotus' 2k devnet.
    #[must_use]
    pub const fn devnet_2k() -> Self {
        const CHALLENGE_DELAY: Epoch = 10;
        Self {
            prove_commit_duration_max: 30 * EPOCHS_IN_DAY + CHALLENGE_DELAY,
            pre_commit_challenge_delay: CHALLENGE_DELAY,
            block_delay_ms: 4_000,
            ..Self::mainnet()
        }
    }

    /// The embedded devnet's fast preset. A deadline is assignable only when it opens more than one window ahead, so
    /// there are six; the window outlasts a 2 KiB window PoSt on two busy cores. The longest prove-commit wait keeps
    /// the actor's thirty days, which are compiled in there and not part of its policy.
    #[must_use]
    pub const fn devnet_fast() -> Self {
        const CHALLENGE_DELAY: Epoch = 5;
        const PERIOD: Epoch = 90;
        Self {
            finality: 5,
            ticket_lookback: 5,
            ticket_age_max: 600,
            prove_commit_duration_max: 30 * EPOCHS_IN_DAY + CHALLENGE_DELAY,
            pre_commit_clean_up_delay: 60,
            sector_life_min: 200,
            sector_life_max: 1_278 * EPOCHS_IN_DAY,
            pre_commit_challenge_delay: CHALLENGE_DELAY,
            seed_confidence: 0,
            message_confidence: 1,
            block_delay_ms: 1_000,
            proving_period: PERIOD,
            period_deadlines: 6,
            challenge_window: 15,
            challenge_lookback: 3,
            fault_cutoff: 8,
            fault_age_max: 42 * PERIOD,
            dispute_window: 30,
            chain_commit_age_max: 15,
            posted_partitions_max: 3,
        }
    }

    /// The row for a network's name, as `StateNetworkName` gives it; `None` when there is no row, and a person must
    /// say which numbers hold.
    #[must_use]
    pub fn for_network(name: &str) -> Option<Self> {
        match name {
            "mainnet" | "testnetnet" | "calibrationnet" | DEVNET_MAINNET_PRESET => Some(Self::mainnet()),
            DEVNET_FAST => Some(Self::devnet_fast()),
            "2k" | "devnet" => Some(Self::devnet_2k()),
            _ if name.starts_with("localnet-") => Some(Self::devnet_2k()),
            _ => None,
        }
    }

    /// The same row with what a person set otherwise.
    #[must_use]
    pub fn overridden(mut self, by: &PolicyOverride) -> Self {
        by.apply(&mut self);
        self
    }

    /// The earliest expiration a pre-commit landing at `epoch` may have, and the latest.
    #[must_use]
    pub const fn expiration_range(&self, epoch: Epoch) -> (Epoch, Epoch) {
        (epoch + self.prove_commit_duration_max + self.sector_life_min, epoch + self.sector_life_max)
    }

    /// The epoch to draw a seal ticket at when the head is at `head`.
    #[must_use]
    pub const fn ticket_epoch(&self, head: Epoch) -> Epoch {
        head - self.ticket_lookback
    }
}

macro_rules! overrides {
    ($($(#[$meta:meta])* $field:ident : $type:ty),* $(,)?) => {
        /// A person's changes to a row: what is absent stays.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct PolicyOverride {
            $(
                #[doc = concat!("See [`NetworkPolicy::", stringify!($field), "`].")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl PolicyOverride {
            fn apply(&self, policy: &mut NetworkPolicy) {
                $(if let Some(value) = self.$field { policy.$field = value; })*
            }
        }
    };
}

overrides! {
    finality: Epoch,
    ticket_lookback: Epoch,
    ticket_age_max: Epoch,
    prove_commit_duration_max: Epoch,
    sector_life_min: Epoch,
    sector_life_max: Epoch,
    pre_commit_challenge_delay: Epoch,
    seed_confidence: Epoch,
    message_confidence: Epoch,
    block_delay_ms: u64,
    posted_partitions_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consistent() {
        for name in ["mainnet", "calibrationnet", "2k", DEVNET_FAST, DEVNET_MAINNET_PRESET] {
            let p = NetworkPolicy::for_network(name).unwrap();
            let deadlines = Epoch::try_from(p.period_deadlines).unwrap();
            assert_eq!(p.proving_period, p.challenge_window * deadlines, "{name}");
            assert!(p.period_deadlines >= 4, "{name}: a deadline is assignable only more than one window ahead");
            assert!(p.ticket_age_max > p.ticket_lookback, "{name}: a fresh ticket must not be too old");
            let (earliest, latest) = p.expiration_range(100);
            assert!(earliest < latest, "{name}");
        }
        assert!(NetworkPolicy::for_network("unknown").is_none());
    }

    #[test]
    fn an_override_changes_its_field_alone() {
        let by: PolicyOverride = serde_json::from_str(r#"{"message_confidence": 9}"#).unwrap();
        let changed = NetworkPolicy::mainnet().overridden(&by);
        assert_eq!(changed, NetworkPolicy { message_confidence: 9, ..NetworkPolicy::mainnet() });
        assert!(serde_json::from_str::<PolicyOverride>(r#"{"finalty": 9}"#).is_err());
    }
}
