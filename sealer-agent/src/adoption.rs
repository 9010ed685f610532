//! Going on with what a killed agent left on this host: its provers work on, and their results are on disk.
//!
//! Two roads lead here. The next run of the same agent looks into its own folder before it asks for work. Or the task
//! comes back after `ack_wait`, and whichever agent of the host gets it first looks whether it was begun. What nobody
//! takes over is [ended](crate::leftovers) after a while.

use std::{path::PathBuf, time::Duration};

use streams::{
    id::Timestamp,
    message::{ClaimRef, Task},
    stage::Class,
};
use tracing::Instrument as _;

use crate::{
    halt::{BUSY_DELAY, Halt},
    job_dir::{self, AgentDir, Found, JobDir, Left, Order, Ordered},
    journal::Journal,
    machine::{
        activity::Activity,
        seats::{Seat, VISIBLE_GPUS},
    },
    parting,
    process::{self, ProcessId},
    runner::{Claimed, Runner, Share, sector_span},
    running::{Pointer, Running},
    settle::{Fate, settle},
};

/// How long a job whose sector has no record keeps its slot: a lost queue is rebuilt by a person.
const NO_RECORD_MAX: Duration = Duration::from_secs(3600);

/// A job that was taken over.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) dir: JobDir,
    pub(crate) order: Order,
    /// The GPU that its prover was given, if it still works and was given one.
    gpu: Option<String>,
    /// When the job began.
    pub(crate) started_at: Timestamp,
}

/// A job of an earlier run, entered among those that run.
#[derive(Debug)]
pub(crate) struct Waiting {
    adopted: Adopted,
    pointer: Pointer,
}

impl Waiting {
    /// The class whose slot it takes.
    pub(crate) const fn class(&self) -> Class {
        self.adopted.order.class
    }
}

impl Adopted {
    /// The claim its work began under.
    pub(crate) const fn claim(&self) -> Option<ClaimRef> {
        match &self.order.what {
            Ordered::Sector { claim, .. } => Some(*claim),
            Ordered::Partition { .. } => None,
        }
    }

    /// Nobody needs its work any more.
    pub(crate) async fn end(self) {
        let path = self.dir.path().to_owned();
        let ended = tokio::task::spawn_blocking(move || process::end_job(&path)).await;
        let ended = ended.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?));
        if let Err(error) = ended.and_then(|()| Ok(self.dir.remove()?)) {
            tracing::warn!("end a job that is old: {error:#}");
        }
    }
}

/// Takes over what earlier runs of this agent left, and enters it among the jobs that run, so that a task that comes
/// back finds it. What is not worth it is ended.
pub(crate) fn own(
    dir: &AgentDir,
    process: &ProcessId,
    journal: &Journal,
    running: &Running,
) -> anyhow::Result<Vec<Waiting>> {
    let mut waiting = Vec::new();
    for found in job_dir::find(dir.home())?.into_iter().filter(|found| found.path.starts_with(dir.jobs())) {
        let journaled = id_of(&found.path).is_some_and(|id| journal.has(id));
        let adopted = if journaled { None } else { take_over(dir, process, &found)? };
        match adopted.map(|adopted| (running.begin_without(&adopted.order.subject), adopted)) {
            Some((Some(pointer), adopted)) => {
                tracing::info!(job = %found.path.display(), "a job of an earlier run goes on");
                waiting.push(Waiting { adopted, pointer });
            }
            // A second one on the same task: whichever of them is worth more, one is enough.
            Some((None, adopted)) => {
                process::end_job(adopted.dir.path())?;
                adopted.dir.remove()?;
            }
            None => drop(job_dir::end(&found)?),
        }
    }
    Ok(waiting)
}

/// Takes a job over, if there is something to go on with.
fn take_over(dir: &AgentDir, process: &ProcessId, found: &Found) -> anyhow::Result<Option<Adopted>> {
    let Some(order) = found.order.clone().filter(Order::outlives_its_agent) else { return Ok(None) };
    let gpu = match job_dir::left(&found.path)? {
        Left::Nothing => return Ok(None),
        Left::Result => None,
        Left::Running(prover) => process::variable(prover.process.pid, VISIBLE_GPUS),
    };
    let taken = dir.take_over(found, process)?;
    Ok(taken.map(|dir| Adopted { dir, order, gpu, started_at: found.owner.started_at }))
}

fn id_of(path: &std::path::Path) -> Option<uuid::Uuid> {
    path.file_name()?.to_str()?.parse().ok()
}

