//! Named tasks that live and end together.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

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

/// The tasks of a service: a handle, cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }

    /// How long tasks may take to end once told to; 30 s unless said.
    #[must_use]
    pub fn drain_limit(self, _limit: Duration) -> Self {
        todo!()
    }

    /// Cancelled when the tasks must end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        todo!()
    }

    /// Starts a task that runs until the token is cancelled. Any earlier end, good or bad, ends them all.
    pub fn spawn(&self, _name: impl Into<String>, _task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        todo!()
    }

    /// Starts a task that may come to a good end by itself. A failure ends them all.
    pub fn spawn_once(
        &self,
        _name: impl Into<String>,
        _task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        todo!()
    }

    /// Runs until `stop` comes or a task ends that should not; then tells all to end and waits for them.
    ///
    /// # Errors
    ///
    /// The first task that ended badly, or those that did not end in time.
    pub async fn run_until<S>(&self, _stop: impl Future<Output = S> + Send) -> Result<(), TasksError> {
        todo!()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}
