//! Miners, their deadlines and partitions.

use serde::{Deserialize, Serialize};

use crate::json::{AddressJson, Base64, BitFieldJson, TokenJson, null_as_empty};

shapes! {
    /// `StateMinerInfo`. `NewWorker` is `"<empty>"` when there is none, so it stays text.
    MinerInfoJson {
        owner: AddressJson,
        worker: AddressJson,
        #[serde(default)]
        new_worker: String,
        #[serde(default, deserialize_with = "null_as_empty")]
        control_addresses: Vec<AddressJson>,
        #[serde(default)]
        worker_change_epoch: i64,
        #[serde(default)]
        peer_id: Option<String>,
        #[serde(default, deserialize_with = "null_as_empty")]
        multiaddrs: Vec<Base64>,
        #[serde(rename = "WindowPoStProofType")]
        window_post_proof_type: i64,
        sector_size: u64,
        #[serde(rename = "WindowPoStPartitionSectors")]
        window_post_partition_sectors: u64,
        #[serde(default)]
        consensus_fault_elapsed: i64,
        #[serde(default)]
        pending_owner_address: Option<AddressJson>,
        #[serde(default)]
        beneficiary: Option<AddressJson>,
    }

    /// Raw and quality-adjusted power.
    ClaimJson {
        raw_byte_power: TokenJson,
        quality_adj_power: TokenJson,
    }

    /// `StateMinerPower`.
    MinerPowerJson {
        miner_power: ClaimJson,
        total_power: ClaimJson,
        has_min_power: bool,
    }

    /// `StateMinerProvingDeadline`.
    ProvingDeadlineJson {
        current_epoch: i64,
        period_start: i64,
        index: u64,
        open: i64,
        close: i64,
        challenge: i64,
        fault_cutoff: i64,
        #[serde(rename = "WPoStPeriodDeadlines")]
        wpost_period_deadlines: u64,
        #[serde(rename = "WPoStProvingPeriod")]
        wpost_proving_period: i64,
        #[serde(rename = "WPoStChallengeWindow")]
        wpost_challenge_window: i64,
        #[serde(rename = "WPoStChallengeLookback")]
        wpost_challenge_lookback: i64,
        fault_declaration_cutoff: i64,
    }

    /// One of `StateMinerDeadlines`.
    DeadlineJson {
        post_submissions: BitFieldJson,
        #[serde(default)]
        disputable_proof_count: u64,
        #[serde(default)]
        daily_fee: TokenJson,
    }

    /// One of `StateMinerPartitions`.
    PartitionJson {
        all_sectors: BitFieldJson,
        faulty_sectors: BitFieldJson,
        recovering_sectors: BitFieldJson,
        live_sectors: BitFieldJson,
        active_sectors: BitFieldJson,
    }
}
