//! Carries out what a step decided: pointers to tasks, offers to batches, waits for the chain.
//!
//! Nothing here is remembered for good. What is lost on the way, the reconciler finds missing and does again.

use std::{sync::Arc, time::Duration};

use host::tasks::Tasks;
use streams::{
    artifact::Artifacts,
    error::QueueError,
    id::{SectorId, Timestamp},
    nats::{Nats, Published},
    sector::{MessageRef, SectorRecord},
    stage::Stage,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    registry::{Applied, Registry, RegistryError},
    sector::{Action, Event, wants, wants::pointer},
};

/// How many notes to the on-chain part may wait; what does not fit is offered again by the reconciler.
pub(crate) const NOTES_MAX: usize = 65_536;

/// A time to wait that is longer than this is kept by the record alone, and the reconciler sees it pass.
const SLEEP_MAX: Duration = Duration::from_secs(600);

/// How often, and how many times, a repeated task looks whether its predecessor has left the queue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: u32 = 45;
const OVERSLEPT: Duration = Duration::from_secs(5);

/// Which kind of message a sector is offered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PreCommit,
    ProveCommit,
}

/// A sector that could go into a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) sector: SectorId,
    pub(crate) kind: Kind,
    pub(crate) since: Timestamp,
}

/// Notes to the parts that wait for the chain.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    pub(crate) offers: mpsc::Sender<Offer>,
    pub(crate) follows: mpsc::Sender<MessageRef>,
    pub(crate) seeds: mpsc::Sender<(SectorId, streams::id::Epoch)>,
    pub(crate) successions: mpsc::Sender<SectorId>,
}

/// What to do when too many notes wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Leave it to the reconciler: who is told something must not wait for others.
    Drop,
    /// Wait until there is room.
    Wait,
}

/// Moves sectors. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Driver {
    inner: Arc<Inner>,
}

struct Inner {
    nats: Nats,
    registry: Registry,
    artifacts: Artifacts,
    notes: Notes,
    tasks: Tasks,
}

