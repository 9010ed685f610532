//! Jobs that run in this agent, by the subject of their task, each with the task as the queue delivered it last.
//!
//! A task can come again while its job runs: after an outage, after this process stood still, or to an agent that took
//! the job over before the task. It is then no second job but the handle of the one that runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use streams::pull::Delivery;
use tokio::sync::watch;

type Latest = Option<Arc<Delivery>>;

/// The jobs that run now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    jobs: Arc<Mutex<HashMap<String, watch::Sender<Latest>>>>,
}

impl Running {
    /// Begins a job for a task; `None` when a job for it runs already, which then has the task.
    pub(crate) fn begin(&self, delivery: Delivery) -> Option<Pointer> {
        let subject = delivery.subject().to_owned();
        self.enter(subject, Some(Arc::new(delivery)))
    }

    /// Begins a job whose task has not come yet; `None` when a job for it runs already.
    pub(crate) fn begin_without(&self, subject: &str) -> Option<Pointer> {
        self.enter(subject.to_owned(), None)
    }

    fn enter(&self, subject: String, delivery: Latest) -> Option<Pointer> {
        let mut jobs = self.jobs();
        if let Some(job) = jobs.get(&subject) {
            if delivery.is_some() {
                tracing::info!(subject, "the task of a job that runs: it goes on");
                job.send_replace(delivery);
            }
            return None;
        }
        let (sender, latest) = watch::channel(delivery);
        jobs.insert(subject.clone(), sender);
        Some(Pointer { running: self.clone(), subject, latest, is_closed: false })
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Latest>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a job that runs: the job is known until this is dropped.
#[derive(Debug)]
pub(crate) struct Pointer {
    running: Running,
    subject: String,
    latest: watch::Receiver<Latest>,
    is_closed: bool,
}

impl Pointer {
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// The task as it came last.
    pub(crate) fn latest(&self) -> Latest {
        self.latest.borrow().clone()
    }

    /// Waits until the task comes again.
    pub(crate) async fn came(&mut self) {
        if self.latest.changed().await.is_err() {
            // Only the registry has the sender, and keeps it until this is dropped.
            std::future::pending::<()>().await;
        }
    }

    /// What was delivered up to now belongs to a queue that is gone. To settle it could settle another's task: the
    /// numbers it is addressed by are given again.
    pub(crate) fn forget(&mut self) {
        if let Some(job) = self.running.jobs().get(&self.subject) {
            job.send_if_modified(|latest| latest.take().is_some());
        }
        self.latest.mark_unchanged();
    }

    /// The job is over: from here on its task is another job. The task as it came last, to be settled.
    pub(crate) fn close(mut self) -> Latest {
        self.leave();
        self.latest()
    }

    /// Once: the next job for this task may be entered by then.
    fn leave(&mut self) {
        if !self.is_closed {
            self.is_closed = true;
            self.running.jobs().remove(&self.subject);
        }
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        self.leave();
    }
}
