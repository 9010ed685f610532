//! The block store under every state: content-addressed, append-only, in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cid::Cid;
use fvm_ipld_blockstore::Blockstore;

/// Blocks by CID. Clones share one store: an old state stays readable for as long as the chain lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Arc<Mutex<BTreeMap<Cid, Arc<[u8]>>>>);

impl Blocks {
    /// A store that holds `blocks`.
    pub(crate) fn holding(blocks: impl IntoIterator<Item = (Cid, Vec<u8>)>) -> Self {
        Self(Arc::new(Mutex::new(blocks.into_iter().map(|(cid, bytes)| (cid, Arc::from(bytes))).collect())))
    }

    /// Every block, by CID.
    pub(crate) fn all(&self) -> Vec<(Cid, Arc<[u8]>)> {
        self.held().iter().map(|(cid, bytes)| (*cid, Arc::clone(bytes))).collect()
    }

    // A panic elsewhere cannot leave a map of immutable blocks half-changed.
    fn held(&self) -> MutexGuard<'_, BTreeMap<Cid, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blockstore for Blocks {
    fn get(&self, cid: &Cid) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.held().get(cid).map(|bytes| bytes.to_vec()))
    }

    fn put_keyed(&self, cid: &Cid, block: &[u8]) -> anyhow::Result<()> {
        self.held().entry(*cid).or_insert_with(|| Arc::from(block));
        Ok(())
    }

    fn has(&self, cid: &Cid) -> anyhow::Result<bool> {
        Ok(self.held().contains_key(cid))
    }
}
