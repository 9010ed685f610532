//! Keeping a replica: a copy in a persistent store of this place, read back and proven.
//!
//! A store that fails is set aside and the next one taken; when none is left, the sector waits, and that costs it no
//! attempt. The local copy stays: it goes with finalize, which the coordinator orders when the chain counts the sector.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use host::output::size;
use prover::job::{Output, Progress, Replica, Request, Work};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::{
    id::Timestamp,
    message::{Facts, FailureClass},
    proof::{Bytes32, Commitment, Sha256},
    records::BytesDone,
    sector::SectorRecord,
    stage::Stage,
};

use super::{
    Tools,
    on_sector::{Exclusive, local_store},
};
use crate::{
    child::AtWork,
    footprint,
    halt::{BUSY_DELAY, Halt},
    now::now,
    outcome::wrong_output,
    request,
    store::{
        StoreError,
        choice::{self, Candidate, Verdict, Wanted, WhyNot},
        condition::Condition,
        copy::Pulse,
        local::LocalStore,
        manifest::Manifest,
        persistent::PersistentStore,
        registered::Entry,
    },
};

/// Until a store may be there, or empty, or mended.
const STORE_DELAY: Duration = Duration::from_secs(30);
/// A copy slower than this is told: bytes a second.
const SLOW_BELOW: u64 = 20 << 20;
/// Sooner than this, no copy is slow.
const SLOW_AFTER: Duration = Duration::from_secs(60);
const LOOKS_A_HANG: u32 = 10;

/// Keeps the replica: copied, read back and proven when this returns.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, record: &SectorRecord) -> Result<Facts, Halt> {
    let store = local_store(tools, record)?;
    let held = Exclusive::take(tools, at, record, &store).await?;
    let done = keep(tools, at, record, (&store, &held)).await;
    held.release(tools).await;
    done
}

