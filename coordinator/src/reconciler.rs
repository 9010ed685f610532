//! Finds what was lost on the way, without being told.
//!
//! A pass takes no input: it reads every record, one after another, and does again what the record wants. A pointer that
//! is already in the queue is refused there, an offer that is already known is ignored, so doing too much costs little.
//! A sector about which a result waits is left alone until that is settled, since it may be all that the sector waits for.

mod audit;
mod by_time;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chain::{ChainApi, policy::NetworkPolicy};
use streams::{
    error::QueueError,
    id::{SectorId, StoreId, Timestamp},
    kv::{Entry, Scanned},
    lost::LostStore,
    nats::Nats,
    report,
    sector::SectorRecord,
    subject::TaskSubject,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use self::audit::Audit;
use crate::{
    driver::{Driver, Pace},
    head::Head,
    miners::Miners,
    sector::{
        Action, wants,
        wants::{is_at_rest, pointer},
    },
    status::{Status, Tally},
    stores::LostStores,
};

/// How old what was seen may be for anything to be decided by it.
const SEEN_MAX: Duration = Duration::from_secs(5);

/// The pass and what it reads.
pub(crate) struct Reconciler {
    pub(crate) nats: Nats,
    pub(crate) driver: Driver,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) miners: Arc<Miners>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) head: Head,
    pub(crate) interval: Duration,
    pub(crate) stores: LostStores,
    /// A local store that is silent for so long is given up without a person.
    pub(crate) host_lost_after: Option<Duration>,
    pub(crate) status: Arc<Status>,
    /// Says "look now" and nothing else.
    pub(crate) wake: Arc<Notify>,
}

/// What was true when a pass began. Pointers are read first, then results, then records: a task that is finished in
/// between is seen by its pointer, by its result, or by what it made of the record.
struct Seen {
    /// When the results were read.
    at: Instant,
    queued: HashSet<TaskSubject>,
    unsettled: HashSet<SectorId>,
    lost: BTreeMap<StoreId, LostStore>,
}

/// What came of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Everything it wants is under way, waits, or is parked.
    InOrder,
    /// So many pointers were missing and are there again.
    Mended(usize),
    /// Something it wants could not be done.
    Orphan,
}

