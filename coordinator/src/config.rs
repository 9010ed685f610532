//! The coordinator's configuration: defaults, `coordinator.toml`, `SEALSTREAM_COORDINATOR_…`, flags.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use chain::{json::TokenJson, policy::PolicyOverride};
use host::{
    config::{Sources, load},
    exit::{CliError, Exit},
};
use serde::{Deserialize, Serialize};
use streams::id::{Epoch, MinerId};

use crate::pieces::PiecesSection;

/// Its file in the home folder.
pub(crate) const FILE: &str = "coordinator.toml";
/// The prefix of its environment variables.
const ENV_PREFIX: &str = "SEALSTREAM_COORDINATOR_";
/// What `coordinator init` writes: every key with its default and its meaning.
pub(crate) const TEMPLATE: &str = include_str!("coordinator.toml");

/// Every setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) nats: NatsSection,
    pub(crate) chain: ChainSection,
    pub(crate) sender: SenderSection,
    pub(crate) miners: Vec<MinerSection>,
    pub(crate) http: HttpSection,
    pub(crate) pieces: PiecesSection,
    pub(crate) queue: QueueSection,
    pub(crate) lease: LeaseSection,
    pub(crate) batch: BatchSection,
    pub(crate) gas: GasSection,
    pub(crate) sector: SectorSection,
    pub(crate) backup: BackupSection,
    /// Epochs after which a landed message is believed; the network's row when absent.
    pub(crate) confidence: Option<Epoch>,
    #[serde(with = "host::duration")]
    pub(crate) reconcile_interval: Duration,
    pub(crate) policy: PolicyOverride,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nats: NatsSection::default(),
            chain: ChainSection::default(),
            sender: SenderSection::default(),
            miners: Vec::new(),
            http: HttpSection::default(),
            pieces: PiecesSection::default(),
            queue: QueueSection::default(),
            lease: LeaseSection::default(),
            batch: BatchSection::default(),
            gas: GasSection::default(),
            sector: SectorSection::default(),
            backup: BackupSection::default(),
            confidence: None,
            reconcile_interval: Duration::from_secs(60),
            policy: PolicyOverride::default(),
        }
    }
}

/// Where NATS is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NatsSection {
    pub(crate) url: String,
    #[serde(with = "host::duration")]
    pub(crate) connect_timeout: Duration,
}

impl Default for NatsSection {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".to_owned(), connect_timeout: Duration::from_secs(5) }
    }
}

/// Which node to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChainSection {
    pub(crate) api: String,
    pub(crate) token_file: Option<PathBuf>,
    #[serde(with = "host::duration")]
    pub(crate) timeout: Duration,
}

impl Default for ChainSection {
    fn default() -> Self {
        Self { api: "http://127.0.0.1:1234".to_owned(), token_file: None, timeout: Duration::from_secs(30) }
    }
}

/// The key that signs where a miner names no other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SenderSection {
    pub(crate) key_file: Option<PathBuf>,
}

/// A miner to seal for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinerSection {
    pub(crate) id: MinerId,
    #[serde(default)]
    pub(crate) pre_commit_key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) prove_commit_key_file: Option<PathBuf>,
}

/// Where pieces are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSection {
    pub(crate) listen: SocketAddr,
    /// The base URL agents use; made from the listener's address when absent.
    pub(crate) advertise: Option<String>,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7410)), advertise: None }
    }
}

/// How streams and consumers are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueueSection {
    #[serde(with = "host::duration")]
    pub(crate) ack_wait: Duration,
    pub(crate) replicas: usize,
}

impl Default for QueueSection {
    fn default() -> Self {
        Self { ack_wait: Duration::from_secs(60), replicas: 1 }
    }
}

/// How long a coordinator leads without being heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaseSection {
    #[serde(with = "host::duration")]
    pub(crate) ttl: Duration,
}

impl Default for LeaseSection {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(6) }
    }
}

