//! The node, its network and its actors.

use serde::{Deserialize, Serialize};

use crate::json::{AddressJson, CidJson, TokenJson};

shapes! {
    /// `Version`.
    VersionJson {
        version: String,
        #[serde(rename = "APIVersion")]
        api_version: u64,
        block_delay: u64,
        #[serde(default)]
        agent: String,
    }

    /// `StateGetNetworkParams`.
    NetworkParamsJson {
        network_name: String,
        block_delay_secs: u64,
        #[serde(default)]
        consensus_miner_min_power: TokenJson,
        pre_commit_challenge_delay: i64,
        #[serde(default, rename = "Eip155ChainID")]
        eip155_chain_id: u64,
        #[serde(default)]
        genesis_timestamp: u64,
    }

    /// `StateGetActor`.
    ActorStateJson {
        code: CidJson,
        head: CidJson,
        nonce: u64,
        balance: TokenJson,
        #[serde(default)]
        delegated_address: Option<AddressJson>,
    }
}
