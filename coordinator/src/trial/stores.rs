//! What a pretended agent keeps: manifests that outlive it, the coordinator and the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use streams::{
    id::{AgentId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    inventory::{Cursor, Holding, Inventory, InventoryRequest},
    kv::{Bucket, BucketName},
    message::Facts,
    nats::Nats,
    records::AgentRecord,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

/// Small, so that a test asks for several.
const PAGE: usize = 3;
const HEARTBEAT: Duration = Duration::from_millis(200);

/// A sector's holdings by whether they are persisted.
type Holdings = BTreeMap<(StoreId, SectorId), Holding>;

/// Manifests, and stages that are not worked on for now.
#[derive(Debug, Clone, Default)]
pub(super) struct Stores {
    holdings: Arc<Mutex<Holdings>>,
    brakes: Arc<Mutex<BTreeSet<(SectorNumber, Stage)>>>,
}

fn local_store() -> StoreId {
    StoreId(uuid::Uuid::from_u128(1))
}

fn persistent_store() -> StoreId {
    StoreId(uuid::Uuid::from_u128(2))
}

impl Stores {
    /// Leaves a sector before this stage until [`Stores::release`].
    pub(super) fn brake(&self, number: u64, stage: Stage) {
        self.brakes.lock().unwrap().insert((SectorNumber(number), stage));
    }

    pub(super) fn release(&self) {
        self.brakes.lock().unwrap().clear();
    }

    pub(super) fn is_braked(&self, sector: SectorId, stage: Stage) -> bool {
        self.brakes.lock().unwrap().contains(&(sector.number, stage))
    }

    /// Writes a stage into the manifests.
    pub(super) fn keep(&self, record: &SectorRecord, place: &Place, facts: Facts) {
        let mut holdings = self.holdings.lock().unwrap();
        let (generation, ticket) = (record.state.placement().map_or(1, |at| at.generation), ticket(&record.state));
        let local = holdings.entry((local_store(), record.id)).or_insert_with(|| Holding {
            store: local_store(),
            place: place.clone(),
            persistent: false,
            sector: record.id,
            proof: record.proof,
            pieces: record.pieces.clone(),
            incarnation: record.incarnation,
            generation,
            ticket: None,
            done: Vec::new(),
            sealed_sha256: None,
            placed_at: record.submitted_at,
        });
        let stage = facts.stage();
        if stage == Stage::Unseal {
            return;
        }
        local.generation = generation;
        local.ticket = ticket;
        local.incarnation = record.incarnation;
        if stage <= Stage::Pc2 {
            local.done.retain(|known| known.stage() < stage);
        }
        local.done.retain(|known| known.stage() != stage);
        local.done.push(facts.clone());
        if let Facts::Persist { sealed_sha256, .. } = facts {
            let copy = Holding {
                store: persistent_store(),
                persistent: true,
                sealed_sha256: Some(sealed_sha256),
                ..local.clone()
            };
            holdings.insert((persistent_store(), record.id), copy);
        }
    }

    /// Says that the agent is there, again and again.
    pub(super) async fn announce(self, nats: Nats, agent: AgentId, place: Place) {
        loop {
            let record = AgentRecord {
                agent: agent.clone(),
                place: place.clone(),
                host: "trial".to_owned(),
                pid: 1,
                run: uuid::Uuid::nil(),
                version: "0".to_owned(),
                started_at: Timestamp(0),
                at: Timestamp(0),
                classes: Vec::new(),
                jobs: Vec::new(),
            };
            // The bucket may be gone, and come back.
            if let Ok(bucket) = Bucket::<AgentRecord>::open(&nats, BucketName::Agents).await {
                drop(bucket.put(agent.as_str(), &record).await);
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    /// Answers inventories, page by page.
    pub(super) async fn answer(self, nats: Nats, agent: AgentId) {
        let mut calls = nats.serve(&format!("ctl.agent.{agent}.*")).await.unwrap();
        while let Some(call) = calls.next().await {
            let request: InventoryRequest = call.decode().unwrap();
            let page = self.page(&agent, request.after);
            call.answer(&page).await.unwrap();
        }
    }

    fn page(&self, agent: &AgentId, after: Option<Cursor>) -> Inventory {
        let holdings = self.holdings.lock().unwrap();
        let rest: Vec<&Holding> = holdings
            .values()
            .filter(|held| after.is_none_or(|after| Cursor { store: held.store, sector: held.sector } > after))
            .collect();
        let page: Vec<Holding> = rest.iter().take(PAGE).copied().cloned().collect();
        let last = page.last().map(|held| Cursor { store: held.store, sector: held.sector });
        Inventory {
            agent: agent.clone(),
            high_water: Vec::new(),
            unreadable: Vec::new(),
            next: last.filter(|_| rest.len() > PAGE),
            holdings: page,
        }
    }
}

fn ticket(state: &SectorState) -> Option<streams::proof::Drawn> {
    match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(*ticket),
        state => state.sealed().map(|sealed| sealed.ticket),
    }
}
