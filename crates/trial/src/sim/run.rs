//! One seed from its first submission to its verdict.

use std::{
    path::Path,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use streams::{
    control::SubmitRequest,
    id::SectorId,
    model::{Latency, Random, Rates, Weakness},
    sector::SectorState,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Outcome,
    chain::{NodeRates, World},
    checker::Checker,
    cluster::{Cluster, MINERS},
    disk::WorkRates,
    plan::{Blow, Plan},
    without::Without,
};

/// How long after the last fault everything has to be done.
const BOUND: Duration = Duration::from_secs(50 * 60);
/// A window that opens so many epochs after the last fault must not be missed: alerts, leases and pointers come back
/// within that.
const GRACE_EPOCHS: i64 = 40;
/// The writes at which [`Blow::Catch`] stops a process.
const CAUGHT_AT: [&str; 2] = ["$KV.SECTORS.", "$KV.CLAIMS."];
/// Lines shown with a violation.
const TAIL: usize = 40;

pub(super) async fn run(seed: u64, without: Option<Without>, loud: bool, home: &Path) -> anyhow::Result<Outcome> {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(&mut random, without, loud, home)?;
    let plan = Plan::draw(&mut random, cluster.processes.len());
    let began = Instant::now();
    let mut play = Play { plan, random, began, person: JoinSet::new(), pending: Vec::new(), calm: false };
    play.begin(&mut cluster, without);
    play.until_done(&mut cluster).await;
    if lock(&cluster).violations.is_empty() {
        play.judge(&cluster);
    }
    let checker = lock(&cluster);
    let skip = checker.lines.len().saturating_sub(TAIL);
    Ok(Outcome {
        seed,
        violations: checker.violations.clone(),
        digest: checker.digest,
        tail: checker.lines.iter().skip(skip).cloned().collect(),
    })
}

fn lock(cluster: &Cluster) -> MutexGuard<'_, Checker> {
    cluster.checker.lock().unwrap_or_else(PoisonError::into_inner)
}

fn world(cluster: &Cluster) -> MutexGuard<'_, World> {
    cluster.world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What undoes a blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    Start(usize),
    Thaw(usize),
    Uncut(usize),
    QueueUp,
}

struct Play {
    plan: Plan,
    random: Random,
    began: Instant,
    person: JoinSet<()>,
    pending: Vec<(Duration, Mend)>,
    calm: bool,
}

