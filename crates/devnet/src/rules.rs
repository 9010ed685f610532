//! The numbers a chain runs under: a policy row, and the actors' `Policy` that follows from it.

use std::str::FromStr;

use chain::policy::{DEVNET_FAST, DEVNET_MAINNET_PRESET, NetworkPolicy};
use fil_actors_shared::v18::runtime::Policy;
use streams::proof::SealProof;

/// A set of numbers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// One-second epochs, six deadlines of fifteen epochs.
    Fast,
    /// Mainnet's numbers.
    Mainnet,
}

/// A preset that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("preset \"{0}\" is not one of fast, mainnet")]
pub struct UnknownPreset(String);

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        match text {
            "fast" => Ok(Self::Fast),
            "mainnet" => Ok(Self::Mainnet),
            _ => Err(UnknownPreset(text.to_owned())),
        }
    }
}

impl Preset {
    /// The network's name, by which clients find their row.
    #[must_use]
    pub const fn network_name(self) -> &'static str {
        match self {
            Self::Fast => DEVNET_FAST,
            Self::Mainnet => DEVNET_MAINNET_PRESET,
        }
    }

    /// The row.
    #[must_use]
    pub const fn row(self) -> NetworkPolicy {
        match self {
            Self::Fast => NetworkPolicy::devnet_fast(),
            Self::Mainnet => NetworkPolicy::mainnet(),
        }
    }
}

/// A network's numbers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The network's name.
    pub name: String,
    /// The row.
    pub row: NetworkPolicy,
    /// The actors' policy.
    pub policy: Policy,
    /// Whether a window PoSt that does not verify is refused at once. On a real chain it is accepted and may be
    /// disputed; refusing makes a bad PoSt impossible to overlook.
    pub strict_posts: bool,
}

impl Rules {
    /// Rules of a row.
    #[must_use]
    pub fn new(name: impl Into<String>, row: NetworkPolicy, strict_posts: bool) -> Self {
        let policy = actor_policy(&row);
        Self { name: name.into(), row, policy, strict_posts }
    }
}

fn actor_policy(row: &NetworkPolicy) -> Policy {
    let mut policy = Policy {
        chain_finality: row.finality,
        worker_key_change_delay: row.finality,
        consensus_fault_ineligibility_duration: row.finality,
        max_pre_commit_randomness_lookback: row.ticket_age_max,
        expired_pre_commit_clean_up_delay: row.pre_commit_clean_up_delay,
        min_sector_expiration: row.sector_life_min,
        max_sector_expiration_extension: row.sector_life_max,
        pre_commit_challenge_delay: row.pre_commit_challenge_delay,
        wpost_proving_period: row.proving_period,
        wpost_challenge_window: row.challenge_window,
        wpost_period_deadlines: row.period_deadlines,
        wpost_challenge_lookback: row.challenge_lookback,
        fault_declaration_cutoff: row.fault_cutoff,
        fault_max_age: row.fault_age_max,
        wpost_dispute_window: row.dispute_window,
        wpost_max_chain_commit_age: row.chain_commit_age_max,
        posted_partitions_max: row.posted_partitions_max,
        ..Policy::default()
    };
    // Mainnet refuses the small test sizes.
    for proof in SealProof::ALL {
        policy.valid_pre_commit_proof_type.insert(proof.number());
        policy.valid_post_proof_type.insert(proof.window_post_number());
    }
    policy
}