/// When messages are cut.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchSection {
    pub(crate) pre_commit: BatchKeys,
    pub(crate) prove_commit: BatchKeys,
}

/// One kind of batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchKeys {
    pub(crate) threshold: u64,
    #[serde(with = "host::duration")]
    pub(crate) max_wait: Duration,
}

/// What messages may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GasSection {
    pub(crate) over_estimation_percent: u64,
    pub(crate) max_fee: TokenJson,
}

impl Default for GasSection {
    fn default() -> Self {
        Self { over_estimation_percent: 125, max_fee: TokenJson::default() }
    }
}

/// How sectors are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SectorSection {
    pub(crate) life_days: u32,
    /// Wins over `life_days`.
    pub(crate) life_epochs: Option<Epoch>,
    pub(crate) attempts_max: u32,
    /// A local store that is silent for so long is given up; never when absent.
    #[serde(with = "host::duration::option")]
    pub(crate) host_lost_after: Option<Duration>,
}

impl Default for SectorSection {
    fn default() -> Self {
        Self { life_days: 540, life_epochs: None, attempts_max: 5, host_lost_after: None }
    }
}

/// Copies of the queue's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackupSection {
    /// Zero turns them off.
    #[serde(with = "host::duration")]
    pub(crate) every: Duration,
    /// The folder `backups` of the data folder when absent.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) keep: usize,
}

impl Default for BackupSection {
    fn default() -> Self {
        Self { every: Duration::from_secs(3_600), dir: None, keep: 48 }
    }
}
/// A host that is silent for less may only be restarting.
const HOST_LOST_AFTER_MIN: Duration = Duration::from_secs(3600);

/// Epochs of a day on mainnet, the unit storage is sold in.
const EPOCHS_IN_DAY: Epoch = 2_880;

impl SectorSection {
    /// How long a sector is promised for, in epochs.
    pub(crate) fn life(&self) -> Epoch {
        self.life_epochs.unwrap_or_else(|| Epoch::from(self.life_days).saturating_mul(EPOCHS_IN_DAY))
    }
}

/// Reads the configuration of the coordinator in `home`.
pub(crate) fn read(home: &Path, file: Option<PathBuf>) -> Result<Config, CliError> {
    let config: Config = load(&sources(home, file))?;
    check(&config)?;
    Ok(config.rooted(home))
}

/// Where the configuration of the coordinator in `home` is said.
pub(crate) fn sources(home: &Path, file: Option<PathBuf>) -> Sources {
    Sources {
        file_required: file.is_some(),
        file: Some(file.unwrap_or_else(|| home.join(FILE))),
        env_prefix: ENV_PREFIX,
        overrides: serde_json::Value::Null,
    }
}

