//! Configuration: `poster.toml`, `SEALSTREAM_POSTER_…`, flags.

use std::{path::PathBuf, time::Duration};

use chain::{json::TokenJson, policy::PolicyOverride, rpc::NodeConfig, sender::SenderConfig};
use serde::{Deserialize, Serialize};
use streams::id::{Epoch, MinerId};

/// Everything a person can set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Miners to prove for; empty means every miner in bucket `CHAIN`.
    pub(crate) miners: Vec<MinerId>,
    pub(crate) nats: Nats,
    pub(crate) chain: Chain,
    pub(crate) sender: Sender,
    pub(crate) post: Post,
}

/// The queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Nats {
    pub(crate) url: String,
    /// How long the first connection may take, and how long to wait for the coordinator to create streams and buckets.
    #[serde(with = "host::duration")]
    pub(crate) connect_timeout: Duration,
}

impl Default for Nats {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".to_owned(), connect_timeout: Duration::from_secs(30) }
    }
}

/// The chain node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chain {
    /// A URL, a multiaddress, or what Lotus prints as `FULLNODE_API_INFO`.
    pub(crate) api: String,
    /// A file with the bearer token, readable by nobody else.
    pub(crate) token_file: Option<PathBuf>,
    /// How long a call may take.
    #[serde(with = "host::duration")]
    pub(crate) timeout: Duration,
    /// Changes to the network's rules.
    pub(crate) policy: PolicyOverride,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            api: NodeConfig::default().endpoint,
            token_file: None,
            timeout: Duration::from_secs(20),
            policy: PolicyOverride::default(),
        }
    }
}

impl Chain {
    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig {
            endpoint: self.api.clone(),
            token_file: self.token_file.clone(),
            timeout_secs: self.timeout.as_secs().max(1),
            ..NodeConfig::default()
        }
    }
}

/// The address that sends window PoSts: its own, so that they never wait behind another message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sender {
    /// Its key file; `keys/poster.key` in the home folder when absent.
    pub(crate) key_file: Option<PathBuf>,
    /// The estimated gas limit is multiplied by so many hundredths.
    pub(crate) gas_limit_percent: u64,
    /// The most a message may cost (attoFIL); zero means no limit.
    pub(crate) max_fee: TokenJson,
    /// Epochs after which what the chain has is believed; the network's when absent.
    pub(crate) confidence: Option<Epoch>,
}

impl Default for Sender {
    fn default() -> Self {
        let SenderConfig { gas_limit_percent, max_fee, .. } = SenderConfig::default();
        Self { key_file: None, gas_limit_percent, max_fee, confidence: None }
    }
}

/// When to prove and when to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Post {
    /// Epochs to let pass after a challenge before it is proven.
    pub(crate) start_confidence: Epoch,
    /// Epochs to let pass after a deadline opens before proofs are sent; at most a quarter of the window counts.
    pub(crate) submit_confidence: Epoch,
    /// Partitions in one message, 1 to 3.
    pub(crate) partitions_per_message: usize,
    /// The chain is looked at so often, and at least once a block, even when nobody says that it moved.
    #[serde(with = "host::duration")]
    pub(crate) check_interval: Duration,
    /// How long a window stays this poster's when it falls silent.
    #[serde(with = "host::duration")]
    pub(crate) lease_ttl: Duration,
}

impl Default for Post {
    fn default() -> Self {
        Self {
            start_confidence: 1,
            submit_confidence: 4,
            partitions_per_message: 1,
            check_interval: Duration::from_secs(30),
            lease_ttl: Duration::from_secs(15),
        }
    }
}
