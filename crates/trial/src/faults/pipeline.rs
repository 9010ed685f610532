//! How well one machine is kept busy, as rows of `make bench`: the real programs with fake provers whose stages have the
//! ratios of real ones, an hour of which takes seconds.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use streams::{sector::SectorRecord, stage::Stage};

use super::{
    cluster::Cluster,
    layout::{Layout, Machine, ONE, Pace},
    load::Load,
    rows::{self, Row},
    run::{mark, nothing_left, prepare},
    script::Script,
    tally::Tally,
    view::is_done,
};

/// Minutes of a 32 GiB sector's stages.
const PC1: u32 = 180;
const PC2: u32 = 12;
const C2: u32 = 10;
/// From the end of PC2 to the seed. Here the chain makes it: a message lands in the next epoch, and the seed is there six
/// epochs later, so seven and a half epochs are this long.
const WAIT: u32 = 75;
const EPOCHS_OF_WAIT_TENTHS: u32 = 75;
const SECTORS: usize = 12;
const PC1_SLOTS: usize = 4;
/// Three waves of PC1, the last four PC2 in a row, the wait, one C2.
const BEST: u32 = 3 * PC1 + 4 * PC2 + WAIT + C2;
/// What a schedule may lose to the best one.
const MAKESPAN_RATIO_MAX: f64 = 1.05;
const HAND_OFF_MAX_MS: f64 = 50.0;
const HAND_OFFS: usize = 20;
const SETTLE_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `faults pipeline`.
pub(super) async fn measure(dir: PathBuf, minute: Duration) -> Result<(), CliError> {
    prepare(&dir)?;
    let dir = dir.canonicalize().context("resolve the folder")?;
    let mark = mark(0);
    let epoch = minute * WAIT * 10 / EPOCHS_OF_WAIT_TENTHS;
    let pace = Pace { epoch, ack_wait: None, reconcile: None, stage: minute / 10 };
    let layout = Layout { agents: &ONE, machine: Machine::OneGpu, ..Layout::new(&dir, pace, &mark, false)? };
    let cluster = Box::pin(Cluster::start(layout)).await?;
    let measured = Box::pin(rows(&cluster, minute)).await;
    let mut tally = Tally::default();
    for wrong in cluster.stop().await {
        tally.violation(wrong);
    }
    nothing_left(&mut tally, &mark).await;
    let rows = measured?;
    rows::print("one machine", &rows)?;
    if let Some(violation) = tally.violations().first() {
        return Err(CliError::new(Exit::Failure, violation.clone()));
    }
    let slow: Vec<&str> = rows.iter().filter(|row| row.ratio > 1.0).map(|row| row.name.as_str()).collect();
    if slow.is_empty() { Ok(()) } else { Err(CliError::new(Exit::Failure, format!("too slow: {}", slow.join(", ")))) }
}

async fn rows(cluster: &Arc<Cluster>, minute: Duration) -> anyhow::Result<Vec<Row>> {
    let hand_offs = hand_offs(cluster).await?;
    let busy = Script::even(minute / 10).takes("pc1", minute * PC1).takes("pc2", minute * PC2).takes("c2", minute * C2);
    busy.write(&cluster.layout.script("one"))?;
    let ours = makespan(cluster, minute, SECTORS).await?;
    let held = makespan(cluster, minute, PC1_SLOTS).await?;
    let mut rows = vec![
        Row {
            name: format!("pipeline: {SECTORS} sectors, {PC1_SLOTS} PC1 slots, one GPU"),
            value: ours,
            unit: "min",
            of: format!("the best schedule's {BEST} min, and 5 % more"),
            ratio: ours / (f64::from(BEST) * MAKESPAN_RATIO_MAX),
        },
        Row {
            name: "pipeline: the same, a sector holding a store and a thread to its C2".to_owned(),
            value: held,
            unit: "min",
            of: "it, of which the row above takes this part".to_owned(),
            ratio: ours / held,
        },
    ];
    let (p50, p90) = (percentile(&hand_offs, 50), percentile(&hand_offs, 90));
    for (name, value, limit) in [("p50", p50, HAND_OFF_MAX_MS), ("p90", p90, 4.0 * HAND_OFF_MAX_MS)] {
        let name = format!("hand-off: PC1's result written to PC2's process running, {name} of {HAND_OFFS}");
        rows.push(Row::limited(name, value, "ms", limit));
    }
    Ok(rows)
}

