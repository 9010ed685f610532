//! After a fork: sectors whose message or seed is not what the chain shows any more.
//!
//! It costs one call a head to know that there was none. After one, and once at the start, every sector whose
//! pre-commit or prove-commit lies above the fork is compared with the chain's state. What is gone puts its sector
//! back to waiting for the same message, which the sender pushes again; what is elsewhere does so too, since the
//! seed's epoch follows from the pre-commit's.

use chain::{ChainError, api::TipSet, fork::Moved, message::SignedMessage, params::proofs};
use host::failpoint;
use streams::{
    error::QueueError,
    id::{Epoch, SectorId},
    kv::Scanned,
    proof::{Drawn, ProofBytes},
    records::{Fate, OutboxEntry},
    sector::{MessageRef, PreCommit, SectorRecord, SectorState},
};

use super::waits::Waits;
use crate::sector::Event;

/// Our node may be so far behind the head that the follower tells, as another node sees it.
const BEHIND_MAX: Epoch = 2;

/// What a look at a sector found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The record says what the chain says, or was told otherwise.
    Sure,
    /// To be looked at again at the next head.
    Unsure,
}

impl Waits {
    /// Looks at our own node's head. Whether what the node says now may be acted on.
    pub(super) async fn look_at_head(&mut self) -> Result<bool, ChainError> {
        let told = self.head_epoch();
        let head = self.carrier.chain.head().await?;
        if told.is_some_and(|told| head.height.saturating_add(BEHIND_MAX) < told) {
            tracing::debug!(head = head.height, told, "our node is behind");
            return Ok(false);
        }
        match self.heads.look(&*self.carrier.chain, &head).await? {
            Moved::Not | Moved::On => {}
            Moved::Behind { seen } => {
                tracing::debug!(head = head.height, seen, "our node is behind what it was");
                return Ok(false);
            }
            Moved::Forked { since } => self.suspect(since),
        }
        self.at = Some(head);
        Ok(true)
    }

    /// What happened above `since` is to be looked at again.
    pub(super) fn suspect(&mut self, since: Epoch) {
        self.suspect_since = Some(self.suspect_since.map_or(since, |before| before.min(since)));
    }

    /// Looks again at every sector that a fork may have changed; after a start, only once what was lost on the way is
    /// dispatched, because it asks the chain about many of them.
    pub(super) async fn recheck(&mut self) {
        if !self.status.has_passed() {
            return;
        }
        let (Some(since), Some(head)) = (self.suspect_since, self.at.clone()) else { return };
        match self.recheck_all(since, &head).await {
            Ok(Look::Sure) => self.suspect_since = None,
            Ok(Look::Unsure) => {}
            Err(error) => {
                tracing::warn!("read sectors after a fork, again at the next head: {}", host::exit::chain(&error));
            }
        }
    }

    async fn recheck_all(&self, since: Epoch, head: &TipSet) -> Result<Look, QueueError> {
        let mut look = Look::Sure;
        let mut scan = self.carrier.driver.registry().scan().await?;
        while let Some(scanned) = scan.next().await? {
            // One that cannot be read is the reconciler's to report.
            let Scanned::Entry(entry) = scanned else { continue };
            let record = entry.value;
            match self.recheck_sector(&record, since, head).await {
                Ok(Look::Sure) => {}
                Ok(Look::Unsure) => look = Look::Unsure,
                Err(error) => {
                    tracing::warn!(sector = %record.id, "compare with the chain after a fork: {error:#}");
                    look = Look::Unsure;
                }
            }
        }
        Ok(look)
    }

    async fn recheck_sector(&self, record: &SectorRecord, since: Epoch, head: &TipSet) -> anyhow::Result<Look> {
        match record.state.of_chain() {
            SectorState::PreCommitted { pre_commit, .. } if pre_commit.epoch > since => {
                self.recheck_pre_commit(record.id, pre_commit, None, head).await
            }
            SectorState::SeedReady { pre_commit, seed, .. }
            | SectorState::C1Done { pre_commit, seed, .. }
            | SectorState::C2Done { pre_commit, seed, .. }
                if pre_commit.epoch > since =>
            {
                self.recheck_pre_commit(record.id, pre_commit, Some(*seed), head).await
            }
            SectorState::Proving { prove_commit: Some(prove_commit), activation, .. } if *activation > since => {
                self.recheck_prove_commit(record.id, prove_commit, *activation, head).await
            }
            _ => Ok(Look::Sure),
        }
    }

