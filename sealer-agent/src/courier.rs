//! Delivers results that no job has in hand: those of an earlier run, and those that wait for a record.

use std::{path::Path, sync::Arc, time::Duration};

use streams::{
    id::Place,
    kv::Bucket,
    message::TaskResult,
    sector::SectorRecord,
    subject::{TaskSubject, Whither},
};
use tokio_util::sync::CancellationToken;

use crate::{
    claim::{Claims, LetGo},
    journal::{AnyResult, Journal},
    now,
    offered::Offered,
    said::Said,
    standing::Standing,
    tenure::{Beat, Tenure},
};

/// How often it looks whether what waits can go.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Delivers what the journal has left.
#[derive(Debug)]
pub(crate) struct Courier {
    pub(crate) journal: Journal,
    pub(crate) claims: Claims,
    pub(crate) sectors: Bucket<SectorRecord>,
    pub(crate) place: Place,
    pub(crate) offered: Arc<Offered>,
    pub(crate) stale_after: Duration,
    pub(crate) said: Said,
}

impl Courier {
    /// Delivers until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            for (path, result) in self.journal.left() {
                tokio::select! {
                    biased;
                    () = self.deliver(&path, result) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.journal.nudged() => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn deliver(&self, path: &Path, result: AnyResult) {
        let name = path.display().to_string();
        if let Err(why) = self.try_deliver(path, result).await
            && self.said.is_new(&name, &why)
        {
            tracing::info!(result = name, "waits: {why}");
        }
    }

    async fn try_deliver(&self, path: &Path, result: AnyResult) -> Result<(), String> {
        let said = |error| format!("{:#}", anyhow::Error::from(error));
        match self.journal.standing(&result).await.map_err(said)? {
            Standing::Wait => Err("no record waits for it".to_owned()),
            Standing::Past => {
                tracing::info!(result = %path.display(), "dropped: the record of a later life is past it");
                self.journal.forget(path);
                Ok(())
            }
            Standing::Offer => {
                self.journal.publish(&result).await.map_err(said)?;
                self.stored(path, &result);
                Ok(())
            }
            Standing::Reclaim => {
                let AnyResult::Task(result) = result else { return Err("no claim guards it".to_owned()) };
                let mut tenure = self.tenure(&result);
                if tenure.beat().await.map_err(said)? == Beat::Lost {
                    return Err("another agent has its claim".to_owned());
                }
                let claim = tenure.reference;
                let result = AnyResult::Task(Box::new(TaskResult { claim, ..*result }));
                self.journal.publish(&result).await.map_err(said)?;
                self.stored(path, &result);
                tenure.let_go(LetGo::WithResult).await;
                Ok(())
            }
        }
    }

    fn stored(&self, path: &Path, result: &AnyResult) {
        host::failpoint!("agent.courier.stored");
        if let AnyResult::Task(result) = result {
            let subject = subject_of(result).to_string();
            self.offered.note(&subject, None, now::instant());
        }
        self.journal.forget(path);
        tracing::info!(result = %path.display(), "stored a result that waited");
    }

    fn tenure(&self, result: &TaskResult) -> Tenure {
        Tenure {
            claims: self.claims.clone(),
            sectors: self.sectors.clone(),
            place: self.place.clone(),
            sector: result.sector,
            stage: result.stage,
            reference: result.claim,
            held: None,
            stale_after: self.stale_after,
        }
    }
}

/// The subject of the task that a result is of.
fn subject_of(result: &TaskResult) -> TaskSubject {
    let (sector, stage) = (result.sector, result.stage);
    let whither = if stage.is_bound() { Whither::At(result.place.clone()) } else { Whither::Any };
    TaskSubject { whither, sector, stage }
}