/// Scaled minutes from the first PC1 to the last C2 of [`SECTORS`] sectors. No more than `at_once` are between the two:
/// with as many as there are slots, each holds a store and a thread for its whole life, which is venus-worker's rule.
async fn makespan(cluster: &Arc<Cluster>, minute: Duration, at_once: usize) -> anyhow::Result<f64> {
    let (load, began, before) = (Load::default(), Instant::now(), cluster.view.sectors().len());
    let mut submitted = 0;
    let sectors = loop {
        let sectors: Vec<SectorRecord> = cluster.view.sectors().into_iter().skip(before).collect();
        let done = sectors.iter().filter(|record| ended(record, Stage::C2).is_some()).count();
        if done == SECTORS {
            break sectors;
        }
        anyhow::ensure!(began.elapsed() < minute * BEST * 2, "{done} of {SECTORS} sectors came to their C2 in time");
        let next = done.saturating_add(at_once).min(SECTORS).saturating_sub(submitted);
        if next > 0 {
            load.submit_once(cluster, next).await?;
            submitted += next;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let began = sectors.iter().filter_map(|record| record.story.iter().find(|run| run.stage == Stage::Pc1));
    let began = began.map(|run| run.started_at).min().context("no sector has a PC1")?;
    let last = sectors.iter().filter_map(|record| ended(record, Stage::C2)).max().context("no sector has a C2")?;
    Ok(to_f64(last.ms_since(began)) / to_f64(millis(minute)))
}

fn ended(record: &SectorRecord, stage: Stage) -> Option<streams::id::Timestamp> {
    record.story.iter().rev().find(|run| run.stage == stage).map(|run| run.ended_at)
}

/// One sector after the other, so that nothing is in the way. Milliseconds, ascending.
async fn hand_offs(cluster: &Arc<Cluster>) -> anyhow::Result<Vec<f64>> {
    let script = cluster.layout.script("one");
    Script::even(Duration::from_millis(20)).write(&script)?;
    let times = script.with_extension("times");
    host::durable::write(&times, b"times\n").context("begin the times")?;
    for sector in 1..=HAND_OFFS {
        Load::default().submit_once(cluster, 1).await?;
        until(cluster, SETTLE_MAX, "its PC2", |records| {
            records.iter().filter(|record| ended(record, Stage::Pc2).is_some()).count() >= sector
        })
        .await?;
    }
    let text = std::fs::read_to_string(&times).context("read the times")?;
    std::fs::remove_file(&times).context("end the times")?;
    // What is on its way would be in the way.
    until(cluster, SETTLE_MAX, "their end", |records| records.iter().all(is_done)).await?;
    let mut written: BTreeMap<&str, u64> = BTreeMap::new();
    let mut took = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [what, stage, at, cache] = words.as_slice() else { continue };
        let at: u64 = at.parse().context("read a time")?;
        match (*what, *stage) {
            ("end", "pc1") => drop(written.insert(cache, at)),
            ("begin", "pc2") => took.extend(written.remove(cache).map(|ended| to_f64(at.saturating_sub(ended)))),
            _ => {}
        }
    }
    anyhow::ensure!(took.len() == HAND_OFFS, "{} hand-offs were seen, not {HAND_OFFS}", took.len());
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn percentile(ascending: &[f64], percent: usize) -> f64 {
    let index = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    ascending.get(index).copied().unwrap_or(f64::NAN)
}

async fn until(
    cluster: &Arc<Cluster>,
    limit: Duration,
    what: &str,
    is_so: impl Fn(&[SectorRecord]) -> bool,
) -> anyhow::Result<Vec<SectorRecord>> {
    let began = Instant::now();
    loop {
        let sectors = cluster.view.sectors();
        if is_so(&sectors) {
            return Ok(sectors);
        }
        if began.elapsed() > limit {
            let states: Vec<String> = sectors.iter().map(|r| format!("{} {}", r.id, r.state.name())).collect();
            anyhow::bail!("sectors did not come to {what} in time: {}", states.join(", "));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn to_f64(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_schedule_is_three_waves_and_a_tail() {
        assert_eq!(BEST, 673);
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let ascending: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&ascending, 50), percentile(&ascending, 90)), (10.0, 18.0));
    }
}
