//! An agent that answers every task at once, truthfully unless told otherwise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use streams::{
    artifact::Artifacts,
    control::TicketRequest,
    id::{AgentId, Place, StoreId, Timestamp},
    kv::{Bucket, BucketName},
    layout::ensure_class,
    message::{ClaimRef, Facts, Failure, FailureClass, Outcome, Task, TaskResult, decode},
    nats::Nats,
    proof::{Bytes32, ProofBytes},
    pull::Puller,
    sector::{SectorRecord, SectorState},
    stage::{Class, Stage},
    subject::Whither,
};
use tokio::task::JoinSet;

use super::{node::pretended_proof, stores::Stores};
use crate::verify::{commitments, statement};

const PULL: Duration = Duration::from_secs(2);

/// What to do wrong the next time a stage comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Lie,
    Fail(FailureClass),
}

/// The faults still to come.
pub(super) type Faults = Arc<Mutex<BTreeMap<Stage, Vec<Fault>>>>;

/// The agent; it ends when dropped.
pub(super) struct Agent {
    _pulls: JoinSet<()>,
}

#[derive(Clone)]
struct Worker {
    nats: Nats,
    sectors: Bucket<SectorRecord>,
    place: Place,
    agent: AgentId,
    faults: Faults,
    pieces: Arc<Vec<u8>>,
    stores: Stores,
}

impl Agent {
    pub(super) async fn start(nats: &Nats, faults: Faults, payload: Vec<u8>) -> Self {
        Self::with_stores(nats, faults, payload, Stores::default()).await
    }

    /// An agent whose stores outlive it and the queue.
    pub(super) async fn with_stores(nats: &Nats, faults: Faults, payload: Vec<u8>, stores: Stores) -> Self {
        let place: Place = "trial".parse().unwrap();
        let worker = Worker {
            nats: nats.clone(),
            sectors: Bucket::open(nats, BucketName::Sectors).await.unwrap(),
            place: place.clone(),
            agent: "pretender".parse().unwrap(),
            faults,
            pieces: Arc::new(payload),
            stores: stores.clone(),
        };
        let mut pulls = JoinSet::new();
        pulls.spawn(stores.clone().announce(nats.clone(), worker.agent.clone(), place.clone()));
        pulls.spawn(stores.answer(nats.clone(), worker.agent.clone()));
        let at = Whither::At(place);
        for (class, whither) in [
            (Class::Pc1Cpu, Whither::Any),
            (Class::C2Gpu, Whither::Any),
            (Class::Pc1Cpu, at.clone()),
            (Class::Pc2Gpu, at.clone()),
            (Class::Io, at),
        ] {
            ensure_class(nats, class, &whither, Duration::from_secs(10)).await.unwrap();
            let puller = Puller::open(nats, class, &whither).await.unwrap();
            let worker = worker.clone();
            pulls.spawn(async move {
                loop {
                    let Ok(Some(delivery)) = puller.next(PULL).await else { continue };
                    let task: Task = decode(delivery.payload()).unwrap();
                    if let Some(result) = worker.work(&task).await {
                        worker.nats.publish_result(&result).await.unwrap();
                    }
                    delivery.ack().await.unwrap();
                }
            });
        }
        Self { _pulls: pulls }
    }
}

impl Worker {
    async fn work(&self, task: &Task) -> Option<TaskResult> {
        let record = self.sectors.get(&task.sector.key()).await.unwrap()?.value;
        if self.stores.is_braked(task.sector, task.stage) {
            return None;
        }
        let now = Timestamp(record.entered_at.0 + 1);
        let generation = record.state.placement().map_or(0, |at| at.generation);
        let fault = self.faults.lock().unwrap().get_mut(&task.stage).and_then(Vec::pop);
        let outcome = match fault {
            Some(Fault::Fail(class)) => Outcome::Failed {
                failure: Failure { class, code: "pretended".to_owned(), message: "as told".to_owned() },
            },
            other => {
                let facts = self.facts(task, &record, other == Some(Fault::Lie)).await?;
                // As a real agent does: files first, the result after.
                let latest = self.sectors.get(&task.sector.key()).await.unwrap()?.value;
                self.stores.keep(&latest, &self.place, facts.clone());
                Outcome::Done { facts }
            }
        };
        Some(TaskResult {
            sector: task.sector,
            stage: task.stage,
            agent: self.agent.clone(),
            place: self.place.clone(),
            claim: ClaimRef { attempt: 1, fence: 1, generation, incarnation: record.incarnation },
            started_at: now,
            ended_at: Timestamp(now.0 + 1),
            outcome,
        })
    }

    async fn facts(&self, task: &Task, record: &SectorRecord, lie: bool) -> Option<Facts> {
        let store = StoreId(uuid::Uuid::from_u128(1));
        let wrong = Bytes32([9; 32]);
        let comm_d = if lie { wrong } else { prover::comm_d(record.proof, &commitments(record)).unwrap() };
        Some(match task.stage {
            Stage::Place => Facts::Place { store },
            Stage::AddPiece => Facts::AddPiece {
                pieces: record.pieces.iter().map(|p| if lie { wrong } else { p.commitment }).collect(),
            },
            Stage::TreeD => Facts::TreeD { comm_d },
            Stage::Pc1 => {
                let request = TicketRequest { sector: record.id, agent: self.agent.clone() };
                self.nats.ask(&request, Duration::from_secs(20)).await.ok()?;
                Facts::Pc1 {}
            }
            Stage::Pc2 => Facts::Pc2 { comm_d, comm_r: Bytes32([7; 32]) },
            Stage::Persist => Facts::Persist { store, sealed_sha256: Bytes32([5; 32]) },
            Stage::C1 => {
                let file = tempfile::NamedTempFile::new().unwrap();
                let name = format!("c1.{}", record.id.key());
                Facts::C1 {
                    artifact: Artifacts::open(&self.nats).await.unwrap().put(&name, file.path()).await.unwrap(),
                }
            }
            Stage::C2 => {
                let mut proof = pretended_proof(&statement(record)?);
                if lie {
                    proof[0] ^= 1;
                }
                Facts::C2 { proof: ProofBytes(proof) }
            }
            Stage::Finalize => Facts::Finalize {},
            Stage::Unseal => {
                assert!(matches!(record.state, SectorState::Proving { .. }));
                let order = task.unseal.clone().unwrap();
                let web = reqwest::Client::new();
                let sent = web.put(&order.deliver_to).body(self.pieces.as_ref().clone()).send().await.unwrap();
                assert!(sent.status().is_success(), "{}", sent.status());
                Facts::Unseal { sha256: wrong }
            }
        })
    }
}
