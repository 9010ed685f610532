//! What the queue holds as true, mirrored in memory: who works on what, and how far each sector is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use streams::{
    error::QueueError,
    id::{SectorId, Timestamp},
    kv::{Bucket, BucketName, Change},
    message::Text,
    nats::Nats,
    records::{Claim, DeadlineNow},
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

const RETRY_EVERY: Duration = Duration::from_millis(300);

/// A stage that an agent works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) sector: SectorId,
    pub(super) stage: Stage,
    pub(super) claim: Claim,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, attempt {}", self.stage, self.sector, self.claim.attempt)
    }
}

impl Held {
    pub(super) fn key(&self) -> String {
        format!("{}.{}", self.sector.key(), self.stage)
    }

    /// The claim under a key, if its holder has not let go of it.
    pub(super) fn of(key: &str, claim: &Claim) -> Option<Self> {
        if claim.beat_at == Timestamp(0) {
            return None;
        }
        let (sector, stage) = key.rsplit_once('.')?;
        let (miner, number) = sector.split_once('.')?;
        let sector = format!("{miner}/{number}").parse().ok()?;
        Some(Self { sector, stage: stage.parse().ok()?, claim: claim.clone() })
    }
}

#[derive(Debug, Default)]
struct Mirror {
    sectors: BTreeMap<SectorId, SectorRecord>,
    claims: BTreeMap<String, Claim>,
    deadlines: BTreeMap<String, DeadlineNow>,
}

/// The mirror.
#[derive(Debug, Clone, Default)]
pub(super) struct View(Arc<Mutex<Mirror>>);

impl View {
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the queue until the trial ends.
    pub(super) async fn follow(self, nats: Nats) {
        let sectors = follow(&nats, BucketName::Sectors, ">", |change| match change {
            Change::Put(entry) => {
                let record: SectorRecord = entry.value;
                self.mirror().sectors.insert(record.id, record);
            }
            Change::Gone { .. } => {}
        });
        let claims = follow(&nats, BucketName::Claims, ">", |change| match change {
            Change::Put(entry) => drop(self.mirror().claims.insert(entry.key, entry.value)),
            Change::Gone { key } => drop(self.mirror().claims.remove(&key)),
        });
        let deadlines = follow(&nats, BucketName::Chain, "deadline.>", |change| match change {
            Change::Put(entry) => drop(self.mirror().deadlines.insert(entry.key, entry.value)),
            Change::Gone { key } => drop(self.mirror().deadlines.remove(&key)),
        });
        tokio::join!(sectors, claims, deadlines);
    }

    /// The queue lost everything: what is mirrored is no longer true.
    pub(super) fn forget(&self) {
        *self.mirror() = Mirror::default();
    }

    /// Every sector there is.
    pub(super) fn sectors(&self) -> Vec<SectorRecord> {
        self.mirror().sectors.values().cloned().collect()
    }

    pub(super) fn sector(&self, id: SectorId) -> Option<SectorRecord> {
        self.mirror().sectors.get(&id).cloned()
    }

    pub(super) fn claim(&self, key: &str) -> Option<Claim> {
        self.mirror().claims.get(key).cloned()
    }

    /// What an agent works on now.
    pub(super) fn held_by(&self, agent: &str) -> Vec<Held> {
        let mirror = self.mirror();
        let claims = mirror.claims.iter().filter(|(_, claim)| claim.agent.as_str() == agent);
        claims.filter_map(|(key, claim)| Held::of(key, claim)).filter(|held| mirror.is_wanted(held)).collect()
    }

    /// Sectors whose next step is the coordinator's: a batch to be cut, a message to be followed, a seed to be drawn.
    pub(super) fn with_the_coordinator(&self) -> Vec<SectorRecord> {
        let is_its = |record: &&SectorRecord| {
            matches!(
                record.state,
                SectorState::Pc2Done { .. }
                    | SectorState::PreCommitSent { .. }
                    | SectorState::PreCommitted { .. }
                    | SectorState::C2Done { .. }
                    | SectorState::ProveCommitSent { .. }
            )
        };
        self.mirror().sectors.values().filter(is_its).cloned().collect()
    }

    /// A deadline that is open and has live sectors in it: when it opens and closes.
    pub(super) fn open_deadline(&self, height: i64) -> Option<DeadlineNow> {
        let mirror = self.mirror();
        let has_sectors = |now: &DeadlineNow| {
            mirror.sectors.values().any(|record| {
                let at = match &record.state {
                    SectorState::Proving { deadline, activation, .. } => Some((*deadline, *activation)),
                    _ => None,
                };
                record.id.miner == now.miner && at.is_some_and(|(index, since)| index == now.index && since < now.open)
            })
        };
        mirror.deadlines.values().find(|now| now.open <= height && height < now.close && has_sectors(now)).copied()
    }
}

impl Mirror {
    /// A claim may stand for a while after its stage is done elsewhere; then nobody waits for it.
    fn is_wanted(&self, held: &Held) -> bool {
        self.sectors
            .get(&held.sector)
            .is_some_and(|record| !is_done(record) && next_stages(record).contains(&held.stage))
    }
}

/// Stages that a record in this state may wait for.
fn next_stages(record: &SectorRecord) -> Vec<Stage> {
    match &record.state {
        SectorState::Allocated {} => vec![Stage::Place],
        SectorState::Placed { .. } => vec![Stage::AddPiece, Stage::TreeD],
        SectorState::PiecesAdded { .. } => vec![Stage::TreeD],
        SectorState::TreeDDone { .. } | SectorState::Ticketed { .. } => vec![Stage::Pc1],
        SectorState::Pc1Done { .. } => vec![Stage::Pc2],
        SectorState::Pc2Done { .. } | SectorState::PreCommitSent { .. } | SectorState::PreCommitted { .. } => {
            vec![Stage::Persist]
        }
        SectorState::SeedReady { .. } => vec![Stage::Persist, Stage::C1],
        SectorState::C1Done { .. } => vec![Stage::Persist, Stage::C2],
        SectorState::C2Done { .. } | SectorState::ProveCommitSent { .. } => vec![Stage::Persist],
        SectorState::Proving { .. } => vec![Stage::Finalize],
        SectorState::Parked { .. } | SectorState::Aborted { .. } => Vec::new(),
        _ => Vec::new(),
    }
}

/// Proving, and trimmed to what proving needs.
pub(super) const fn is_done(record: &SectorRecord) -> bool {
    matches!(record.state, SectorState::Proving { finalized: true, .. })
}

/// Nothing more will happen to it by itself.
pub(super) const fn is_over(record: &SectorRecord) -> bool {
    is_done(record) || matches!(record.state, SectorState::Parked { .. } | SectorState::Aborted { .. })
}

async fn follow<T: Text>(nats: &Nats, name: BucketName, filter: &str, mut note: impl FnMut(Change<T>)) {
    loop {
        let followed: Result<(), QueueError> = async {
            let mut watch = Bucket::<T>::open(nats, name).await?.watch(filter).await?;
            loop {
                note(watch.next().await?);
            }
        }
        .await;
        if let Err(error) = followed {
            tracing::debug!("follow {name}: {}", host::exit::chain(&error));
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
