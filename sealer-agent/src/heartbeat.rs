//! What this agent says of itself, and of its stores, every few seconds and whenever a job begins or ends.

use std::{path::Path, time::Duration};

use streams::{
    error::QueueError,
    id::StoreId,
    kv::Bucket,
    records::{AgentRecord, ClassSlots, StoreRecord, StoreState},
    stage::Class,
};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Board,
    gate::Gate,
    now::now,
    parting,
    store::{Stores, condition::Condition, local::Usage},
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
                biased;
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
        let records = store_records(&self.stores, &self.who);
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

/// Every store as it was last seen. Nothing is asked of a disk here: one that does not answer must not make the agent
/// seem dead.
pub(crate) fn store_records(stores: &Stores, who: &AgentRecord) -> Vec<StoreRecord> {
    let of = |(store, path, persistent): (StoreId, &Path, bool)| {
        let seen = stores.health.seen(store)?;
        let condition = stores.health.condition(store);
        let state = match &condition {
            _ if seen.entry.retired_at.is_some() => StoreState::Retired,
            Condition::Ok if seen.entry.read_only => StoreState::ReadOnly,
            Condition::Ok => StoreState::Ok,
            Condition::Missing { .. } => StoreState::Missing,
            Condition::ReadOnly => StoreState::ReadOnly,
            Condition::Full => StoreState::Full,
            Condition::Hanging { .. } => StoreState::Hanging,
            Condition::Failing { .. } => StoreState::Failing,
        };
        let usage = seen.look.usage;
        let bytes = |of: fn(&Usage) -> u64| usage.as_ref().map_or(0, of);
        Some(StoreRecord {
            store,
            place: who.place.clone(),
            path: path.display().to_string(),
            persistent,
            bytes_total: bytes(|usage| usage.space.total),
            bytes_free: bytes(|usage| usage.space.free),
            bytes_reserved: bytes(|usage| usage.reserved),
            sectors: bytes(|usage| usage.sectors),
            at: seen.at,
            state,
            why: if condition.is_ok() { String::new() } else { condition.to_string() },
        })
    };
    let local = stores.local.iter().map(|store| (store.id, store.path.as_path(), false));
    let kept = stores.persistent.iter().map(|store| (store.id, store.path.as_path(), true));
    local.chain(kept).filter_map(of).collect()
}
