//! Running a prover as a child, from its request to its output.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use host::{
    durable,
    job::{Job, JobSpec},
};
use prover::job::{JobResult, Output, PROGRESS, Progress, REQUEST, RESULT, Request, STDERR};
use streams::message::{FailureClass, decode, encode};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Posted,
    halt::Halt,
    job_dir::JobDir,
    outcome::{self, Judged, ResultFile},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the child's log that a failure may quote from.
const TAIL_BYTES: u64 = 2048;

/// Starts provers.
#[derive(Debug, Clone)]
pub(crate) struct Prover {
    /// The program.
    pub(crate) program: PathBuf,
    /// How long it may take to end once it is told to.
    pub(crate) grace: Duration,
}

/// One job at work: where it is, who is told, and when it must stop.
#[derive(Debug)]
pub(crate) struct AtWork<'a> {
    pub(crate) dir: &'a JobDir,
    pub(crate) posted: &'a Posted,
    pub(crate) limit: Duration,
    pub(crate) stop: &'a CancellationToken,
}

impl Prover {
    /// Runs one prover to its end, and says what it did.
    pub(crate) async fn run(&self, at: &AtWork<'_>, request: &Request) -> Result<Output, Halt> {
        let dir = at.dir.path();
        write_request(dir, request).map_err(Halt::disk)?;
        let spec = JobSpec {
            program: self.program.clone(),
            args: vec![dir.into()],
            dir: dir.to_owned(),
            env: Vec::new(),
            stderr: dir.join(STDERR),
            deadline: Some(at.limit),
            // A Groth16 proof says nothing for as long as it takes: only the deadline can tell.
            silence: None,
            grace: self.grace,
        };
        let job = Job::start(spec).map_err(|error| {
            let message = format!("{:#}", anyhow::Error::from(error));
            Halt::failed(FailureClass::RetryElsewhere, "prover-not-started", message)
        })?;
        tracing::debug!(pid = job.pid(), job = %dir.display(), "prover started");
        let end = {
            let ended = job.wait(at.stop);
            tokio::pin!(ended);
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    end = &mut ended => break end,
                    _ = look.tick() => post_progress(dir, at.posted),
                }
            }
        };
        match outcome::judge(end, read_result(dir), &log_tail(&dir.join(STDERR))) {
            Judged::Done(output) => Ok(output),
            Judged::Failed(failure) => Err(Halt::Failed(failure)),
            Judged::Stopped => Err(Halt::Interrupted),
        }
    }
}

fn write_request(dir: &Path, request: &Request) -> anyhow::Result<()> {
    Ok(durable::write(&dir.join(REQUEST), &encode(request)?)?)
}

/// Progress is there to be looked at: what cannot be read is not shown.
fn post_progress(dir: &Path, posted: &Posted) {
    let Ok(Some(bytes)) = durable::read(&dir.join(PROGRESS)) else { return };
    if let Ok(Progress { phase, permille, .. }) = decode(&bytes) {
        posted.phase(&phase, permille);
    }
}

fn read_result(dir: &Path) -> ResultFile {
    match durable::read(&dir.join(RESULT)) {
        Ok(None) => ResultFile::Absent,
        Ok(Some(bytes)) => match decode::<JobResult>(&bytes) {
            Ok(result) => ResultFile::Read(result),
            Err(error) => ResultFile::Unreadable(format!("{:#}", anyhow::Error::from(error))),
        },
        Err(error) => ResultFile::Unreadable(error.to_string()),
    }
}

fn log_tail(path: &Path) -> String {
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
