//! A place's disks, which outlive every process, and the work that is done on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use prover::{SealStatement, WindowPostStatement};
use sealer_agent::simulated::{Hands, Stopped};
use sha2::{Digest as _, Sha256};
use streams::{
    id::{AgentId, SectorId, SectorNumber, StoreId},
    message::{ArtifactRef, ClaimRef, Facts, Failure, FailureClass, PostOutcome, PostTask, PostWork},
    model::{Model, Random},
    proof::{Bytes32, Commitment, Drawn, ProofBytes},
    sector::{SectorRecord, SectorState},
    stage::Stage,
};
use uuid::Uuid;

use super::proofs::{seal_proof, window_proof};

/// How often what goes wrong with a child, of a million.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WorkRates {
    /// It dies.
    pub(crate) crashes: u32,
    /// Its result is not true.
    pub(crate) lies: u32,
    /// The disk is full.
    pub(crate) full: u32,
}

/// Injected failures of one stage of one sector: fewer than it takes to park it.
const FAILURES_MAX: u32 = 2;

#[derive(Debug, Default)]
struct Folder {
    generation: u32,
    ticket: Option<Drawn>,
    done: BTreeSet<Stage>,
    comm_r: Option<Commitment>,
    locked: bool,
}

/// The disks of one place.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    folders: BTreeMap<SectorId, Folder>,
    persisted: BTreeMap<SectorId, Commitment>,
    failures: BTreeMap<(SectorId, Stage), u32>,
    /// Who works in a sector's folder.
    working: BTreeMap<SectorId, BTreeSet<AgentId>>,
    met: Vec<String>,
}

impl Disk {
    pub(crate) fn has_replica(&self, sector: SectorId) -> bool {
        self.persisted.contains_key(&sector)
    }

    /// Agents that met in one sector's folder.
    pub(crate) fn met(&self) -> &[String] {
        &self.met
    }
}

/// An agent's work in a sector's folder, which ends with it however it ends.
struct InFolder<'a> {
    worker: &'a Worker,
    sector: SectorId,
}

impl<'a> InFolder<'a> {
    fn enter(worker: &'a Worker, sector: SectorId, stage: Stage) -> Self {
        let mut disk = worker.disk();
        let there = disk.working.entry(sector).or_default();
        let others: Vec<String> = there.iter().map(ToString::to_string).collect();
        there.insert(worker.agent.clone());
        if !others.is_empty() {
            let (agent, others) = (&worker.agent, others.join(", "));
            disk.met.push(format!("I12: {agent} began {stage} in the folder of sector {sector}, where {others} works"));
        }
        Self { worker, sector }
    }
}

impl Drop for InFolder<'_> {
    fn drop(&mut self) {
        if let Some(there) = self.worker.disk().working.get_mut(&self.sector) {
            there.remove(&self.worker.agent);
        }
    }
}

/// One agent's hands on its place's disks.
pub(crate) struct Worker {
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) model: Model,
    pub(crate) agent: AgentId,
    pub(crate) place_number: u128,
    pub(crate) zero_comm_d: Commitment,
    pub(crate) rates: Arc<Mutex<WorkRates>>,
    pub(crate) random: Mutex<Random>,
    /// Whether locks are granted to everybody.
    pub(crate) lockless: bool,
}

/// What is wrong with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Lie,
    Crash,
    Full,
}

impl Worker {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that holds what is being sealed.
    fn local(&self) -> StoreId {
        StoreId(Uuid::from_u128(self.place_number))
    }

    fn persistent(&self) -> StoreId {
        StoreId(Uuid::from_u128(100 + self.place_number))
    }

