//! The loop: a wake-up, then a pass over every miner.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context as _;
use chain::api::TipSetKey;
use futures::future::join_all;
use host::failpoint;
use streams::{
    id::MinerId,
    message::{PostResult, decode},
    pull::{Delivery, Intake},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::{miner::MinerWork, tools::Tools, wake::Wake};

/// A result that no window of this poster answers to is given back this often, for another poster; then it is dropped.
const GIVEN_BACK_MAX: u64 = 5;
/// For so long, so that two posters do not throw it to and fro.
const GIVE_BACK_DELAY: Duration = Duration::from_millis(500);

/// The poster's state: one entry a miner.
pub(crate) struct Watcher {
    tools: Tools,
    intake: Intake,
    /// The miners to prove for; empty means every one that is seen.
    only: BTreeSet<MinerId>,
    miners: BTreeMap<MinerId, MinerWork>,
    wakes: mpsc::Receiver<Wake>,
    leading: watch::Sender<bool>,
    known: watch::Sender<Vec<MinerId>>,
    check_interval: Duration,
    /// The head of the last pass.
    looked_at: Option<TipSetKey>,
}

/// Whether a pass is made at a head that was looked at before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Always,
    IfMoved,
}

/// The ends of the channels that [`Watcher`] serves.
pub(crate) struct Channels {
    pub(crate) wakes: mpsc::Receiver<Wake>,
    /// Told whether any window is led.
    pub(crate) leading: watch::Sender<bool>,
    /// Told which miners are known, for the follower of the chain.
    pub(crate) known: watch::Sender<Vec<MinerId>>,
}

impl Watcher {
    pub(crate) fn new(
        tools: Tools,
        intake: Intake,
        only: BTreeSet<MinerId>,
        channels: Channels,
        check_interval: Duration,
    ) -> Self {
        let Channels { wakes, leading, known } = channels;
        let miners = only.iter().map(|miner| (*miner, MinerWork::new(*miner))).collect();
        Self { tools, intake, only, miners, wakes, leading, known, check_interval, looked_at: None }
    }

    /// Runs until `cancel`, then gives all leases back.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut renew = interval_at(Instant::now() + self.tools.lease_ttl / 3, self.tools.lease_ttl / 3);
        // The first tick comes at once: a poster that starts inside a window does not wait for the next head.
        let mut check = interval(self.check_interval);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Asked first: told to stop, the watches may be gone before this loop hears of it.
                biased;
                () = cancel.cancelled() => break,
                _ = renew.tick() => self.renew().await,
                wake = self.wakes.recv() => {
                    let wake = wake.context("the watches ended")?;
                    self.woken(wake).await;
                    check.reset();
                }
                _ = check.tick() => self.pass(Pass::IfMoved).await,
            }
        }
        for work in self.miners.values_mut() {
            work.release().await;
        }
        Ok(())
    }

    /// Takes everything that waits before it looks at the chain once.
    async fn woken(&mut self, first: Wake) {
        let mut look = false;
        let mut next = Some(first);
        while let Some(wake) = next {
            match wake {
                Wake::Head => look = true,
                Wake::Miner(miner) => look |= self.meet(miner),
                Wake::Result(delivery) => self.take(&delivery).await,
            }
            next = self.wakes.try_recv().ok();
        }
        if look {
            self.pass(Pass::Always).await;
        }
    }

    /// Notes a miner; `true` when it is a new one to prove for.
    fn meet(&mut self, miner: MinerId) -> bool {
        if self.miners.contains_key(&miner) || !(self.only.is_empty() || self.only.contains(&miner)) {
            return false;
        }
        info!(%miner, "a miner to prove for");
        self.miners.insert(miner, MinerWork::new(miner));
        self.known.send_replace(self.miners.keys().copied().collect());
        true
    }

    /// Looks at every window of every miner, by the poster's own node.
    async fn pass(&mut self, pass: Pass) {
        if let Err(error) = self.try_pass(pass).await {
            warn!("look at the chain: {error:#}");
        }
        self.leading.send_replace(self.miners.values().any(MinerWork::is_leading));
    }

    async fn try_pass(&mut self, pass: Pass) -> anyhow::Result<()> {
        let head = self.tools.chain.head().await.context("read the head")?;
        if pass == Pass::IfMoved && self.looked_at.as_ref() == Some(&head.key) {
            return Ok(());
        }
        let backlog = self.intake.backlog().await.context("read the results' backlog")?;
        let drained = backlog.pending == 0 && backlog.unacked == 0;
        let Self { miners, tools, .. } = self;
        join_all(miners.values_mut().map(|work| work.at_head(&head, drained, tools))).await;
        self.looked_at = Some(head.key);
        Ok(())
    }

    async fn renew(&mut self) {
        let Self { miners, tools, .. } = self;
        join_all(miners.values_mut().map(|work| work.renew_leases(tools))).await;
    }

    /// Takes in one result, and acknowledges it once what it brought is stored or of no use.
    async fn take(&mut self, delivery: &Delivery) {
        let result: PostResult = match decode(delivery.payload()) {
            Ok(result) => result,
            Err(error) => {
                warn!(subject = delivery.subject(), "result dropped: {:#}", anyhow::Error::from(error));
                let _ = delivery.term("unreadable").await;
                return;
            }
        };
        let span = info_span!("window", miner = %result.miner, open = result.open);
        let done = self.try_take(delivery, result).instrument(span).await;
        if let Err(error) = done {
            warn!(subject = delivery.subject(), "take result: {error:#}");
        }
    }

    async fn try_take(&mut self, delivery: &Delivery, result: PostResult) -> anyhow::Result<()> {
        let window = self.miners.get_mut(&result.miner).and_then(|miner| miner.window(result.open));
        match window {
            Some(window) if window.is_leading() => match window.take(result, &self.tools).await {
                Ok(()) => {
                    failpoint!("poster.watcher.result-used");
                    delivery.ack().await.context("acknowledge")?;
                    failpoint!("poster.watcher.result-acked");
                    Ok(())
                }
                Err(error) => {
                    delivery.nak(Some(GIVE_BACK_DELAY)).await.context("give back")?;
                    Err(error)
                }
            },
            _ if delivery.delivered() < GIVEN_BACK_MAX => {
                delivery.nak(Some(GIVE_BACK_DELAY)).await.context("give back")
            }
            _ => {
                debug!("result dropped: no poster leads its window");
                delivery.ack().await.context("acknowledge")
            }
        }
    }
}
