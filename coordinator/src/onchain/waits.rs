//! What waits for the chain: messages until they are settled, seeds until their epoch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chain::params::batch_failures;
use streams::{
    id::{Epoch, SectorId},
    records::{Fate, OutboxEntry},
    sector::MessageRef,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    head::Head,
    onchain::Carrier,
    sector::{Event, Landing, OnChain, PRE_COMMIT, PROVE_COMMIT},
};

/// The effect of a message on a sector, at the head.
enum Seen {
    There(Event),
    NotThere,
    /// To be looked at again at the next head.
    Unknown,
}

/// The waits of a leading coordinator. They are kept in memory alone: the reconciler notes them again.
pub(crate) struct Waits {
    carrier: Arc<Carrier>,
    head: Head,
    follows: mpsc::Receiver<MessageRef>,
    seeds: mpsc::Receiver<(SectorId, Epoch)>,
    messages: BTreeSet<MessageRef>,
    sectors: BTreeMap<SectorId, Epoch>,
}

impl Waits {
    pub(crate) const fn new(
        carrier: Arc<Carrier>,
        head: Head,
        follows: mpsc::Receiver<MessageRef>,
        seeds: mpsc::Receiver<(SectorId, Epoch)>,
    ) -> Self {
        Self { carrier, head, follows, seeds, messages: BTreeSet::new(), sectors: BTreeMap::new() }
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
                    self.draw_due_seeds().await;
                }
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    fn head_epoch(&mut self) -> Option<Epoch> {
        self.head.borrow_and_update().as_ref().map(|head| head.epoch)
    }

    async fn at_new_head(&mut self) {
        self.head.mark_unchanged();
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
        for message in self.messages.clone() {
            self.look_at(&message).await;
        }
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
            let drawn = match self.carrier.draw_seed(sector.miner, pre_commit).await {
                Ok(seed) => seed,
                Err(error) => {
                    tracing::warn!(%sector, "draw the seed, again at the next head: {error}");
                    continue;
                }
            };
            if self.told(sector, Event::SeedDrawn { seed: drawn }).await {
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

    /// Another message has its nonce for good. Whether every sector of it knows.
    ///
    /// The chain's state is asked first: the node's search can miss a message that landed, and a sector that left it
    /// then would be sent twice.
    async fn displaced(&self, entry: &OutboxEntry) -> bool {
        let mut all_know = true;
        for number in &entry.sectors {
            let sector = SectorId { miner: entry.miner, number: *number };
            let landing = Landing {
                message: entry.message.clone(),
                cid: entry.signed.last().map(|signed| signed.cid.clone()).unwrap_or_default(),
                height: 0,
                exit_code: 0,
                gas_used: 0,
            };
            let event = match self.seen(entry, sector, landing).await {
                Seen::There(mut event) => {
                    // No receipt says where it landed; what it did on chain does.
                    match &mut event {
                        Event::PreCommitLanded { landing, epoch } => landing.height = *epoch,
                        Event::ProveCommitLanded { landing, on_chain } => landing.height = on_chain.activation,
                        _ => {}
                    }
                    event
                }
                Seen::NotThere => {
                    let nonce = entry.message.nonce;
                    tracing::error!(%sector, nonce, "another message took the nonce of its {}", entry.method);
                    Event::NeverSent { message: entry.message.clone() }
                }
                Seen::Unknown => {
                    all_know = false;
                    continue;
                }
            };
            all_know &= self.told(sector, event).await;
        }
        all_know
    }

    /// Whether every sector of it knows.
    async fn settle(&self, entry: &OutboxEntry) -> bool {
        let Fate::Landed { cid, height, exit_code, return_value, gas_used, .. } = &entry.fate else { return false };
        let landing = Landing {
            message: entry.message.clone(),
            cid: cid.clone(),
            height: *height,
            exit_code: *exit_code,
            gas_used: *gas_used,
        };
        let failures: BTreeMap<usize, u32> = match (entry.method.as_str(), exit_code) {
            (PROVE_COMMIT, 0) => match batch_failures(&return_value.0) {
                Ok(failures) => failures.into_iter().collect(),
                Err(error) => {
                    tracing::error!(
                        nonce = entry.message.nonce,
                        "the return of {PROVE_COMMIT} cannot be read: {error}"
                    );
                    BTreeMap::new()
                }
            },
            _ => BTreeMap::new(),
        };
        let mut all_know = true;
        for (index, number) in entry.sectors.iter().enumerate() {
            let sector = SectorId { miner: entry.miner, number: *number };
            let event = match (failures.get(&index), exit_code) {
                (Some(code), _) => Event::MessageFailed { landing: landing.clone(), sector_code: Some(*code) },
                (None, 0) => match self.seen(entry, sector, landing.clone()).await {
                    Seen::There(event) => event,
                    Seen::NotThere => {
                        tracing::debug!(%sector, "{} landed and its effect is not at this head", entry.method);
                        all_know = false;
                        continue;
                    }
                    Seen::Unknown => {
                        all_know = false;
                        continue;
                    }
                },
                (None, _) => Event::MessageFailed { landing: landing.clone(), sector_code: None },
            };
            all_know &= self.told(sector, event).await;
        }
        all_know
    }

    /// What the chain's state says of a sector that joined a message.
    async fn seen(&self, entry: &OutboxEntry, sector: SectorId, landing: Landing) -> Seen {
        let chain = &self.carrier.chain;
        let head = Vec::new();
        let seen = match entry.method.as_str() {
            PRE_COMMIT => chain
                .pre_commit(sector.miner, sector.number, &head)
                .await
                .map(|found| found.map(|p| Event::PreCommitLanded { landing, epoch: p.pre_commit_epoch })),
            PROVE_COMMIT => self.seen_proving(sector, landing).await,
            other => {
                tracing::error!(%sector, "it joined a message of unknown method {other}");
                return Seen::Unknown;
            }
        };
        match seen {
            Ok(Some(event)) => Seen::There(event),
            Ok(None) => Seen::NotThere,
            Err(error) => {
                tracing::warn!(%sector, "read the sector from the chain, again at the next head: {error}");
                Seen::Unknown
            }
        }
    }

    async fn seen_proving(&self, sector: SectorId, landing: Landing) -> Result<Option<Event>, chain::ChainError> {
        let chain = &self.carrier.chain;
        let head = Vec::new();
        let Some(info) = chain.sector(sector.miner, sector.number, &head).await? else { return Ok(None) };
        let Some(at) = chain.sector_location(sector.miner, sector.number, &head).await? else { return Ok(None) };
        let on_chain = OnChain {
            activation: info.activation,
            expiration: info.expiration,
            deadline: at.deadline,
            partition: at.partition,
        };
        Ok(Some(Event::ProveCommitLanded { landing, on_chain }))
    }

    /// Whether the record has it, or has refused it.
    async fn told(&self, sector: SectorId, event: Event) -> bool {
        match self.carrier.driver.tell(sector, event).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%sector, "{}", host::exit::chain(&error));
                false
            }
        }
    }
}