fn check(config: &Config) -> Result<(), CliError> {
    let wrong = |message: String| CliError::new(Exit::Config, message);
    if config.queue.ack_wait < Duration::from_secs(4) {
        return Err(wrong(format!("queue.ack_wait = {:?} is too short", config.queue.ack_wait))
            .hint("agents report every quarter of it: use at least 4s"));
    }
    if !(1..=5).contains(&config.queue.replicas) {
        return Err(wrong(format!("queue.replicas = {}", config.queue.replicas))
            .hint("1 on a single nats-server, 3 or 5 on a cluster"));
    }
    if config.backup.keep == 0 {
        return Err(wrong("backup.keep = 0".to_owned()).hint("to make no backups, say backup.every = \"0s\""));
    }
    if config.lease.ttl < Duration::from_secs(2) || config.lease.ttl.subsec_nanos() != 0 {
        return Err(wrong(format!("lease.ttl = {:?}", config.lease.ttl))
            .hint("the server counts whole seconds: use at least 2s"));
    }
    if config.sector.host_lost_after.is_some_and(|limit| limit < HOST_LOST_AFTER_MIN) {
        return Err(wrong(format!("sector.host_lost_after = {:?}", config.sector.host_lost_after))
            .hint("an agent that is restarted, or a host that reboots, is not lost: use at least 1h"));
    }
    if config.sector.attempts_max == 0 {
        return Err(wrong("sector.attempts_max = 0".to_owned()).hint("one attempt is the least"));
    }
    if config.gas.over_estimation_percent < 100 {
        return Err(wrong(format!("gas.over_estimation_percent = {}", config.gas.over_estimation_percent))
            .hint("100 is the node's own estimate; less would run out of gas"));
    }
    if config.reconcile_interval < Duration::from_secs(1) {
        return Err(
            wrong(format!("reconcile_interval = {:?} is too short", config.reconcile_interval)).hint("use at least 1s")
        );
    }
    config.pieces.check()?;
    let mut ids: Vec<MinerId> = config.miners.iter().map(|m| m.id).collect();
    ids.sort_unstable();
    if let Some((twice, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(wrong(format!("miners: {twice} is named twice")));
    }
    Ok(())
}

impl Config {
    /// Relative paths are relative to the home folder.
    fn rooted(mut self, home: &Path) -> Self {
        let root = |path: &mut Option<PathBuf>| {
            if let Some(path) = path {
                *path = home.join(&*path);
            }
        };
        root(&mut self.chain.token_file);
        root(&mut self.sender.key_file);
        root(&mut self.backup.dir);
        for miner in &mut self.miners {
            root(&mut miner.pre_commit_key_file);
            root(&mut miner.prove_commit_key_file);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Config, String> {
        let home = tempfile::tempdir().unwrap();
        host::durable::write(&home.path().join(FILE), text.as_bytes()).unwrap();
        read(home.path(), None).map_err(|e| format!("{e} {}", e.render()))
    }

    #[test]
    fn the_template_says_the_defaults() {
        let spoken: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#:").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(read_text(TEMPLATE).unwrap(), Config::default());
        let mut all = read_text(&spoken).unwrap();
        assert!(all.sender.key_file.take().is_some() && all.chain.token_file.take().is_some());
        assert_eq!(all.miners.drain(..).count(), 1);
        all.http.advertise = None;
        assert!(all.pieces.store.is_some() && all.pieces.secret_access_key.is_some());
        all.pieces = PiecesSection::default();
        assert!(all.backup.dir.take().is_some());
        all.confidence = None;
        all.sector.life_epochs = None;
        assert!(all.sector.host_lost_after.take().is_some());
        all.policy = PolicyOverride::default();
        assert_eq!(all, Config::default());
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, words) in [
            ("natz.url = \"x\"", "natz"),
            ("[nats]\nurll = \"x\"", "urll"),
            ("[queue]\nack_wait = \"1s\"", "queue.ack_wait"),
            ("[queue]\nack_wait = 60", "ack_wait"),
            ("[queue]\nreplicas = 0", "queue.replicas"),
            ("[sector]\nattempts_max = 0", "attempts_max"),
            ("[backup]\nkeep = 0", "backup.keep"),
            ("[pieces]\nstore = \"/mnt/pieces\"", "pieces.store"),
            ("[pieces]\nbucket = \"pieces\"", "bucket"),
            ("[sector]\nhost_lost_after = \"10s\"", "host_lost_after"),
            ("[lease]\nttl = \"1500ms\"", "lease.ttl"),
            ("[gas]\nover_estimation_percent = 90", "over_estimation_percent"),
            ("[[miners]]\nid = \"f0x\"", "f0x"),
            ("[[miners]]\nid = \"f01000\"\n[[miners]]\nid = \"t01000\"", "f01000 is named twice"),
            ("reconcile_interval = \"10ms\"", "reconcile_interval"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_home_folder() {
        let home = tempfile::tempdir().unwrap();
        host::durable::write(&home.path().join(FILE), b"[sender]\nkey_file = \"keys/a.json\"").unwrap();
        let config = read(home.path(), None).unwrap();
        assert_eq!(config.sender.key_file, Some(home.path().join("keys/a.json")));
    }
}
