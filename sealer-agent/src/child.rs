//! Running a prover as a child, from its request to its output; or going on with one that an earlier agent started.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use host::{
    cgroup::JobCgroup,
    durable,
    job::{Job, JobEnd, JobSpec, Kin, Orphan, Watch},
};
use prover::job::{JobResult, Output, PROGRESS, Progress, REQUEST, RESULT, Request, STDERR};
use streams::{
    id::Timestamp,
    message::{FailureClass, decode, encode},
};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::blocking,
    board::Posted,
    gate::Gate,
    halt::Halt,
    job_dir::{self, Child, JobDir, Left},
    machine::{confine, seats::Seat, terms::Terms},
    now::now,
    outcome::{self, Judged, ResultFile},
    process,
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the child's log that a failure may quote from.
const TAIL_BYTES: u64 = 2048;

/// Starts provers.
#[derive(Debug, Clone)]
pub(crate) struct Prover {
    /// The program.
    pub(crate) program: PathBuf,
    /// This program, through which a prover that is to be confined is started.
    pub(crate) agent: PathBuf,
    /// How long it may take to end once it is told to.
    pub(crate) grace: Duration,
    /// Told to stop, this agent leaves provers at work whose jobs another run can go on with.
    pub(crate) leaves: bool,
}

/// One job at work: where it is, who is told, and when it must stop.
#[derive(Debug)]
pub(crate) struct AtWork<'a> {
    pub(crate) dir: &'a JobDir,
    pub(crate) posted: &'a Posted,
    pub(crate) terms: &'a Terms,
    pub(crate) seat: &'a Seat,
    /// When the job began, in this run or an earlier one.
    pub(crate) started_at: Timestamp,
    pub(crate) stop: &'a CancellationToken,
    /// Told to stop, the prover is left at work for whoever takes the job over.
    pub(crate) leaves: bool,
    /// Told once the prover works.
    pub(crate) gate: &'a Gate,
    /// The subject of the task.
    pub(crate) subject: &'a str,
}

impl AtWork<'_> {
    /// Whether a prover was started on this very request, and works or has a result: then its inputs are there.
    pub(crate) fn has_begun(&self, request: &Request) -> bool {
        let dir = self.dir.path();
        matches!(read_request(dir), Ok(Some(asked)) if asked == *request)
            && !matches!(job_dir::left(dir), Ok(Left::Nothing) | Err(_))
    }

    fn silence(&self) -> Option<(PathBuf, Duration)> {
        self.terms.silence_limit.map(|limit| (self.dir.path().join(PROGRESS), limit))
    }

    /// Whatever a prover starts is known by its job, wherever it moves.
    fn kin(&self) -> Kin {
        let cgroups = self.cgroup().map(|cgroup| cgroup.folders().to_vec()).unwrap_or_default();
        Kin { mark: Some(self.dir.path().into()), cgroups }
    }

    fn cgroup(&self) -> Option<JobCgroup> {
        self.terms.confinement.open(&self.dir.id().to_string())
    }
}

/// What an earlier agent left in the job directory.
enum Earlier {
    Nothing,
    Running(Box<Job>),
    Result,
}

impl Prover {
    /// Runs one prover to its end, and says what it did. One that an earlier agent started in this directory, on this
    /// very request, is the one; one that works on another request is ended first.
    pub(crate) async fn run(&self, at: &AtWork<'_>, request: &Request) -> Result<Output, Halt> {
        let dir = at.dir.path();
        let end = match self.earlier(at, request).await? {
            Earlier::Nothing => watch(self.start(at, request)?, at).await,
            Earlier::Running(job) => outcome::end_of_orphan(watch(*job, at).await, &read_result(dir)),
            Earlier::Result => JobEnd::Exited { code: 0 },
        };
        host::failpoint!("agent.child.ended");
        if end != JobEnd::Left
            && let Some(cgroup) = at.cgroup()
        {
            cgroup.remove();
        }
        match outcome::judge(end, read_result(dir), &log_tail(&dir.join(STDERR))) {
            Judged::Done(output) => Ok(output),
            Judged::Failed(failure) => Err(Halt::Failed(failure)),
            Judged::Stopped => Err(Halt::Interrupted),
            Judged::Left => Err(Halt::Left),
        }
    }

    fn start(&self, at: &AtWork<'_>, request: &Request) -> Result<Job, Halt> {
        let dir = at.dir.path();
        write_request(dir, request).map_err(Halt::disk)?;
        host::failpoint!("agent.child.ordered");
        let confinement = &at.terms.confinement;
        let prepared = confinement.prepare(&at.dir.id().to_string(), at.seat.number());
        let (_, mut args) = prepared
            .map_err(|error| Halt::failed(FailureClass::RetryElsewhere, confine::NOT_CONFINED, format!("{error:#}")))?;
        host::failpoint!("agent.child.confined");
        let program = if args.is_empty() { &self.program } else { &self.agent };
        if !args.is_empty() {
            args.push(self.program.clone().into());
        }
        args.push(dir.into());
        let spec = JobSpec {
            program: program.clone(),
            args,
            dir: dir.to_owned(),
            env: at.seat.env().into_iter().chain(at.terms.env.iter().cloned()).collect(),
            watch: self.watched_for(at, Duration::ZERO),
        };
        let job = Job::start(spec).map_err(|error| {
            let message = format!("{:#}", anyhow::Error::from(error));
            Halt::failed(FailureClass::RetryElsewhere, "prover-not-started", message)
        })?;
        host::failpoint!("agent.child.started");
        at.dir.note_child(job.pid(), now()).map_err(Halt::disk)?;
        host::failpoint!("agent.child.noted");
        at.gate.begun(at.subject);
        tracing::debug!(pid = job.pid(), job = %dir.display(), "prover started");
        Ok(job)
    }

