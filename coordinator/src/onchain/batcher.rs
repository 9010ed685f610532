//! Collects offered sectors and hands them to the carrier, batch by batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streams::id::{MinerId, SectorId, Timestamp};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::{BatchPolicy, Cut, cut},
    config::BatchSection,
    driver::{Kind, Offer},
    onchain::Carrier,
};

/// Pre-commits of about 110 bytes each; far below the 64 KiB of a message, and what other implementations use too.
const PRE_COMMITS_MAX: usize = 256;
/// Proofs of 1,920 bytes and manifests, within 64 KiB.
const PROVE_COMMITS_MAX: usize = 30;
/// A sector that could not be sent is offered again after this.
const OFFERED_AGAIN_MS: u64 = 5_000;
/// The longest sleep, so that a clock that jumps costs no more than this.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// What was sent, to be taken off the list.
struct Sent {
    kind: Kind,
    sectors: Vec<SectorId>,
    again: Vec<SectorId>,
}

/// Sectors that wait for a message.
pub(crate) struct Batcher {
    carrier: Arc<Carrier>,
    offers: mpsc::Receiver<Offer>,
    batch: BatchSection,
    waiting: BTreeMap<(Kind, MinerId), BTreeMap<SectorId, Timestamp>>,
    /// Not before this time, after a failure.
    paused: BTreeMap<(Kind, SectorId), Timestamp>,
    sending: BTreeSet<(Kind, SectorId)>,
}

impl Batcher {
    pub(crate) fn new(carrier: Arc<Carrier>, offers: mpsc::Receiver<Offer>, batch: BatchSection) -> Self {
        Self { carrier, offers, batch, waiting: BTreeMap::new(), paused: BTreeMap::new(), sending: BTreeSet::new() }
    }

    /// Sends batches until told to stop; those under way are finished first, since a message half sent is worse than
    /// one sent late.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut sending: JoinSet<Sent> = JoinSet::new();
        loop {
            let sleep = self.send_due(&mut sending);
            tokio::select! {
                // In one order, so that one seed of the simulator is one run.
                biased;
                offer = self.offers.recv() => match offer {
                    Some(offer) => self.take(offer),
                    None => break,
                },
                Some(sent) = sending.join_next() => match sent {
                    Ok(sent) => self.settle(sent),
                    Err(error) => anyhow::bail!("a batch ended: {error}"),
                },
                () = tokio::time::sleep(sleep) => {}
                () = cancel.cancelled() => break,
            }
        }
        while sending.join_next().await.is_some() {}
        Ok(())
    }

    fn take(&mut self, offer: Offer) {
        if !self.sending.contains(&(offer.kind, offer.sector)) {
            let waiting = self.waiting.entry((offer.kind, offer.sector.miner)).or_default();
            // An offer made again after a failure counts from then; the reconciler's says how long it really waits.
            let since = waiting.entry(offer.sector).or_insert(offer.since);
            *since = (*since).min(offer.since);
        }
    }

    fn settle(&mut self, sent: Sent) {
        let due = Timestamp(self.now().0.saturating_add(OFFERED_AGAIN_MS));
        for sector in sent.sectors {
            self.sending.remove(&(sent.kind, sector));
            self.paused.remove(&(sent.kind, sector));
        }
        for sector in sent.again {
            self.paused.insert((sent.kind, sector), due);
            self.take(Offer { sector, kind: sent.kind, since: self.now() });
        }
    }

    fn now(&self) -> Timestamp {
        self.carrier.driver.registry().now()
    }

    /// Sends every batch that is due and says when to look again.
    fn send_due(&mut self, sending: &mut JoinSet<Sent>) -> Duration {
        let now = self.now();
        let mut next: Option<Timestamp> = None;
        let mut wake = |at: Timestamp| next = Some(next.map_or(at, |n: Timestamp| n.min(at)));
        let mut batches = Vec::new();
        for ((kind, miner), waiting) in &mut self.waiting {
            let mut ready: Vec<(Timestamp, SectorId)> = Vec::new();
            for (sector, since) in waiting.iter() {
                match self.paused.get(&(*kind, *sector)) {
                    Some(due) if *due > now => wake(*due),
                    _ => ready.push((*since, *sector)),
                }
            }
            ready.sort_unstable();
            let since: Vec<Timestamp> = ready.iter().map(|(since, _)| *since).collect();
            match cut(&since, policy(&self.batch, *kind), now) {
                Cut::Idle => {}
                Cut::At(due) => wake(due),
                Cut::Now(count) => {
                    let sectors: Vec<SectorId> = ready.into_iter().take(count).map(|(_, sector)| sector).collect();
                    waiting.retain(|sector, _| !sectors.contains(sector));
                    batches.push((*kind, *miner, sectors));
                }
            }
        }
        let sent_any = !batches.is_empty();
        for (kind, miner, sectors) in batches {
            self.sending.extend(sectors.iter().map(|sector| (kind, *sector)));
            let carrier = Arc::clone(&self.carrier);
            sending.spawn(async move {
                let again = carrier.carry(kind, miner, &sectors).await;
                Sent { kind, sectors, again }
            });
        }
        if sent_any {
            // What did not fit into these may be due as well.
            return Duration::ZERO;
        }
        next.map_or(SLEEP_MAX, |at| Duration::from_millis(at.ms_since(now)).min(SLEEP_MAX))
    }
}

fn policy(batch: &BatchSection, kind: Kind) -> BatchPolicy {
    let (keys, sectors_max) = match kind {
        Kind::PreCommit => (&batch.pre_commit, PRE_COMMITS_MAX),
        Kind::ProveCommit => (&batch.prove_commit, PROVE_COMMITS_MAX),
    };
    BatchPolicy { threshold: keys.threshold, max_wait: keys.max_wait, sectors_max }
}
