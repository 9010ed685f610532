//! The book of a machine's resources: who holds what, and who may start.
//!
//! ```text
//! may_ask ─► a request for work is open ─► take ─► (the sector is known) adjust ─► give
//!    ▲                                       │                             │
//!    └───────────── short of something ◄─────┴─────────────────────────────┘
//! ```
//!
//! Nothing is ever promised twice: cores, memory, GPUs and locks that are held never exceed what there is, except by jobs
//! that run already when their agent finds them. An agent asks the queue only for what would fit now. Which of several
//! kinds of work comes first is said twice: whoever shares a GPU or a lock with something more urgent asks a little later
//! once that is free; and what was in hand and did not fit is waited for by everything less urgent.
//!
//! Pure: time comes in, in milliseconds of any clock that does not jump.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use streams::stage::Stage;

use super::activity::Activity;

/// How much earlier the more urgent kind of work is asked for: several times what a request takes to be answered.
pub(crate) const HEAD_START_MS: u64 = 60;
/// How long what did not fit is waited for, unless it comes again.
pub(crate) const HUNGER_MS: u64 = 60_000;

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) gpus: u32,
}

/// What one job takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) gpu: bool,
}

/// What is said about one kind of work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Jobs at once.
    pub(crate) at_once: Option<u32>,
    /// From one start to the next.
    pub(crate) stagger_ms: u64,
    /// Locks that a job holds.
    pub(crate) locks: BTreeSet<String>,
}

/// Why a job cannot start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortage {
    Cores { need: u32, free: u32, total: u32 },
    Memory { need: u64, free: u64, total: u64 },
    Gpu { total: u32 },
    Lock { name: String },
    AtOnce { max: u32 },
    Stagger { until_ms: u64 },
    Yields { to: Activity, until_ms: u64 },
}

impl Shortage {
    /// When it ends by itself, if it does.
    pub(crate) const fn until_ms(&self) -> Option<u64> {
        match self {
            Self::Stagger { until_ms } | Self::Yields { until_ms, .. } => Some(*until_ms),
            Self::Cores { .. } | Self::Memory { .. } | Self::Gpu { .. } | Self::Lock { .. } | Self::AtOnce { .. } => {
                None
            }
        }
    }

    /// Whether it can end at all.
    const fn is_for_good(&self) -> bool {
        match self {
            Self::Cores { need, total, .. } => *need > *total,
            Self::Memory { need, total, .. } => *need > *total,
            Self::Gpu { total } => *total == 0,
            Self::Lock { .. } | Self::AtOnce { .. } | Self::Stagger { .. } | Self::Yields { .. } => false,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: &u64| bytes.div_ceil(1 << 30);
        match self {
            Self::Cores { need, free, total } => write!(f, "needs {need} cores, {free} of {total} are free"),
            Self::Memory { need, free, total } => {
                write!(f, "needs {} GiB of memory, {} of {} GiB are free", gib(need), free >> 30, gib(total))
            }
            Self::Gpu { total: 0 } => f.write_str("needs a GPU, and there is none"),
            Self::Gpu { total } => write!(f, "needs a GPU, and all {total} are taken"),
            Self::Lock { name } => write!(f, "lock \"{name}\" is held"),
            Self::AtOnce { max } => write!(f, "{max} run already, and no more may at once"),
            Self::Stagger { .. } => f.write_str("the last one has only just started"),
            Self::Yields { to, .. } => write!(f, "{to} comes first"),
        }
    }
}

/// A job's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hold {
    activity: Activity,
    need: Need,
    gpu: Option<u32>,
    /// Its number among those of its kind: the smallest that was free.
    number: usize,
}

/// Names an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldId(u64);

/// The book.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    means: Means,
    rules: BTreeMap<Activity, Rule>,
    /// How many may hold a lock; one where nothing is said.
    locks: BTreeMap<String, u32>,
    held: BTreeMap<HoldId, Hold>,
    next: u64,
    started_ms: BTreeMap<Activity, u64>,
    /// When a job last gave back what others may wait for.
    given_ms: BTreeMap<Activity, u64>,
    /// What was in hand and did not fit, until when it is waited for.
    hungry: BTreeMap<Activity, (Need, u64)>,
}

