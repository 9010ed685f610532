//! One job directory, from request to result.

use std::{path::Path, time::Instant};

use streams::message::{Failure, decode, encode};

use crate::{
    failure::StageFailure,
    job::{self, JobResult, Output, Request, Work},
    library::catch,
    progress::{HowFar, Progress, ProgressFile},
    stage,
};

/// How far a sealing child steps back for what must not wait: window PoSt.
const NICENESS: i32 = 10;

/// A job directory that cannot be worked with: there is nowhere to put a result.
#[derive(Debug, thiserror::Error)]
#[error("{doing} in {}", dir.display())]
pub struct JobError {
    doing: &'static str,
    dir: std::path::PathBuf,
    #[source]
    source: anyhow::Error,
}

/// Does what `dir/request.json` asks and writes `dir/result.json`. `Ok` means that a result was written, be it a
/// refusal.
pub fn run_job(dir: &Path) -> Result<JobResult, JobError> {
    let failed = |doing, source| JobError { doing, dir: dir.to_owned(), source };
    host::durable::remove_file(&dir.join(job::RESULT)).map_err(|e| failed("remove the old result", e.into()))?;
    let progress = ProgressFile::new(dir.join(job::PROGRESS));
    let result = match read_request(dir) {
        Ok(request) => work(&request, &progress),
        Err(failure) => refused(failure),
    };
    write_result(dir, &result).map_err(|error| failed("write the result", error))?;
    Ok(result)
}

/// Reads a job's request.
pub fn read_request(dir: &Path) -> Result<Request, StageFailure> {
    let path = dir.join(job::REQUEST);
    let bytes = host::durable::read(&path)
        .map_err(|error| StageFailure::bad_input(error.to_string()))?
        .ok_or_else(|| StageFailure::bad_input(format!("{} is missing", path.display())))?;
    decode(&bytes).map_err(|error| StageFailure::bad_input(format!("{:#}", anyhow::Error::from(error))))
}

/// Writes a job's result, the last thing a child does.
pub fn write_result(dir: &Path, result: &JobResult) -> anyhow::Result<()> {
    Ok(host::durable::write(&dir.join(job::RESULT), &encode(result)?)?)
}

fn work(request: &Request, progress: &dyn Progress) -> JobResult {
    lower_priority(&request.work);
    progress.tell(request.work.name(), HowFar::Unknown);
    let began = Instant::now();
    let outcome: Result<Output, StageFailure> =
        catch(|| stage::run(request, progress)).map_err(StageFailure::from).flatten();
    match outcome {
        Ok(output) => {
            let work_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            JobResult::Done { output, work_ms }
        }
        Err(failure) => refused(failure),
    }
}

fn refused(failure: StageFailure) -> JobResult {
    let Failure { class, code, message } = failure.into();
    JobResult::Refused { class, code, message }
}

/// A deadline does not wait for a seal, so seals yield.
fn lower_priority(work: &Work) {
    if matches!(work, Work::VanillaPost { .. } | Work::WindowPost { .. }) {
        return;
    }
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!("lower the priority: {error}");
    }
}
