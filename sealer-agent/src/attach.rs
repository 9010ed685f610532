//! `sealer-agent store attach`: takes over a folder of sectors that lotus or damocles sealed, where it is.
//!
//! ```text
//!  names in the folder ─► what the chain has of them ─► identity, list of stores ─┐
//!     ([foreign])            (asked of the coordinator)                           │
//!  ┌──────────────────────────────────────────────────────────────────────────────┘
//!  └─► a vanilla proof of each, against the CommR on chain ─► manifest ─► record in the queue
//!           (16 at a time, a prover as a child)
//! ```
//!
//! Every step can be made again, and the sectors' own files are only read: killed anywhere, the command is given again
//! and goes on. A sector that was proven has a manifest, and is not proven twice.

mod ask;
mod prove;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use streams::{
    attach::{Outcome, ProvenFiles, Verdict},
    id::{Incarnation, MinerId, Place, SectorId},
    proof::{Commitment, SealProof},
};
use tokio_util::sync::CancellationToken;

use self::{
    ask::Desk,
    prove::Bench,
    rows::{Fate, Rows},
};
use crate::{
    config::Config,
    here, machine,
    now::now,
    store::{
        StoreError,
        foreign::{self, Folder},
        high_water, identity,
        manifest::Manifest,
        paths::ReplicaPaths,
        persistent::{PersistentStore, require_files},
        registered::{self, Entry},
    },
    store_command::AttachArgs,
};

/// Sectors that one prover proves, and that are then written down: what a kill costs.
const BATCH: usize = 16;
const WRITABLE: &str = "mount it so that it can be written to for this command: an identity and manifests are written beside \
     the sectors, which are only read; afterwards it may be mounted read-only";

/// A sector whose files seem whole, and which the chain has.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    sector: SectorId,
    proof: SealProof,
    comm_r: Commitment,
}

/// The command at work.
struct Attaching<'a> {
    home: &'a Path,
    args: &'a AttachArgs,
    path: PathBuf,
    place: Place,
    desk: Desk,
    bench: Bench,
    rows: Rows,
    incarnation: Incarnation,
}

/// Does it, and prints what became of each sector.
pub(crate) async fn run(home: &Path, config: &Config, args: &AttachArgs) -> Result<(), CliError> {
    let path = std::path::absolute(&args.path).map_err(StoreError::io("find", &args.path))?;
    let place = here::place(config, &machine::hostname().context("read the host's name")?)?;
    let Folder { sectors, strays } = foreign::look(&path)?;
    for (stray, why) in &strays {
        eprintln!("{}: {why}: left alone", stray.display());
    }
    let found = of_miners(sectors, &args.miners);
    if found.is_empty() {
        let what = format!("no sector is in {}", path.display());
        return Err(CliError::new(Exit::NotFound, what).hint(
            "is its disk mounted? Sectors are looked for as sealed/s-t0<miner>-<number> and cache/s-t0<miner>-<number>",
        ));
    }
    let stop = stop_on_signal()?;
    let bench = Bench::open(home, &path, config, stop.clone())?;
    let (desk, incarnation) = (Desk::connect(config, stop).await?, Incarnation::FIRST);
    let mut attaching = Attaching { home, args, path, place, desk, bench, rows: Rows::new(&found), incarnation };
    let done = attaching.all(found).await;
    attaching.bench.clear()?;
    if done.is_ok() || attaching.rows.is_begun() {
        attaching.rows.print(args.output.output)?;
    }
    done?;
    attaching.rows.verdict(args.dry_run)
}

fn of_miners(sectors: BTreeMap<SectorId, Option<String>>, miners: &[MinerId]) -> BTreeMap<SectorId, Option<String>> {
    let all = sectors.len();
    let chosen: BTreeMap<_, _> =
        sectors.into_iter().filter(|(sector, _)| miners.is_empty() || miners.contains(&sector.miner)).collect();
    if chosen.len() < all {
        eprintln!("{} sectors of other miners are left alone", all.saturating_sub(chosen.len()));
    }
    chosen
}

fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted")
        .hint("what was attached is attached; give the command again, and it goes on")
}

/// A signal ends the prover that is at work, or the wait for an answer, and the command after it.
fn stop_on_signal() -> Result<CancellationToken, CliError> {
    let stop = CancellationToken::new();
    let (signal, told) = (host::signal::shutdown().context("listen to signals")?, stop.clone());
    let tasks = host::tasks::Tasks::new();
    tasks.spawn_once("signals", async move {
        signal.await;
        told.cancel();
        Ok(())
    });
    Ok(stop)
}

