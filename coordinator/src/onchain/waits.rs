//! What waits for the chain: messages until they are settled, seeds until their epoch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chain::{api::TipSet, fork::Heads};
use host::failpoint;
use streams::{
    id::{Epoch, SectorId},
    records::Fate,
    sector::MessageRef,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{head::Head, onchain::Carrier, sector::Event, status::Status};

/// The waits of a leading coordinator. They are kept in memory alone: the reconciler notes them again.
pub(crate) struct Waits {
    pub(super) carrier: Arc<Carrier>,
    head: Head,
    pub(super) status: Arc<Status>,
    follows: mpsc::Receiver<MessageRef>,
    seeds: mpsc::Receiver<(SectorId, Epoch)>,
    messages: BTreeSet<MessageRef>,
    sectors: BTreeMap<SectorId, Epoch>,
    /// The heads of our own node so far.
    pub(super) heads: Heads,
    /// The last of them.
    pub(super) at: Option<TipSet>,
    /// There was a fork: what happened above this height is to be compared with the chain.
    pub(super) suspect_since: Option<Epoch>,
}

impl Waits {
    pub(crate) fn new(
        carrier: Arc<Carrier>,
        head: Head,
        status: Arc<Status>,
        follows: mpsc::Receiver<MessageRef>,
        seeds: mpsc::Receiver<(SectorId, Epoch)>,
    ) -> Self {
        let heads = Heads::new(carrier.policy.finality);
        let (messages, sectors) = (BTreeSet::new(), BTreeMap::new());
        Self { carrier, head, status, follows, seeds, messages, sectors, heads, at: None, suspect_since: None }
    }

    /// Looks at the chain with every head, and at what is new at once.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                // In one order, so that one seed of the simulator is one run.
                biased;
                changed = self.head.changed() => match changed {
                    Ok(()) => self.at_new_head().await,
                    // Who tells heads ends with the service, a moment before this does.
                    Err(_) => {
                        cancel.cancelled().await;
                        return Ok(());
                    }
                },
                Some(message) = self.follows.recv() => {
                    self.messages.insert(message.clone());
                    self.look_at(&message).await;
                }
                Some((sector, pre_commit)) = self.seeds.recv() => {
                    self.sectors.insert(sector, pre_commit);
                    // After a restart they come by the ten thousand: only one that is due is worth looking at them all.
                    let due = self.carrier.seed_epoch(pre_commit).saturating_add(self.carrier.policy.seed_confidence);
                    if self.head.borrow().as_ref().is_some_and(|head| head.epoch > due) {
                        self.draw_due_seeds().await;
                    }
                }
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    pub(super) fn head_epoch(&mut self) -> Option<Epoch> {
        self.head.borrow_and_update().as_ref().map(|head| head.epoch)
    }

    async fn at_new_head(&mut self) {
        self.head.mark_unchanged();
        match self.look_at_head().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!("look at the chain, again at the next head: {error}");
                return;
            }
        }
        for sender in self.carrier.miners.senders() {
            match sender.pump().await {
                Ok(pumped) => {
                    for refusal in pumped.refused {
                        let (nonce, error) = (refusal.message.nonce, refusal.error);
                        tracing::warn!(sender = sender.sender(), nonce, "the node does not take a message: {error}");
                    }
                }
                Err(error) => {
                    tracing::warn!(sender = sender.sender(), "look after the outbox: {}", host::exit::chain(&error))
                }
            }
        }
        failpoint!("coordinator.onchain.pumped");
        for message in self.messages.clone() {
            self.look_at(&message).await;
        }
        self.recheck().await;
        self.draw_due_seeds().await;
    }

    async fn draw_due_seeds(&mut self) {
        let Some(head) = self.head_epoch() else { return };
        let confidence = self.carrier.policy.seed_confidence;
        let due: Vec<(SectorId, Epoch)> = self
            .sectors
            .iter()
            .filter(|(_, pre_commit)| head > self.carrier.seed_epoch(**pre_commit).saturating_add(confidence))
            .map(|(sector, pre_commit)| (*sector, *pre_commit))
            .collect();
        for (sector, pre_commit) in due {
            let drawn = match self.carrier.seed_of(sector, pre_commit).await {
                Ok(Some(seed)) => seed,
                // It is not where the record says: the next look at the chain tells the sector.
                Ok(None) => {
                    self.suspect(pre_commit.saturating_sub(1));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%sector, "draw the seed, again at the next head: {error}");
                    continue;
                }
            };
            if self.told(sector, Event::SeedDrawn { seed: drawn }).await {
                failpoint!("coordinator.onchain.seed-told");
                self.sectors.remove(&sector);
            }
        }
    }

    /// Tells the sectors of a message what became of it, once that is settled.
    async fn look_at(&mut self, message: &MessageRef) {
        let Some(sender) = self.carrier.miners.sender_named(&message.sender) else { return };
        let entry = match sender.entry(message).await {
            Ok(Some(entry)) => entry,
            // Not signed yet, or never: the reconciler decides which.
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(
                    sender = message.sender,
                    nonce = message.nonce,
                    "read the outbox: {}",
                    host::exit::chain(&error)
                );
                return;
            }
        };
        let all_know = match entry.fate {
            Fate::Landed { settled: true, .. } => self.settle(&entry).await,
            Fate::Displaced { .. } => self.displaced(&entry).await,
            _ => false,
        };
        if all_know {
            self.messages.remove(message);
        }
    }

    /// Whether the record has it, or has refused it.
    pub(super) async fn told(&self, sector: SectorId, event: Event) -> bool {
        match self.carrier.driver.tell(sector, event).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%sector, "{}", host::exit::chain(&error));
                false
            }
        }
    }
}
