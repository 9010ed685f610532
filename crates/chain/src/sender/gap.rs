//! Nonces that nothing has, before messages that wait for them.

use std::collections::BTreeSet;

use fvm_shared::{METHOD_SEND, econ::TokenAmount};
use host::failpoint;
use streams::sector::MessageRef;

use super::{Outgoing, SendError, Sender, pump::ChainNow};

/// The method's name in the outbox.
const METHOD_NAME: &str = "fill nonce gap";
/// Nonces filled in one round.
const GAPS_MAX: usize = 32;

impl Sender {
    /// Fills every nonce before an open entry that the chain has not used and that neither the outbox nor the node's
    /// pool has, once two rounds in a row found it so. No later message of the sender could land otherwise.
    pub(super) async fn fill_gaps(&self, seen: &mut BTreeSet<u64>, now: &ChainNow) -> Result<(), SendError> {
        let found = self.gaps(now).await?;
        for nonce in found.intersection(seen) {
            self.fill_gap(*nonce).await?;
        }
        *seen = found;
        Ok(())
    }

    async fn gaps(&self, now: &ChainNow) -> Result<BTreeSet<u64>, SendError> {
        let mut gaps = BTreeSet::new();
        for nonce in self.outbox.missing_from(now.nonce_head, GAPS_MAX) {
            let name = MessageRef { sender: self.sender().to_owned(), nonce };
            // What another process journaled there is pushed from now on, and never written over.
            if !self.outbox.take_up(&name).await? {
                gaps.insert(nonce);
            }
        }
        if !gaps.is_empty() {
            let pending = self.chain.mpool_pending(&self.key.address()).await;
            let pending = pending.map_err(|source| SendError::Chain { method: METHOD_NAME.to_owned(), source })?;
            gaps.retain(|nonce| !pending.contains(nonce));
        }
        Ok(gaps)
    }

    async fn fill_gap(&self, nonce: u64) -> Result<(), SendError> {
        let _sending = self.sending.lock().await;
        let Some(miner) = self.outbox.miner_waiting_behind(nonce) else { return Ok(()) };
        let name = MessageRef { sender: self.sender().to_owned(), nonce };
        let nothing = Outgoing {
            to: self.key.address(),
            method: METHOD_SEND,
            method_name: METHOD_NAME,
            value: TokenAmount::from_atto(0),
            params: Vec::new(),
            miner,
            sectors: Vec::new(),
        };
        let message = self.priced(nonce, &nothing).await?;
        failpoint!("chain.gap.priced");
        match self.journal_and_push(name, message, nothing).await {
            Ok(_) => tracing::warn!(
                sender = self.sender(),
                nonce,
                "nothing had this nonce, and later messages waited for it: filled with a message that does nothing"
            ),
            // Another process filled it, or sent with it after all.
            Err(SendError::NonceTaken { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
