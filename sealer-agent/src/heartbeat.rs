//! What this agent says of itself, and of its stores, every few seconds and whenever a job begins or ends.

use std::time::Duration;

use streams::{
    error::QueueError,
    kv::Bucket,
    records::{AgentRecord, ClassSlots, StoreRecord},
    stage::Class,
};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::blocking,
    board::Board,
    gate::Gate,
    halt::Halt,
    now::now,
    parting,
    store::{StoreError, Stores, space},
};

/// Heartbeats come no closer together than this, however fast jobs turn over.
const APART_MIN: Duration = Duration::from_millis(200);

/// What does not change while the agent runs.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) agents: Bucket<AgentRecord>,
    pub(crate) stores_bucket: Bucket<StoreRecord>,
    /// The agent with neither time nor jobs.
    pub(crate) who: AgentRecord,
    pub(crate) gate: Gate,
    pub(crate) stores: Stores,
    pub(crate) board: Board,
    pub(crate) every: Duration,
}

impl Heartbeat {
    /// Beats until told to stop; then the agent is gone from the bucket at once.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut turns = self.board.turns();
        let mut failing = false;
        loop {
            turns.mark_unchanged();
            let Some(beaten) = parting::within(&stop, self.beat()).await else { break };
            if let Err(reason) = &beaten
                && !failing
            {
                tracing::warn!("heartbeat: {reason}");
            }
            failing = beaten.is_err();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.every) => {}
                _ = turns.changed() => tokio::time::sleep(APART_MIN).await,
            }
        }
        // It expires by itself.
        match parting::within(&stop, self.agents.delete(self.who.agent.as_str())).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!("take the heartbeat back: {:#}", anyhow::Error::from(error)),
            None => tracing::warn!("take the heartbeat back: NATS does not answer"),
        }
        Ok(())
    }

    async fn beat(&self) -> Result<(), String> {
        let said = |error: QueueError| format!("{:#}", anyhow::Error::from(error));
        self.agents.put(self.who.agent.as_str(), &self.record()).await.map_err(said)?;
        if self.stores.is_empty() {
            return Ok(());
        }
        let (stores, who) = (self.stores.clone(), self.who.clone());
        let records = blocking(move || store_records(&stores, &who)).await.map_err(|halt| match halt {
            Halt::Failed(failure) => failure.message,
            other => format!("{other:?}"),
        })?;
        for record in records {
            self.stores_bucket.put(&record.store.to_string(), &record).await.map_err(said)?;
        }
        Ok(())
    }

    fn record(&self) -> AgentRecord {
        let slots = |(class, slots): (Class, u32)| ClassSlots { class, slots, used: self.board.used(class) };
        AgentRecord {
            at: now(),
            classes: self.gate.slots().into_iter().map(slots).collect(),
            jobs: self.board.jobs(),
            duty: self.gate.held(),
            ..self.who.clone()
        }
    }
}

/// Every store as it is now.
pub(crate) fn store_records(stores: &Stores, who: &AgentRecord) -> Result<Vec<StoreRecord>, StoreError> {
    let mut records = Vec::new();
    for store in &stores.local {
        let usage = store.usage()?;
        records.push(StoreRecord {
            store: store.id,
            place: who.place.clone(),
            path: store.path.display().to_string(),
            persistent: false,
            bytes_total: usage.space.total,
            bytes_free: usage.space.free,
            bytes_reserved: usage.reserved,
            sectors: usage.sectors,
            at: now(),
        });
    }
    for store in &stores.persistent {
        let space = space::space(&store.path)?;
        records.push(StoreRecord {
            store: store.id,
            place: who.place.clone(),
            path: store.path.display().to_string(),
            persistent: true,
            bytes_total: space.total,
            bytes_free: space.free,
            bytes_reserved: 0,
            sectors: store.replicas(),
            at: now(),
        });
    }
    Ok(records)
}