impl Runner {
    /// What a killed agent of this host left of the job that a task asks for.
    pub(crate) async fn left_for(&self, subject: &str) -> Option<Adopted> {
        let (dir, process, subject) = (self.dir.clone(), self.process.clone(), subject.to_owned());
        let look = move || -> anyhow::Result<Option<Adopted>> {
            let asked = |found: &Found| found.order.as_ref().is_some_and(|order| order.subject == subject);
            for found in job_dir::find(dir.home())?.into_iter().filter(asked) {
                if let Some(adopted) = take_over(&dir, &process, &found)? {
                    return Ok(Some(adopted));
                }
            }
            Ok(None)
        };
        match tokio::task::spawn_blocking(look).await.map_err(anyhow::Error::from).flatten() {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!("look for an earlier job: {error:#}");
                None
            }
        }
    }

    /// Goes on with a job of an earlier run, with or without its task.
    pub(crate) async fn adopt(&self, waiting: Waiting, ack_wait: Duration) {
        let Waiting { adopted, pointer } = waiting;
        let seat = self.seats.take_anyway(Activity::of(&adopted.order), adopted.gpu.as_deref());
        match adopted.order.what.clone() {
            Ordered::Partition { task } => {
                let class = adopted.order.class;
                let share = Share { seat, left: Some(adopted) };
                Box::pin(self.post_task(class, *task, pointer, ack_wait, share)).await;
            }
            Ordered::Sector { task, claim } => {
                let span = sector_span(&task);
                let adopting = self.adopt_stage(task, claim, pointer, (seat, adopted), ack_wait);
                Box::pin(adopting).instrument(span).await;
            }
        }
    }

    async fn adopt_stage(
        &self,
        task: Task,
        claim: ClaimRef,
        pointer: Pointer,
        (seat, adopted): (Seat, Adopted),
        ack_wait: Duration,
    ) {
        let began = tokio::time::Instant::now();
        loop {
            let claimed = self.claimed(&task, pointer.subject(), Some(claim), ack_wait);
            let why = match parting::within(&self.stop, claimed).await.unwrap_or(Err(Halt::Interrupted)) {
                Ok(Claimed::Work(mine)) => {
                    let share = Share { seat, left: Some(adopted) };
                    return Box::pin(self.work(task, pointer, *mine, share, ack_wait)).await;
                }
                Ok(Claimed::Old) => {
                    adopted.end().await;
                    return settle(pointer.close(), Fate::Ack).await;
                }
                Ok(Claimed::NoRecord) => "the sector has no record".to_owned(),
                Err(Halt::Back { reason, .. }) => reason,
                Err(halt) => return self.send_back(pointer, halt).await,
            };
            if self.said.is_new(pointer.subject(), &why) {
                tracing::info!("a job of an earlier run waits: {why}");
            }
            if began.elapsed() > NO_RECORD_MAX {
                tracing::warn!("a job of an earlier run is given up: {why}");
                return settle(pointer.close(), Fate::Nak(Some(BUSY_DELAY))).await;
            }
            tokio::select! {
                () = tokio::time::sleep(BUSY_DELAY) => {}
                // Its prover works on, for the next run.
                () = self.stop.cancelled() => {
                    parting::within(&self.stop, settle(pointer.close(), Fate::Nak(None))).await;
                    return;
                }
            }
        }
    }
}

/// What is left of dead agents and was not taken over, since when.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    seen: std::collections::HashMap<PathBuf, std::time::Instant>,
}

impl Orphans {
    /// Whether a job that nobody has in hand is still to be left alone: its prover works or is done, and it was not
    /// seen so for longer than `patience`.
    pub(crate) fn may_wait(&mut self, found: &Found, patience: Duration, now: std::time::Instant) -> bool {
        let worth = found.order.as_ref().is_some_and(Order::outlives_its_agent)
            && !matches!(job_dir::left(&found.path), Ok(Left::Nothing));
        if !worth {
            return false;
        }
        let since = *self.seen.entry(found.path.clone()).or_insert(now);
        now.saturating_duration_since(since) < patience
    }

    /// Forgets what is not among the orphans any more.
    pub(crate) fn keep_only(&mut self, paths: &[PathBuf]) {
        self.seen.retain(|path, _| paths.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use host::durable;
    use streams::stage::Stage;

    use super::*;
    use crate::{job_dir::Owner, sample};

    /// A job whose agent is dead, with the result of its prover or without.
    fn orphan(home: &std::path::Path, stage: Stage, has_result: bool) -> Found {
        let dir = AgentDir::new(home, &"a".parse().unwrap());
        dir.create().unwrap();
        let order = sample::order(stage);
        let process = ProcessId { pid: u32::MAX, ..ProcessId::current().unwrap() };
        let agent = "a".parse().unwrap();
        let owner = Owner { agent, process, what: order.shown(), attempt: 1, started_at: Timestamp(1) };
        let id = uuid::Uuid::new_v4();
        let path = dir.new_job(id, &owner, &order).unwrap().path().to_owned();
        if has_result {
            durable::write(&path.join(prover::job::RESULT), b"{}").unwrap();
        }
        job_dir::find(home).unwrap().into_iter().find(|found| found.path == path).unwrap()
    }

    #[test]
    fn work_worth_going_on_with_is_left_alone_for_a_while() {
        let home = tempfile::tempdir().unwrap();
        let (mut orphans, start) = (Orphans::default(), Instant::now());
        let patience = Duration::from_secs(180);
        let done = orphan(home.path(), Stage::Pc1, true);
        assert!(orphans.may_wait(&done, patience, start));
        assert!(orphans.may_wait(&done, patience, start + patience / 2));
        assert!(!orphans.may_wait(&done, patience, start + patience));
        // One that was taken over meanwhile, and is an orphan again, has all its time again.
        orphans.keep_only(&[]);
        assert!(orphans.may_wait(&done, patience, start + patience));
        for (stage, has_result) in [(Stage::Pc1, false), (Stage::Unseal, true), (Stage::Persist, true)] {
            assert!(!orphans.may_wait(&orphan(home.path(), stage, has_result), patience, start), "{stage}");
        }
    }

    #[test]
    fn only_what_is_worth_it_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let dir = AgentDir::new(home.path(), &"b".parse().unwrap());
        let me = ProcessId::current().unwrap();
        let taken = |found: &Found| take_over(&dir, &me, found).unwrap();
        assert!(taken(&orphan(home.path(), Stage::Pc1, false)).is_none());
        assert!(taken(&orphan(home.path(), Stage::Unseal, true)).is_none());
        let done = orphan(home.path(), Stage::Pc1, true);
        let adopted = taken(&done).expect("its prover has a result");
        assert_eq!(adopted.claim().map(|claim| claim.fence), Some(7));
        assert!(taken(&done).is_none(), "two have it");
    }
}
