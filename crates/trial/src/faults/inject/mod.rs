//! How each fault is done: wait until a target holds named work, hit it, check that it held the work at that moment,
//! mend it, and wait until the work goes on.

mod agents;
mod coordinators;
mod files;
mod forged;
mod lines;
mod occasions;
mod posters;
mod surroundings;
mod wiped;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::clock::{Clock as _, SystemClock};
use rand::{Rng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use streams::{
    id::SectorId,
    kv::{Bucket, BucketName},
    records::Claim,
    stage::Stage,
};
use tokio::sync::OwnedMutexGuard;

use super::{
    cluster::Cluster,
    kind::{Fault, Kind},
    member::{Member, Role},
    view::{Held, is_over},
};

/// How long a target is waited for.
const TARGET_MAX: Duration = Duration::from_secs(12);
/// How long the work that was hit may stand still.
const RECOVERY_MAX: Duration = Duration::from_secs(75);
/// How long a cluster with nothing broken may take to come to a stage.
const START_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(15);

pub(super) use files::SMALL;
pub(super) use forged::is_believed;

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It hit work that has a name.
    Hit(Hit),
    /// It hit nothing, and does not count.
    Missed(String),
}

/// A fault that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) target: String,
    /// What the target held: a stage of a sector, a deadline, a batch.
    pub(super) held: String,
    /// How long it took until that went on.
    pub(super) recovery: Recovery,
    /// Sectors that this fault may have spoilt: they may park, with one of these codes.
    pub(super) poisoned: Vec<SectorId>,
    pub(super) park: Vec<u16>,
    /// Orders that a person gave.
    pub(super) ordered: Vec<(SectorId, &'static str)>,
}

/// Whether the work went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    After(Duration),
    /// The fault breaks nothing that would have to come back.
    Nothing,
    /// Not within [`RECOVERY_MAX`].
    Never,
}

impl Hit {
    fn new(target: impl Into<String>, held: impl Into<String>, recovery: Recovery) -> Self {
        Self {
            target: target.into(),
            held: held.into(),
            recovery,
            poisoned: Vec::new(),
            park: Vec::new(),
            ordered: Vec::new(),
        }
    }
}

fn missed(why: impl Into<String>) -> anyhow::Result<Outcome> {
    Ok(Outcome::Missed(why.into()))
}

fn hit(target: impl Into<String>, held: impl Into<String>, recovery: Recovery) -> anyhow::Result<Outcome> {
    Ok(Outcome::Hit(Hit::new(target, held, recovery)))
}

/// Does one fault.
pub(super) async fn inject(cluster: &Arc<Cluster>, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    if let Some(failpoint) = &fault.failpoint {
        return match fault.kind {
            Kind::AgentKilled => agents::at_failpoint(cluster, failpoint, rng).await,
            Kind::PosterKilled => posters::at_failpoint(cluster, failpoint).await,
            Kind::QueueWiped => wiped::wipe(cluster, Some(failpoint)).await,
            _ => coordinators::at_failpoint(cluster, failpoint).await,
        };
    }
    match fault.kind {
        Kind::AgentKilled => agents::kill(cluster, fault, rng).await,
        Kind::AgentFrozen => agents::freeze(cluster, rng).await,
        Kind::CoordinatorKilled => coordinators::kill(cluster, rng).await,
        Kind::PosterKilled => posters::kill(cluster).await,
        Kind::ServerKilled => surroundings::kill_leader(cluster, rng).await,
        Kind::AllServersKilled => surroundings::kill_servers(cluster, rng).await,
        Kind::QueueWiped => wiped::wipe(cluster, None).await,
        Kind::Partition => lines::partition(cluster, fault, rng).await,
        Kind::BadLine => lines::bad_line(cluster, fault, rng).await,
        Kind::MessageLost => lines::lose(cluster, fault).await,
        Kind::Duplicate => forged::again(cluster, fault, rng).await,
        Kind::NodeLies => coordinators::lies(cluster, fault, rng).await,
        Kind::Reorg => surroundings::reorg(cluster, rng).await,
        Kind::PushLost => coordinators::pushes(cluster, fault).await,
        Kind::StoreFull => files::store_full(cluster).await,
        Kind::TornFile => files::torn(cluster, fault, rng).await,
        Kind::ProverFails => files::prover_fails(cluster, fault).await,
        Kind::Forged => forged::forge(cluster, fault, rng).await,
        Kind::Purged => surroundings::purge(cluster).await,
        Kind::TwoLeaders => coordinators::two_leaders(cluster, fault).await,
    }
}

/// A member that is this fault's alone until the guard goes.
type Turn = OwnedMutexGuard<()>;

