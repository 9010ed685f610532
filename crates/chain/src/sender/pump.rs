//! Looks after what was journaled, until it is final.

use std::collections::BTreeSet;

use host::failpoint;
use streams::{
    id::Epoch,
    records::{Fate, OutboxEntry},
};

use super::{
    Pumped, Refusal, SendError, Sender,
    outbox::Open,
    verdict::{self, Seen},
};
use crate::{
    api::TipSetKey,
    cids,
    error::{ChainError, Fault},
    fork::{Heads, Moved},
};

/// What the pump remembers from round to round.
pub(super) struct Watching {
    heads: Heads,
    /// Landings above this height are to be looked at again: there was a fork.
    suspect_since: Option<Epoch>,
    /// Settled messages that the last look missed although their nonce is used.
    missed: BTreeSet<u64>,
    /// Nonces that the last look found nothing at.
    pub(super) gaps: BTreeSet<u64>,
}

impl Watching {
    pub(super) const fn new(finality: Epoch) -> Self {
        Self { heads: Heads::new(finality), suspect_since: None, missed: BTreeSet::new(), gaps: BTreeSet::new() }
    }
}

/// The chain at the start of a round.
pub(super) struct ChainNow {
    head: Epoch,
    tipset: TipSetKey,
    pub(super) nonce_head: u64,
}

impl Sender {
    /// Looks after every message that is not final: pushes its bytes again, looks for it on chain, and records what
    /// it finds. To be called about once an epoch.
    pub async fn pump(&self) -> Result<Pumped, SendError> {
        let mut watching = self.pumping.lock().await;
        let mut pumped = Pumped::default();
        let Some(any) = self.outbox.any() else { return Ok(pumped) };
        let failed = |source| SendError::Chain { method: any.clone(), source };
        let head = self.chain.head().await.map_err(failed)?;
        match watching.heads.look(&*self.chain, &head).await.map_err(failed)? {
            Moved::Not | Moved::On => {}
            Moved::Behind { seen } => {
                tracing::debug!(sender = self.sender(), head = head.height, seen, "the node is behind");
                return Ok(pumped);
            }
            Moved::Forked { since } => {
                watching.suspect_since = Some(watching.suspect_since.map_or(since, |before| before.min(since)));
            }
        }
        let nonce_head = self.nonce_at(&head.key).await.map_err(failed)?;
        let now = ChainNow { head: head.height, tipset: head.key, nonce_head };
        self.suspect(&mut watching, &now, &mut pumped).await?;
        self.outbox.forget_landed_below(now.head.saturating_sub(self.config.finality));
        for entry in self.outbox.open_entries() {
            self.look_after(entry, &now, &mut pumped).await?;
        }
        self.fill_gaps(&mut watching.gaps, &now).await?;
        Ok(pumped)
    }

    async fn look_after(&self, entry: Open, now: &ChainNow, pumped: &mut Pumped) -> Result<(), SendError> {
        let seen = self.look_for(&entry.value, now).await.map_err(|e| pump_error(&entry, e))?;
        let mut pushed = false;
        if seen == Seen::Nowhere {
            match self.push(&entry.value).await {
                Ok(()) => pushed = true,
                // It landed, or another did, since the chain was looked at: the next round sees which.
                Err(ChainError { fault: Fault::NonceTooLow(_), .. }) => {}
                Err(error) => pumped.refused.push(Refusal { message: entry.value.message.clone(), error }),
            }
            failpoint!("chain.pump.pushed-again");
        }
        let depth = (now.head, self.config.confidence);
        if let Some(fate) = verdict::fate(&entry.value.fate, &seen, pushed, depth, self.now()) {
            self.amend(entry, fate, pumped).await?;
        }
        Ok(())
    }

    /// Looks again at landings that were believed, where a fork may have taken them away.
    async fn suspect(&self, watching: &mut Watching, now: &ChainNow, pumped: &mut Pumped) -> Result<(), SendError> {
        let Some(since) = watching.suspect_since else { return Ok(()) };
        let mut missed = BTreeSet::new();
        for entry in self.outbox.landed_above(since) {
            let nonce = entry.value.message.nonce;
            let seen = self.look_for(&entry.value, now).await.map_err(|e| pump_error(&entry, e))?;
            if seen == Seen::NonceUsed && !watching.missed.contains(&nonce) {
                missed.insert(nonce);
                continue;
            }
            let depth = (now.head, self.config.confidence);
            if let Some(fate) = verdict::fate(&entry.value.fate, &seen, false, depth, self.now()) {
                if !matches!(fate, Fate::Landed { .. }) {
                    tracing::warn!(sender = self.sender(), nonce, "a fork took {} off the chain", entry.value.method);
                }
                self.amend(entry, fate, pumped).await?;
            }
        }
        watching.suspect_since = (!missed.is_empty()).then_some(since);
        watching.missed = missed;
        Ok(())
    }

    async fn amend(&self, entry: Open, fate: Fate, pumped: &mut Pumped) -> Result<(), SendError> {
        if let Some(changed) = self.outbox.amend(entry, fate).await? {
            failpoint!("chain.pump.fate-amended");
            pumped.changed.push(changed);
        }
        Ok(())
    }

    /// The nonce of the next message in the state that `tipset` was made on; an account without any is at zero.
    async fn nonce_at(&self, tipset: &TipSetKey) -> Result<u64, ChainError> {
        match self.chain.actor(&self.key.address(), tipset).await {
            Ok(actor) => Ok(actor.nonce),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn look_for(&self, entry: &OutboxEntry, now: &ChainNow) -> Result<Seen, ChainError> {
        // The newest replacement is the likeliest to have landed.
        for signed in entry.signed.iter().rev() {
            // An unreadable CID cannot come from this program; skipping it leaves the nonce to decide.
            let Ok(cid) = cids::parse(&signed.cid) else { continue };
            // A node that finds what replaced a message names that one: it counts only if it is ours.
            if let Some(lookup) = self.chain.search_message(&cid).await?
                && entry.signed.iter().any(|own| own.cid == lookup.cid.to_string())
            {
                return Ok(Seen::OnChain(lookup));
            }
        }
        let nonce = entry.message.nonce;
        if now.nonce_head <= nonce {
            return Ok(Seen::Nowhere);
        }
        let deep = self.chain.tipset_by_height((now.head - self.config.finality).max(0), &now.tipset).await?;
        Ok(if self.nonce_at(&deep.key).await? > nonce { Seen::NonceFinal } else { Seen::NonceUsed })
    }

    async fn push(&self, entry: &OutboxEntry) -> Result<(), ChainError> {
        match entry.signed.last() {
            Some(signed) => self.chain.mpool_push(&signed.bytes.0).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

fn pump_error(entry: &Open, source: ChainError) -> SendError {
    SendError::Chain { method: entry.value.method.clone(), source }
}
