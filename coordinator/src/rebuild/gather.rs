//! Asks every agent what its stores hold.
//!
//! Agents announce themselves in `AGENTS`, within one heartbeat after the bucket is there again. Those that the data
//! folder remembers are waited for by name; those that nobody remembers are given the whole time to be heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streams::{
    call::AskError,
    error::QueueError,
    id::{AgentId, MinerId, SectorId, SectorNumber, StoreId},
    inventory::{Holding, Inventory, InventoryRequest},
    kv::{Bucket, BucketName},
    nats::Nats,
    records::AgentRecord,
};
use tokio::time::Instant;

/// How long one page may take: an agent reads a few hundred small files for it.
const PAGE_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked who has announced himself.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the stores hold, all of them together.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Who told.
    pub(crate) agents: BTreeSet<AgentId>,
    /// By sector; a store that several agents have open is counted once.
    pub(crate) holdings: BTreeMap<SectorId, Vec<Holding>>,
    /// The highest number that any store ever held, by miner.
    pub(crate) high_water: BTreeMap<MinerId, SectorNumber>,
    /// Manifests that cannot be read, by path.
    pub(crate) unreadable: BTreeMap<String, String>,
}

/// Inventories that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    #[error("no answer from agent {} within {waited:?}", names(silent))]
    Silent { silent: BTreeMap<AgentId, String>, waited: Duration },
    #[error("no agent announced itself within {0:?}")]
    Nobody(Duration),
    #[error("read who is there")]
    Queue(#[from] QueueError),
}

fn names(silent: &BTreeMap<AgentId, String>) -> String {
    silent.iter().map(|(agent, why)| format!("{agent} ({why})")).collect::<Vec<_>>().join(", ")
}

/// Whom to ask, and for how long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whom {
    /// Those that are remembered.
    pub(crate) expected: BTreeSet<AgentId>,
    /// Those that a person says to go on without.
    pub(crate) without: BTreeSet<AgentId>,
    /// How long they may take to announce themselves and to answer.
    pub(crate) wait: Duration,
}

/// Asks until everybody who is expected, and everybody who announced himself, has told all.
pub(crate) async fn gather(nats: &Nats, whom: &Whom) -> Result<Held, GatherError> {
    let bucket: Bucket<AgentRecord> = Bucket::open(nats, BucketName::Agents).await?;
    let started = Instant::now();
    let mut held = Held::default();
    let mut silent: BTreeMap<AgentId, String> = whom
        .expected
        .difference(&whom.without)
        .map(|agent| (agent.clone(), "it did not announce itself".to_owned()))
        .collect();
    let is_known = !silent.is_empty();
    loop {
        let announced = bucket.keys(">").await?.into_iter().filter_map(|key| key.parse::<AgentId>().ok());
        for agent in announced.filter(|agent| !whom.without.contains(agent)).collect::<Vec<_>>() {
            if held.agents.contains(&agent) {
                continue;
            }
            match inventory(nats, &agent).await {
                Ok(pages) => {
                    tracing::info!(%agent, sectors = pages.iter().map(|page| page.holdings.len()).sum::<usize>(), "heard");
                    silent.remove(&agent);
                    pages.into_iter().for_each(|page| held.add(page));
                }
                Err(error) => {
                    silent.insert(agent, host::exit::chain(&error));
                }
            }
        }
        let waited = started.elapsed();
        if silent.is_empty() && (is_known || waited >= whom.wait) {
            return if held.agents.is_empty() { Err(GatherError::Nobody(whom.wait)) } else { Ok(held) };
        }
        if waited >= whom.wait {
            return Err(GatherError::Silent { silent, waited: whom.wait });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn inventory(nats: &Nats, agent: &AgentId) -> Result<Vec<Inventory>, AskError> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = nats.ask_agent(agent, &InventoryRequest { after }, PAGE_LIMIT).await?;
        let next = page.next;
        pages.push(page);
        match next {
            Some(next) if after < Some(next) => after = Some(next),
            // A cursor that does not move on would never end.
            _ => return Ok(pages),
        }
    }
}

impl Held {
    fn add(&mut self, page: Inventory) {
        let Inventory { agent, holdings, high_water, unreadable, next: _ } = page;
        self.agents.insert(agent);
        for holding in holdings {
            self.high(holding.sector.miner, holding.sector.number);
            let known = self.holdings.entry(holding.sector).or_default();
            // Agents of one place share its stores.
            let key = |holding: &Holding| -> (StoreId, bool) { (holding.store, holding.persistent) };
            if known.iter().all(|other| key(other) != key(&holding)) {
                known.push(holding);
            }
        }
        for (miner, number) in high_water {
            self.high(miner, number);
        }
        self.unreadable.extend(unreadable);
    }

    fn high(&mut self, miner: MinerId, number: SectorNumber) {
        let known = self.high_water.entry(miner).or_insert(number);
        *known = number.max(*known);
    }
}
