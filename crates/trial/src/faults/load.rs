//! Sectors, so that there is always work to be hit.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use streams::id::SectorId;
use tokio_util::sync::CancellationToken;

use super::{
    cluster::Cluster,
    view::{is_done, is_over},
};

/// A coordinator that has just started leads within that.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// One submission in so many carries a file.
const FILE_EVERY: u32 = 3;
/// After one submission in so many a file is read back.
const READ_EVERY: u32 = 7;
const READ_MAX: &str = "8s";
/// Payload of that file: less than a 2 KiB sector holds.
const FILE_BYTES: usize = 1_500;

/// Keeps sectors flowing.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// What a coordinator said that it took: none of these may be lost.
    promised: Mutex<BTreeSet<SectorId>>,
    /// Sectors with a file, and what is in it.
    files: Mutex<Vec<(SectorId, PathBuf)>>,
    /// Data that came back other than it went.
    spoilt: Mutex<Vec<String>>,
}

impl Load {
    pub(super) fn promised(&self) -> BTreeSet<SectorId> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Submits whenever fewer than `in_flight` sectors are on their way, until told to stop.
    pub(super) async fn run(&self, cluster: &Arc<Cluster>, in_flight: usize, stop: &CancellationToken) {
        for turn in 0_u32.. {
            let fewer = async {
                while cluster.view.sectors().iter().filter(|record| !is_over(record)).count() >= in_flight {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = fewer => {}
                () = stop.cancelled() => return,
            }
            // Not cancelled in its midst: what was promised must be known.
            if let Err(error) = self.submit(cluster, turn).await {
                tracing::debug!("submit: {error:#}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if turn.is_multiple_of(READ_EVERY)
                && let Err(error) = self.read_back(cluster, turn).await
            {
                tracing::debug!("read a file back: {error:#}");
            }
        }
    }

    /// Data that came back other than it went.
    pub(super) fn spoilt(&self) -> Vec<String> {
        self.spoilt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has one file unsealed, and compares it with what was sealed. Amid faults it may take too long; it may not differ.
    async fn read_back(&self, cluster: &Cluster, turn: u32) -> anyhow::Result<()> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_ready = |sector: SectorId| cluster.view.sector(sector).is_some_and(|record| is_done(&record));
        let Some((sector, file)) = files.into_iter().rfind(|(sector, _)| is_ready(*sector)) else { return Ok(()) };
        let out = file.with_extension(format!("{turn}.back"));
        let (name, shown) = (sector.to_string(), out.display().to_string());
        cluster.coordinator(&["unseal", &name, "--piece", "0", "--limit", READ_MAX, "--out", &shown]).await?;
        let (before, after) = (std::fs::read(&file).context("read a file")?, std::fs::read(&out).context("read it")?);
        if before != after {
            let words = format!("{sector}: {} bytes came back, and not those of {}", after.len(), file.display());
            self.spoilt.lock().unwrap_or_else(PoisonError::into_inner).push(words);
        }
        Ok(())
    }

    /// Submits so many sectors, once, as soon as a coordinator answers.
    pub(super) async fn submit_once(&self, cluster: &Cluster, count: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        let submitted = loop {
            match cluster.submit(&["--count", &count.to_string()]).await {
                Ok(submitted) => break submitted,
                Err(error) if began.elapsed() > ANSWERS_WITHIN => return Err(error),
                Err(error) => tracing::debug!("submit: {error:#}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        self.promise(cluster, submitted);
        Ok(())
    }

    fn promise(&self, cluster: &Cluster, submitted: Vec<SectorId>) {
        cluster.diary.submitted(&submitted);
        self.promised.lock().unwrap_or_else(PoisonError::into_inner).extend(submitted);
    }

    async fn submit(&self, cluster: &Cluster, turn: u32) -> anyhow::Result<()> {
        let submitted = if turn.is_multiple_of(FILE_EVERY) {
            let file = file(cluster, turn)?;
            let submitted = cluster.submit(&[&file.display().to_string()]).await?;
            let carriers = submitted.iter().map(|sector| (*sector, file.clone()));
            self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(carriers);
            submitted
        } else {
            cluster.submit(&["--count", "2"]).await?
        };
        self.promise(cluster, submitted);
        Ok(())
    }
}

fn file(cluster: &Cluster, turn: u32) -> anyhow::Result<PathBuf> {
    let path = cluster.layout.dir.join("pieces").join(format!("{turn}.bin"));
    host::durable::create_dir_all(&cluster.layout.dir.join("pieces")).context("create the folder of pieces")?;
    let bytes: Vec<u8> = turn.to_le_bytes().into_iter().cycle().take(FILE_BYTES).collect();
    host::durable::write(&path, &bytes).context("write a piece")?;
    Ok(path)
}
