//! The miners this coordinator seals for, and the senders of their messages.
//!
//! Miners come from the configuration and from `miners.json` in the data folder, where those made by
//! `coordinator miner create` are kept.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use chain::{
    ChainApi,
    key::LocalKey,
    sender::{Sender, SenderConfig},
};
use host::{
    clock::Clock,
    exit::{CliError, Exit},
};
use serde::{Deserialize, Serialize};
use streams::{id::MinerId, message::Text, nats::Nats, proof::SealProof};
use tokio::sync::watch;

use crate::config::{Config, MinerSection};

/// A miner with all that sealing for it takes.
#[derive(Debug)]
pub(crate) struct Miner {
    pub(crate) id: MinerId,
    pub(crate) proof: SealProof,
    pub(crate) pre_commit: Arc<Sender>,
    pub(crate) prove_commit: Arc<Sender>,
}

/// `miners.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    miners: Vec<MinerId>,
}

impl Text for Kept {
    const KIND: &'static str = "miners";
    const VERSION: u64 = 1;
}

/// All miners.
pub(crate) struct Miners {
    nats: Nats,
    chain: Arc<dyn ChainApi>,
    clock: Arc<dyn Clock>,
    sender_config: SenderConfig,
    default_key: Option<PathBuf>,
    file: PathBuf,
    known: RwLock<BTreeMap<MinerId, Arc<Miner>>>,
    /// One sender an address, by the address as the chain prints it.
    senders: Mutex<BTreeMap<String, Arc<Sender>>>,
    opening: tokio::sync::Mutex<()>,
    ids: watch::Sender<Vec<MinerId>>,
}

impl Miners {
    /// Opens every configured miner; one that the chain does not know is an error.
    pub(crate) async fn open(
        nats: Nats,
        chain: Arc<dyn ChainApi>,
        clock: Arc<dyn Clock>,
        config: &Config,
        sender_config: SenderConfig,
        data: &Path,
    ) -> Result<Self, CliError> {
        let miners = Self {
            nats,
            chain,
            clock,
            sender_config,
            default_key: config.sender.key_file.clone(),
            file: data.join("miners.json"),
            known: RwLock::default(),
            senders: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            ids: watch::channel(Vec::new()).0,
        };
        for section in &config.miners {
            miners.add(section).await?;
        }
        for id in miners.kept()?.miners {
            if miners.get(id).is_none() {
                miners.add(&MinerSection { id, pre_commit_key_file: None, prove_commit_key_file: None }).await?;
            }
        }
        if let Some(key) = &miners.default_key {
            miners.sender(key).await?;
        }
        Ok(miners)
    }

    pub(crate) fn get(&self, id: MinerId) -> Option<Arc<Miner>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Miner>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Their numbers, as they grow.
    pub(crate) fn ids(&self) -> watch::Receiver<Vec<MinerId>> {
        self.ids.subscribe()
    }

    /// Every sender in use.
    pub(crate) fn senders(&self) -> Vec<Arc<Sender>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// The sender for an address as the chain prints it.
    pub(crate) fn sender_named(&self, name: &str) -> Option<Arc<Sender>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// The sender where nothing else is said.
    pub(crate) async fn default_sender(&self) -> Result<Arc<Sender>, CliError> {
        let key = self.default_key.as_ref().ok_or_else(no_key)?;
        self.sender(key).await
    }

    /// Keeps a miner that was just made, and seals for it from now on.
    pub(crate) async fn keep(&self, id: MinerId) -> Result<(), CliError> {
        let mut kept = self.kept()?;
        if !kept.miners.contains(&id) {
            kept.miners.push(id);
            let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
                CliError::new(Exit::Io, format!("write {}", self.file.display())).because(e)
            };
            let text = streams::message::encode(&kept).map_err(|e| failed(Box::new(e)))?;
            host::durable::write(&self.file, &text).map_err(|e| failed(Box::new(e)))?;
            host::failpoint!("coordinator.miners.kept");
        }
        self.add(&MinerSection { id, pre_commit_key_file: None, prove_commit_key_file: None }).await
    }

    fn kept(&self) -> Result<Kept, CliError> {
        let name = self.file.display().to_string();
        match host::durable::read(&self.file) {
            Ok(None) => Ok(Kept::default()),
            Ok(Some(bytes)) => streams::message::decode(&bytes)
                .map_err(|e| CliError::new(Exit::Data, format!("read {name}")).because(e)),
            Err(e) => Err(CliError::new(Exit::Io, format!("read {name}")).because(e)),
        }
    }

    async fn add(&self, section: &MinerSection) -> Result<(), CliError> {
        let id = section.id;
        let info = self.chain.miner_info(id, &Vec::new()).await.map_err(|error| {
            if error.is_not_found() {
                return CliError::new(Exit::Config, format!("miner {id} does not exist on this chain"))
                    .hint("correct `miners` in coordinator.toml, or make one: `coordinator miner create`");
            }
            CliError::new(Exit::Unavailable, format!("ask the chain about miner {id}")).because(error)
        })?;
        let proof = SealProof::from_sector_size(info.sector_size).ok_or_else(|| {
            CliError::new(
                Exit::Config,
                format!("miner {id} has sectors of {} bytes, which no seal proof is for", info.sector_size),
            )
        })?;
        let key = |own: &Option<PathBuf>| own.clone().or_else(|| self.default_key.clone()).ok_or_else(no_key);
        let miner = Miner {
            id,
            proof,
            pre_commit: self.sender(&key(&section.pre_commit_key_file)?).await?,
            prove_commit: self.sender(&key(&section.prove_commit_key_file)?).await?,
        };
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(miner));
        self.ids.send_modify(|ids| {
            ids.push(id);
            ids.sort_unstable();
            ids.dedup();
        });
        Ok(())
    }

    /// Opens a key's sender, once for each address.
    async fn sender(&self, key_file: &Path) -> Result<Arc<Sender>, CliError> {
        let _opening = self.opening.lock().await;
        let key = LocalKey::load(key_file).map_err(|e| {
            CliError::new(Exit::Config, "load the sender's key")
                .because(e)
                .hint("make one with `coordinator keys generate`, or correct sender.key_file")
        })?;
        let name = chain::address::print(&key.address());
        if let Some(sender) = self.sender_named(&name) {
            return Ok(sender);
        }
        let sender =
            Sender::open(&self.nats, Arc::clone(&self.chain), key, self.sender_config.clone(), Arc::clone(&self.clock))
                .await
                .map_err(|e| CliError::new(Exit::Unavailable, format!("open the outbox of {name}")).because(e))?;
        let sender = Arc::new(sender);
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&sender));
        Ok(sender)
    }
}

fn no_key() -> CliError {
    CliError::new(Exit::Config, "no key to send messages with")
        .hint("make one with `coordinator keys generate` and name it as sender.key_file in coordinator.toml")
}
