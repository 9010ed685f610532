//! The claim of a job, kept for as long as the job runs and taken again when it was lost.
//!
//! A claim is lost while this process stands still, or with the whole queue. The work is none the worse for it: once
//! nobody else holds the claim, and the record still waits for this stage in this generation, it is ours again, as the
//! attempt that it was.

use std::time::Duration;

use streams::{
    error::QueueError,
    id::{Place, SectorId},
    kv::Bucket,
    message::ClaimRef,
    sector::SectorRecord,
    stage::Stage,
};

use crate::{
    claim::{Claims, Held, LetGo, Life, Taken},
    request::{self, Due},
};

/// The claim of one job.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) claims: Claims,
    pub(crate) sectors: Bucket<SectorRecord>,
    pub(crate) place: Place,
    pub(crate) sector: SectorId,
    pub(crate) stage: Stage,
    /// Under which claim the work is, or was.
    pub(crate) reference: ClaimRef,
    pub(crate) held: Option<Box<Held>>,
    pub(crate) stale_after: Duration,
}

/// What came of a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// The claim is ours.
    Ours,
    /// It is ours again, in another life of the queue.
    OursInNewLife,
    /// Another has it, or there is no record that waits for this work.
    Lost,
}

impl Tenure {
    /// Says that the work goes on. The work goes on even when the claim is lost, and its result is offered; but the
    /// task in the queue is then not ours to prolong.
    pub(crate) async fn beat(&mut self) -> Result<Beat, QueueError> {
        if let Some(held) = &mut self.held
            && held.beat().await?
        {
            return Ok(Beat::Ours);
        }
        self.held = None;
        self.take_again().await
    }

    async fn take_again(&mut self) -> Result<Beat, QueueError> {
        let Some(record) = self.sectors.get(&self.sector.key()).await?.map(|entry| entry.value) else {
            return Ok(Beat::Lost);
        };
        let Some(life) = life_of(&record, self.stage, &self.place, self.reference.generation) else {
            return Ok(Beat::Lost);
        };
        let attempt = Some(self.reference.attempt);
        match self.claims.take(self.sector, self.stage, life, self.stale_after, attempt).await? {
            Taken::Busy { .. } => Ok(Beat::Lost),
            Taken::Mine(held) => {
                let before = self.reference.incarnation;
                self.reference = held.reference();
                self.held = Some(held);
                tracing::info!(incarnation = %life.incarnation, "the claim is ours again");
                Ok(if before == life.incarnation { Beat::Ours } else { Beat::OursInNewLife })
            }
        }
    }

    /// Whether another may have the claim.
    pub(crate) const fn is_lost(&self) -> bool {
        self.held.is_none()
    }

    /// Leaves the claim, if it is ours.
    pub(crate) async fn let_go(self, how: LetGo) {
        let Some(held) = self.held else { return };
        if let Err(error) = held.let_go(how).await {
            // It ends by itself after ack_wait.
            tracing::warn!("let the claim go: {:#}", anyhow::Error::from(error));
        }
        host::failpoint!("agent.claim.let_go");
    }
}

/// The life in which a record waits for a stage of `generation` here; none when it does not.
fn life_of(record: &SectorRecord, stage: Stage, here: &Place, generation: u32) -> Option<Life> {
    let is_due = request::due(stage, record, here) == Due::Now;
    let same = generation_of(record) == generation;
    (is_due && same).then_some(Life { generation, incarnation: record.incarnation })
}

/// The generation that claims on a record's stages carry.
pub(crate) fn generation_of(record: &SectorRecord) -> u32 {
    record.state.placement().map_or(0, |at| at.generation)
}

/// The life a record's stages are claimed in.
pub(crate) fn current_life(record: &SectorRecord) -> Life {
    Life { generation: generation_of(record), incarnation: record.incarnation }
}