/// Looks until there is something to see.
async fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > limit {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for an agent that no fault has and that is at work, best at `stage`.
async fn busy_agent(
    cluster: &Cluster,
    stage: Option<Stage>,
    rng: &mut ChaCha8Rng,
) -> Option<(Arc<Member>, Turn, Held)> {
    let mut agents: Vec<Arc<Member>> = cluster.of(Role::Agent).cloned().collect();
    agents.shuffle(rng);
    let find = |stage: Option<Stage>| {
        agents.iter().find_map(|member| {
            let held = cluster.view.held_by(&member.name);
            let held = held.into_iter().find(|held| stage.is_none_or(|stage| stage == held.stage))?;
            Some((Arc::clone(member), member.try_take()?, held))
        })
    };
    match until(TARGET_MAX / 2, || find(stage)).await {
        Some(found) => Some(found),
        None => until(TARGET_MAX, || find(None)).await,
    }
}

/// Whether a claim stands as it was seen: asked of the queue itself.
async fn still_holds(cluster: &Cluster, held: &Held) -> bool {
    let claim = async {
        let claims: Bucket<Claim> = Bucket::open(&cluster.nats, BucketName::Claims).await?;
        claims.get(&held.key()).await
    };
    let Ok(Ok(Some(entry))) = tokio::time::timeout(Duration::from_secs(20), claim).await else { return false };
    let same = |claim: &Claim| claim.run == held.claim.run && claim.claimed_at == held.claim.claimed_at;
    Held::of(&held.key(), &entry.value).is_some_and(|found| same(&found.claim))
}

/// Waits until a stage that was hit is done, or runs: under another claim, or with a new beat of this one.
async fn goes_on(cluster: &Cluster, held: &Held) -> Recovery {
    let began = Instant::now();
    let since = SystemClock.now_unix_ms();
    let before = cluster.view.sector(held.sector).map_or(0, |record| record.seq);
    let moved = until(RECOVERY_MAX, || {
        let record = cluster.view.sector(held.sector)?;
        let runs = cluster.view.claim(&held.key()).is_some_and(|claim| {
            let another = claim.run != held.claim.run || claim.claimed_at != held.claim.claimed_at;
            claim.beat_at.0 > since || (claim.beat_at.0 != 0 && another)
        });
        (record.seq > before || runs || is_over(&record)).then_some(())
    });
    match moved.await {
        Some(()) => Recovery::After(began.elapsed()),
        None => Recovery::Never,
    }
}

/// Waits until a sector makes another step.
async fn steps(cluster: &Cluster, sector: SectorId, seq: u64) -> Recovery {
    let began = Instant::now();
    let moved = until(RECOVERY_MAX, || {
        let record = cluster.view.sector(sector)?;
        (record.seq > seq || is_over(&record)).then_some(())
    });
    match moved.await {
        Some(()) => Recovery::After(began.elapsed()),
        None => Recovery::Never,
    }
}

/// The time-out of a claim in this cluster.
fn ack_wait(cluster: &Cluster) -> Duration {
    cluster.layout.pace.ack_wait.unwrap_or(Duration::from_secs(60))
}

/// The name of the holder of a lease.
async fn lease_holder(cluster: &Cluster, lease: &str) -> anyhow::Result<Option<String>> {
    let asked = async {
        let leases: Bucket<streams::records::LeaseHeld> = Bucket::open(&cluster.nats, BucketName::Leases).await?;
        leases.get(lease).await
    };
    let entry = tokio::time::timeout(Duration::from_secs(5), asked).await.context("read a lease: no answer")?;
    Ok(entry.context("read a lease")?.map(|entry| entry.value.holder))
}

/// Which member of a role holds a lease.
async fn leader(cluster: &Cluster, role: Role, lease: &str) -> Option<Arc<Member>> {
    let holder = lease_holder(cluster, lease).await.ok().flatten()?;
    cluster.of(role).find(|member| member.link.holds_as(lease).as_deref() == Some(&holder)).cloned()
}

/// Waits until another than `former` holds a lease.
async fn another_holds(cluster: &Cluster, lease: &str, former: Option<&str>, limit: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        match lease_holder(cluster, lease).await {
            Ok(Some(holder)) if Some(holder.as_str()) != former => return true,
            _ => tokio::time::sleep(LOOK_EVERY * 4).await,
        }
    }
    false
}

/// Kills an agent in `stage` and leaves it down until another has its work; says how long that took.
pub(super) async fn until_taken_over(cluster: &Cluster, stage: Stage) -> anyhow::Result<Duration> {
    let found = until(START_MAX, || {
        cluster.of(Role::Agent).find_map(|member| {
            let held = cluster.view.held_by(&member.name).into_iter().find(|held| held.stage == stage)?;
            Some((Arc::clone(member), held))
        })
    });
    let (member, held) = found.await.with_context(|| format!("no agent came to {stage}"))?;
    member.program().await.kill()?;
    let _turn = member.take().await;
    let recovery = goes_on(cluster, &held).await;
    member.mend().await?;
    match recovery {
        Recovery::After(time) => Ok(time),
        Recovery::Nothing | Recovery::Never => anyhow::bail!("{held} was not taken over"),
    }
}

/// Kills the server that leads the records, leaves it down, and says how long no record changed.
pub(super) async fn pause_without_leader(cluster: &Cluster) -> anyhow::Result<Duration> {
    surroundings::pause_without_leader(cluster).await
}

/// Kills the leading coordinator and waits until another leads.
pub(super) async fn fail_over(cluster: &Cluster) -> anyhow::Result<()> {
    coordinators::fail_over(cluster).await
}

fn seconds(rng: &mut ChaCha8Rng, range: std::ops::Range<f64>) -> Duration {
    Duration::from_secs_f64(rng.gen_range(range))
}
