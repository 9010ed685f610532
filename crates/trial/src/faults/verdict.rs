//! What became of a run: every sector at its end, nothing forged believed, nobody panicked, nothing left.

use std::time::{Duration, Instant};

use host::exit::CliError;
use streams::sector::SectorState;

use super::{
    evidence,
    inject::is_believed,
    lanes::Lanes,
    load::Load,
    run,
    view::{is_done, is_over},
};

/// How long sectors may take to their end once no fault comes any more.
const SETTLE_MAX: Duration = Duration::from_secs(180);
/// A real C2 takes a minute for each sector.
const SETTLE_REAL_MAX: Duration = Duration::from_secs(480);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits for the end, and judges it; stops the cluster.
pub(super) async fn judge(lanes: &Lanes, load: &Load, mark: &str) -> Result<(), CliError> {
    let settled = settle(lanes, load).await;
    sectors(lanes, load);
    for member in &lanes.cluster.members {
        for end in member.ends().iter().filter(|end| end.is_panic()) {
            lanes.tally().violation(format!("{} panicked: {end:?}", member.name));
        }
    }
    for wrong in lanes.cluster.stop().await {
        lanes.tally().violation(wrong);
    }
    let mut tally = std::mem::take(&mut *lanes.tally());
    run::nothing_left(&mut tally, mark).await;
    lanes.cluster.diary.end(settled)?;
    evidence::check(&lanes.cluster, &mut tally).await?;
    *lanes.tally() = tally;
    Ok(())
}

async fn settle(lanes: &Lanes, load: &Load) -> bool {
    let limit = if lanes.cluster.layout.real_proofs { SETTLE_REAL_MAX } else { SETTLE_MAX };
    let began = Instant::now();
    let promised = load.promised();
    while began.elapsed() < limit {
        let is_settled = |id| lanes.cluster.view.sector(id).is_some_and(|record| is_over(&record));
        if promised.iter().copied().all(is_settled) && lanes.cluster.view.sectors().iter().all(is_over) {
            lanes.say(&format!("{} sectors are at their end", lanes.cluster.view.sectors().len()));
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

fn sectors(lanes: &Lanes, load: &Load) {
    let mut tally = lanes.tally();
    for spoilt in load.spoilt() {
        tally.violation(spoilt);
    }
    for id in load.promised() {
        if lanes.cluster.view.sector(id).is_none() {
            tally.lost(id);
        }
    }
    for record in lanes.cluster.view.sectors() {
        let id = record.id;
        if is_believed(&record) {
            tally.violation(format!("{id} believes a forged result"));
        }
        match &record.state {
            _ if is_done(&record) || tally.is_poisoned(id) && is_over(&record) => {}
            SectorState::Parked { reason, .. } => {
                tally.violation(format!("{id} is parked though no fault spoilt it: {} {}", reason.code, reason.text));
                tally.lost(id);
            }
            other => {
                tally.violation(format!("{id} did not come to its end: {}", other.name()));
                tally.lost(id);
            }
        }
    }
}
