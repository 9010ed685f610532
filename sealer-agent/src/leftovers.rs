//! What killed agents left on this host: provers without a master, job directories, scratch.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::{
    job_dir,
    store::{Stores, scratch},
};

/// Cleans up once.
pub(crate) fn sweep(home: &Path, stores: &Stores) -> anyhow::Result<()> {
    let jobs = job_dir::sweep(home).context("sweep job directories")?;
    let mut scratches = 0;
    for (_, path) in stores.paths() {
        scratches += scratch::sweep(path)?;
    }
    if jobs + scratches > 0 {
        tracing::info!(jobs, scratches, "cleaned up after dead agents");
    }
    Ok(())
}

/// Cleans up every so often: an agent of this host may die while this one lives, and its prover then works for nobody.
pub(crate) async fn run(home: PathBuf, stores: Stores, every: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        let (home, stores) = (home.clone(), stores.clone());
        let swept = tokio::task::spawn_blocking(move || sweep(&home, &stores)).await?;
        if let Err(error) = swept {
            tracing::warn!("clean up after dead agents: {error:#}");
        }
    }
}