impl Attaching<'_> {
    async fn all(&mut self, found: BTreeMap<SectorId, Option<String>>) -> Result<(), CliError> {
        let mut whole = Vec::new();
        for (sector, problem) in found {
            match problem {
                Some(problem) => self.rows.set(sector, Fate::LeftOut(problem)),
                None => whole.push(sector),
            }
        }
        // Nothing is written before the coordinator has answered for all.
        let (verdicts, incarnation) = self.desk.look(&whole).await?;
        self.incarnation = incarnation.unwrap_or(self.incarnation);
        let store = if self.args.dry_run { self.known_store()? } else { Some(self.take()?) };
        let mut candidates = Vec::new();
        for (sector, verdict) in verdicts {
            self.rows.looked(sector, &verdict);
            if let Some(candidate) = self.judge(sector, verdict, store.as_ref()) {
                candidates.push(candidate);
            }
        }
        self.attach(candidates, store.as_ref()).await
    }

    /// The store that the folder is already, if it is one.
    fn known_store(&self) -> Result<Option<PersistentStore>, StoreError> {
        let identity = identity::read(&self.path)?.filter(|identity| identity.persistent);
        Ok(identity.map(|identity| PersistentStore::new(identity.store, self.path.clone())))
    }

    /// Makes the folder a store of this host; one that is one stays it, with what was said of it.
    fn take(&self) -> Result<PersistentStore, CliError> {
        let identity = identity::adopt(&self.path, now()).map_err(hinted)?;
        host::failpoint!("agent.attach.identity_written");
        let entries = registered::read(self.home)?;
        let is_it = |entry: &&Entry| entry.store == Some(identity.store) && entry.path != self.path;
        if let Some(other) = entries.iter().find(is_it) {
            // Listed twice, no agent would start.
            let (first, second) = (other.path.clone(), self.path.clone());
            return Err(StoreError::Twice { store: identity.store, first, second }.into());
        }
        if entries.iter().all(|entry| entry.path != self.path) {
            let (path, store) = (self.path.clone(), Some(identity.store));
            let entry = Entry { path, persistent: true, store, read_only: self.args.read_only, ..Entry::default() };
            registered::add(self.home, entry)?;
            eprintln!("{} is now persistent store {}", self.path.display(), identity.store);
        } else if self.args.read_only {
            registered::edit(self.home, &self.path, |entry| entry.read_only = true)?;
        }
        host::failpoint!("agent.attach.registered");
        Ok(PersistentStore::new(identity.store, self.path.clone()))
    }

    /// What the coordinator's word means for the files here. The candidate, where something is left to do.
    fn judge(&mut self, sector: SectorId, verdict: Verdict, store: Option<&PersistentStore>) -> Option<Candidate> {
        let is_here = store.is_some_and(|store| store.has(sector));
        let fate = match verdict {
            Verdict::Proving { proof, comm_r, attached_in, .. } => {
                let elsewhere = attached_in.filter(|known| store.is_none_or(|store| store.id != *known));
                let files = require_files(&ReplicaPaths::new(&self.path, sector), proof.sector_size());
                match (files, elsewhere) {
                    (Err(error), _) => Fate::LeftOut(told(error)),
                    (Ok(()), Some(other)) => Fate::LeftOut(format!("it is attached in store {other}")),
                    (Ok(()), None) if attached_in.is_some() && is_here => Fate::Before,
                    (Ok(()), None) => return Some(Candidate { sector, proof, comm_r }),
                }
            }
            // A store of ours may hold both.
            Verdict::Ours { .. } if is_here => Fate::Ours,
            Verdict::Ours { state } => {
                Fate::LeftOut(format!("this cluster sealed it (it is {state}), and keeps another copy"))
            }
            Verdict::Refused { why } => Fate::LeftOut(why),
        };
        self.rows.set(sector, fate);
        None
    }

    /// Proves, writes manifests and has records made, some at a time.
    async fn attach(&mut self, candidates: Vec<Candidate>, store: Option<&PersistentStore>) -> Result<(), CliError> {
        let all = candidates.len();
        let mut done = 0_usize;
        for batch in batches(candidates) {
            let proven = self.prove(&batch, store).await?;
            match store {
                Some(store) if !self.args.dry_run => self.keep(&proven, store).await?,
                _ => proven.iter().for_each(|candidate| self.rows.set(candidate.sector, Fate::CouldBe)),
            }
            done = done.saturating_add(batch.len());
            eprintln!("{done} of {all} replicas looked at");
        }
        Ok(())
    }

    /// Those of which a vanilla proof was made, now or when an earlier run wrote their manifest.
    async fn prove(
        &mut self,
        batch: &[Candidate],
        store: Option<&PersistentStore>,
    ) -> Result<Vec<Candidate>, CliError> {
        let (mut proven, mut open) = (Vec::new(), Vec::new());
        for candidate in batch {
            let vouched = store.map(|store| Manifest::read(&store.files(candidate.sector).manifest)).transpose();
            match vouched.map(Option::flatten) {
                Ok(Some(manifest)) if manifest.attached == Some(candidate.comm_r) => proven.push(*candidate),
                // One that cannot be read is written again.
                Ok(_) | Err(StoreError::Text { .. }) => open.push(*candidate),
                Err(error) => return Err(error.into()),
            }
        }
        let bad = self.bench.prove(&self.path, &open).await?;
        for candidate in open {
            match bad.get(&candidate.sector) {
                Some(why) => self.rows.set(candidate.sector, Fate::LeftOut(why.clone())),
                None => proven.push(candidate),
            }
        }
        host::failpoint!("agent.attach.proven");
        Ok(proven)
    }

    /// The manifest first: from then on the store says without any queue that it has the replica.
    async fn keep(&mut self, proven: &[Candidate], store: &PersistentStore) -> Result<(), CliError> {
        let miners: BTreeSet<MinerId> = proven.iter().map(|candidate| candidate.sector.miner).collect();
        for miner in miners {
            let of_miner = proven.iter().map(|candidate| candidate.sector).filter(|sector| sector.miner == miner);
            if let Some(highest) = of_miner.max() {
                high_water::raise(&self.path, highest).map_err(hinted)?;
            }
        }
        for Candidate { sector, proof, comm_r } in proven {
            let manifest = Manifest::attached(*sector, *proof, *comm_r, self.incarnation, now());
            store.attach(&manifest).map_err(hinted)?;
        }
        let files = proven.iter().map(|candidate| ProvenFiles { sector: candidate.sector, comm_r: candidate.comm_r });
        for (sector, outcome) in self.desk.attach(store.id, &self.place, files.collect()).await? {
            let fate = match outcome {
                Outcome::Attached {} => Fate::Attached,
                Outcome::Before {} => Fate::Before,
                Outcome::Refused { why } => {
                    store.detach(sector)?;
                    Fate::LeftOut(why)
                }
            };
            self.rows.set(sector, fate);
        }
        host::failpoint!("agent.attach.recorded");
        Ok(())
    }
}

