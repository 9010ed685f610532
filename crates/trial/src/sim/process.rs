//! One process of the cluster: started, killed, stopped, started again.

use std::{pin::Pin, sync::Arc, time::Duration};

use host::{gate::Gate, tasks::Tasks};
use tokio::task::JoinSet;

/// The time a supervisor takes to start a service again.
const RESTART_AFTER: Duration = Duration::from_secs(3);

/// Starts a service's tasks; called once a start, with the number of the start.
pub(crate) type Start =
    Arc<dyn Fn(u64, Tasks) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// A process, whether it runs or not.
pub(crate) struct Process {
    pub(crate) name: String,
    start: Start,
    gate: Gate,
    runs: JoinSet<()>,
    lives: u64,
}

impl Process {
    pub(crate) fn new(name: String, start: Start) -> Self {
        Self { name, start, gate: Gate::new(), runs: JoinSet::new(), lives: 0 }
    }

    /// Starts it unless it runs.
    pub(crate) fn start(&mut self) {
        if self.lives > 0 && !self.gate.is_closed() {
            return;
        }
        self.lives += 1;
        self.gate = Gate::new();
        let (start, first) = (Arc::clone(&self.start), self.lives * 1_000);
        let life = self.gate.wrap(supervise(self.name.clone(), start, first));
        self.runs.spawn(async move {
            let _ended = life.await;
        });
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&self) {
        self.gate.close();
    }

    pub(crate) fn freeze(&self) {
        self.gate.hold();
    }

    /// What freezes this life of it, for whoever knows the moment.
    pub(crate) fn freezer(&self) -> impl Fn() + Clone + Send + 'static {
        let gate = self.gate.clone();
        move || gate.hold()
    }

    pub(crate) fn thaw(&self) {
        self.gate.release();
    }
}

/// A service that ends by itself is started again, as a supervisor does.
async fn supervise(name: String, start: Start, first: u64) {
    for run in first.. {
        let tasks = Tasks::new().drain_limit(Duration::from_secs(20));
        match start(run, tasks.clone()).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(name, "start: {error:#}");
                tasks.token().cancel();
            }
        }
        let token = tasks.token();
        if let Err(error) = tasks.run_until(token.cancelled()).await {
            tracing::warn!(name, "ended: {}", host::exit::chain(&error));
        }
        tokio::time::sleep(RESTART_AFTER).await;
    }
}
