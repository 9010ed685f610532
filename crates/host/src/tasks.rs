//! Named tasks that live and end together.
//!
//! A task that ends is an event: whoever started it counted on it. So every end that nobody asked for ends them all,
//! and the service, with the name of the task; a service that lives on with half its tasks would look well and do
//! nothing. In shutdown the token is cancelled and every task is waited for, up to a limit, with those named that are
//! late.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// After so long it is worth a line who keeps the others waiting.
const DRAIN_PATIENCE: Duration = Duration::from_millis(100);

/// Why the tasks of a service ended.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A task that should run until it is told to stop came to an end.
    #[error("task {name} ended by itself")]
    Ended {
        /// The task.
        name: String,
    },
    /// A task failed.
    #[error("task {name}")]
    Failed {
        /// The task.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync + 'static>,
    },
    /// A task panicked.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// The task.
        name: String,
        /// What it said.
        message: String,
    },
    /// Some did not end in time after they were told to.
    #[error("still running {} after the order to stop: {}", humantime::format_duration(*limit), names.join(", "))]
    Late {
        /// How long they were given.
        limit: Duration,
        /// Who.
        names: Vec<String>,
    },
}

/// The tasks of a service: a handle, cheap to clone. Once [`Tasks::run_until`] has returned, it takes no more tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
    drain_limit: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    stop: CancellationToken,
    tracker: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    started: u64,
    running: BTreeMap<u64, String>,
    /// The first bad end: those after it are mostly its consequences.
    failure: Option<TasksError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoodEnd {
    OnlyWhenTold,
    AnyTime,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::default(), drain_limit: DRAIN_LIMIT }
    }

    /// How long tasks may take to end once told to; 30 s unless said.
    #[must_use]
    pub const fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain_limit = limit;
        self
    }

    /// Cancelled when the tasks must end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Starts a task that runs until the token is cancelled. Any earlier end, good or bad, ends them all.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.start(name.into(), GoodEnd::OnlyWhenTold, task);
    }

    /// Starts a task that may come to a good end by itself. A failure ends them all.
    pub fn spawn_once(&self, name: impl Into<String>, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.start(name.into(), GoodEnd::AnyTime, task);
    }

    /// Runs until `stop` comes or a task ends that should not; then tells all to end and waits for them.
    ///
    /// # Errors
    ///
    /// The first task that ended badly, or those that did not end in time.
    pub async fn run_until<S>(&self, stop: impl Future<Output = S> + Send) -> Result<(), TasksError> {
        tokio::select! {
            biased;
            _ = stop => {}
            () = self.shared.stop.cancelled() => {}
        }
        self.shared.stop.cancel();
        self.shared.tracker.close();
        let drained = self.drain().await;
        self.shared.state().failure.take().map_or(drained, Err)
    }

    fn start(&self, name: String, good_end: GoodEnd, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let id = {
            let mut state = shared.state();
            state.started += 1;
            let id = state.started;
            state.running.insert(id, name.clone());
            id
        };
        let run = async move {
            let end = AssertUnwindSafe(task).catch_unwind().await;
            shared.ended(id, name, good_end, end);
        };
        #[cfg(feature = "simulated")]
        let run = crate::gate::inherit(run);
        self.shared.tracker.spawn(run);
    }

    async fn drain(&self) -> Result<(), TasksError> {
        let all_ended = async {
            tokio::select! {
                biased;
                () = self.shared.tracker.wait() => return,
                () = sleep(DRAIN_PATIENCE) => {}
            }
            tracing::info!(late = %self.running().join(", "), "waiting for tasks to end");
            self.shared.tracker.wait().await;
        };
        let limit = self.drain_limit;
        timeout(limit, all_ended).await.map_err(|_| TasksError::Late { limit, names: self.running() })
    }

    fn running(&self) -> Vec<String> {
        self.shared.state().running.values().cloned().collect()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is held for plain assignments only, so a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, id: u64, name: String, good_end: GoodEnd, end: std::thread::Result<anyhow::Result<()>>) {
        let is_told = self.stop.is_cancelled();
        let mut state = self.state();
        state.running.remove(&id);
        let failure = match end {
            Ok(Ok(())) if is_told || good_end == GoodEnd::AnyTime => return,
            Ok(Ok(())) => TasksError::Ended { name },
            Ok(Err(error)) => TasksError::Failed { name, source: error.into() },
            Err(panic) => TasksError::Panicked { name, message: words_of(panic.as_ref()) },
        };
        if state.failure.is_none() {
            state.failure = Some(failure);
        } else {
            // Only the first is returned, so this one is told here or never.
            tracing::error!("{}", crate::exit::chain(&failure));
        }
        drop(state);
        self.stop.cancel();
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word").to_owned()
}

#[cfg(test)]
mod tests;