async fn keep(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    (from, held): (&LocalStore, &Exclusive),
) -> Result<Facts, Halt> {
    let sealed = record.state.sealed();
    let comm_r = sealed.ok_or_else(|| Halt::back(BUSY_DELAY, format!("the record is {}", record.state.name())))?.comm_r;
    let manifest = sealed_here(tools, record, from).await?;
    let mut passed_over = Vec::new();
    for (candidate, verdict) in choice::ranked(candidates(tools, record).await, wanted(record)) {
        let Some(target) = tools.stores.persistent(candidate.store).filter(|_| verdict.is_possible()) else {
            let words = format!("{}: {verdict}", candidate.entry.path.display());
            passed_over.push((code_of(&verdict), words));
            continue;
        };
        match into(tools, at, record, (from, &manifest), target).await {
            Ok(sealed_sha256) => {
                prove(tools, at, record, target, (comm_r, sealed_sha256)).await?;
                return vouched(tools, record, (from, held, manifest), (target, sealed_sha256)).await;
            }
            Err(error) if is_of(target, &error) => {
                let words = format!("{}: {}", target.path.display(), told(&error));
                tracing::warn!("another store is tried: {words}");
                passed_over.push((Condition::told_by(&error).as_ref().and_then(code), words));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(no_store(tools, &passed_over))
}

/// The manifest of a sector whose replica is in its local store.
async fn sealed_here(tools: &Tools, record: &SectorRecord, from: &LocalStore) -> Result<Manifest, Halt> {
    let (sector, mark, on) = (record.id, request::mark(record), from.clone());
    let read = move || {
        let mut manifest = on.manifest(sector)?;
        manifest.mark(mark);
        if !manifest.has(Stage::Pc2) {
            return Err(StoreError::Incomplete { path: on.files(sector).root, what: "a finished pc2" });
        }
        Ok(manifest)
    };
    tools.stores.health.halting(from.id, &from.path, read).await
}

fn wanted(record: &SectorRecord) -> Wanted {
    Wanted { miner: record.id.miner, bytes: Some(footprint::replica_bytes(record.proof)) }
}

/// Every persistent store as it is now. One that does not answer is asked once, and then set aside.
async fn candidates(tools: &Tools, record: &SectorRecord) -> Vec<Candidate> {
    let (health, mut candidates) = (&tools.stores.health, Vec::new());
    for store in &tools.stores.persistent {
        let (sector, keep_free, on) = (record.id, tools.keep_free, store.clone());
        let asked = match health.condition(store.id) {
            // A full one may have it; one that is away cannot be asked.
            condition if condition.can_be_read() => {
                let ask = move || Ok((on.has(sector), on.room(sector, keep_free)?));
                health.within(store.id, &store.path, ask).await.ok()
            }
            _ => None,
        };
        let entry = health.seen(store.id).map(|seen| seen.entry).unwrap_or_default();
        candidates.push(Candidate {
            store: store.id,
            entry: Entry { path: store.path.clone(), ..entry },
            condition: health.condition(store.id),
            has_it: asked.is_some_and(|(has_it, _)| has_it),
            room: asked.map(|(_, room)| room),
        });
    }
    candidates
}

/// Copies, and watches whether the copy moves: one that stands still is left behind, and publishes nothing any more.
async fn into(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    (from, manifest): (&LocalStore, &Manifest),
    target: &PersistentStore,
) -> Result<Sha256, StoreError> {
    let (health, pulse) = (&tools.stores.health, Arc::new(Pulse::default()));
    let (files, manifest, to, beat) = (from.files(record.id), manifest.clone(), target.clone(), Arc::clone(&pulse));
    let copying = tokio::task::spawn_blocking(move || to.copy(&files, &manifest, &beat));
    tokio::pin!(copying);
    let (began, mut last) = (Instant::now(), (pulse.beats(), Instant::now()));
    let mut told_slow = false;
    let mut look = tokio::time::interval(health.hang_after() / LOOKS_A_HANG);
    let copied = loop {
        tokio::select! {
            copied = &mut copying => {
                break copied.unwrap_or_else(|e| Err(StoreError::io("copy to", &target.path)(std::io::Error::other(e))));
            }
            // The thread ends at its next step; what it has copied is gone on with.
            () = at.stop.cancelled() => {
                pulse.stop();
                break Err(StoreError::Interrupted);
            }
            _ = look.tick() => {
                post(at, target, record, &pulse);
                if !told_slow && let Some(slow) = slow(pulse.done(), began.elapsed()) {
                    tracing::warn!(store = %target.path.display(), "slow disk: {slow}");
                    told_slow = true;
                }
                if pulse.beats() != last.0 {
                    last = (pulse.beats(), Instant::now());
                } else if last.1.elapsed() >= health.hang_after() {
                    pulse.stop();
                    let at = if pulse.waits_for_source() { &from.path } else { &target.path };
                    break Err(StoreError::Silent { path: at.clone(), limit: health.hang_after() });
                }
            }
        }
    };
    match &copied {
        Ok(_) => {}
        Err(error) if is_of(target, error) => health.blame(target.id, &target.path, error),
        Err(error @ StoreError::Silent { .. }) => health.blame(from.id, &from.path, error),
        Err(_) => {}
    }
    copied
}

/// Whether an error says something of the store that was copied to: then another one may do.
fn is_of(target: &PersistentStore, error: &StoreError) -> bool {
    match error {
        StoreError::Io { path, .. } | StoreError::Silent { path, .. } | StoreError::Text { path, .. } => {
            path.starts_with(&target.path)
        }
        StoreError::Away { store, .. } => *store == target.id,
        _ => false,
    }
}

fn post(at: &AtWork<'_>, target: &PersistentStore, record: &SectorRecord, pulse: &Pulse) {
    let bytes = BytesDone { done: pulse.done(), total: record.proof.sector_size() };
    let permille = bytes.done.saturating_mul(1000).checked_div(bytes.total).unwrap_or(0).min(1000);
    let (phase, permille) = (format!("copy to {}", target.path.display()), u16::try_from(permille).ok());
    at.posted.progress(&Progress { phase, permille, bytes: Some(bytes), at: now() });
}

/// What to say of a copy that is slow so far: a disk may fail by being slow, long before it hangs.
fn slow(bytes: u64, took: Duration) -> Option<String> {
    let per_second = bytes.checked_div(took.as_secs())?;
    (took >= SLOW_AFTER && per_second < SLOW_BELOW).then(|| {
        format!("a copy to it makes {} a second, reading back included, and {} so far", size(per_second), size(bytes))
    })
}

/// Reads challenged leaves of the copy, as the poster will have to.
async fn prove(
    tools: &Tools,
    at: &AtWork<'_>,
    record: &SectorRecord,
    target: &PersistentStore,
    (comm_r, sealed_sha256): (Commitment, Sha256),
) -> Result<(), Halt> {
    let files = target.files(record.id);
    let number = record.id.number;
    let request = Request {
        proof: record.proof,
        work: Work::VanillaPost {
            miner: record.id.miner,
            randomness: challenge(comm_r, sealed_sha256),
            order: vec![number],
            sectors: vec![Replica { number, comm_r, sealed: files.sealed.clone(), cache: files.cache }],
            output: vanilla(at),
        },
    };
    at.posted.phase("prove the copy");
    let Output::VanillaPost { proven, bad } = tools.prover.run(at, &request).await? else {
        return Err(wrong_output().into());
    };
    host::failpoint!("agent.persist.proven");
    if proven == [number] && bad.is_empty() {
        return Ok(());
    }
    let why = bad.into_iter().map(|(_, why)| why).next().unwrap_or_else(|| "the prover does not name it".to_owned());
    let (sector, on) = (record.id, target.clone());
    tools.stores.health.halting(target.id, &target.path, move || on.retract(sector)).await?;
    // The copy is what was read, byte by byte: it is the replica that is wrong.
    let message = format!("no vanilla proof of {} can be made: {why}", files.sealed.display());
    Err(Halt::failed(FailureClass::RedoFrom(Stage::Pc2), "replica-unprovable", message))
}

/// The same each time, so that a prover which was begun before is found again.
fn challenge(comm_r: Commitment, sealed_sha256: Sha256) -> Bytes32 {
    let digest = Hasher::new().chain_update("a persisted copy").chain_update(comm_r.0).chain_update(sealed_sha256.0);
    Bytes32(digest.finalize().into())
}

fn vanilla(at: &AtWork<'_>) -> PathBuf {
    at.dir.path().join("vanilla.json")
}

/// Both manifests say so: that of the copy first, which makes it one.
async fn vouched(
    tools: &Tools,
    record: &SectorRecord,
    (from, held, manifest): (&LocalStore, &Exclusive, Manifest),
    (target, sealed_sha256): (&PersistentStore, Sha256),
) -> Result<Facts, Halt> {
    let health = &tools.stores.health;
    let on = target.clone();
    health.halting(target.id, &target.path, move || on.vouch(&manifest, sealed_sha256)).await?;
    let facts = Facts::Persist { store: target.id, sealed_sha256 };
    let (sector, mark, on, done) = (record.id, request::mark(record), from.clone(), facts.clone());
    held.change(tools, from, move || on.finish(sector, done, mark)).await?;
    host::failpoint!("agent.persist.finished");
    Ok(facts)
}

/// No store takes it now. It is kept where it is, and asked for again: none of this is the sector's fault.
fn no_store(tools: &Tools, passed_over: &[(Option<&'static str>, String)]) -> Halt {
    let until = Timestamp(now().0.saturating_add(u64::try_from(STORE_DELAY.as_millis()).unwrap_or(u64::MAX)));
    let place = &tools.place;
    let message = if passed_over.is_empty() {
        format!("place {place} has no persistent store: `sealer-agent store init --persistent PATH`")
    } else {
        let words: Vec<&str> = passed_over.iter().map(|(_, words)| words.as_str()).collect();
        format!("no persistent store of place {place} takes it: {}", words.join("; "))
    };
    let code = passed_over.iter().find_map(|(code, _)| *code).unwrap_or("no-persistent-store");
    Halt::failed(FailureClass::WaitUntil(until), code, message)
}

/// The stable word for what keeps a store from taking anything.
const fn code(condition: &Condition) -> Option<&'static str> {
    match condition {
        Condition::Ok => None,
        Condition::Missing { .. } => Some("store-missing"),
        Condition::ReadOnly => Some("read-only"),
        Condition::Full => Some("no-space"),
        Condition::Hanging { .. } => Some("store-hangs"),
        Condition::Failing { .. } => Some("disk"),
    }
}

const fn code_of(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::No(WhyNot::SetAside(condition)) => code(condition),
        Verdict::No(WhyNot::NoRoom { .. }) => Some("no-space"),
        Verdict::HasIt | Verdict::Fits { .. } | Verdict::No(_) => None,
    }
}

fn told(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        words = format!("{words}: {source}");
        cause = source.source();
    }
    words
}

#[cfg(test)]
#[path = "persist_tests.rs"]
mod tests;
