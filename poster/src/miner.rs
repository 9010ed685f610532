//! One miner's windows: the current one, the next one from its challenge on, and those that wait to be final.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chain::api::TipSet;
use streams::{
    id::{Epoch, MinerId},
    records::PostRecord,
};
use tracing::{Instrument as _, info_span, warn};

use crate::{
    deadline::{Phase, Window},
    reading::{self, MinerReading},
    tools::Tools,
    window::WindowWork,
};

/// Periods after which a proof is deleted from `POSTS`.
const PERIODS_KEPT: Epoch = 2;

/// A miner at work.
pub(crate) struct MinerWork {
    miner: MinerId,
    reading: Option<MinerReading>,
    windows: BTreeMap<Epoch, WindowWork>,
    /// Index of the deadline at whose beginning old proofs were last deleted.
    tidied: Option<u64>,
}

impl MinerWork {
    pub(crate) const fn new(miner: MinerId) -> Self {
        Self { miner, reading: None, windows: BTreeMap::new(), tidied: None }
    }

    /// The window that opens at `open`, if it is at work.
    pub(crate) fn window(&mut self, open: Epoch) -> Option<&mut WindowWork> {
        self.windows.get_mut(&open)
    }

    /// Whether this poster leads any of its windows.
    pub(crate) fn is_leading(&self) -> bool {
        self.windows.values().any(WindowWork::is_leading)
    }

    /// Looks at every window. What fails is logged, and looked at again at the next head.
    pub(crate) async fn at_head(&mut self, head: &TipSet, results_drained: bool, tools: &Tools) {
        if let Err(error) = self.begin_windows(head, tools).await {
            warn!(miner = %self.miner, "look at the miner: {error:#}");
        }
        for (open, work) in &mut self.windows {
            let span = info_span!("window", miner = %self.miner, open);
            async {
                if let Err(error) = work.at_head(head, results_drained, tools).await {
                    warn!("look at the window: {error:#}");
                }
                if work.is_finished() {
                    work.release().await;
                }
            }
            .instrument(span)
            .await;
        }
        self.windows.retain(|_, work| !work.is_finished());
    }

    async fn begin_windows(&mut self, head: &TipSet, tools: &Tools) -> anyhow::Result<()> {
        let now = tools.chain.proving_deadline(self.miner, &head.key).await.context("read the current deadline")?;
        let reading = match self.reading {
            Some(reading) => reading,
            None => {
                let reading = reading::miner(&*tools.chain, self.miner, head).await?;
                // A window that closed while no poster ran: its proof may have landed and not be written down.
                let since = head.height.saturating_sub(now.challenge_window);
                for record in tools.posts.unsettled(self.miner, since).await.context("read proofs")? {
                    let window = window_of(&record, now.challenge_lookback);
                    self.windows.entry(window.open).or_insert_with(|| WindowWork::new(window, reading));
                }
                *self.reading.insert(reading)
            }
        };
        for window in [Window::current(&now), Window::following(&now)] {
            if window.phase(head.height, tools.policy.timing) != Phase::Early {
                self.windows.entry(window.open).or_insert_with(|| WindowWork::new(window, reading));
            }
        }
        if self.tidied.replace(now.index) != Some(now.index) {
            let before = head.height.saturating_sub(now.proving_period.saturating_mul(PERIODS_KEPT));
            tools.posts.forget(self.miner, before).await.context("delete old proofs")?;
        }
        Ok(())
    }

    /// Renews leases between heads.
    pub(crate) async fn renew_leases(&mut self, tools: &Tools) {
        for (open, work) in &mut self.windows {
            if work.is_leading()
                && let Err(error) = work.hold_lease(tools).await
            {
                warn!(miner = %self.miner, open, "renew lease: {error:#}");
            }
        }
    }

    /// Gives every lease back.
    pub(crate) async fn release(&mut self) {
        for work in self.windows.values_mut() {
            work.release().await;
        }
    }
}

/// The window of a stored proof.
const fn window_of(record: &PostRecord, challenge_lookback: Epoch) -> Window {
    Window {
        miner: record.miner,
        deadline: record.deadline,
        open: record.open,
        close: record.close,
        challenge: record.open.saturating_sub(challenge_lookback),
    }
}