/// The smaller, the more urgent: a missed deadline costs power, a late C2 a deposit, a late PC2 only time.
const fn urgency(activity: Activity) -> u8 {
    match activity {
        Activity::VanillaPost | Activity::WindowPost => 0,
        Activity::Stage(Stage::C2) => 1,
        Activity::Stage(Stage::Pc2) => 2,
        Activity::Stage(
            Stage::Place
            | Stage::AddPiece
            | Stage::TreeD
            | Stage::Pc1
            | Stage::Persist
            | Stage::C1
            | Stage::Finalize
            | Stage::Unseal,
        ) => 3,
    }
}

impl Book {
    /// An empty one. What no rule is for has none.
    pub(crate) fn new(means: Means, rules: BTreeMap<Activity, Rule>, locks: BTreeMap<String, u32>) -> Self {
        let (held, started_ms, given_ms, hungry) = Default::default();
        Self { means, rules, locks, held, next: 0, started_ms, given_ms, hungry }
    }

    /// Whether to ask the queue for such work now, when it is `served` beside the others.
    pub(crate) fn may_ask(
        &self,
        activity: Activity,
        need: Need,
        served: &BTreeMap<Activity, Need>,
        now_ms: u64,
    ) -> Result<(), Shortage> {
        self.fits(activity, need, now_ms)?;
        let shares = |other: Activity, its: Need| {
            (need.gpu && its.gpu) || !self.locks_of(activity).is_disjoint(self.locks_of(other))
        };
        let rivals: BTreeMap<Activity, Need> =
            served.iter().filter(|(other, its)| shares(**other, **its)).map(|(other, its)| (*other, *its)).collect();
        let more_urgent: BTreeMap<u8, Activity> = rivals
            .keys()
            .filter(|other| urgency(**other) < urgency(activity))
            .map(|other| (urgency(*other), *other))
            .collect();
        let freed = rivals.keys().chain([&activity]).filter_map(|other| self.given_ms.get(other)).max();
        let (Some(freed), Some(to)) = (freed, more_urgent.values().next()) else { return Ok(()) };
        let head_starts = u64::try_from(more_urgent.len()).unwrap_or(u64::MAX);
        let until_ms = freed.saturating_add(head_starts.saturating_mul(HEAD_START_MS));
        if now_ms < until_ms { Err(Shortage::Yields { to: *to, until_ms }) } else { Ok(()) }
    }

    /// Enters a job that starts.
    pub(crate) fn take(&mut self, activity: Activity, need: Need, now_ms: u64) -> Result<HoldId, Shortage> {
        self.fits(activity, need, now_ms)?;
        self.hungry.remove(&activity);
        self.started_ms.insert(activity, now_ms);
        Ok(self.enter(activity, need, None))
    }

    /// Enters a job that runs already, whether it fits or not, on the GPU that it has.
    pub(crate) fn take_anyway(&mut self, activity: Activity, need: Need, gpu: Option<u32>) -> HoldId {
        self.enter(activity, need, gpu)
    }

    /// Says what a job takes, now that its sector is known. What does not fit is waited for by what is less urgent, and
    /// its entry stays as it was.
    pub(crate) fn adjust(&mut self, id: HoldId, need: Need, now_ms: u64) -> Result<(), Shortage> {
        let Some(hold) = self.held.get(&id).cloned() else { return Ok(()) };
        let mut rest = self.clone();
        rest.held.remove(&id);
        match rest.lacks(hold.activity, need) {
            Some(shortage) => {
                if !shortage.is_for_good() {
                    self.hungry.insert(hold.activity, (need, now_ms.saturating_add(HUNGER_MS)));
                }
                Err(shortage)
            }
            None => {
                if let Some(hold) = self.held.get_mut(&id) {
                    hold.need = need;
                }
                Ok(())
            }
        }
    }

    /// Strikes a job out.
    pub(crate) fn give(&mut self, id: HoldId, now_ms: u64) {
        if let Some(hold) = self.held.remove(&id) {
            self.given_ms.insert(hold.activity, now_ms);
        }
    }

    /// The GPU that a job has.
    pub(crate) fn gpu(&self, id: HoldId) -> Option<u32> {
        self.held.get(&id)?.gpu
    }

    /// Its number among the jobs of its kind, from 0.
    pub(crate) fn number(&self, id: HoldId) -> usize {
        self.held.get(&id).map_or(0, |hold| hold.number)
    }