    async fn take_time(&self, stage: Stage) {
        let (least, most) = match stage {
            Stage::Place => (20, 200),
            Stage::AddPiece | Stage::TreeD | Stage::C1 | Stage::Finalize | Stage::Unseal => (300, 3_000),
            Stage::Pc1 => (15_000, 70_000),
            Stage::Pc2 => (5_000, 20_000),
            Stage::Persist => (2_000, 9_000),
            Stage::C2 => (8_000, 30_000),
        };
        let time = self.random().between(least, most);
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    /// Whether something goes wrong with this run; not so often that a sector would be given up.
    fn wrong(&self, sector: SectorId, stage: Stage) -> Option<Wrong> {
        let rates = *self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random();
        let wrong = if random.strikes(rates.crashes) {
            Wrong::Crash
        } else if random.strikes(rates.lies) {
            Wrong::Lie
        } else if random.strikes(rates.full) {
            Wrong::Full
        } else {
            return None;
        };
        drop(random);
        let mut disk = self.disk();
        let failures = disk.failures.entry((sector, stage)).or_default();
        *failures += 1;
        (*failures <= FAILURES_MAX).then_some(wrong)
    }

    /// The stage on the sector's own folder.
    fn on_folder(&self, stage: Stage, record: &SectorRecord, lie: bool) -> Result<Facts, Stopped> {
        let at = record.state.placement().ok_or_else(|| back("the record has no place"))?;
        let mut disk = self.disk();
        if at.store != self.local() {
            return Err(back("the store is not open here"));
        }
        let folder = disk.folders.get_mut(&record.id).ok_or_else(|| failed(FailureClass::Park, "sector-missing"))?;
        let comm_d = if lie { digest("another CommD") } else { self.zero_comm_d };
        if folder.generation != at.generation {
            folder.generation = at.generation;
            folder.ticket = None;
            folder.done.retain(|done| *done < Stage::Pc1);
        }
        let facts = match stage {
            Stage::AddPiece => Facts::AddPiece { pieces: Vec::new() },
            Stage::TreeD => Facts::TreeD { comm_d },
            Stage::Pc1 => {
                let SectorState::Ticketed { ticket, .. } = record.state else { return Err(back("no ticket")) };
                folder.ticket = Some(ticket);
                folder.done.retain(|done| *done < Stage::Pc1);
                Facts::Pc1 {}
            }
            Stage::Pc2 => {
                let SectorState::Pc1Done { ticket, .. } = record.state else { return Err(back("not after PC1")) };
                if folder.ticket != Some(ticket) || !folder.done.contains(&Stage::Pc1) {
                    return Err(failed(FailureClass::RedoFrom(Stage::Pc1), "layers-missing"));
                }
                let comm_r = digest(&format!("replica {} {}", record.id, ticket.value));
                folder.comm_r = Some(comm_r);
                Facts::Pc2 { comm_d, comm_r }
            }
            Stage::Persist => {
                let comm_r = folder.comm_r.filter(|_| folder.done.contains(&Stage::Pc2));
                let comm_r = comm_r.ok_or_else(|| failed(FailureClass::RedoFrom(Stage::Pc2), "replica-incomplete"))?;
                disk.persisted.insert(record.id, comm_r);
                return Ok(Facts::Persist { store: self.persistent(), sealed_sha256: comm_r });
            }
            _ => Facts::Finalize {},
        };
        folder.done.insert(stage);
        Ok(facts)
    }

    fn c1(&self, record: &SectorRecord, claim: ClaimRef) -> Result<Facts, Stopped> {
        let SectorState::SeedReady { sealed, seed, .. } = &record.state else { return Err(back("no seed")) };
        let disk = self.disk();
        let folder = disk.folders.get(&record.id).ok_or_else(|| failed(FailureClass::Park, "sector-missing"))?;
        if folder.comm_r != Some(sealed.comm_r) {
            return Err(failed(FailureClass::Park, "replica-differs"));
        }
        let name = format!("c1/{}/{}/{}", record.id.key(), claim.fence, self.random().next());
        let words = format!("{} {} {}", sealed.ticket.value, seed.value, sealed.comm_r);
        self.model.put_artifact(&name, words.as_bytes());
        let bytes = u64::try_from(words.len()).unwrap_or(0);
        Ok(Facts::C1 { artifact: ArtifactRef { name, bytes, sha256: digest(&words) } })
    }

    fn c2(&self, record: &SectorRecord, lie: bool) -> Result<Facts, Stopped> {
        let SectorState::C1Done { sealed, seed, c1, .. } = &record.state else { return Err(back("no C1")) };
        if self.model.artifact(&c1.name).is_none() {
            return Err(failed(FailureClass::RedoFrom(Stage::C1), "lost-c1"));
        }
        let mut proof = seal_proof(&SealStatement {
            proof: record.proof,
            miner: record.id.miner,
            number: record.id.number,
            comm_r: sealed.comm_r,
            comm_d: sealed.comm_d,
            ticket: sealed.ticket,
            seed: *seed,
        });
        if lie && let Some(byte) = proof.first_mut() {
            *byte ^= 1;
        }
        Ok(Facts::C2 { proof: ProofBytes(proof) })
    }
}

#[async_trait]
impl Hands for Worker {
    async fn seal(&self, stage: Stage, record: &SectorRecord, claim: ClaimRef) -> Result<Facts, Stopped> {
        let wrong = self.wrong(record.id, stage);
        let _in_folder =
            (stage.writes_in_place() && stage != Stage::Place).then(|| InFolder::enter(self, record.id, stage));
        self.take_time(stage).await;
        match wrong {
            Some(Wrong::Crash) => return Err(failed(FailureClass::RetryHere, "crashed")),
            Some(Wrong::Full) => return Err(failed(FailureClass::RetryHere, "no-space")),
            Some(Wrong::Lie) | None => {}
        }
        let lie = wrong == Some(Wrong::Lie);
        match stage {
            Stage::Place => {
                self.disk().folders.entry(record.id).or_default();
                Ok(Facts::Place { store: self.local() })
            }
            Stage::C1 => self.c1(record, claim),
            Stage::C2 => self.c2(record, lie),
            Stage::Unseal => Err(failed(FailureClass::Abort, "not-simulated")),
            Stage::AddPiece | Stage::TreeD | Stage::Pc1 | Stage::Pc2 | Stage::Persist | Stage::Finalize => {
                self.on_folder(stage, record, lie)
            }
        }
    }

