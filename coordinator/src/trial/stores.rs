//! What a pretended agent keeps: manifests that outlive it, the coordinator and the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex},
    time::Duration,
};

use streams::{
    id::{AgentId, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    inventory::{Cursor, Holding, Inventory, InventoryRequest, PAGE_HOLDINGS_MAX},
    kv::{Bucket, BucketName},
    message::Facts,
    nats::Nats,
    proof::{Bytes32, Drawn, SealProof},
    records::AgentRecord,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

/// Small, so that a test asks for several; large where there are thousands.
const PAGE: usize = 3;
/// From so many on, pages are as large as they may be.
const MANY: usize = 100;
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
    /// So many sectors, with layers or a replica of a young ticket.
    pub(super) fn fill(&self, miner: MinerId, count: u64) {
        let comm_d = Bytes32([2; 32]);
        let mut holdings = self.holdings.lock().unwrap();
        for number in 1..=count {
            let sector = SectorId { miner, number: SectorNumber(number) };
            let mut done = vec![Facts::Place { store: local_store() }, Facts::TreeD { comm_d }, Facts::Pc1 {}];
            if number % 2 == 0 {
                done.push(Facts::Pc2 { comm_d, comm_r: Bytes32([7; 32]) });
            }
            let held = Holding {
                store: local_store(),
                place: "trial".parse().unwrap(),
                persistent: false,
                sector,
                proof: SealProof::Drg2KiBV1_1,
                pieces: Vec::new(),
                incarnation: Incarnation::FIRST,
                generation: 1,
                ticket: Some(Drawn { epoch: 1, value: Bytes32([5; 32]) }),
                done,
                sealed_sha256: None,
                attached: None,
                placed_at: Timestamp(1),
            };
            holdings.insert((local_store(), sector), held);
        }
    }

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
            attached: None,
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
                duty: streams::duty::Duty::Serving,
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
        let size = if holdings.len() < MANY { PAGE } else { PAGE_HOLDINGS_MAX };
        let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded((after.store, after.sector)));
        let rest: Vec<&Holding> =
            holdings.range((begin, Bound::Unbounded)).map(|(_, held)| held).take(size + 1).collect();
        let page: Vec<Holding> = rest.iter().take(size).copied().cloned().collect();
        let last = page.last().map(|held| Cursor { store: held.store, sector: held.sector });
        Inventory {
            agent: agent.clone(),
            high_water: Vec::new(),
            unreadable: Vec::new(),
            next: last.filter(|_| rest.len() > size),
            holdings: page,
        }
    }
}

fn ticket(state: &SectorState) -> Option<Drawn> {
    match state {
        SectorState::Ticketed { ticket, .. } | SectorState::Pc1Done { ticket, .. } => Some(*ticket),
        state => state.sealed().map(|sealed| sealed.ticket),
    }
}
