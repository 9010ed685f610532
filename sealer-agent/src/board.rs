//! What this agent is doing, for its heartbeat.

use std::{collections::BTreeMap, sync::Arc};

use prover::job::Progress;
use streams::{
    id::Timestamp,
    records::{JobNow, JobSubject},
    stage::Class,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::rate::Rate;

/// Work at hand, by job. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    jobs: Arc<watch::Sender<BTreeMap<Uuid, (JobNow, Rate)>>>,
    /// How many jobs have begun or ended: what a heartbeat is sent for at once.
    turns: Arc<watch::Sender<u64>>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { jobs: Arc::new(watch::Sender::default()), turns: Arc::new(watch::Sender::default()) }
    }

    /// A job begins; it ends when the answer is dropped.
    pub(crate) fn begin(&self, id: Uuid, job: JobNow) -> Posted {
        self.jobs.send_modify(|jobs| {
            jobs.insert(id, (job, Rate::default()));
        });
        self.turned();
        Posted { board: self.clone(), id }
    }

    /// Jobs now, the oldest first.
    pub(crate) fn jobs(&self) -> Vec<JobNow> {
        let mut jobs: Vec<JobNow> = self.jobs.borrow().values().map(|(job, _)| job.clone()).collect();
        jobs.sort_by_key(|job| job.started_at);
        jobs
    }

    /// How many jobs of a class run now.
    pub(crate) fn used(&self, class: Class) -> u32 {
        let count = self.jobs.borrow().values().filter(|(job, _)| class_of(&job.what) == class).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Answers each time a job begins or ends.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// Has the heartbeat say at once what else is new.
    pub(crate) fn nudge(&self) {
        self.turned();
    }

    fn turned(&self) {
        self.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
    }
}

/// A job on the board.
#[derive(Debug)]
pub(crate) struct Posted {
    board: Board,
    id: Uuid,
}

impl Posted {
    /// What it is doing now, of which nobody knows how far it is.
    pub(crate) fn phase(&self, phase: &str) {
        self.progress(&Progress { phase: phase.to_owned(), permille: None, bytes: None, at: Timestamp(0) });
    }

    /// What it is doing, and how far it is.
    pub(crate) fn progress(&self, told: &Progress) {
        self.board.jobs.send_modify(|jobs| {
            if let Some((job, rate)) = jobs.get_mut(&self.id) {
                told.phase.clone_into(&mut job.phase);
                job.permille = told.permille;
                job.bytes = told.bytes;
                job.bytes_per_s = rate.see(told.bytes, told.at);
                job.left_ms = None;
            }
        });
    }

    /// How long it will still take.
    pub(crate) fn left(&self, left_ms: Option<u64>) {
        self.board.jobs.send_modify(|jobs| {
            if let Some((job, _)) = jobs.get_mut(&self.id) {
                job.left_ms = left_ms;
            }
        });
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.board.jobs.send_modify(|jobs| {
            jobs.remove(&self.id);
        });
        self.board.turned();
    }
}

fn class_of(what: &JobSubject) -> Class {
    match what {
        JobSubject::Sector { stage, .. } => stage.class(),
        JobSubject::Partition { class, .. } => *class,
    }
}

#[cfg(test)]
mod tests {
    use streams::{id::SectorId, records::BytesDone, stage::Stage};

    use super::*;

    #[test]
    fn a_job_is_shown_while_it_lives() {
        let board = Board::new();
        let mut turns = board.turns();
        let sector = SectorId::from_key("f01000.1").unwrap();
        let what = JobSubject::Sector { sector, stage: Stage::TreeD };
        let job = JobNow::begun(what, 1, Timestamp(1), "start".to_owned());
        let posted = board.begin(Uuid::from_u128(1), job);
        assert!(turns.has_changed().unwrap());
        turns.mark_unchanged();
        posted.phase("copy");
        for (ms, permille, done) in [(0, 0, 0), (2_000, 500, 4_000)] {
            let (phase, bytes) = ("half".to_owned(), Some(BytesDone { done, total: 8_000 }));
            posted.progress(&Progress { phase, permille: Some(permille), bytes, at: Timestamp(ms) });
        }
        posted.left(Some(7));
        assert!(!turns.has_changed().unwrap(), "a phase can wait for the next heartbeat");
        assert_eq!(board.jobs().first().map(|j| (j.phase.clone(), j.permille)), Some(("half".to_owned(), Some(500))));
        assert_eq!((board.used(Class::Io), board.used(Class::Pc1Cpu)), (1, 0));
        let jobs = board.jobs();
        let job = jobs.first().unwrap();
        assert_eq!((job.left_ms, job.bytes_per_s), (Some(7), Some(2_000)));
        drop(posted);
        assert!(turns.has_changed().unwrap());
        assert_eq!(board.jobs(), vec![]);
    }
}