    fn enter(&mut self, activity: Activity, need: Need, has: Option<u32>) -> HoldId {
        let taken: BTreeSet<u32> = self.held.values().filter_map(|hold| hold.gpu).collect();
        let free = || (0..self.means.gpus).find(|gpu| !taken.contains(gpu));
        let gpu = if need.gpu { has.or_else(free) } else { None };
        let of_its_kind = self.held.values().filter(|hold| hold.activity == activity);
        let numbers: BTreeSet<usize> = of_its_kind.map(|hold| hold.number).collect();
        let number = (0..=numbers.len()).find(|number| !numbers.contains(number)).unwrap_or_default();
        let id = HoldId(self.next);
        self.next += 1;
        self.held.insert(id, Hold { activity, need, gpu, number });
        id
    }

    fn fits(&self, activity: Activity, need: Need, now_ms: u64) -> Result<(), Shortage> {
        if let Some(shortage) = self.lacks(activity, need) {
            return Err(shortage);
        }
        let rule = self.rules.get(&activity);
        if let Some(max) = rule.and_then(|rule| rule.at_once)
            && self.count(|hold| hold.activity == activity) >= max
        {
            return Err(Shortage::AtOnce { max });
        }
        let stagger_ms = rule.map_or(0, |rule| rule.stagger_ms);
        if let Some(started_ms) = self.started_ms.get(&activity)
            && now_ms < started_ms.saturating_add(stagger_ms)
        {
            return Err(Shortage::Stagger { until_ms: started_ms.saturating_add(stagger_ms) });
        }
        self.yields(activity, need, now_ms).map_or(Ok(()), Err)
    }

    fn lacks(&self, activity: Activity, need: Need) -> Option<Shortage> {
        self.shortages(activity, need).into_iter().next()
    }

    /// Everything there is too little of.
    fn shortages(&self, activity: Activity, need: Need) -> Vec<Shortage> {
        let Means { cores, memory_bytes, gpus } = self.means;
        let free = self.free();
        let mut short = Vec::new();
        if need.cores > free.cores {
            short.push(Shortage::Cores { need: need.cores, free: free.cores, total: cores });
        }
        if need.memory_bytes > free.memory_bytes {
            short.push(Shortage::Memory { need: need.memory_bytes, free: free.memory_bytes, total: memory_bytes });
        }
        if need.gpu && free.gpus == 0 {
            short.push(Shortage::Gpu { total: gpus });
        }
        for name in self.locks_of(activity) {
            let holders = self.count(|hold| self.locks_of(hold.activity).contains(name));
            if holders >= self.locks.get(name).copied().unwrap_or(1) {
                short.push(Shortage::Lock { name: name.clone() });
            }
        }
        short
    }

    /// Whether this would take what something more urgent waits for.
    fn yields(&self, activity: Activity, need: Need, now_ms: u64) -> Option<Shortage> {
        let mut after = self.clone();
        after.enter(activity, need, None);
        let more_urgent = self.hungry.iter().filter(|(other, (_, until_ms))| {
            urgency(**other) < urgency(activity) && now_ms < *until_ms && **other != activity
        });
        for (to, (its, until_ms)) in more_urgent {
            let takes_it = after.shortages(*to, *its).into_iter().any(|shortage| match shortage {
                Shortage::Cores { .. } => need.cores > 0,
                Shortage::Memory { .. } => need.memory_bytes > 0,
                Shortage::Gpu { .. } => need.gpu,
                Shortage::Lock { name } => self.locks_of(activity).contains(&name),
                Shortage::AtOnce { .. } | Shortage::Stagger { .. } | Shortage::Yields { .. } => false,
            });
            if takes_it {
                return Some(Shortage::Yields { to: *to, until_ms: *until_ms });
            }
        }
        None
    }

    /// What nobody holds.
    pub(crate) fn free(&self) -> Means {
        let cores: u32 = self.held.values().map(|hold| hold.need.cores).fold(0, u32::saturating_add);
        let memory: u64 = self.held.values().map(|hold| hold.need.memory_bytes).fold(0, u64::saturating_add);
        Means {
            cores: self.means.cores.saturating_sub(cores),
            memory_bytes: self.means.memory_bytes.saturating_sub(memory),
            gpus: self.means.gpus.saturating_sub(self.count(|hold| hold.need.gpu)),
        }
    }

    fn count(&self, which: impl Fn(&Hold) -> bool) -> u32 {
        u32::try_from(self.held.values().filter(|hold| which(hold)).count()).unwrap_or(u32::MAX)
    }

    fn locks_of(&self, activity: Activity) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.rules.get(&activity).map_or(&NONE, |rule| &rule.locks)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
