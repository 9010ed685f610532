//! Which life of the queue this is, and whether it is the one this coordinator knows.
//!
//! ```text
//!  CLUSTER cluster │ data folder remembers │
//! ─────────────────┼───────────────────────┼──────────────────────────────────────────────
//!  absent          │ nothing               │ a first start: incarnation 1 is written
//!  absent          │ a life                │ wiped: refuse to lead
//!  a life          │ nothing, or an older  │ taken over: another coordinator knows it already
//!  a life          │ the same, less far    │ lead
//!  a life          │ the same, further     │ it went back in time: refuse to lead
//!  a life          │ a later one           │ it went back in time: refuse to lead
//!  `CLUSTER next`  │ anything              │ a rebuild or restore is not finished: refuse
//! ```
//!
//! Where it refuses, a person runs `coordinator rebuild` or `coordinator restore`: only those begin another life.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use host::{
    clock::Clock,
    exit::{CliError, Exit},
    failpoint,
};
use streams::{
    error::QueueError,
    id::{Incarnation, Timestamp},
    kv::{Bucket, BucketName, CasError},
    nats::Nats,
    records::{AgentRecord, ClusterRecord, OutboxEntry},
    whole::bucket_progress,
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::unavailable,
    memory::{Memory, MemoryError, MemoryFile, Seen, WATCHED},
};

/// The key of the life that is.
pub(crate) const CLUSTER: &str = "cluster";
/// The key of the life that a rebuild or a restore is beginning: there only while one is under way, or was cut off.
pub(crate) const NEXT: &str = "next";

/// How often a leader looks whether the queue is still the one it leads.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long an older state is looked at again before it is believed: a new leader of a replicated stream may not have
/// applied everything that is committed.
const UNSURE: Duration = Duration::from_secs(10);
/// Pause between those looks.
const UNSURE_LOOK: Duration = Duration::from_secs(1);
/// How many looks pass before what was seen is remembered: about a minute.
const LOOKS_A_MEMORY: u32 = 12;

/// Why a coordinator does not lead, though it could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Nothing of the life that is remembered is there.
    #[error("the queue was wiped: it is empty, and incarnation {0} is remembered")]
    Wiped(Incarnation),
    /// It is an older state of itself.
    #[error("the queue went back in time: {what} is at {found}, and {remembered} is remembered")]
    WentBack { what: String, remembered: u64, found: u64 },
    /// It is another queue, of the same age.
    #[error("this is not the queue that is remembered: its incarnation {0} began at another time")]
    Other(Incarnation),
    /// It holds another network's sectors.
    #[error("the queue holds sectors of network {queue}, and the chain node is of {node}")]
    WrongNetwork { queue: String, node: String },
    /// Somebody began a rebuild or a restore.
    #[error("incarnation {life} was begun and is not finished: {because}")]
    Unfinished { life: Incarnation, because: String },
}

impl Lost {
    /// What a person can do.
    pub(crate) fn hint(&self, memory: &MemoryFile) -> String {
        match self {
            Self::Wiped(_) | Self::WentBack { .. } | Self::Other(_) => format!(
                "`coordinator rebuild` brings sectors back from stores and chain; if a new queue is meant to begin, remove {}",
                memory.path().display()
            ),
            Self::Unfinished { because, .. } if because.starts_with(RESTORED) => {
                "run `coordinator restore` of that backup again, with --replace".to_owned()
            }
            Self::Unfinished { .. } => "run `coordinator rebuild` again: it goes on where it was".to_owned(),
            Self::WrongNetwork { .. } => "correct chain.api or nats.url in coordinator.toml".to_owned(),
        }
    }
}

/// A life that could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifeError {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("read which life of the queue this is")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The queue as it is found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) life: Option<ClusterRecord>,
    pub(crate) next: Option<ClusterRecord>,
    /// The last sequence by stream; a stream that is not there has none.
    pub(crate) sequences: BTreeMap<String, u64>,
}

/// How the words begin that say why a life begins which a restore brought back.
pub(crate) const RESTORED: &str = "restored from a backup";

