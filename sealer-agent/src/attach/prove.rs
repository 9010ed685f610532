//! Vanilla proofs of others' files, by a prover as a child: it may crash on what it finds there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use host::{
    durable::{self, FileLock},
    exit::{CliError, Exit},
    job::{Job, JobSpec, Kin, Watch},
};
use prover::job::{Output, Replica, Request, STDERR, Work};
use sha2::{Digest as _, Sha256};
use streams::{id::SectorId, message::Failure, proof::Bytes32, stage::Class};
use tokio_util::sync::CancellationToken;

use super::Candidate;
use crate::{
    child,
    config::Config,
    here,
    outcome::{self, Judged},
    process,
    store::{StoreError, paths::ReplicaPaths, turn},
};

/// Where provers work on one folder.
pub(super) struct Bench {
    /// Two of this command on one folder would prove everything twice.
    _lock: FileLock,
    job: PathBuf,
    program: PathBuf,
    grace: Duration,
    limit: Duration,
    stop: CancellationToken,
}

/// How one prover ended.
enum Ended {
    /// It named those that cannot be proven.
    Named(Vec<(SectorId, String)>),
    /// It failed as a whole.
    Failed(Failure),
}

impl Bench {
    /// A job directory in the home. What a run that was killed left in it is ended first.
    pub(super) fn open(home: &Path, path: &Path, config: &Config, stop: CancellationToken) -> Result<Self, CliError> {
        let program = here::prover(config)?;
        let folder = home.join("attach");
        durable::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        let job = folder.join(name_of(path));
        let lock = turn::take(&job.with_extension("lock"), turn::HARDLY).map_err(|error| match error {
            StoreError::Locked { .. } => {
                CliError::new(Exit::Busy, format!("{} is being attached by another process", path.display()))
            }
            other => other.into(),
        })?;
        process::end_job(&job).map_err(StoreError::io("end what works in", &job))?;
        let bench =
            Self { _lock: lock, job, program, grace: config.grace, limit: config.time_limit(Class::PostIo), stop };
        bench.clear()?;
        Ok(bench)
    }

    /// Removes the job directory.
    pub(super) fn clear(&self) -> Result<(), CliError> {
        Ok(durable::remove_dir_all(&self.job).map_err(StoreError::io("remove", &self.job))?)
    }

    /// Proves each of these, of one miner and one size. Those that cannot be proven, with the reason.
    pub(super) async fn prove(
        &self,
        root: &Path,
        candidates: &[Candidate],
    ) -> Result<BTreeMap<SectorId, String>, CliError> {
        let mut bad = BTreeMap::new();
        match self.run(root, candidates).await? {
            Ended::Named(named) => bad.extend(named),
            Ended::Failed(failure) => {
                let [one] = candidates else {
                    // One of them may be what it fails on: each by itself.
                    for candidate in candidates {
                        bad.extend(Box::pin(self.prove(root, std::slice::from_ref(candidate))).await?);
                    }
                    return Ok(bad);
                };
                bad.insert(one.sector, format!("no proof of it can be made: {}", failure.message));
            }
        }
        Ok(bad)
    }

    async fn run(&self, root: &Path, candidates: &[Candidate]) -> Result<Ended, CliError> {
        let Some(first) = candidates.first() else { return Ok(Ended::Named(Vec::new())) };
        self.clear()?;
        durable::create_dir_all(&self.job).map_err(StoreError::io("create", &self.job))?;
        let request = request(root, first, candidates, self.job.join("vanilla.json"));
        child::write_request(&self.job, &request)?;
        let spec = JobSpec {
            program: self.program.clone(),
            args: vec![self.job.clone().into()],
            dir: self.job.clone(),
            env: Vec::new(),
            watch: Watch {
                stderr: self.job.join(STDERR),
                deadline: Some(self.limit),
                silence: None,
                memory_max: None,
                kin: Kin { mark: Some(self.job.clone().into()), cgroups: Vec::new() },
                grace: self.grace,
            },
        };
        let job = Job::start(spec).context("start a prover")?;
        let end = job.wait(&self.stop).await;
        host::failpoint!("agent.attach.prover_ended");
        let log = child::log_tail(&self.job.join(STDERR));
        match outcome::judge(end, child::read_result(&self.job), &log) {
            Judged::Done(Output::VanillaPost { proven, bad }) => {
                let is_proven = |candidate: &&Candidate| proven.contains(&candidate.sector.number);
                let unproven = candidates.iter().filter(|candidate| !is_proven(candidate));
                let why = |candidate: &Candidate| {
                    let why = bad.iter().find(|(number, _)| *number == candidate.sector.number);
                    why.map_or_else(|| "the prover does not name it".to_owned(), |(_, why)| in_words(why))
                };
                Ok(Ended::Named(unproven.map(|candidate| (candidate.sector, why(candidate))).collect()))
            }
            Judged::Done(_) => Ok(Ended::Failed(outcome::wrong_output())),
            Judged::Failed(failure) => Ok(Ended::Failed(failure)),
            Judged::Stopped | Judged::Left => Err(super::interrupted()),
        }
    }
}

/// One for each folder, however long its path is.
fn name_of(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn request(root: &Path, first: &Candidate, candidates: &[Candidate], output: PathBuf) -> Request {
    let replica = |candidate: &Candidate| {
        let ReplicaPaths { sealed, cache, .. } = ReplicaPaths::new(root, candidate.sector);
        Replica { number: candidate.sector.number, comm_r: candidate.comm_r, sealed, cache }
    };
    // Not the same leaves for all, and the same each time for one sector.
    let mut digest = Sha256::new().chain_update("files to attach");
    for candidate in candidates {
        digest.update(candidate.comm_r.0);
    }
    Request {
        proof: first.proof,
        work: Work::VanillaPost {
            miner: first.sector.miner,
            randomness: Bytes32(digest.finalize().into()),
            order: candidates.iter().map(|candidate| candidate.sector.number).collect(),
            sectors: candidates.iter().map(replica).collect(),
            output,
        },
    }
}

/// What the library says when leaves and roots do not fit, by an error or by a panic, as a person would say it.
fn in_words(why: &str) -> String {
    if why.contains("Generated vanilla proof") || why.contains("proof.validate") {
        return "the replica is not the one on chain: the sealed file does not fit the roots in its cache".to_owned();
    }
    if why.contains("not the one on chain") { why.to_owned() } else { format!("no proof of it can be made: {why}") }
}
