//! Carries a plan out: the faults of a lane follow each other, lanes run beside each other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use streams::stage::Stage;

use super::{
    cluster::Cluster,
    inject::{self, Hit, Outcome, Recovery},
    kind::{Fault, Kind, Lane},
    member::Role,
    plan::Plan,
    tally::Tally,
};

/// Agents are many: so many of their faults run at once.
const AGENT_LANES: usize = 3;
/// The lane of faults that run when all others are done.
const ALONE: u64 = 0;
/// How often a fault that found no target is tried.
const TRIES_MAX: u32 = 3;

/// How long a sector may take to its C2 on a busy machine.
const PROOF_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a run shares.
pub(super) struct Lanes {
    pub(super) cluster: Arc<Cluster>,
    pub(super) seed: u64,
    pub(super) began: Instant,
    /// Begin no further fault after this time, once so many were injected; after twice the time in any case.
    pub(super) limit: Duration,
    pub(super) least: usize,
    /// How often a failpoint that is not reached is tried.
    pub(super) failpoint_tries: u32,
    pub(super) tally: Mutex<Tally>,
}

impl Lanes {
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Injects every fault of the plan.
    pub(super) async fn run(&self, mut plan: Plan) {
        let alone = plan.remove(&Lane::Alone).unwrap_or_default();
        let mut lanes: Vec<Vec<Fault>> = Vec::new();
        for (lane, faults) in plan {
            let wide = if lane == Lane::Agents { AGENT_LANES } else { 1 };
            let split = (0..wide).map(|first| faults.iter().skip(first).step_by(wide).cloned().collect());
            lanes.extend(split);
        }
        join_all(lanes.into_iter().zip(1..).map(|(faults, number)| self.lane(number, faults))).await;
        // Few, and the worst: they come however late it is.
        self.lane(ALONE, alone).await;
    }

    /// The kills that a proof of a minute is most exposed to, each while one is made.
    pub(super) async fn during_proofs(&self) {
        const KILLS: [Kind; 5] = [
            Kind::AgentKilled,
            Kind::ServerKilled,
            Kind::CoordinatorKilled,
            Kind::AllServersKilled,
            Kind::ServerKilled,
        ];
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for kind in KILLS {
            let proves = || {
                let held = self.cluster.of(Role::Agent).flat_map(|member| self.cluster.view.held_by(&member.name));
                held.into_iter().any(|held| held.stage == Stage::C2)
            };
            let waited = Instant::now();
            while !proves() && waited.elapsed() < PROOF_MAX {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            // The second turn of an agent's kill is the one in C2.
            self.one(&Fault { kind, turn: 1, failpoint: None }, &mut rng).await;
        }
    }

    async fn lane(&self, number: u64, faults: Vec<Fault>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1_000).wrapping_add(number));
        for fault in faults {
            if number != ALONE && self.is_late() {
                self.tally().missed(&fault, "the time was up".to_owned());
                continue;
            }
            self.one(&fault, &mut rng).await;
        }
    }

    fn is_late(&self) -> bool {
        let elapsed = self.began.elapsed();
        let is_enough = self.tally().injected() >= self.least;
        elapsed > self.limit && is_enough || elapsed > self.limit.saturating_mul(2)
    }

    async fn one(&self, fault: &Fault, rng: &mut ChaCha8Rng) {
        let tries = if fault.failpoint.is_some() { self.failpoint_tries } else { TRIES_MAX };
        let mut why = String::new();
        for _ in 0..tries {
            let id = self.cluster.diary.begins(fault);
            let outcome = Box::pin(inject::inject(&self.cluster, fault, rng)).await;
            self.mend_free().await;
            let hit = match &outcome {
                Ok(Outcome::Hit(hit)) => Some(hit),
                Ok(Outcome::Missed(_)) | Err(_) => None,
            };
            self.cluster.diary.over(id, hit);
            match outcome {
                Ok(Outcome::Hit(hit)) => return self.note(fault, &hit),
                Ok(Outcome::Missed(reason)) => why = reason,
                // Mostly the queue, which another lane has just killed.
                Err(error) => why = format!("{error:#}"),
            }
            tracing::debug!("{fault}: {why}");
        }
        self.say(&format!("{fault}: not injected: {why}"));
        self.tally().missed(fault, why);
    }

    /// Whatever ended a fault early, nothing stays broken.
    async fn mend_free(&self) {
        for member in &self.cluster.members {
            if let Some(_turn) = member.try_take()
                && let Err(error) = member.mend().await
            {
                tracing::warn!("mend {}: {error:#}", member.name);
            }
        }
    }

    fn note(&self, fault: &Fault, hit: &Hit) {
        let mut tally = self.tally();
        tally.hit(fault, hit);
        let number = tally.injected();
        drop(tally);
        let recovery = match hit.recovery {
            Recovery::After(time) => format!("; goes on after {:.1} s", time.as_secs_f64()),
            Recovery::Nothing => String::new(),
            Recovery::Never => "; STANDS STILL".to_owned(),
        };
        self.say(&format!("#{number} {fault}: {}, {}{recovery}", hit.target, hit.held));
    }

    pub(super) fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }
}
