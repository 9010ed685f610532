//! What became of a message, told to the sectors it carries.

use std::collections::BTreeMap;

use chain::params::batch_failures;
use host::failpoint;
use streams::{
    id::SectorId,
    records::{Fate, OutboxEntry},
};

use super::waits::Waits;
use crate::sector::{Event, Landing, OnChain, PRE_COMMIT, PROVE_COMMIT};

/// The effect of a message on a sector, at the head.
enum Seen {
    There(Event),
    NotThere,
    /// To be looked at again at the next head.
    Unknown,
}

impl Waits {
    /// Another message has its nonce for good. Whether every sector of it knows.
    ///
    /// The chain's state is asked first: the node's search can miss a message that landed, and a sector that left it
    /// then would be sent twice.
    pub(super) async fn displaced(&self, entry: &OutboxEntry) -> bool {
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
            failpoint!("coordinator.onchain.displacement-told");
        }
        all_know
    }

    /// Whether every sector of it knows.
    pub(super) async fn settle(&self, entry: &OutboxEntry) -> bool {
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
            let failed = failures.get(&index).copied().or_else(|| (*exit_code != 0).then_some(*exit_code));
            // What it did on chain counts, whatever is said of its receipt.
            let event = match (self.seen(entry, sector, landing.clone()).await, failed) {
                (Seen::There(event), _) => event,
                (Seen::NotThere, Some(code)) => match self.failed(entry, sector, &landing, code).await {
                    Some(event) => event,
                    None => {
                        all_know = false;
                        continue;
                    }
                },
                (Seen::NotThere, None) => {
                    tracing::debug!(%sector, "{} landed and its effect is not at this head", entry.method);
                    all_know = false;
                    continue;
                }
                (Seen::Unknown, _) => {
                    all_know = false;
                    continue;
                }
            };
            all_know &= self.told(sector, event).await;
            failpoint!("coordinator.onchain.landing-told");
        }
        all_know
    }

    /// What a message that failed on chain means for a sector; `None` when that cannot be known now.
    async fn failed(&self, entry: &OutboxEntry, sector: SectorId, landing: &Landing, code: u32) -> Option<Event> {
        let sector_code = (landing.exit_code == 0).then_some(code);
        let failed = Event::MessageFailed { landing: landing.clone(), sector_code };
        if entry.method != PROVE_COMMIT {
            return Some(failed);
        }
        let record = match self.carrier.driver.registry().get(sector).await {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(%sector, "{}", host::exit::chain(&error));
                return None;
            }
        };
        match self.prove_commit_void(&record).await {
            Ok(None) => Some(failed),
            Ok(Some(epoch)) => Some(Event::ProveCommitVoid { landing: landing.clone(), exit_code: code, epoch }),
            Err(error) => {
                tracing::warn!(%sector, "read its pre-commit, again at the next head: {error}");
                None
            }
        }
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
}