    async fn post(&self, task: &PostTask) -> Result<PostOutcome, Stopped> {
        let (least, most) = if matches!(task.work, PostWork::Vanilla { .. }) { (500, 3_000) } else { (2_000, 9_000) };
        let time = self.random().between(least, most);
        tokio::time::sleep(Duration::from_millis(time)).await;
        match &task.work {
            PostWork::Vanilla { sectors, .. } => {
                let disk = self.disk();
                let (mut proven, mut bad) = (Vec::new(), Vec::new());
                for sector in sectors {
                    let id = SectorId { miner: task.miner, number: sector.number };
                    match disk.persisted.get(&id) {
                        Some(comm_r) if *comm_r == sector.comm_r => proven.push(sector.number),
                        _ => bad.push((sector.number, "no such replica here".to_owned())),
                    }
                }
                let PostTask { miner, open, partition, attempt, .. } = task;
                let name = format!("vanilla/{miner}/{open}/{partition}/{attempt}/{}", self.agent);
                self.model.put_artifact(&name, b"vanilla");
                let artifact = ArtifactRef { name, bytes: 7, sha256: digest("vanilla") };
                Ok(PostOutcome::Vanilla { artifact, proven, bad })
            }
            PostWork::Snark { sectors, vanilla } => {
                if vanilla.iter().any(|part| self.model.artifact(&part.artifact.name).is_none()) {
                    return Err(failed(FailureClass::RetryElsewhere, "lost-vanilla"));
                }
                let covered: BTreeSet<SectorNumber> = vanilla.iter().flat_map(|part| part.sectors.clone()).collect();
                if sectors.iter().any(|sector| !covered.contains(&sector.number)) {
                    return Err(failed(FailureClass::RetryElsewhere, "vanilla-missing"));
                }
                let sectors = sectors.iter().map(|sector| (sector.number, sector.comm_r)).collect();
                let (proof, miner, randomness) = (task.proof, task.miner, task.randomness);
                let proof = window_proof(&WindowPostStatement { proof, miner, randomness, sectors });
                Ok(PostOutcome::Snark { proof: ProofBytes(proof) })
            }
        }
    }

    fn lock(&self, record: &SectorRecord) -> bool {
        match self.disk().folders.get_mut(&record.id) {
            Some(folder) => !std::mem::replace(&mut folder.locked, true) || self.lockless,
            None => true,
        }
    }

    fn unlock(&self, record: &SectorRecord) {
        if let Some(folder) = self.disk().folders.get_mut(&record.id) {
            folder.locked = false;
        }
    }
}

fn digest(words: &str) -> Commitment {
    Bytes32(Sha256::digest(words).into())
}

fn failed(class: FailureClass, code: &str) -> Stopped {
    Stopped::Failed(Failure { class, code: code.to_owned(), message: "as simulated".to_owned() })
}

fn back(reason: &str) -> Stopped {
    Stopped::Back(Duration::from_secs(2), reason.to_owned())
}
