//! What a seed chooses: which kinds of fault, how often, and when.

use std::time::Duration;

use streams::model::{Random, Rates};

use super::{chain::NodeRates, disk::WorkRates};

/// One thing done to the cluster from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// A process is killed, and started again later.
    Kill { node: usize, for_ms: u64 },
    /// A process is stopped, and goes on later.
    Freeze { node: usize, for_ms: u64 },
    /// A process is stopped while a write of a record or a claim is on its way, which arrives when it goes on.
    Catch { node: usize, for_ms: u64 },
    /// A process does not reach the queue for a while.
    Cut { node: usize, for_ms: u64 },
    /// The queue is killed, and started again.
    QueueDown { for_ms: u64 },
    /// Nobody leads the queue for a while.
    NoLeader { for_ms: u64 },
    /// Somebody empties `TASKS`.
    PurgeTasks,
    /// The chain's last tipsets are replaced.
    Reorg { depth: usize, lost_permille: u64 },
    /// The pool forgets messages.
    DropPool { lost_permille: u64 },
}

/// A seed's choices.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sectors: Vec<u64>,
    /// No fault after this.
    pub(crate) calm_at: Duration,
    pub(crate) blows: Vec<(Duration, Blow)>,
    pub(crate) rates: Rates,
    pub(crate) node_rates: NodeRates,
    pub(crate) work_rates: WorkRates,
    /// Of a thousand epochs, without a block.
    pub(crate) null_permille: u64,
    /// Of a thousand messages that could be in a block, those that are.
    pub(crate) included_permille: u64,
}

/// The coordinators, which come first.
const LEADERS: u64 = 2;
/// The deepest reorg: what the configured confidence is for.
const REORG_DEPTH_MAX: u64 = 2;

impl Plan {
    /// What `random` chooses for a cluster of so many processes.
    pub(crate) fn draw(random: &mut Random, nodes: usize) -> Self {
        let calm_secs = random.between(180, 500);
        let calm_at = Duration::from_secs(calm_secs);
        // A swarm: each seed has some kinds of fault and not others, so that rare meetings happen often somewhere.
        let mut has = |permille: u64| random.below(1_000) < permille;
        // In the order of the match below; there is always something to be killed.
        let odds = [600, 400, 400, 400, 300, 300, 250, 500, 300].map(&mut has);
        let kinds: Vec<usize> = odds.iter().enumerate().filter(|(_, on)| **on).map(|(kind, _)| kind).collect();
        let (lossy, flaky_node, bad_work, slow) = (has(500), has(500), has(500), has(300));
        let mut blows = Vec::new();
        let count = random.between(2, 16);
        for _ in 0..count {
            let at = Duration::from_millis(random.between(5_000, calm_secs * 1_000));
            // Half of them hit those of whom one leads, the first [`LEADERS`].
            let among = if random.below(2) == 0 { LEADERS } else { u64::try_from(nodes).unwrap_or(LEADERS) };
            let node = usize::try_from(random.below(among)).unwrap_or(0);
            let kind = random.below(u64::try_from(kinds.len().max(1)).unwrap_or(1));
            let blow = match usize::try_from(kind).ok().and_then(|kind| kinds.get(kind)).copied().unwrap_or(0) {
                1 => Blow::Freeze { node, for_ms: random.between(1_000, 300_000) },
                2 => Blow::Catch { node, for_ms: random.between(10_000, 300_000) },
                3 => Blow::Cut { node, for_ms: random.between(1_000, 100_000) },
                4 => Blow::QueueDown { for_ms: random.between(200, 40_000) },
                5 => Blow::NoLeader { for_ms: random.between(5_000, 7_000) },
                6 => Blow::PurgeTasks,
                7 => Blow::Reorg {
                    depth: usize::try_from(random.between(1, REORG_DEPTH_MAX)).unwrap_or(1),
                    lost_permille: random.below(400),
                },
                8 => Blow::DropPool { lost_permille: random.below(1_000) },
                _ => Blow::Kill { node, for_ms: random.between(500, 90_000) },
            };
            blows.push((at, blow));
        }
        blows.sort_by_key(|(at, _)| *at);
        let mut rate = |on: bool, most: u64| {
            let drawn = random.below(most.max(1));
            if on { u32::try_from(drawn).unwrap_or(0) } else { 0 }
        };
        let rates = Rates {
            requests_lost: rate(lossy, 8_000),
            answers_lost: rate(lossy, 8_000),
            unsure: rate(lossy, 20_000),
            slow: rate(slow, 30_000),
            delivered_twice: rate(lossy, 50_000),
        };
        let node_rates = NodeRates {
            timeouts: rate(flaky_node, 20_000),
            broken: rate(flaky_node, 40_000),
            stale: rate(flaky_node, 50_000),
            blind: rate(flaky_node, 50_000),
        };
        let work_rates = WorkRates {
            crashes: rate(bad_work, 150_000),
            lies: rate(bad_work, 100_000),
            full: rate(bad_work, 100_000),
        };
        let (null_permille, included_permille) = (random.below(150), random.between(500, 1_000));
        let sectors = vec![random.between(3, 5), random.between(1, 3)];
        Self { sectors, calm_at, blows, rates, node_rates, work_rates, null_permille, included_permille }
    }
}
