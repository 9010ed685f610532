//! Job directories: `agents/<agent>/jobs/<uuid>/` in the home.
//!
//! ```text
//! lock         held by the agent that has the job in hand: free once that agent is dead
//! owner.json   whose it is: the agent and its process
//! order.json   what it works on, under which claim: enough to go on without the agent that began it
//! child.json   the prover, from the moment after its start
//! request.json progress.json result.json stderr.log     between agent and prover
//! ```
//!
//! They outlive a killed agent on purpose: its prover works on, and the next run of the agent, or another agent of the
//! host, takes the directory [over](take_over). A failed one moves to `failed/`, where a person can read it and run it
//! again by hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use host::durable::{self, FileLock};
use prover::job;
use serde::{Deserialize, Serialize};
use streams::{
    id::{AgentId, Timestamp},
    message::{Text, decode, encode},
    records::JobSubject,
};
use uuid::Uuid;

pub(crate) use crate::order::{Order, Ordered};
use crate::process::{self, ProcessId};

/// Failed jobs that are kept, the newest.
const FAILED_MAX: usize = 16;
/// How often, and after what pause, a lock that is held is tried again.
const LOOKERS_MAX: u32 = 3;
const LOOK_TAKES: Duration = Duration::from_millis(10);
const LOCK: &str = "lock";
const OWNER: &str = "owner.json";
const ORDER: &str = "order.json";
const CHILD: &str = "child.json";
const DUTY: &str = "duty.json";
const DUTY_DONE: &str = "duty-done.json";

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

/// The prover of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Child {
    /// Its process.
    pub(crate) process: ProcessId,
    /// When it was started.
    pub(crate) started_at: Timestamp,
}

impl Text for Child {
    const KIND: &'static str = "job-child";
    const VERSION: u64 = 1;
}

/// One agent's folder in the home.
#[derive(Debug, Clone)]
pub(crate) struct AgentDir {
    home: PathBuf,
    root: PathBuf,
}

impl AgentDir {
    pub(crate) fn new(home: &Path, agent: &AgentId) -> Self {
        Self { home: home.to_owned(), root: agents(home).join(agent.as_str()) }
    }

    /// The home of all agents of this host.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Held while the agent runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// What a person said about taking work.
    pub(crate) fn duty(&self) -> PathBuf {
        self.root.join(DUTY)
    }

    /// What of that holds.
    pub(crate) fn duty_done(&self) -> PathBuf {
        self.root.join(DUTY_DONE)
    }

    /// Results that are not stored yet.
    pub(crate) fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    pub(crate) fn jobs(&self) -> PathBuf {
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

    /// A new job directory: it appears locked, with its owner and its order, or not at all.
    pub(crate) fn new_job(&self, id: Uuid, owner: &Owner, order: &Order) -> anyhow::Result<JobDir> {
        let path = self.jobs().join(id.to_string());
        let made = path.with_extension("new");
        fs::create_dir_all(&made).with_context(|| format!("create {}", made.display()))?;
        let lock = durable::lock_exclusive(&made.join(LOCK))?;
        durable::write(&made.join(OWNER), &encode(owner)?)?;
        durable::write(&made.join(ORDER), &encode(order)?)?;
        durable::rename(&made, &path)?;
        host::failpoint!("agent.job_dir.made");
        Ok(JobDir { id, path, failed: self.failed(), _lock: lock })
    }

    /// Takes over a job whose agent is gone; `None` when it is not gone, or there is nothing left of the job.
    pub(crate) fn take_over(&self, found: &Found, process: &ProcessId) -> anyhow::Result<Option<JobDir>> {
        let Found { path, owner, .. } = found;
        // Whoever only looks whether it is free holds the lock for a moment.
        let mut lock = lock_orphan(path)?;
        for _ in 0..LOOKERS_MAX {
            if lock.is_some() || !path.is_dir() {
                break;
            }
            std::thread::sleep(LOOK_TAKES);
            lock = lock_orphan(path)?;
        }
        let Some(lock) = lock else { return Ok(None) };
        // Its last holder may have been done with it, and removed it under our hands.
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse().ok()).filter(|_| path.is_dir()) else {
            return Ok(None);
        };
        let Some(agent) = self.root.file_name().and_then(|name| name.to_str()?.parse().ok()) else { return Ok(None) };
        let owner = Owner { agent, process: process.clone(), ..owner.clone() };
        durable::write(&path.join(OWNER), &encode(&owner)?)?;
        host::failpoint!("agent.job_dir.taken_over");
        Ok(Some(JobDir { id, path: path.clone(), failed: self.failed(), _lock: lock }))
    }
}

