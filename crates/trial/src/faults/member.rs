//! One process of the cluster with its own lines to the queue and to the node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use super::{
    link::{Line, Link},
    node::{Gateway, Mood},
    program::{End, Program},
};

/// How long a program that ended by itself stays down, as under an operator's supervisor.
const RESTART_AFTER: Duration = Duration::from_millis(700);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Coordinator,
    Agent,
    Poster,
}

/// A process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) role: Role,
    /// Held by whoever does something to it.
    program: Mutex<Program>,
    /// Held for the whole of a fault: two faults never have one target.
    turn: Arc<Mutex<()>>,
    pub(super) link: Link,
    /// Agents do not speak to the node.
    pub(super) gateway: Option<Gateway>,
    /// How it ended by itself, each time.
    ends: std::sync::Mutex<Vec<End>>,
    down: std::sync::Mutex<Option<Instant>>,
}

impl Member {
    pub(super) fn new(name: &str, role: Role, program: Program, link: Link, gateway: Option<Gateway>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            program: Mutex::new(program),
            turn: Arc::default(),
            link,
            gateway,
            ends: std::sync::Mutex::default(),
            down: std::sync::Mutex::default(),
        }
    }

    /// Takes this member for one fault; none while another has it.
    pub(super) fn try_take(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Takes this member for one fault, once no other has it.
    pub(super) async fn take(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    pub(super) async fn program(&self) -> MutexGuard<'_, Program> {
        self.program.lock().await
    }

    /// Whether it runs; one to which something is being done does not count.
    pub(super) fn is_up(&self) -> bool {
        self.program.try_lock().is_ok_and(|program| program.is_up())
    }

    /// Everything about it is as it should be again.
    pub(super) async fn mend(&self) -> anyhow::Result<()> {
        self.link.set(Line::Good);
        self.link.keep_all();
        if let Some(gateway) = &self.gateway {
            gateway.set(Mood::Honest);
        }
        let mut program = self.program().await;
        if !program.is_up() {
            // A frozen one goes on, one that is down starts.
            let thawed = program.thaw();
            if thawed.is_err() {
                program.start()?;
            }
        }
        Ok(())
    }

    /// Starts it again if it ended by itself a while ago; the supervisor's work. A member that a fault has is left
    /// alone.
    pub(super) async fn supervise(&self) -> anyhow::Result<()> {
        let Some(_turn) = self.try_take() else { return Ok(()) };
        let mut program = self.program().await;
        if let Some(end) = program.ended() {
            tracing::info!(member = self.name, ?end, "ended by itself");
            lock(&self.ends).push(end);
            *lock(&self.down) = Some(Instant::now());
        }
        let is_due = lock(&self.down).is_some_and(|since| since.elapsed() > RESTART_AFTER);
        if is_due {
            *lock(&self.down) = None;
            program.start()?;
        }
        Ok(())
    }

    /// How it ended by itself, each time.
    pub(super) fn ends(&self) -> Vec<End> {
        lock(&self.ends).clone()
    }

    pub(super) fn note_end(&self, end: End) {
        lock(&self.ends).push(end);
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