/// Some of one miner and one size each: a prover works for one.
fn batches(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut batches: Vec<Vec<Candidate>> = Vec::new();
    for candidate in candidates {
        let fits = |batch: &&mut Vec<Candidate>| {
            let same =
                |first: &Candidate| first.sector.miner == candidate.sector.miner && first.proof == candidate.proof;
            batch.len() < BATCH && batch.first().is_some_and(same)
        };
        match batches.last_mut().filter(fits) {
            Some(batch) => batch.push(candidate),
            None => batches.push(vec![candidate]),
        }
    }
    batches
}

/// What cannot be written to is for a person, with the way out.
fn hinted(error: StoreError) -> CliError {
    let is_read_only = match &error {
        StoreError::Io { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
        }
        _ => false,
    };
    let error = CliError::from(error);
    if is_read_only { error.hint(WRITABLE) } else { error }
}

fn told(error: StoreError) -> String {
    match error {
        StoreError::Incomplete { what, .. } => format!("{what} is missing"),
        other => format!("{:#}", anyhow::Error::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use streams::proof::Bytes32;

    use super::*;

    #[test]
    fn a_batch_is_of_one_miner_and_no_larger_than_a_kill_may_cost() {
        let candidate = |key: &str| Candidate {
            sector: SectorId::from_key(key).unwrap(),
            proof: SealProof::Drg2KiBV1_1,
            comm_r: Bytes32([1; 32]),
        };
        let mut all: Vec<_> = (0..20).map(|number| candidate(&format!("f01000.{number}"))).collect();
        all.push(candidate("f01001.1"));
        let sizes: Vec<usize> = batches(all).iter().map(Vec::len).collect();
        assert_eq!(sizes, [BATCH, 4, 1]);
        assert!(batches(Vec::new()).is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_with_the_way_out() {
        let path = Path::new("/mnt/old");
        for kind in [std::io::ErrorKind::ReadOnlyFilesystem, std::io::ErrorKind::PermissionDenied] {
            let error = hinted(StoreError::io("write", path)(kind.into()));
            assert!(error.hint.is_some_and(|hint| hint.contains("mounted read-only")), "{kind:?}");
        }
        let other = hinted(StoreError::io("write", path)(std::io::ErrorKind::StorageFull.into()));
        assert_eq!(other.hint, None);
    }
}
