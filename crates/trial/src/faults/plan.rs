//! Which faults, in which order: decided by the seed alone.

use std::collections::BTreeMap;

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::kind::{Fault, Kind, Lane};

/// The faults of each lane, in order.
pub(super) type Plan = BTreeMap<Lane, Vec<Fault>>;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) seed: u64,
    /// Hundredths of the standard counts.
    pub(super) percent: u32,
    /// Kinds that cannot be injected here.
    pub(super) without: Vec<Kind>,
    /// Only these, if any are named.
    pub(super) only: Vec<Kind>,
    pub(super) failpoints: Vec<String>,
}

/// Makes the plan of a seed.
pub(super) fn plan(wanted: &Wanted) -> Plan {
    let mut faults = Vec::new();
    let is_in = |kind: Kind| !wanted.without.contains(&kind) && (wanted.only.is_empty() || wanted.only.contains(&kind));
    for kind in Kind::ALL.into_iter().filter(|kind| is_in(*kind)) {
        let count = kind.count().saturating_mul(wanted.percent).div_ceil(100);
        faults.extend((0..count).map(|turn| Fault { kind, turn, failpoint: None }));
    }
    for name in &wanted.failpoints {
        let kind = kind_of(name);
        faults.push(Fault { kind, turn: 0, failpoint: Some(name.clone()) });
    }
    faults.shuffle(&mut ChaCha8Rng::seed_from_u64(wanted.seed));
    let mut plan = Plan::new();
    for fault in faults {
        plan.entry(fault.kind.lane()).or_default().push(fault);
    }
    plan
}

/// Places that only `coordinator rebuild` comes by.
const REBUILDS: [&str; 2] = ["coordinator.rebuild.", "coordinator.incarnation."];
/// Places that no cluster of the suite comes by: only `coordinator backup` and `restore`, whose own tests die there; a
/// coordinator with a bucket; and `sealer-agent store attach`.
const ELSEWHERE: [&str; 4] = ["coordinator.backup.", "coordinator.bucket.", "coordinator.attach.", "agent.attach."];

/// Whether a cluster comes by a failpoint while it seals.
pub(super) fn is_on_the_road(failpoint: &str) -> bool {
    kind_of(failpoint) != Kind::QueueWiped && is_reachable(failpoint)
}

/// Whether a suite can kill there.
pub(super) fn is_reachable(failpoint: &str) -> bool {
    !ELSEWHERE.iter().any(|prefix| failpoint.starts_with(prefix))
}

/// Whose death a failpoint is: the name's first word is the program. The chain's code runs in the coordinator.
pub(super) fn kind_of(failpoint: &str) -> Kind {
    if REBUILDS.iter().any(|prefix| failpoint.starts_with(prefix)) {
        return Kind::QueueWiped;
    }
    match failpoint.split('.').next() {
        Some("agent") => Kind::AgentKilled,
        Some("poster") => Kind::PosterKilled,
        _ => Kind::CoordinatorKilled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(seed: u64) -> Wanted {
        let failpoints = vec!["agent.journal.kept".to_owned(), "chain.sender.signed".to_owned()];
        Wanted { seed, percent: 100, without: vec![Kind::StoreFull], only: Vec::new(), failpoints }
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(plan(&wanted(7)), plan(&wanted(7)));
        assert_ne!(plan(&wanted(7)), plan(&wanted(8)));
    }

    #[test]
    fn a_plan_is_large_enough_and_has_every_kind_that_can_be() {
        let plan = plan(&wanted(1));
        let all: Vec<&Fault> = plan.values().flatten().collect();
        assert!(all.len() >= 200, "{}", all.len());
        let kinds: std::collections::BTreeSet<u8> = all.iter().map(|fault| fault.kind.number()).collect();
        // Stores cannot be filled here, and one server is all of them.
        assert_eq!(kinds.len(), Kind::ALL.len() - 2);
        assert!(all.iter().all(|fault| fault.kind != Kind::StoreFull));
        let at: Vec<_> = all.iter().filter_map(|f| Some((f.kind, f.failpoint.as_deref()?))).collect();
        assert_eq!(at.len(), 2);
        assert!(at.contains(&(Kind::AgentKilled, "agent.journal.kept")));
        assert!(at.contains(&(Kind::CoordinatorKilled, "chain.sender.signed")));
    }

    #[test]
    fn rows_of_the_table_are_named_once() {
        let rows: std::collections::BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.number()).collect();
        assert_eq!(rows.len(), Kind::ALL.len());
    }
}