    async fn recheck_pre_commit(
        &self,
        sector: SectorId,
        pre_commit: &PreCommit,
        seed: Option<Drawn>,
        head: &TipSet,
    ) -> anyhow::Result<Look> {
        let found = self.carrier.chain.pre_commit(sector.miner, sector.number, &head.key).await?;
        match found {
            Some(found) if found.pre_commit_epoch == pre_commit.epoch => {
                let Some(seed) = seed else { return Ok(Look::Sure) };
                let drawn = self.carrier.draw_seed(sector.miner, pre_commit.epoch).await?;
                if drawn != seed {
                    tracing::warn!(%sector, epoch = seed.epoch, "a fork changed the seed: C1 and C2 are done again");
                    return Ok(self.tell(sector, Event::SeedDrawn { seed: drawn }).await);
                }
                return Ok(Look::Sure);
            }
            Some(found) => {
                let (was, is) = (pre_commit.epoch, found.pre_commit_epoch);
                tracing::warn!(%sector, was, is, "a fork moved the pre-commit");
            }
            None => match self.entry_of_known(pre_commit.message.as_ref()).await? {
                // The state says gone, the search says there: one of them is wrong, or about to change.
                Some(OutboxEntry { fate: Fate::Landed { settled: true, .. }, .. }) => return Ok(Look::Unsure),
                Some(_) => {
                    tracing::warn!(%sector, epoch = pre_commit.epoch, "a fork took the pre-commit off the chain")
                }
                None => {
                    tracing::error!(%sector, "its pre-commit is not on chain, and its message not in the outbox");
                    return Ok(Look::Sure);
                }
            },
        }
        let Some(message) = pre_commit.message.clone() else {
            tracing::error!(%sector, "the message of its pre-commit is not known since a rebuild: rebuild again");
            return Ok(Look::Sure);
        };
        Ok(self.tell(sector, Event::PreCommitReorged { message }).await)
    }

    async fn recheck_prove_commit(
        &self,
        sector: SectorId,
        message: &MessageRef,
        activation: Epoch,
        head: &TipSet,
    ) -> anyhow::Result<Look> {
        let found = self.carrier.chain.sector(sector.miner, sector.number, &head.key).await?;
        if found.as_ref().is_some_and(|found| found.activation == activation) {
            return Ok(Look::Sure);
        }
        let Some(entry) = self.entry_of(message).await? else {
            tracing::error!(%sector, "the chain does not count it any more, and its message is not in the outbox");
            return Ok(Look::Sure);
        };
        if found.is_none() && matches!(entry.fate, Fate::Landed { settled: true, .. }) {
            return Ok(Look::Unsure);
        }
        let Some(proof) = proof_in(&entry, sector)? else {
            tracing::error!(%sector, nonce = message.nonce, "its prove-commit does not carry it");
            return Ok(Look::Sure);
        };
        tracing::warn!(%sector, activation, "a fork took the prove-commit off the chain, or moved it");
        Ok(self.tell(sector, Event::ProveCommitReorged { message: message.clone(), proof }).await)
    }

    /// The same, for a message that may not be known.
    async fn entry_of_known(&self, message: Option<&MessageRef>) -> anyhow::Result<Option<OutboxEntry>> {
        match message {
            Some(message) => self.entry_of(message).await,
            None => Ok(None),
        }
    }

    async fn entry_of(&self, message: &MessageRef) -> anyhow::Result<Option<OutboxEntry>> {
        match self.carrier.miners.sender_named(&message.sender) {
            Some(sender) => Ok(sender.entry(message).await?),
            None => Ok(None),
        }
    }

    async fn tell(&self, sector: SectorId, event: Event) -> Look {
        let told = self.told(sector, event).await;
        failpoint!("coordinator.onchain.fork-told");
        if told { Look::Sure } else { Look::Unsure }
    }

    /// What a prove-commit that failed on chain means for a sector: where its pre-commit or seed is not the recorded
    /// one any more, the proof was over the wrong seed and the sector is not to blame.
    pub(super) async fn prove_commit_void(&self, record: &SectorRecord) -> Result<Option<Option<Epoch>>, ChainError> {
        let SectorState::ProveCommitSent { pre_commit, seed, .. } = &record.state else { return Ok(None) };
        let SectorId { miner, number } = record.id;
        let Some(found) = self.carrier.chain.pre_commit(miner, number, &Vec::new()).await? else {
            let head = self.carrier.chain.head().await?.height;
            let expired = head > pre_commit.epoch.saturating_add(self.carrier.policy.prove_commit_duration_max);
            return Ok((!expired).then_some(None));
        };
        let epoch = found.pre_commit_epoch;
        let is_void = epoch != pre_commit.epoch || self.carrier.draw_seed(miner, epoch).await? != *seed;
        Ok(is_void.then_some(Some(epoch)))
    }
}

/// The proof that a prove-commit carries for a sector.
fn proof_in(entry: &OutboxEntry, sector: SectorId) -> anyhow::Result<Option<ProofBytes>> {
    let Some(signed) = entry.signed.last() else { return Ok(None) };
    let message = SignedMessage::from_cbor(&signed.bytes.0)?.message;
    Ok(proofs(&message.params)?.remove(&sector.number).map(ProofBytes))
}
