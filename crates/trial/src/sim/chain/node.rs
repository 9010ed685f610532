//! A node: how one process sees the chain, late, cut off, or wrongly.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chain::{ChainError, Fault, api::TipSetKey};
use streams::{id::MinerId, model::Random};

use super::{
    miner::Miner,
    world::{Block, World},
};

/// How often what goes wrong with a call, of a million.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NodeRates {
    /// No answer: what was pushed is pushed all the same.
    pub(crate) timeouts: u32,
    /// The connection breaks before anything is done.
    pub(crate) broken: u32,
    /// The head is one of a minute ago.
    pub(crate) stale: u32,
    /// A search finds nothing.
    pub(crate) blind: u32,
}

/// A node.
pub(crate) struct Node {
    world: Arc<Mutex<World>>,
    rates: Arc<Mutex<NodeRates>>,
    random: Mutex<Random>,
}

impl Node {
    pub(crate) fn new(world: Arc<Mutex<World>>, rates: Arc<Mutex<NodeRates>>, random: Random) -> Self {
        Self { world, rates, random: Mutex::new(random) }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn strikes(&self, rate: impl Fn(&NodeRates) -> u32) -> bool {
        let rate = rate(&self.rates.lock().unwrap_or_else(PoisonError::into_inner));
        self.random.lock().unwrap_or_else(PoisonError::into_inner).strikes(rate)
    }

    /// The way there, and what may happen on it.
    pub(super) async fn call(&self, method: &'static str) -> Result<(), ChainError> {
        let way = self.random.lock().unwrap_or_else(PoisonError::into_inner).time(Duration::from_millis(8));
        tokio::time::sleep(way).await;
        if self.strikes(|rates| rates.broken) {
            return Err(error(method, Fault::Transport("the connection broke".to_owned())));
        }
        if self.strikes(|rates| rates.timeouts) {
            return Err(self.silence(method).await);
        }
        Ok(())
    }

    pub(super) async fn silence(&self, method: &'static str) -> ChainError {
        let limit = Duration::from_secs(10);
        tokio::time::sleep(limit).await;
        error(method, Fault::Timeout(limit))
    }

    pub(super) fn at<T>(
        &self,
        method: &'static str,
        key: &TipSetKey,
        read: impl FnOnce(&World, usize, &Block) -> Result<T, Fault>,
    ) -> Result<T, ChainError> {
        let world = self.world();
        let index = world.index(key);
        let found = index.and_then(|index| world.blocks.get(index).map(|block| (index, block)));
        let Some((index, block)) = found else {
            return Err(error(method, Fault::NotFound("no such tipset".to_owned())));
        };
        read(&world, index, block).map_err(|fault| error(method, fault))
    }

    pub(super) fn miner<T>(
        &self,
        method: &'static str,
        miner: MinerId,
        key: &TipSetKey,
        read: impl FnOnce(&World, &Block, &Miner) -> T,
    ) -> Result<T, ChainError> {
        self.at(method, key, |world, _, block| {
            let held = block.state.miners.get(&miner).ok_or_else(|| Fault::NotFound("no such actor".to_owned()))?;
            Ok(read(world, block, held))
        })
    }
}

pub(super) fn error(method: &'static str, fault: Fault) -> ChainError {
    ChainError { method, endpoint: "simulated".into(), fault }
}
