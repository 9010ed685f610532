//! Brings a lost queue back, from what the stores hold and what the chain says.
//!
//! ```text
//!  lease ─► pool empty ─► inventories ─► chain ─► decide ─► CLUSTER next ─► NUMBERS ─► SECTORS ─► claims, locks ─► CLUSTER
//!    │ nobody else leads                          (pure)     │ nobody leads until this is gone                      │
//!    └───────────────────────────────────────────────────────┴──────────────────────────────────────────────────────┘
//! ```
//!
//! A new life of the queue begins: what was claimed, locked or reported in an earlier one does not count any more. It
//! can be cut off anywhere and run again, and comes to the same end: `CLUSTER next` keeps the life that was begun, and a
//! record that already belongs to it is decided.

pub(crate) mod decide;
mod files;
mod gather;
pub(crate) mod onchain;
mod pool;
mod report;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chain::{ChainApi, api::TipSet, policy::NetworkPolicy};
use host::{clock::Clock, failpoint};
use streams::{
    error::QueueError,
    id::{AgentId, Incarnation, MinerId, SectorId, SectorNumber, Timestamp},
    kv::{Bucket, BucketName, Entry},
    nats::Nats,
    records::{ClusterRecord, NumberGiven},
    sector::SectorRecord,
};

use self::{
    decide::{Decision, Frame, Known, decide},
    gather::{Held, Whom, gather},
    onchain::MinerOnChain,
    pool::{Left, Patience},
    write::Written,
};
pub(crate) use self::{gather::GatherError, pool::PoolError, report::Report};
use crate::{
    incarnation::{Found, look},
    memory::{Memory, MemoryError, MemoryFile},
    miners::Miners,
};

/// New numbers begin so far above every one that is known. Numbers may have been given that no trace is left of: in the
/// moment before the loss at most a block of remembered ones, or as many as one command may submit in a few of them.
const NUMBERS_SKIPPED: u64 = 10_000;

/// What a person says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Agents to go on without.
    pub(crate) without: BTreeSet<AgentId>,
    /// How long agents may take to be heard.
    pub(crate) wait: Duration,
    /// How long messages may wait in the pool.
    pub(crate) pool_wait: Duration,
    /// Write nothing.
    pub(crate) dry_run: bool,
    /// Why a new life begins.
    pub(crate) because: String,
}

