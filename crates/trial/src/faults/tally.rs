//! What was injected, what came of it, and what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use streams::id::SectorId;

use super::{
    inject::{Hit, Recovery},
    kind::{Fault, Kind},
};

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hits: BTreeMap<Kind, Vec<Recovery>>,
    /// How often somebody died there.
    failpoints: BTreeMap<String, u64>,
    /// Faults that found no target, with the last reason.
    missed: Vec<(Fault, String)>,
    poisoned: BTreeSet<SectorId>,
    violations: Vec<String>,
    lost: BTreeSet<SectorId>,
}

impl Tally {
    pub(super) fn hit(&mut self, fault: &Fault, hit: &Hit) {
        self.hits.entry(fault.kind).or_default().push(hit.recovery);
        if let Some(failpoint) = &fault.failpoint {
            *self.failpoints.entry(failpoint.clone()).or_default() += 1;
        }
        self.poisoned.extend(&hit.poisoned);
        if hit.recovery == Recovery::Never {
            self.violation(format!("{fault}: {} stood still afterwards: {}", hit.target, hit.held));
        }
    }

    pub(super) fn missed(&mut self, fault: &Fault, why: String) {
        self.missed.push((fault.clone(), why));
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(super) fn lost(&mut self, sector: SectorId) {
        self.lost.insert(sector);
    }

    pub(super) fn is_poisoned(&self, sector: SectorId) -> bool {
        self.poisoned.contains(&sector)
    }

    pub(super) fn injected(&self) -> usize {
        self.hits.values().map(Vec::len).sum()
    }

    pub(super) fn kinds(&self) -> usize {
        self.hits.len()
    }

    /// Deaths by failpoint.
    pub(super) const fn failpoints(&self) -> &BTreeMap<String, u64> {
        &self.failpoints
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Adds what another cluster of the same run came to.
    pub(super) fn add(&mut self, other: Self) {
        for (kind, recoveries) in other.hits {
            self.hits.entry(kind).or_default().extend(recoveries);
        }
        for (failpoint, deaths) in other.failpoints {
            *self.failpoints.entry(failpoint).or_default() += deaths;
        }
        self.missed.extend(other.missed);
        self.poisoned.extend(other.poisoned);
        self.violations.extend(other.violations);
        self.lost.extend(other.lost);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.lost.is_empty()
    }

    /// The table, what is wrong, and the line that `make test` ends with.
    pub(super) fn render(&self) -> String {
        let mut lines = vec![format!("{:>3}  {:<44} {:>8} {:>10} {:>10}", "row", "kind", "injected", "p50", "p99")];
        for (kind, recoveries) in &self.hits {
            let mut times: Vec<Duration> = recoveries.iter().filter_map(time).collect();
            times.sort_unstable();
            let at = |share| percentile(&times, share).map_or_else(|| "-".to_owned(), shown);
            let (p50, p99) = (at(50), at(99));
            lines.push(format!(
                "{:>3}  {:<44} {:>8} {p50:>10} {p99:>10}",
                kind.number(),
                kind.name(),
                recoveries.len()
            ));
        }
        lines.push(format!("{} failpoints were died at", self.failpoints.len()));
        lines.extend(self.missed.iter().map(|(fault, why)| format!("not injected: {fault}: {why}")));
        lines.extend(self.violations.iter().map(|violation| format!("violation: {violation}")));
        lines.extend(self.lost.iter().map(|sector| format!("lost: {sector}")));
        lines.push(format!(
            "faults: {} injected, {} kinds, {} violations, {} sectors lost",
            self.injected(),
            self.kinds(),
            self.violations.len(),
            self.lost.len()
        ));
        lines.join("\n")
    }

    /// Failpoints that nobody died at.
    pub(super) fn not_reached(&self) -> Vec<&str> {
        self.missed.iter().filter_map(|(fault, _)| fault.failpoint.as_deref()).collect()
    }
}

const fn time(recovery: &Recovery) -> Option<Duration> {
    match recovery {
        Recovery::After(time) => Some(*time),
        Recovery::Nothing | Recovery::Never => None,
    }
}

/// The smallest time that so many hundredths do not exceed.
pub(super) fn percentile(sorted: &[Duration], share: usize) -> Option<Duration> {
    let rank = sorted.len().saturating_mul(share).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn shown(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(recovery: Recovery) -> Hit {
        Hit {
            target: "east-1".into(),
            held: "pc1 of f01000/1".into(),
            recovery,
            poisoned: Vec::new(),
            park: Vec::new(),
            ordered: Vec::new(),
        }
    }

    #[test]
    fn the_last_line_counts() {
        let mut tally = Tally::default();
        let fault = |kind| Fault { kind, turn: 0, failpoint: None };
        tally.hit(&fault(Kind::AgentKilled), &hit(Recovery::After(Duration::from_secs(4))));
        tally.hit(&fault(Kind::AgentKilled), &hit(Recovery::Nothing));
        tally.hit(&fault(Kind::Reorg), &hit(Recovery::After(Duration::from_secs(1))));
        tally.missed(&fault(Kind::TornFile), "no sector".into());
        assert!(tally.is_clean());
        assert!(tally.render().ends_with("\nfaults: 3 injected, 2 kinds, 0 violations, 0 sectors lost"));
        tally.hit(&fault(Kind::Reorg), &hit(Recovery::Never));
        tally.lost("f01000/3".parse().unwrap());
        assert!(!tally.is_clean());
        assert!(tally.render().ends_with("\nfaults: 4 injected, 2 kinds, 1 violations, 1 sectors lost"));
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        assert_eq!(percentile(&times, 50), Some(Duration::from_secs(50)));
        assert_eq!(percentile(&times, 99), Some(Duration::from_secs(99)));
        assert_eq!(percentile(&times[..1], 99), Some(Duration::from_secs(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