impl Reconciler {
    /// A pass at once, then one every interval.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut audit = Audit::new(self.driver.registry().clone());
        let mut unreadable = BTreeSet::new();
        loop {
            let started = Instant::now();
            let passed = tokio::select! {
                biased;
                passed = self.pass(&mut audit, &mut unreadable) => passed,
                () = cancel.cancelled() => return Ok(()),
            };
            match passed {
                Ok((tally, mended)) => {
                    if mended > 0 {
                        tracing::info!(mended, "reconciled");
                    }
                    if tally.orphans > 0 {
                        tracing::warn!(
                            orphans = tally.orphans,
                            "sectors that nothing moves: the next pass tries again"
                        );
                    }
                    self.status.passed(tally, self.driver.registry().now(), started.elapsed());
                    host::failpoint!("coordinator.reconciler.passed");
                    tokio::select! {
                        biased;
                        mended = audit.mend() => if mended > 0 { tracing::info!(mended, "lost events are written again") },
                        () = cancel.cancelled() => return Ok(()),
                    }
                }
                Err(error) => tracing::warn!("reconcile, the next pass will: {error:#}"),
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(self.interval) => {}
                () = self.wake.notified() => {}
                () = cancel.cancelled() => return Ok(()),
            }
        }
    }

    /// Returns what there is, and how many pointers were missing.
    async fn pass(&self, audit: &mut Audit, unreadable: &mut BTreeSet<String>) -> anyhow::Result<(Tally, usize)> {
        self.give_up_silent_stores().await;
        let mut seen = self.look_around().await?;
        host::failpoint!("coordinator.reconciler.looked_around");
        let mut scan = self.driver.registry().scan().await.context("read sectors")?;
        let mut tally = Tally::default();
        let mut mended = 0;
        let mut bad = BTreeSet::new();
        while let Some(scanned) = scan.next().await.context("read sectors")? {
            match scanned {
                Scanned::Unreadable { key, error } => {
                    report_once(&key, &error, unreadable);
                    tally.unreadable.push(key.clone());
                    tally.orphans += 1;
                    bad.insert(key);
                }
                Scanned::Entry(entry) => {
                    audit.note(&entry);
                    let Entry { value: record, .. } = entry;
                    tally.count(&record.state);
                    // A pass that is long, or that stood still in its midst, must not order what is done by now.
                    if seen.at.elapsed() > SEEN_MAX {
                        seen = self.look_around().await?;
                    }
                    match self.look_at(&record, &seen).await {
                        Found::InOrder => {}
                        Found::Mended(pointers) => mended += pointers,
                        Found::Orphan => tally.orphans += 1,
                    }
                }
            }
        }
        *unreadable = bad;
        Ok((tally, mended))
    }

    async fn look_around(&self) -> anyhow::Result<Seen> {
        let queued = report::task_pointers(&self.nats).await.context("read open pointers")?.into_iter().collect();
        let results = report::open_results(&self.nats).await.context("read the results that wait")?;
        // Not before: reading them may take longer than they are good for, and then each record would have them read.
        let at = Instant::now();
        let unsettled = results.into_iter().map(|result| result.sector).collect();
        // A mark that cannot be read must not keep the other sectors waiting.
        let lost = self.stores.all().await.unwrap_or_else(|error| {
            tracing::error!("read which stores are lost: {}", host::exit::chain(&error));
            BTreeMap::new()
        });
        Ok(Seen { at, queued, unsettled, lost })
    }

    async fn look_at(&self, record: &SectorRecord, seen: &Seen) -> Found {
        if seen.unsettled.contains(&record.id) {
            return Found::InOrder;
        }
        match self.due_by_time(record, seen).await {
            Some(true) => return Found::InOrder,
            Some(false) => return Found::Orphan,
            None => {}
        }
        if is_at_rest(&record.state) {
            return Found::InOrder;
        }
        let wanted = wants(record);
        let is_idle = wanted.is_empty();
        let now = self.driver.registry().now();
        // What waits longer than until the next pass is that one's: the time is in the record.
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let horizon = Timestamp(now.0.saturating_add(interval_ms));
        let is_mine = |action: &Action| is_due(action, horizon) && is_missing(record, action, &seen.queued);
        let missing: Vec<Action> = wanted.into_iter().filter(is_mine).collect();
        let is_pointer = |action: &&Action| matches!(action, Action::Publish { .. }) && is_due(action, now);
        let pointers = missing.iter().filter(is_pointer).count();
        let done = self.driver.carry_out(record, &missing, Pace::Wait).await;
        host::failpoint!("coordinator.reconciler.record_mended");
        match (done && !is_idle, pointers) {
            (false, _) => Found::Orphan,
            (true, 0) => Found::InOrder,
            (true, pointers) => Found::Mended(pointers),
        }
    }

    async fn give_up_silent_stores(&self) {
        let Some(limit) = self.host_lost_after else { return };
        let now = self.driver.registry().now();
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let silent = match self.stores.silent(now, limit_ms).await {
            Ok(silent) => silent,
            Err(error) => return tracing::warn!("read the stores: {}", host::exit::chain(&error)),
        };
        for store in silent {
            let because = format!("silent for {}", humantime::format_duration(limit));
            match self.stores.give_up(store.store, now, because.clone()).await {
                Ok(true) => tracing::error!(store = %store.store, place = %store.place, "given up as lost: {because}"),
                Ok(false) => {}
                Err(error) => tracing::warn!(store = %store.store, "give it up: {}", host::exit::chain(&error)),
            }
        }
    }
}

fn report_once(key: &str, error: &QueueError, known: &BTreeSet<String>) {
    if !known.contains(key) {
        tracing::error!(key, "a sector's record cannot be read, and nothing moves it: {}", host::exit::chain(error));
    }
}

fn is_missing(record: &SectorRecord, action: &Action, queued: &HashSet<TaskSubject>) -> bool {
    match action {
        Action::Publish { stage, .. } => pointer(record, *stage).is_none_or(|(subject, _)| !queued.contains(&subject)),
        Action::OfferPreCommit
        | Action::OfferProveCommit
        | Action::Follow { .. }
        | Action::AwaitSeed { .. }
        | Action::Succeed
        | Action::DropArtifact(_) => true,
    }
}

/// Whether an action need not wait beyond `now`.
fn is_due(action: &Action, now: Timestamp) -> bool {
    match action {
        Action::Publish { not_before, .. } => not_before.is_none_or(|due| due <= now),
        Action::OfferPreCommit
        | Action::OfferProveCommit
        | Action::Follow { .. }
        | Action::AwaitSeed { .. }
        | Action::Succeed
        | Action::DropArtifact(_) => true,
    }
}