/// A rebuild that was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Gather(#[from] GatherError),
    #[error(transparent)]
    Chain(#[from] onchain::ReadError),
    #[error("read the head")]
    Head(#[source] chain::ChainError),
    #[error("read the queue")]
    Queue(#[from] QueueError),
    #[error("the queue holds sectors of network {queue}, and the chain node is of {node}")]
    WrongNetwork { queue: String, node: String },
    #[error("write the queue")]
    Write(#[from] write::WriteError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What a rebuild works with. Whoever runs it holds the lease of the coordinator.
pub(crate) struct Rebuild {
    pub(crate) nats: Nats,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) miners: Arc<Miners>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) network: String,
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
}

/// Everything that is known before anything is decided.
struct Facts {
    found: Found,
    memory: Option<Memory>,
    held: Held,
    heard_all: bool,
    records: BTreeMap<SectorId, Entry<SectorRecord>>,
    left: Left,
    /// The highest number given, by miner.
    given: BTreeMap<MinerId, SectorNumber>,
    chain: BTreeMap<MinerId, MinerOnChain>,
    head: TipSet,
    senders: Vec<pool::Settled>,
}

impl Rebuild {
    /// Does it.
    pub(crate) async fn run(&self) -> Result<Report, RebuildError> {
        let started = tokio::time::Instant::now();
        let facts = self.gather_facts().await?;
        let now = Timestamp(self.clock.now_unix_ms());
        let life = ClusterRecord {
            incarnation: facts.next_incarnation(),
            network: self.network.clone(),
            began_at: now,
            because: self.options.because.clone(),
        };
        let life = match &facts.found.next {
            Some(begun) if begun.incarnation >= life.incarnation => begun.clone(),
            _ if self.options.dry_run => life,
            _ => write::begin(&self.nats, life).await?,
        };

        let mut report = facts.report(&self.options, life.incarnation);
        let frame = Frame {
            incarnation: life.incarnation,
            policy: &self.policy,
            head: facts.head.height,
            now,
            heard_all: facts.heard_all,
        };
        let written = self.decide_all(&facts, frame, &mut report);
        report.numbers_after = facts.numbers_after();
        if !self.options.dry_run {
            report.numbers = write::numbers(&self.nats, &facts.known(), &report.numbers_after, life.began_at).await?;
            write::sectors(&self.nats, written, now).await?;
            write::clean(&self.nats).await?;
            self.remember(&facts, &life, &report)?;
            failpoint!("coordinator.rebuild.remembered");
            write::finish(&self.nats, &life).await?;
        }
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    async fn gather_facts(&self) -> Result<Facts, RebuildError> {
        let found = look(&self.nats).await?;
        let memory = self.memory.get();
        let lives = [found.life.as_ref(), memory.as_ref().map(|memory| &memory.life)];
        if let Some(life) = lives.into_iter().flatten().find(|life| life.network != self.network) {
            return Err(RebuildError::WrongNetwork { queue: life.network.clone(), node: self.network.clone() });
        }
        let left = pool::left(&self.nats).await?;
        let senders = self.settle_senders(memory.as_ref(), &left).await?;
        let records = self.records().await?;
        let given = self.given(found.next.as_ref()).await?;
        let whom = Whom {
            expected: memory.iter().flat_map(|memory| memory.agents.keys().cloned()).collect(),
            without: self.options.without.clone(),
            wait: self.options.wait,
        };
        let held = match gather(&self.nats, &whom).await {
            Ok(held) => held,
            // Records alone are enough to go on with, where a person says so.
            Err(GatherError::Nobody(_)) if !records.is_empty() && !whom.without.is_empty() => Held::default(),
            Err(error) => return Err(error.into()),
        };
        // Read last: what stores hold is never behind the chain by what was sent meanwhile, since nobody sends.
        let head = self.chain.head().await.map_err(RebuildError::Head)?;
        let mut chain = BTreeMap::new();
        for miner in self.miners.all() {
            let asked = held.holdings.keys().chain(records.keys()).filter(|id| id.miner == miner.id);
            let asked: BTreeSet<SectorNumber> = asked.map(|id| id.number).collect();
            chain.insert(miner.id, onchain::read(&*self.chain, miner.id, &asked, &head).await?);
        }
        let heard_all = whom.without.is_empty() && held.unreadable.is_empty();
        Ok(Facts { found, memory, held, heard_all, records, left, given, chain, head, senders })
    }

    async fn settle_senders(&self, memory: Option<&Memory>, left: &Left) -> Result<Vec<pool::Settled>, RebuildError> {
        let none = BTreeSet::new();
        // Two epochs: a message that another node has is heard of within one.
        let grace = Duration::from_millis(self.policy.block_delay_ms.saturating_mul(2));
        let patience = Patience { grace, limit: self.options.pool_wait };
        let mut settled = Vec::new();
        for sender in self.miners.senders() {
            let remembered = memory.and_then(|memory| memory.nonces.get(sender.sender()).copied());
            let kept = left.nonces.get(sender.sender()).unwrap_or(&none);
            settled.push(pool::settle(&self.chain, &sender, remembered, kept, patience).await?);
        }
        Ok(settled)
    }

    async fn records(&self) -> Result<BTreeMap<SectorId, Entry<SectorRecord>>, QueueError> {
        let bucket: Bucket<SectorRecord> = Bucket::open(&self.nats, BucketName::Sectors).await?;
        Ok(bucket.entries(">").await?.into_iter().map(|entry| (entry.value.id, entry)).collect())
    }

    /// The highest numbers in `NUMBERS`. Those that a rebuild that was cut off wrote, it writes again.
    async fn given(&self, begun: Option<&ClusterRecord>) -> Result<BTreeMap<MinerId, SectorNumber>, QueueError> {
        let bucket: Bucket<NumberGiven> = Bucket::open(&self.nats, BucketName::Numbers).await?;
        let mut highest = BTreeMap::new();
        for entry in bucket.entries(">").await? {
            if begun.is_some_and(|life| life.began_at == entry.value.at) {
                continue;
            }
            if let Ok(id) = SectorId::from_key(&entry.key) {
                let known = highest.entry(id.miner).or_insert(id.number);
                *known = id.number.max(*known);
            }
        }
        Ok(highest)
    }

    fn decide_all(&self, facts: &Facts, frame: Frame<'_>, report: &mut Report) -> Vec<Written> {
        let mut written = Vec::new();
        for id in facts.known() {
            let Some(chain) = facts.chain.get(&id.miner) else {
                report.unconfigured.push(id);
                continue;
            };
            let entry = facts.records.get(&id);
            let known = Known {
                id,
                record: entry.map(|entry| &entry.value),
                holdings: facts.held.holdings.get(&id).map(Vec::as_slice).unwrap_or_default(),
                chain: chain.sectors.get(&id.number).copied().unwrap_or_default(),
                underway: facts.left.underway.get(&id),
            };
            match decide(&known, frame) {
                Decision::Keep => report.kept += 1,
                Decision::Foreign => report.foreign.push(id),
                Decision::Write { record, what } => {
                    report.count(id, &record.state);
                    written.push(Written { record: *record, over: entry.map(|entry| entry.revision), what });
                }
            }
        }
        written
    }

    /// The data folder knows the new life before anybody may lead it.
    fn remember(&self, facts: &Facts, life: &ClusterRecord, report: &Report) -> Result<(), MemoryError> {
        let mut memory = match facts.memory.clone() {
            Some(memory) => memory.in_life(life.clone()),
            None => Memory::of(life.clone()),
        };
        for (miner, number) in &report.numbers_after {
            memory.numbers.insert(*miner, *number);
        }
        // What was signed before is settled: only what is signed from now on is to be waited for.
        memory.nonces = report
            .senders
            .iter()
            .filter_map(|settled| Some((settled.sender.clone(), settled.next_nonce.checked_sub(1)?)))
            .collect();
        self.memory.put(memory)
    }
}

impl Facts {
    /// One more than any that is known anywhere; the one that was begun, as long as nobody knows a later one.
    fn next_incarnation(&self) -> Incarnation {
        let found = self.found.life.iter().map(|life| life.incarnation);
        let remembered = self.memory.iter().map(Memory::incarnation);
        let held = self.held.holdings.values().flatten().map(|holding| holding.incarnation);
        let recorded = self.records.values().map(|entry| entry.value.incarnation);
        let highest = found.chain(remembered).chain(held).chain(recorded).max().unwrap_or(Incarnation(0));
        match &self.found.next {
            // Records and the memory of a run that was cut off carry it already; nobody led in it.
            Some(begun) if begun.incarnation >= highest => begun.incarnation,
            _ => highest.next(),
        }
    }

    /// Every sector that anything says something of.
    fn known(&self) -> BTreeSet<SectorId> {
        let on_chain = self
            .chain
            .iter()
            .flat_map(|(miner, found)| found.sectors.keys().map(|number| SectorId { miner: *miner, number: *number }));
        self.held.holdings.keys().chain(self.records.keys()).copied().chain(on_chain).collect()
    }

    /// Where each configured miner's numbers go on.
    fn numbers_after(&self) -> BTreeMap<MinerId, SectorNumber> {
        let highest = |miner: MinerId| {
            let known = self.known().into_iter().filter(|id| id.miner == miner).map(|id| id.number).max();
            let remembered = self.memory.as_ref().and_then(|memory| memory.numbers.get(&miner).copied());
            let held = self.held.high_water.get(&miner).copied();
            let on_chain = self.chain.get(&miner).and_then(|found| found.high_water);
            let given = self.given.get(&miner).copied();
            known.max(remembered).max(held).max(on_chain).max(given)
        };
        let after = |miner: MinerId| {
            let skipped = highest(miner).map_or(0, |number| number.0).saturating_add(NUMBERS_SKIPPED);
            (miner, SectorNumber(skipped))
        };
        self.chain.keys().map(|miner| after(*miner)).collect()
    }

    fn report(&self, options: &Options, incarnation: Incarnation) -> Report {
        Report {
            dry_run: options.dry_run,
            incarnation,
            agents: self.held.agents.iter().cloned().collect(),
            without: options.without.iter().cloned().collect(),
            held: self.held.holdings.len(),
            written: BTreeMap::new(),
            kept: 0,
            parked: Vec::new(),
            foreign: Vec::new(),
            unconfigured: Vec::new(),
            unreadable: self.held.unreadable.clone(),
            numbers: 0,
            numbers_after: BTreeMap::new(),
            senders: self.senders.clone(),
            took_ms: 0,
        }
    }
}