/// What follows from what is found and what is remembered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing was ever here.
    First,
    /// It is the life that is remembered.
    Same(Incarnation),
    /// It is a life that this coordinator does not remember, and may join.
    Unknown(ClusterRecord),
}

/// Decides whether this queue may be led.
pub(crate) fn compare(memory: Option<&Memory>, found: &Found, network: &str) -> Result<Standing, Lost> {
    if let Some(next) = &found.next {
        return Err(Lost::Unfinished { life: next.incarnation, because: next.because.clone() });
    }
    let Some(life) = &found.life else {
        return match memory {
            None => Ok(Standing::First),
            Some(memory) => Err(Lost::Wiped(memory.incarnation())),
        };
    };
    if life.network != network {
        return Err(Lost::WrongNetwork { queue: life.network.clone(), node: network.to_owned() });
    }
    let Some(memory) = memory else { return Ok(Standing::Unknown(life.clone())) };
    if life.incarnation > memory.incarnation() {
        return Ok(Standing::Unknown(life.clone()));
    }
    let went_back = |what: &str, remembered, found| Lost::WentBack { what: what.to_owned(), remembered, found };
    if life.incarnation < memory.incarnation() {
        return Err(went_back("its incarnation", memory.incarnation().0.into(), life.incarnation.0.into()));
    }
    if life.began_at != memory.life.began_at {
        return Err(Lost::Other(life.incarnation));
    }
    for (stream, remembered) in &memory.sequences {
        let found = found.sequences.get(stream).copied().unwrap_or(0);
        if found < *remembered {
            return Err(went_back(&format!("stream {stream}"), *remembered, found));
        }
    }
    Ok(Standing::Same(life.incarnation))
}

