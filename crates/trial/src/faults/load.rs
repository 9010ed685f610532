//! Sectors, so that there is always work to be hit.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use streams::id::SectorId;
use tokio_util::sync::CancellationToken;

use super::{cluster::Cluster, view::is_over};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// One submission in so many carries a file.
const FILE_EVERY: u32 = 3;
/// Payload of that file: less than a 2 KiB sector holds.
const FILE_BYTES: usize = 1_500;

/// Keeps sectors flowing.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// What a coordinator said that it took: none of these may be lost.
    promised: Mutex<BTreeSet<SectorId>>,
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
            match self.submit(cluster, turn).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!("submit: {error:#}");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Submits so many sectors, once.
    pub(super) async fn submit_once(&self, cluster: &Cluster, count: usize) -> anyhow::Result<()> {
        let submitted = cluster.submit(&["--count", &count.to_string()]).await?;
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
            cluster.submit(&[&file.display().to_string()]).await?
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