    /// How a prover that ran for so long already is watched.
    fn watched_for(&self, at: &AtWork<'_>, ran: Duration) -> Watch {
        Watch {
            stderr: at.dir.path().join(STDERR),
            deadline: Some(at.terms.time_limit.saturating_sub(ran)),
            silence: at.silence(),
            memory_max: at.terms.memory_max,
            kin: at.kin(),
            grace: self.grace,
        }
    }

    async fn earlier(&self, at: &AtWork<'_>, request: &Request) -> Result<Earlier, Halt> {
        let dir = at.dir.path();
        let asked = match read_request(dir) {
            Ok(None) => return Ok(Earlier::Nothing),
            Ok(Some(asked)) => Some(asked),
            Err(error) => {
                tracing::warn!(job = %dir.display(), "an earlier request cannot be read: {error:#}");
                None
            }
        };
        if asked.as_ref() != Some(request) {
            tracing::warn!(job = %dir.display(), "an earlier prover works on something else: it is ended");
            let dir = dir.to_owned();
            blocking(move || -> Result<(), Halt> {
                process::end_job(&dir)
                    .and_then(|()| durable::remove_file(&dir.join(RESULT)))
                    .map_err(|error| Halt::disk(error.into()))
            })
            .await?;
            return Ok(Earlier::Nothing);
        }
        let left = job_dir::left(dir).map_err(|error| Halt::disk(error.into()))?;
        if let Left::Running(child) = left
            && let Some(job) = self.adopt(at, &child)?
        {
            tracing::info!(pid = job.pid(), "the prover of an earlier run works: it is adopted");
            at.gate.begun(at.subject);
            return Ok(Earlier::Running(Box::new(job)));
        }
        if dir.join(RESULT).is_file() {
            tracing::info!("the prover of an earlier run is done: its result is taken");
            return Ok(Earlier::Result);
        }
        Ok(Earlier::Nothing)
    }

    fn adopt(&self, at: &AtWork<'_>, child: &Child) -> Result<Option<Job>, Halt> {
        let ran = Duration::from_millis(now().ms_since(child.started_at));
        let orphan = Orphan { pid: child.process.pid, watch: self.watched_for(at, ran) };
        let job = Job::adopt(orphan, || child.process.is_alive());
        let job = job.context("adopt a prover").map_err(Halt::disk)?;
        host::failpoint!("agent.child.adopted");
        Ok(job)
    }
}

/// Waits for a prover's end, and shows its progress meanwhile.
async fn watch(job: Job, at: &AtWork<'_>) -> JobEnd {
    let ended = job.left_when_cancelled(at.leaves).wait(at.stop);
    tokio::pin!(ended);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            end = &mut ended => return end,
            _ = look.tick() => post_progress(at),
        }
    }
}

pub(crate) fn write_request(dir: &Path, request: &Request) -> anyhow::Result<()> {
    Ok(durable::write(&dir.join(REQUEST), &encode(request)?)?)
}

fn read_request(dir: &Path) -> anyhow::Result<Option<Request>> {
    durable::read(&dir.join(REQUEST))?.map(|bytes| Ok(decode(&bytes)?)).transpose()
}

/// Progress is there to be looked at: what cannot be read is not shown.
fn post_progress(at: &AtWork<'_>) {
    let read = durable::read(&at.dir.path().join(PROGRESS)).ok().flatten();
    let permille = match read.and_then(|bytes| decode::<Progress>(&bytes).ok()) {
        Some(progress) => {
            at.posted.progress(&progress);
            progress.permille
        }
        None => None,
    };
    at.posted.left(at.seat.left_ms(now().ms_since(at.started_at), permille));
}

pub(crate) fn read_result(dir: &Path) -> ResultFile {
    match durable::read(&dir.join(RESULT)) {
        Ok(None) => ResultFile::Absent,
        Ok(Some(bytes)) => match decode::<JobResult>(&bytes) {
            Ok(result) => ResultFile::Read(result),
            Err(error) => ResultFile::Unreadable(format!("{:#}", anyhow::Error::from(error))),
        },
        Err(error) => ResultFile::Unreadable(error.to_string()),
    }
}

pub(crate) fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    read().map(|tail| String::from_utf8_lossy(&tail).into_owned()).unwrap_or_default()
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