/// Reads what is there. A stream that does not exist is an answer, a server that does not answer is an error.
pub(crate) async fn look(nats: &Nats) -> Result<Found, QueueError> {
    let mut found = Found::default();
    match Bucket::<ClusterRecord>::open(nats, BucketName::Cluster).await {
        Ok(bucket) => {
            found.life = bucket.get(CLUSTER).await?.map(|entry| entry.value);
            found.next = bucket.get(NEXT).await?.map(|entry| entry.value);
        }
        Err(QueueError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    for bucket in WATCHED {
        if let Some(progress) = bucket_progress(nats, bucket).await? {
            found.sequences.insert(format!("KV_{bucket}"), progress.last_sequence);
        }
    }
    Ok(found)
}

/// Knows the life of the queue, for as long as this process runs.
#[derive(Clone)]
pub(crate) struct Lives {
    pub(crate) nats: Nats,
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) network: String,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Lives {
    /// Refuses a queue that was lost, before anything is created in it.
    pub(crate) async fn refuse_lost(&self) -> Result<(), CliError> {
        self.standing().await.map(drop).map_err(|error| self.told(error))
    }

    fn refused(&self, lost: Lost) -> CliError {
        let hint = lost.hint(&self.memory);
        CliError::new(Exit::Refused, "use the queue").because(lost).hint(hint)
    }

    /// What this queue is to this coordinator. A stream that seems to have gone back is looked at again for a while.
    async fn standing(&self) -> Result<Standing, LifeError> {
        let started = tokio::time::Instant::now();
        loop {
            let found = look(&self.nats).await?;
            match compare(self.memory.get().as_ref(), &found, &self.network) {
                Err(Lost::WentBack { .. }) if started.elapsed() < UNSURE => {}
                sure => return Ok(sure?),
            }
            tokio::time::sleep(UNSURE_LOOK).await;
        }
    }

    /// The life this is; a first start begins it. To be asked before leading.
    pub(crate) async fn check(&self) -> Result<Incarnation, LifeError> {
        self.memory.reload()?;
        match self.standing().await? {
            Standing::Same(incarnation) => Ok(incarnation),
            Standing::Unknown(life) => {
                let incarnation = life.incarnation;
                self.memory.put(match self.memory.get() {
                    Some(memory) => memory.in_life(life),
                    None => Memory::of(life),
                })?;
                Ok(incarnation)
            }
            Standing::First => self.begin().await,
        }
    }

    /// The error of [`Lives::check`] for a person.
    pub(crate) fn told(&self, error: LifeError) -> CliError {
        match error {
            LifeError::Lost(lost) => self.refused(lost),
            LifeError::Queue(error) => unavailable("read which life of the queue this is", error),
            LifeError::Memory(error) => CliError::new(Exit::Io, "remember the queue").because(error),
        }
    }

    /// Writes the first life. Of several that start at once one does, and the others read it.
    async fn begin(&self) -> Result<Incarnation, LifeError> {
        let bucket: Bucket<ClusterRecord> = Bucket::open(&self.nats, BucketName::Cluster).await?;
        let life = ClusterRecord {
            incarnation: Incarnation::FIRST,
            network: self.network.clone(),
            began_at: self.now(),
            because: "first start".to_owned(),
        };
        let life = match bucket.create(CLUSTER, &life).await {
            Ok(_) => life,
            Err(CasError::Lost { .. }) => bucket.get(CLUSTER).await?.map_or(life, |entry| entry.value),
            Err(CasError::Queue(error)) => return Err(error.into()),
        };
        failpoint!("coordinator.incarnation.begun");
        let incarnation = life.incarnation;
        self.memory.put(Memory::of(life))?;
        failpoint!("coordinator.incarnation.remembered");
        Ok(incarnation)
    }

    /// Looks after the queue while this coordinator leads: ends with an error once it is not the same any more, and
    /// remembers how far it has come.
    pub(crate) async fn keep(self, leading: Incarnation, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut looks: u32 = 0;
        let mut messages_at = 0;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = cancel.cancelled() => return Ok(()),
            }
            match self.standing().await {
                Ok(Standing::Same(incarnation)) if incarnation == leading => {}
                Ok(other) => anyhow::bail!("the queue is not in incarnation {leading} any more: {other:?}"),
                Err(LifeError::Lost(lost)) => return Err(lost.into()),
                Err(error) => {
                    tracing::debug!("look after the queue: {}", host::exit::chain(&error));
                    continue;
                }
            }
            looks = looks.wrapping_add(1);
            if looks % LOOKS_A_MEMORY == 1
                && let Err(error) = self.remember(&mut messages_at).await
            {
                tracing::warn!("remember how far the queue has come: {}", host::exit::chain(&error));
            }
        }
    }

    /// Remembers how far the queue has come. The outbox is read only when it has changed.
    async fn remember(&self, messages_at: &mut u64) -> Result<(), LifeError> {
        let found = look(&self.nats).await?;
        let mut seen = Seen { sequences: found.sequences, ..Seen::default() };
        let stream = format!("KV_{}", BucketName::Messages);
        let messages_now = seen.sequences.get(&stream).copied().unwrap_or(0);
        if messages_now != *messages_at {
            let outbox: Bucket<OutboxEntry> = Bucket::open(&self.nats, BucketName::Messages).await?;
            for (sender, nonce) in outbox.keys(">").await?.iter().filter_map(|key| sender_and_nonce(key)) {
                let known = seen.nonces.entry(sender.to_owned()).or_default();
                *known = nonce.max(*known);
            }
            *messages_at = messages_now;
        }
        let agents: Bucket<AgentRecord> = Bucket::open(&self.nats, BucketName::Agents).await?;
        seen.agents = agents.keys(">").await?.iter().filter_map(|key| key.parse().ok()).collect();
        self.memory.saw(seen, self.now())?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_unix_ms())
    }
}

/// Reads a key of the outbox.
pub(crate) fn sender_and_nonce(key: &str) -> Option<(&str, u64)> {
    let (sender, nonce) = key.rsplit_once('.')?;
    Some((sender, nonce.parse().ok()?))
}

#[cfg(test)]
#[path = "incarnation_tests.rs"]
mod tests;
