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

use std::collections::{BTreeMap, BTreeSet};

use streams::stage::Stage;

use super::{activity::Activity, neighbours::Wants, shortage::Shortage};

/// How much earlier the more urgent kind of work is asked for: several times what a request takes to be answered.
pub(crate) const HEAD_START_MS: u64 = 60;
/// The same where the more urgent kind is another agent's, which looks only every so often.
pub(crate) const HEAD_START_ELSEWHERE_MS: u64 = 800;
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

/// What other agents of the host hold, and what they serve beside us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) memory_bytes: u64,
    pub(crate) gpus: BTreeSet<u32>,
    pub(crate) locks: BTreeMap<String, u32>,
    pub(crate) served: BTreeMap<Activity, Wants>,
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
    elsewhere: Elsewhere,
    /// When another agent was last seen to have given back what others may wait for.
    freed_elsewhere_ms: Option<u64>,
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
        let (elsewhere, freed_elsewhere_ms) = Default::default();
        Self { means, rules, locks, held, next: 0, started_ms, given_ms, hungry, elsewhere, freed_elsewhere_ms }
    }

    /// Notes what others hold now.
    pub(crate) fn look_elsewhere(&mut self, elsewhere: Elsewhere, now_ms: u64) {
        let before = std::mem::replace(&mut self.elsewhere, elsewhere);
        let holders = |name: &String| self.elsewhere.locks.get(name).copied().unwrap_or(0);
        if before.gpus.difference(&self.elsewhere.gpus).next().is_some()
            || before.locks.iter().any(|(name, before)| *before > holders(name))
        {
            self.freed_elsewhere_ms = Some(now_ms);
        }
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
        let elsewhere = self.more_urgent_elsewhere(activity, need);
        let given = rivals.keys().chain([&activity]).filter_map(|other| self.given_ms.get(other));
        let freed = given.chain(&self.freed_elsewhere_ms).max();
        let first = more_urgent.values().next().copied();
        let to = first.into_iter().chain(elsewhere).min_by_key(|other| urgency(*other));
        let (Some(freed), Some(to)) = (freed, to) else { return Ok(()) };
        let head_starts = u64::try_from(more_urgent.len()).unwrap_or(u64::MAX).saturating_mul(HEAD_START_MS);
        let elsewhere_ms = elsewhere.map_or(0, |_| HEAD_START_ELSEWHERE_MS);
        let until_ms = freed.saturating_add(head_starts).saturating_add(elsewhere_ms);
        if now_ms < until_ms { Err(Shortage::Yields { to, until_ms }) } else { Ok(()) }
    }

    /// The most urgent work of other agents that takes what this does, if it is more urgent.
    fn more_urgent_elsewhere(&self, activity: Activity, need: Need) -> Option<Activity> {
        let shares = |wants: &Wants| (need.gpu && wants.gpu) || !self.locks_of(activity).is_disjoint(&wants.locks);
        let rivals = self.elsewhere.served.iter().filter(|(_, wants)| shares(wants)).map(|(other, _)| *other);
        rivals.filter(|other| urgency(*other) < urgency(activity)).min_by_key(|other| urgency(*other))
    }

    /// Whether others hold anything of what is short here, so that it may end without our doing.
    pub(crate) fn waits_for_others(&self, shortage: &Shortage) -> bool {
        match shortage {
            Shortage::Memory { .. } => self.elsewhere.memory_bytes > 0,
            Shortage::Gpu { .. } => !self.elsewhere.gpus.is_empty(),
            Shortage::Lock { name } => self.elsewhere.locks.contains_key(name),
            Shortage::Cores { .. } | Shortage::AtOnce { .. } | Shortage::Stagger { .. } | Shortage::Yields { .. } => {
                false
            }
        }
    }

    /// Enters a job that starts.
    pub(crate) fn take(&mut self, activity: Activity, need: Need, now_ms: u64) -> Result<HoldId, Shortage> {
        self.fits(activity, need, now_ms)?;
        self.hungry.remove(&activity);
        self.started_ms.insert(activity, now_ms);
        Ok(self.enter(activity, need))
    }

    /// Enters a job that runs already, whether it fits or not.
    pub(crate) fn take_anyway(&mut self, activity: Activity, need: Need) -> HoldId {
        self.enter(activity, need)
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

    /// Memory, GPUs and locks that jobs hold.
    pub(crate) fn held(&self) -> (u64, BTreeSet<u32>, BTreeMap<String, u32>) {
        let memory = self.held.values().map(|hold| hold.need.memory_bytes).fold(0, u64::saturating_add);
        let mut locks: BTreeMap<String, u32> = BTreeMap::new();
        for name in self.held.values().flat_map(|hold| self.locks_of(hold.activity)) {
            *locks.entry(name.clone()).or_default() += 1;
        }
        (memory, self.held.values().filter_map(|hold| hold.gpu).collect(), locks)
    }

    /// What of this work others may wait for.
    pub(crate) fn wants(&self, activity: Activity, need: Need) -> Wants {
        Wants { gpu: need.gpu, locks: self.locks_of(activity).clone() }
    }

    /// The GPU that a job has.
    pub(crate) fn gpu(&self, id: HoldId) -> Option<u32> {
        self.held.get(&id)?.gpu
    }

    /// Its number among the jobs of its kind, from 0.
    pub(crate) fn number(&self, id: HoldId) -> usize {
        self.held.get(&id).map_or(0, |hold| hold.number)
    }

    fn enter(&mut self, activity: Activity, need: Need) -> HoldId {
        let own = self.held.values().filter_map(|hold| hold.gpu);
        let taken: BTreeSet<u32> = own.chain(self.elsewhere.gpus.iter().copied()).collect();
        let gpu = if need.gpu { (0..self.means.gpus).find(|gpu| !taken.contains(gpu)) } else { None };
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
            let own = self.count(|hold| self.locks_of(hold.activity).contains(name));
            let holders = own.saturating_add(self.elsewhere.locks.get(name).copied().unwrap_or(0));
            if holders >= self.locks.get(name).copied().unwrap_or(1) {
                short.push(Shortage::Lock { name: name.clone() });
            }
        }
        short
    }

    /// Whether this would take what something more urgent waits for.
    fn yields(&self, activity: Activity, need: Need, now_ms: u64) -> Option<Shortage> {
        let mut after = self.clone();
        after.enter(activity, need);
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
        let gpus_elsewhere = u32::try_from(self.elsewhere.gpus.len()).unwrap_or(u32::MAX);
        Means {
            cores: self.means.cores.saturating_sub(cores),
            memory_bytes: self.means.memory_bytes.saturating_sub(memory).saturating_sub(self.elsewhere.memory_bytes),
            gpus: self.means.gpus.saturating_sub(self.count(|hold| hold.need.gpu)).saturating_sub(gpus_elsewhere),
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