/// The folder of all agents of this host.
fn agents(home: &Path) -> PathBuf {
    home.join("agents")
}

/// The directory of a job that this agent has in hand.
#[derive(Debug)]
pub(crate) struct JobDir {
    id: Uuid,
    path: PathBuf,
    failed: PathBuf,
    _lock: FileLock,
}

impl JobDir {
    /// Its name.
    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says which process works on it, so that it is found again whoever dies.
    pub(crate) fn note_child(&self, pid: u32, started_at: Timestamp) -> anyhow::Result<()> {
        // One that has ended already has nobody to be found by.
        let Some(process) = ProcessId::of(pid)? else { return Ok(()) };
        durable::write(&self.path.join(CHILD), &encode(&Child { process, started_at })?)?;
        Ok(())
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

/// What a job directory has to offer to whoever takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// Its prover works.
    Running(Child),
    /// Its prover has written a result.
    Result,
    /// Nothing.
    Nothing,
}

/// Looks what is left of a job. A prover that nobody had the time to note is found by its command line.
pub(crate) fn left(path: &Path) -> io::Result<Left> {
    if let Some(child) = read::<Child>(&path.join(CHILD)).filter(|child| child.process.is_alive()) {
        return Ok(Left::Running(child));
    }
    for pid in process::provers_of(path)? {
        if let Some(process) = ProcessId::of(pid)? {
            return Ok(Left::Running(Child { process, started_at: crate::now::now() }));
        }
    }
    Ok(if path.join(job::RESULT).is_file() { Left::Result } else { Left::Nothing })
}

/// A job directory that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What it was to do; none if that cannot be read.
    pub(crate) order: Option<Order>,
    /// What its prover said last.
    pub(crate) progress: Option<job::Progress>,
}

/// Every job directory on this host, of live and dead agents. What vanishes while we look is left out.
pub(crate) fn find(home: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for agent in entries(&agents(home))? {
        for path in entries(&agent.join("jobs"))? {
            let Some(owner) = read::<Owner>(&path.join(OWNER)) else { continue };
            let order = read(&path.join(ORDER));
            let progress = read(&path.join(job::PROGRESS));
            found.push(Found { path, owner, order, progress });
        }
    }
    found.sort_by_key(|f| f.owner.started_at);
    Ok(found)
}

/// Whether a live agent has the job in hand.
pub(crate) fn is_in_hand(found: &Path) -> bool {
    found.is_dir() && !matches!(lock_orphan(found), Ok(Some(_)))
}

/// Ends and removes a job whose agent is gone; false when it is not gone. Its task comes back by itself.
pub(crate) fn end(found: &Found) -> io::Result<bool> {
    let Some(_lock) = lock_orphan(&found.path)? else { return Ok(false) };
    process::end_job(&found.path)?;
    durable::remove_dir_all(&found.path)?;
    Ok(true)
}

/// The lock of a job whose agent is gone.
fn lock_orphan(path: &Path) -> io::Result<Option<FileLock>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let lock = path.join(LOCK);
    // An earlier version locked nothing: there the owner's process tells.
    if !lock.exists() && read::<Owner>(&path.join(OWNER)).is_some_and(|owner| owner.process.is_alive()) {
        return Ok(None);
    }
    match durable::lock_exclusive(&lock) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
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
#[path = "job_dir_tests.rs"]
mod tests;
