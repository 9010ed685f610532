//! Job directories: `agents/<agent>/jobs/<uuid>/` in the home, each with an `owner.json` that says whose it is.
//!
//! They outlive a killed agent on purpose: what it left running is found by them. A failed one moves to `failed/`,
//! where a person can read it and run it again by hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use host::durable;
use prover::job;
use serde::{Deserialize, Serialize};
use streams::{
    id::{AgentId, Timestamp},
    message::{Text, decode, encode},
    records::JobSubject,
};
use uuid::Uuid;

use crate::process::{self, ProcessId};

/// Failed jobs that are kept, the newest.
const FAILED_MAX: usize = 16;
const OWNER: &str = "owner.json";

/// Whose a job directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owner {
    /// The agent.
    pub(crate) agent: AgentId,
    /// Its process.
    pub(crate) process: ProcessId,
    /// What the job works on.
    pub(crate) what: JobSubject,
    /// Which attempt.
    pub(crate) attempt: u32,
    /// Since when.
    pub(crate) started_at: Timestamp,
}

impl Text for Owner {
    const KIND: &'static str = "job-owner";
    const VERSION: u64 = 1;
}

/// One agent's folder in the home.
#[derive(Debug, Clone)]
pub(crate) struct AgentDir {
    root: PathBuf,
}

impl AgentDir {
    pub(crate) fn new(home: &Path, agent: &AgentId) -> Self {
        Self { root: agents(home).join(agent.as_str()) }
    }

    /// Held while the agent runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Results that are not stored yet.
    pub(crate) fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    fn failed(&self) -> PathBuf {
        self.root.join("failed")
    }

    /// Makes the folders.
    pub(crate) fn create(&self) -> io::Result<()> {
        for dir in [self.jobs(), self.failed(), self.results()] {
            durable::create_dir_all(&dir)?;
        }
        Ok(())
    }

    /// A new job directory: it appears with its owner or not at all.
    pub(crate) fn new_job(&self, id: Uuid, owner: &Owner) -> anyhow::Result<JobDir> {
        let path = self.jobs().join(id.to_string());
        let made = path.with_extension("new");
        fs::create_dir_all(&made).with_context(|| format!("create {}", made.display()))?;
        durable::write(&made.join(OWNER), &encode(owner)?)?;
        durable::rename(&made, &path)?;
        Ok(JobDir { path, failed: self.failed() })
    }
}

/// The folder of all agents of this host.
fn agents(home: &Path) -> PathBuf {
    home.join("agents")
}

/// The directory of a job that this agent runs.
#[derive(Debug)]
pub(crate) struct JobDir {
    path: PathBuf,
    failed: PathBuf,
}

impl JobDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The job is done, and nobody needs its directory.
    pub(crate) fn remove(self) -> io::Result<()> {
        durable::remove_dir_all(&self.path)
    }

    /// The job failed: its directory is kept for a person, and the oldest such one goes.
    pub(crate) fn keep_failed(self) -> io::Result<()> {
        let Some(name) = self.path.file_name() else { return Ok(()) };
        durable::rename(&self.path, &self.failed.join(name))?;
        let mut kept: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.failed)? {
            let entry = entry?;
            kept.push((entry.metadata()?.modified()?, entry.path()));
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(FAILED_MAX);
        kept.into_iter().take(surplus).try_for_each(|(_, path)| durable::remove_dir_all(&path))
    }
}

/// A job directory that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What its prover said last.
    pub(crate) progress: Option<job::Progress>,
}

/// Every job directory on this host, of live and dead agents. What vanishes while we look is left out.
pub(crate) fn find(home: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for agent in entries(&agents(home))? {
        for path in entries(&agent.join("jobs"))? {
            let Some(owner) = read::<Owner>(&path.join(OWNER)) else { continue };
            let progress = read(&path.join(job::PROGRESS));
            found.push(Found { path, owner, progress });
        }
    }
    found.sort_by_key(|f| f.owner.started_at);
    Ok(found)
}

/// Ends and removes the jobs of agents that are dead, whichever they were; returns how many. Their tasks come back by
/// themselves, and a prover that nobody watches would only stand in the way of the next.
pub(crate) fn sweep(home: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for Found { path, owner, .. } in find(home)? {
        if owner.process.is_alive() {
            continue;
        }
        process::end_job(&path)?;
        durable::remove_dir_all(&path)?;
        removed += 1;
    }
    Ok(removed)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read<T: Text>(path: &Path) -> Option<T> {
    durable::read(path).ok().flatten().and_then(|bytes| decode(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use streams::{
        id::{MinerId, SectorId, SectorNumber},
        stage::Stage,
    };

    use super::*;

    fn owner(process: ProcessId) -> Owner {
        let sector = SectorId { miner: MinerId(1000), number: SectorNumber(1) };
        Owner {
            agent: "a".parse().unwrap(),
            process,
            what: JobSubject::Sector { sector, stage: Stage::C2 },
            attempt: 1,
            started_at: Timestamp(1),
        }
    }

    #[test]
    fn a_sweep_removes_the_jobs_of_the_dead_only() {
        let home = tempfile::tempdir().unwrap();
        let dir = AgentDir::new(home.path(), &"a".parse().unwrap());
        dir.create().unwrap();
        let me = ProcessId::current().unwrap();
        let live = dir.new_job(Uuid::from_u128(1), &owner(me.clone())).unwrap();
        let dead = dir.new_job(Uuid::from_u128(2), &owner(ProcessId { started: 1, ..me })).unwrap();
        assert_eq!(find(home.path()).unwrap().len(), 2);
        assert_eq!(sweep(home.path()).unwrap(), 1);
        assert!(live.path().exists() && !dead.path().exists());
    }

    #[test]
    fn failed_jobs_are_kept_and_bounded() {
        let home = tempfile::tempdir().unwrap();
        let dir = AgentDir::new(home.path(), &"a".parse().unwrap());
        dir.create().unwrap();
        let owner = owner(ProcessId::current().unwrap());
        for id in 0..20 {
            dir.new_job(Uuid::from_u128(id), &owner).unwrap().keep_failed().unwrap();
        }
        assert_eq!(fs::read_dir(dir.failed()).unwrap().count(), FAILED_MAX);
        assert_eq!(find(home.path()).unwrap().len(), 0);
    }
}
