//! Stores that are full, files that are torn, provers that fail.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use streams::{id::SectorId, stage::Stage};

use super::{Hit, LOOK_EVERY, Outcome, Recovery, TARGET_MAX, goes_on, hit, missed};
use crate::faults::{
    cluster::Cluster,
    kind::Fault,
    layout::AGENTS,
    member::Role,
    script::{End, Script, played},
    view::Held,
};

/// The place whose local store is small, where this machine lets it be.
pub(in crate::faults) const SMALL: &str = "west";
/// Codes with which a sector may park whose files are torn, see coordinator/src/sector/park.rs: attempts exhausted, an
/// agent asks, lost or to be made again after the pre-commit, another replica.
const PARKED_FOR: [u16; 5] = [1001, 1002, 1003, 1004, 1006];
const FULL_FOR: Duration = Duration::from_secs(3);
/// The ballast is written in such pieces, and then byte by byte.
const PIECES: [usize; 3] = [1 << 20, 1 << 12, 1];

fn held_at(cluster: &Cluster, place: &str) -> Option<Held> {
    let names: Vec<&str> = AGENTS.iter().filter(|plan| plan.place == place).map(|plan| plan.name).collect();
    cluster
        .of(Role::Agent)
        .filter(|member| names.contains(&member.name.as_str()))
        .find_map(|member| cluster.view.held_by(&member.name).into_iter().next())
}

/// The small store is full for a while.
pub(super) async fn store_full(cluster: &Cluster) -> anyhow::Result<Outcome> {
    let Some(held) = super::until(TARGET_MAX, || held_at(cluster, SMALL)).await else {
        return missed(format!("nobody was at work at {SMALL}"));
    };
    let ballast = cluster.layout.store(SMALL, "local").join("ballast");
    let filled = fill(&ballast);
    if filled.is_ok() {
        tokio::time::sleep(FULL_FOR).await;
    }
    host::durable::remove_file(&ballast).context("remove the ballast")?;
    let bytes = filled?;
    let recovery = goes_on(cluster, &held).await;
    hit(format!("store of {SMALL}"), format!("{held}; {bytes} bytes of ballast"), recovery)
}

/// Writes until there is no room.
fn fill(ballast: &Path) -> anyhow::Result<u64> {
    let mut file = File::create(ballast).context("create the ballast")?;
    let mut written = 0_u64;
    for size in PIECES {
        let piece = vec![0; size];
        loop {
            match file.write(&piece) {
                Ok(0) => break,
                Ok(count) => written = written.saturating_add(u64::try_from(count).unwrap_or(0)),
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("write the ballast"),
            }
        }
    }
    Ok(written)
}

/// A file of a sector that is being sealed is cut short.
pub(super) async fn torn(cluster: &Cluster, fault: &Fault, rng: &mut ChaCha8Rng) -> anyhow::Result<Outcome> {
    // Each file is torn in the state in which a later stage needs it.
    const FILES: [(&str, &str); 4] = [
        ("pc1-done", "pc1.json"),
        ("pre-committed", "cache/p_aux"),
        ("pc1-done", "manifest.json"),
        ("ticketed", "staged"),
    ];
    let Some((state, file)) = fault.variant(&FILES) else { return missed("no file") };
    let found = super::until(TARGET_MAX, || {
        let mut sectors = cluster.view.sectors();
        sectors.shuffle(rng);
        sectors.into_iter().filter(|record| record.state.name() == state).find_map(|record| {
            let place = record.state.placement()?.place.clone();
            let path = sector_dir(cluster, place.as_str(), record.id).join(file);
            path.is_file().then_some((record, path))
        })
    });
    let Some((record, path)) = found.await else { return missed(format!("no sector was {state} with its {file}")) };
    let torn = File::options().write(true).open(&path).and_then(|torn| torn.set_len(7));
    torn.with_context(|| format!("tear {}", path.display()))?;
    let held = format!("{file} of {}, {state}", record.id);
    // Whether it parks or is sealed again is judged at the end.
    let hit = Hit::new("store", held, Recovery::Nothing);
    Ok(Outcome::Hit(Hit { poisoned: vec![record.id], park: PARKED_FOR.to_vec(), ..hit }))
}

fn sector_dir(cluster: &Cluster, place: &str, sector: SectorId) -> PathBuf {
    cluster.layout.store(place, "local").join("sectors").join(sector.file_name())
}

/// The next prover of a stage at a place crashes, hangs, or talks nonsense.
pub(super) async fn prover_fails(cluster: &Arc<Cluster>, fault: &Fault) -> anyhow::Result<Outcome> {
    const CASES: [(&str, Stage, End); 10] = [
        ("east", Stage::Pc1, End::Crash { signal: 9 }),
        ("snark", Stage::C2, End::Garbage),
        ("west", Stage::Pc2, End::Crash { signal: 11 }),
        ("east", Stage::C1, End::Hang),
        ("snark", Stage::C2, End::Crash { signal: 9 }),
        ("west", Stage::Pc1, End::Garbage),
        ("east", Stage::Pc2, End::Flood),
        ("west", Stage::TreeD, End::Hang),
        ("east", Stage::Pc1, End::Refuse { class: "retry-here", code: "no-space" }),
        ("snark", Stage::C2, End::Hang),
    ];
    let Some((place, stage, end)) = fault.variant(&CASES) else { return missed("no case") };
    let path = cluster.layout.script(place);
    let even = Script::even(cluster.layout.pace.stage);
    let sign = played(&path, stage);
    even.clone().once(stage, end.clone()).write(&path)?;
    let mut hit_one = None;
    let was_played = super::until(TARGET_MAX * 2, || {
        let held = held_at(cluster, place).filter(|held| held.stage == stage);
        hit_one = held.or_else(|| hit_one.take());
        sign.exists().then_some(())
    });
    let was_played = was_played.await;
    // The script stays until it was played; from then on it plays nothing more.
    tokio::time::sleep(LOOK_EVERY).await;
    even.write(&path)?;
    let Some(()) = was_played else { return missed(format!("no {stage} ran at {place}")) };
    let recovery = match &hit_one {
        Some(held) => goes_on(cluster, held).await,
        None => Recovery::Nothing,
    };
    let held = hit_one.map_or_else(|| format!("a {stage}"), |held| held.to_string());
    hit(format!("prover at {place}"), format!("{held}; {end:?}"), recovery)
}
