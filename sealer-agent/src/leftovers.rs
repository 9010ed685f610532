//! What killed agents left on this host: provers without a master, job directories, scratch.
//!
//! A job that goes on without its agent is left alone for a while: the agent may be started again, or the task comes
//! back to another one of the host. Only then is it ended; PC1 then begins again at its last whole layer.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::{
    adoption::Orphans,
    job_dir,
    store::{Stores, identity, partial, scratch},
};

/// Times `ack_wait` that a job is left alone without an agent: its task comes back after one.
const PATIENCE_WAITS: u32 = 3;
/// How long a copy that nobody goes on with keeps its room.
const COPY_PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Cleans up.
#[derive(Debug)]
pub(crate) struct Sweeper {
    home: PathBuf,
    stores: Stores,
    patience: Duration,
    orphans: Orphans,
}

impl Sweeper {
    pub(crate) fn new(home: &Path, stores: &Stores, ack_wait: Duration) -> Self {
        let patience = ack_wait.saturating_mul(PATIENCE_WAITS);
        Self { home: home.to_owned(), stores: stores.clone(), patience, orphans: Orphans::default() }
    }

    /// Cleans up once.
    pub(crate) fn sweep(&mut self) -> anyhow::Result<()> {
        let jobs = self.sweep_jobs(Instant::now()).context("sweep job directories")?;
        let mut scratches = 0;
        let stores = &self.stores;
        for (store, path) in stores.paths().filter(|(store, _)| stores.health.condition(*store).is_ok()) {
            let sweep = || Ok(scratch::sweep(path)? + partial::sweep(path, COPY_PATIENCE)?);
            match identity::require(path, store).and_then(|()| sweep()) {
                Ok(swept) => scratches += swept,
                // What is left there keeps nobody from working in the others.
                Err(error) => {
                    tracing::warn!(store = %path.display(), "clean it up: {:#}", anyhow::Error::from(error));
                }
            }
        }
        if jobs + scratches > 0 {
            tracing::info!(jobs, scratches, "cleaned up after dead agents");
        }
        Ok(())
    }

    fn sweep_jobs(&mut self, now: Instant) -> std::io::Result<usize> {
        let (mut ended, mut waiting) = (0, Vec::new());
        for found in job_dir::find(&self.home)? {
            if job_dir::is_in_hand(&found.path) {
                continue;
            }
            if self.orphans.may_wait(&found, self.patience, now) {
                waiting.push(found.path);
            } else if job_dir::end(&found)? {
                ended += 1;
            }
        }
        self.orphans.keep_only(&waiting);
        Ok(ended)
    }
}

/// Cleans up every so often: an agent of this host may die while this one lives.
pub(crate) async fn run(mut sweeper: Sweeper, every: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        let swept;
        (sweeper, swept) = tokio::task::spawn_blocking(move || {
            let swept = sweeper.sweep();
            (sweeper, swept)
        })
        .await?;
        if let Err(error) = swept {
            tracing::warn!("clean up after dead agents: {error:#}");
        }
    }
}
