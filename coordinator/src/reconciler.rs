//! Finds what was lost on the way, without being told.
//!
//! A pass takes no input: it reads every record and does again what the record wants. A pointer that is already in the
//! queue is refused there, an offer that is already known is ignored, so doing too much costs little. It acts only when
//! the results that were there at its start are settled, since such a result may be all that a sector waits for.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use chain::policy::NetworkPolicy;
use streams::{
    nats::Nats,
    pull::Intake,
    report,
    sector::{MessageRef, SectorRecord, SectorState},
    subject::TaskSubject,
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::Driver,
    head::Head,
    miners::Miners,
    sector::{
        Action, Event, wants,
        wants::{is_at_rest, pointer},
    },
    tickets::{is_too_old, pending_ticket},
};

/// How long a pass waits for results to be settled before it gives up until the next one.
const DRAIN_MAX: Duration = Duration::from_secs(30);
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// A message joined so recently may still be on its way into the outbox, in a coordinator that lost its lease.
const OUTBOX_GRACE_MS: u64 = 60_000;

/// The pass and what it reads.
pub(crate) struct Reconciler {
    pub(crate) nats: Nats,
    pub(crate) driver: Driver,
    pub(crate) miners: Arc<Miners>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) head: Head,
    pub(crate) interval: Duration,
}

impl Reconciler {
    /// A pass at once, then one every interval.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let intake = Intake::results(&self.nats).await?;
        loop {
            match self.pass(&intake, &cancel).await {
                Ok(0) => {}
                Ok(mended) => tracing::info!(mended, "reconciled"),
                Err(error) => tracing::warn!("reconcile, the next pass will: {error:#}"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    /// Returns how many pointers were missing.
    async fn pass(&self, intake: &Intake, cancel: &CancellationToken) -> anyhow::Result<usize> {
        if !drained(intake, cancel).await? {
            return Ok(0);
        }
        // Pointers first: one that is taken and finished between the two reads shows up as missing, is published once
        // more and refused by the record; the other order could overlook one.
        let queued: HashSet<TaskSubject> =
            report::task_pointers(&self.nats).await.context("read open pointers")?.into_iter().collect();
        let records = self.driver.registry().all(None).await.context("read sectors")?;
        let mut mended = 0;
        for record in records.iter().filter(|record| !is_at_rest(&record.state)) {
            if self.is_moved_on(record).await {
                continue;
            }
            let missing: Vec<Action> =
                wants(record).into_iter().filter(|action| is_missing(record, action, &queued)).collect();
            mended += missing.iter().filter(|action| matches!(action, Action::Publish { .. })).count();
            self.driver.carry_out(record, &missing).await;
        }
        Ok(mended)
    }

    /// Tells the sector what became true by time alone. Whether it did.
    async fn is_moved_on(&self, record: &SectorRecord) -> bool {
        let head = self.head.borrow().as_ref().map(|head| head.epoch);
        let event = match (pending_ticket(&record.state), head) {
            (Some(ticket), Some(head)) if is_too_old(&self.policy, ticket.epoch, head) => {
                Some(Event::TicketExpired { head })
            }
            _ => self.never_sent(record).await,
        };
        let Some(event) = event else { return false };
        if let Err(error) = self.driver.tell(record.id, event).await {
            tracing::warn!(sector = %record.id, "{}", host::exit::chain(&error));
        }
        true
    }

    async fn never_sent(&self, record: &SectorRecord) -> Option<Event> {
        let (SectorState::PreCommitSent { message, .. } | SectorState::ProveCommitSent { message, .. }) = &record.state
        else {
            return None;
        };
        if self.driver.registry().now().ms_since(record.entered_at) < OUTBOX_GRACE_MS {
            return None;
        }
        self.is_absent(record, message).await.then(|| Event::NeverSent { message: message.clone() })
    }

    async fn is_absent(&self, record: &SectorRecord, message: &MessageRef) -> bool {
        let Some(sender) = self.miners.sender_named(&message.sender) else {
            tracing::error!(sector = %record.id, sender = message.sender, "it joined a message of a sender that is not configured any more");
            return false;
        };
        match sender.entry(message).await {
            Ok(Some(entry)) => !entry.sectors.contains(&record.id.number) || entry.miner != record.id.miner,
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(sector = %record.id, "read the outbox: {}", host::exit::chain(&error));
                false
            }
        }
    }
}

fn is_missing(record: &SectorRecord, action: &Action, queued: &HashSet<TaskSubject>) -> bool {
    match action {
        Action::Publish { stage, .. } => pointer(record, *stage).is_some_and(|(subject, _)| !queued.contains(&subject)),
        Action::OfferPreCommit
        | Action::OfferProveCommit
        | Action::Follow { .. }
        | Action::AwaitSeed { .. }
        | Action::DropArtifact(_) => true,
    }
}

/// Waits until every result that is there now is settled.
async fn drained(intake: &Intake, cancel: &CancellationToken) -> anyhow::Result<bool> {
    let wanted = intake.backlog().await.context("read the backlog of results")?.last_sequence;
    let until = tokio::time::Instant::now() + DRAIN_MAX;
    loop {
        let backlog = intake.backlog().await.context("read the backlog of results")?;
        if backlog.is_drained_to(wanted) {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= until {
            tracing::warn!(
                pending = backlog.pending,
                unacked = backlog.unacked,
                "results are not settled: nothing is reconciled now"
            );
            return Ok(false);
        }
        tokio::select! {
            () = tokio::time::sleep(DRAIN_LOOK) => {}
            () = cancel.cancelled() => return Ok(false),
        }
    }
}