impl Driver {
    pub(crate) async fn new(nats: Nats, registry: Registry, notes: Notes, tasks: Tasks) -> Result<Self, QueueError> {
        let artifacts = Artifacts::open(&nats).await?;
        Ok(Self { inner: Arc::new(Inner { nats, registry, artifacts, notes, tasks }) })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Tells a sector that something happened, and does what follows from it.
    pub(crate) async fn tell(&self, id: SectorId, event: Event) -> Result<Applied, RegistryError> {
        let applied = self.inner.registry.apply(id, &event).await?;
        match &applied {
            Applied::Moved(step) => {
                self.carry_out(&step.next, &step.actions, Pace::Drop).await;
                tracing::info!(sector = %id, state = step.next.state.name(), "{}", step.what);
                host::failpoint!("coordinator.driver.carried_out");
                self.publish_event(&step.next).await;
                host::failpoint!("coordinator.driver.event_published");
            }
            Applied::Refused(refused) => tracing::debug!(sector = %id, "\"{}\" refused: {refused}", event.name()),
        }
        Ok(applied)
    }

    /// Begins a sector that was just created.
    pub(crate) async fn begin(&self, record: &SectorRecord) {
        self.carry_out(record, &wants(record), Pace::Drop).await;
        host::failpoint!("coordinator.driver.begun");
        self.publish_event(record).await;
    }

    /// Does what a record wants, whether it was done before or not. Whether all of it is done, or waits for its time.
    pub(crate) async fn carry_out(&self, record: &SectorRecord, actions: &[Action], pace: Pace) -> bool {
        let mut all = true;
        for action in actions {
            all &= self.carry_out_one(record, action, pace).await;
        }
        all
    }

    async fn carry_out_one(&self, record: &SectorRecord, action: &Action, pace: Pace) -> bool {
        let notes = &self.inner.notes;
        match action {
            Action::Publish { stage, not_before } => self.publish_when_due(record, *stage, *not_before).await,
            Action::OfferPreCommit => self.note("offer", &notes.offers, offer(record, Kind::PreCommit), pace).await,
            Action::OfferProveCommit => self.note("offer", &notes.offers, offer(record, Kind::ProveCommit), pace).await,
            Action::Follow { message } => self.note("follow", &notes.follows, message.clone(), pace).await,
            Action::AwaitSeed { pre_commit } => self.note("seed", &notes.seeds, (record.id, *pre_commit), pace).await,
            Action::Succeed => self.note("succession", &notes.successions, record.id, pace).await,
            Action::DropArtifact(artifact) => {
                if let Err(error) = self.inner.artifacts.delete(&artifact.name).await {
                    tracing::debug!(sector = %record.id, "delete artifact {}: {error}", artifact.name);
                }
                true
            }
        }
    }

    async fn note<T: Send>(&self, what: &str, notes: &mpsc::Sender<T>, note: T, pace: Pace) -> bool {
        let taken = match pace {
            Pace::Drop => notes.try_send(note).is_ok(),
            Pace::Wait => {
                let token = self.inner.tasks.token();
                tokio::select! {
                    biased;
                    sent = notes.send(note) => sent.is_ok(),
                    () = token.cancelled() => false,
                }
            }
        };
        if !taken {
            tracing::debug!("{NOTES_MAX} notes wait for the chain: the {what} is made again by the reconciler");
        }
        taken
    }

    /// An attempt that has just failed is repeated after its pause; anything else at once.
    async fn publish_when_due(&self, record: &SectorRecord, stage: Stage, not_before: Option<Timestamp>) -> bool {
        let wait_ms = not_before.map_or(0, |due| due.ms_since(self.inner.registry.now()));
        if wait_ms == 0 {
            return self.publish(record, stage).await.is_some();
        }
        if Duration::from_millis(wait_ms) > SLEEP_MAX {
            return true;
        }
        let driver = self.clone();
        let id = record.id;
        let token = self.inner.tasks.token();
        let name = format!("retry {stage} of {id}");
        let span = tracing::info_span!("retry", sector = %id, %stage);
        self.inner.tasks.spawn_once(
            name,
            async move {
                if !slept(Duration::from_millis(wait_ms), &token).await {
                    return Ok(());
                }
                // The failed attempt's pointer may not be acknowledged yet: until it is, this one has no room.
                for _ in 0..LOOKS_MAX {
                    match driver.inner.registry.get(id).await {
                        Ok(record) if !driver.is_still_queued(&record, stage).await => return Ok(()),
                        Ok(_) => {}
                        Err(error) => tracing::warn!("read the sector: {error}"),
                    }
                    if !slept(LOOK_EVERY, &token).await {
                        return Ok(());
                    }
                }
                Ok(())
            }
            .instrument(span),
        );
        true
    }

    /// Publishes a stage that is still wanted; whether an older pointer was in its place.
    async fn is_still_queued(&self, record: &SectorRecord, stage: Stage) -> bool {
        let wanted = wants(record).iter().any(|a| matches!(a, Action::Publish { stage: s, .. } if *s == stage));
        wanted && self.publish(record, stage).await == Some(Published::AlreadyQueued)
    }

    async fn publish(&self, record: &SectorRecord, stage: Stage) -> Option<Published> {
        let Some((subject, task)) = pointer(record, stage) else {
            tracing::error!(sector = %record.id, %stage, "a bound stage is wanted and the sector has no place");
            return None;
        };
        match self.inner.nats.publish_task(&subject, &task).await {
            Ok(published) => {
                host::failpoint!("coordinator.driver.pointer_published");
                tracing::debug!(sector = %record.id, %stage, ?published, "task");
                Some(published)
            }
            Err(error) => {
                tracing::warn!(sector = %record.id, %stage, "publish {subject}, the reconciler will: {error}");
                None
            }
        }
    }

    /// Writes the record's last transition into the audit.
    async fn publish_event(&self, record: &SectorRecord) {
        if let Err(error) = self.inner.registry.trail().tell(record).await {
            tracing::warn!(sector = %record.id, seq = record.seq, "publish event, the reconciler will: {error}");
        }
    }
}

/// Sleeps; whether that took as long as it should. A program that stood still knows nothing of what was done meanwhile:
/// the reconciler reads the results before it orders anything.
async fn slept(time: Duration, cancel: &CancellationToken) -> bool {
    let began = Instant::now();
    tokio::select! {
        biased;
        () = tokio::time::sleep(time) => began.elapsed() < time + OVERSLEPT,
        () = cancel.cancelled() => false,
    }
}

const fn offer(record: &SectorRecord, kind: Kind) -> Offer {
    Offer { sector: record.id, kind, since: record.entered_at }
}