impl Play {
    fn begin(&mut self, cluster: &mut Cluster, without: Option<Without>) {
        cluster.model.set_rates(self.plan.rates);
        cluster.model.set_latency(Latency::default());
        *cluster.node_rates.lock().unwrap_or_else(PoisonError::into_inner) = self.plan.node_rates;
        *cluster.work_rates.lock().unwrap_or_else(PoisonError::into_inner) = self.plan.work_rates;
        let streams = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        cluster.model.weaken(match without {
            Some(Without::Fence) => Weakness { unfenced: streams(&["KV_SECTORS", "KV_CLAIMS"]), ..Weakness::default() },
            Some(Without::Journal) => Weakness { forgetful: streams(&["KV_MESSAGES"]), ..Weakness::default() },
            Some(Without::Lock) => Weakness { unfenced: streams(&["KV_LOCKS"]), ..Weakness::default() },
            Some(Without::Drain) => Weakness { blind: streams(&["RESULTS"]), ..Weakness::default() },
            Some(Without::Reconciler) | None => Weakness::default(),
        });
        // A chain that is old enough for tickets.
        for _ in 0..20 {
            world(cluster).advance(0, 1_000, &mut self.random);
        }
        cluster.processes.iter_mut().for_each(super::process::Process::start);
        for (miner, count) in MINERS.into_iter().zip(self.plan.sectors.clone()) {
            let nats = cluster.person.clone();
            self.person.spawn(async move {
                let request = SubmitRequest { miner, count, pieces: Vec::new() };
                while nats.ask(&request, Duration::from_secs(10)).await.is_err() {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
        }
    }

    async fn until_done(&mut self, cluster: &mut Cluster) {
        let block = Duration::from_millis(cluster.policy.block_delay_ms);
        let mut next_block = block;
        let mut blows = self.plan.blows.clone().into_iter().peekable();
        loop {
            let mend = self.pending.iter().map(|(at, _)| *at).min();
            let blow = blows.peek().map(|(at, _)| *at);
            let calm = (!self.calm).then_some(self.plan.calm_at);
            let Some(next) = [Some(next_block), mend, blow, calm].into_iter().flatten().min() else { return };
            tokio::time::sleep_until(self.began + next).await;
            if blow == Some(next) {
                if let Some((_, blow)) = blows.next() {
                    self.strike(cluster, blow, next);
                }
            } else if mend == Some(next) {
                self.mend_due(cluster, next);
            } else if calm == Some(next) {
                self.calm_down(cluster, next);
            } else {
                next_block = next + block;
                self.advance(cluster);
                let settled = next > self.plan.calm_at + Duration::from_secs(60) && self.is_done(cluster);
                if settled || next > self.plan.calm_at + BOUND || !lock(cluster).violations.is_empty() {
                    return;
                }
            }
        }
    }

    fn advance(&mut self, cluster: &Cluster) {
        let calm = self.calm;
        let null = !calm && self.random.below(1_000) < self.plan.null_permille;
        let included = if calm { 1_000 } else { self.plan.included_permille };
        if null {
            return;
        }
        let mut world = world(cluster);
        let elapsed = self.began.elapsed().as_millis() / u128::from(cluster.policy.block_delay_ms);
        let due = i64::try_from(elapsed).unwrap_or(0) + 20;
        let nulls = (due - world.height() - 1).max(0);
        world.advance(nulls, included, &mut self.random);
    }

    fn note(&self, cluster: &Cluster, words: &str) {
        lock(cluster).note(cluster.clock.now_unix_ms(), words);
    }

    fn strike(&mut self, cluster: &mut Cluster, blow: Blow, now: Duration) {
        self.note(cluster, &format!("fault {blow:?}"));
        let later = |for_ms: u64| now + Duration::from_millis(for_ms);
        match blow {
            Blow::Kill { node, for_ms } => {
                if let Some(process) = cluster.processes.get(node) {
                    process.kill();
                    cluster.model.forget(&process.name);
                }
                self.pending.push((later(for_ms), Mend::Start(node)));
            }
            Blow::Freeze { node, for_ms } => {
                if let Some(process) = cluster.processes.get(node) {
                    process.freeze();
                }
                self.pending.push((later(for_ms), Mend::Thaw(node)));
            }
            Blow::Catch { node, for_ms } => {
                if let Some(process) = cluster.processes.get(node) {
                    cluster.model.snare(&process.name, &CAUGHT_AT, process.freezer());
                }
                self.pending.push((later(for_ms), Mend::Thaw(node)));
            }
            Blow::Cut { node, for_ms } => {
                if let Some(process) = cluster.processes.get(node) {
                    cluster.model.cut(&process.name, true);
                }
                self.pending.push((later(for_ms), Mend::Uncut(node)));
            }
            Blow::QueueDown { for_ms } => {
                cluster.model.stop();
                self.pending.push((later(for_ms), Mend::QueueUp));
            }
            Blow::NoLeader { for_ms } => cluster.model.lose_leader(Duration::from_millis(for_ms)),
            Blow::PurgeTasks => cluster.model.purge("TASKS"),
            Blow::Reorg { depth, lost_permille } => world(cluster).reorganise(depth, lost_permille, &mut self.random),
            Blow::DropPool { lost_permille } => world(cluster).drop_pool(lost_permille, &mut self.random),
        }
    }

    fn mend_due(&mut self, cluster: &mut Cluster, now: Duration) {
        let (due, left) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = left;
        let due: Vec<(Duration, Mend)> = due;
        for (_, mend) in due {
            self.mend(cluster, mend);
        }
    }

    fn mend(&self, cluster: &mut Cluster, mend: Mend) {
        self.note(cluster, &format!("mended {mend:?}"));
        match mend {
            Mend::Start(node) => {
                if let Some(process) = cluster.processes.get_mut(node) {
                    process.start();
                }
            }
            Mend::Thaw(node) => {
                if let Some(process) = cluster.processes.get(node) {
                    cluster.model.unsnare(&process.name);
                    process.thaw();
                }
            }
            Mend::Uncut(node) => {
                if let Some(process) = cluster.processes.get(node) {
                    cluster.model.cut(&process.name, false);
                }
            }
            Mend::QueueUp => cluster.model.start(),
        }
    }

    /// No fault from now on, and everything that was broken is mended.
    fn calm_down(&mut self, cluster: &mut Cluster, now: Duration) {
        self.calm = true;
        self.note(cluster, "calm");
        for (_, mend) in std::mem::take(&mut self.pending) {
            self.mend(cluster, mend);
        }
        debug_assert!(now >= self.plan.calm_at, "calm comes at its time");
        cluster.model.set_rates(Rates::default());
        *cluster.node_rates.lock().unwrap_or_else(PoisonError::into_inner) = NodeRates::default();
        *cluster.work_rates.lock().unwrap_or_else(PoisonError::into_inner) = WorkRates::default();
    }

    /// Whether every sector is proving and trimmed, and one whole proving period passed since.
    fn is_done(&mut self, cluster: &Cluster) -> bool {
        while self.person.try_join_next().is_some() {}
        if !self.person.is_empty() {
            return false;
        }
        let world = world(cluster);
        let checker = lock(cluster);
        let height = world.height();
        let activated = checker.records.values().map(|record| match &record.state {
            SectorState::Proving { activation, finalized: true, .. } => Some(*activation),
            _ => None,
        });
        let counted = |id: &SectorId| world.is_live(id.miner, id.number.0);
        if !checker.records.keys().all(counted) {
            return false;
        }
        let last = activated.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
        last.is_some_and(|last| height > last + 2 * cluster.policy.proving_period) && height > self.sound_from(cluster)
    }

    /// From this epoch on nothing excuses a missed window.
    fn sound_from(&self, cluster: &Cluster) -> i64 {
        let secs = i64::try_from(self.plan.calm_at.as_millis() / u128::from(cluster.policy.block_delay_ms));
        secs.unwrap_or(0) + 20 + GRACE_EPOCHS
    }

    /// What has to be true at the end.
    fn judge(&self, cluster: &Cluster) {
        let world = world(cluster);
        let mut checker = lock(cluster);
        let now = cluster.clock.now_unix_ms();
        for words in world.violations() {
            checker.violation(now, words);
        }
        let sound_from = self.sound_from(cluster);
        for missed in world.missed().iter().filter(|missed| missed.open >= sound_from) {
            checker.violation(now, format!("I15: {missed:?} at epoch {}", world.height()));
        }
        let records: Vec<(SectorId, String, bool)> = checker
            .records
            .iter()
            .map(|(id, record)| {
                let done = matches!(record.state, SectorState::Proving { finalized: true, .. });
                let words = match &record.state {
                    SectorState::Parked { reason, .. } => format!("parked ({}: {})", reason.code, reason.text),
                    state => state.name().to_owned(),
                };
                (*id, words, done)
            })
            .collect();
        if records.is_empty() {
            checker.violation(now, "liveness: no sector was ever made".to_owned());
        }
        for (id, words, done) in &records {
            if !done {
                checker.violation(now, format!("liveness: sector {id} is {words} at the end"));
            } else if !world.is_live(id.miner, id.number.0) {
                checker.violation(now, format!("liveness: sector {id} is done and the chain does not count it"));
            }
        }
        for (miner, number) in world.proven() {
            if !records.iter().any(|(id, ..)| id.miner == miner && id.number.0 == number) {
                checker
                    .violation(now, format!("the chain has sector {number} of {miner} and there is no record of it"));
            }
        }
        for disk in &cluster.disks {
            let met = disk.lock().unwrap_or_else(PoisonError::into_inner).met().to_vec();
            met.into_iter().for_each(|words| checker.violation(now, words));
        }
        for words in checker.gaps() {
            checker.violation(now, words);
        }
    }
}
