//! The tasks of one simulated process: held as a stopped process holds them, ended as a killed one ends them. Only
//! behind the feature `simulated`.
//!
//! A task that is started by a gated one belongs to the same gate, so a service need not know that it has one.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

thread_local! {
    static CURRENT: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    Held,
    Closed,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    tasks: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// What the tasks of one process pass through whenever they are polled.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<State>>,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The gate of the task that runs now.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// No task goes on, as with SIGSTOP.
    pub fn hold(&self) {
        self.turn(Mode::Held);
    }

    /// All go on, as with SIGCONT.
    pub fn release(&self) {
        self.turn(Mode::Open);
    }

    /// All end where they stand, as with SIGKILL.
    pub fn close(&self) {
        self.turn(Mode::Closed);
    }

    /// Whether the process was killed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().mode == Mode::Closed
    }

    /// A task of this process; nothing when it was ended.
    pub fn wrap<F: Future>(&self, future: F) -> Gated<F> {
        Gated { gate: self.clone(), id: None, future: Some(Box::pin(future)) }
    }

    fn turn(&self, mode: Mode) {
        let wakers = {
            let mut state = self.state();
            if state.mode != Mode::Closed {
                state.mode = mode;
            }
            std::mem::take(&mut state.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task, in the gate of whoever starts it.
pub fn inherit<F: Future<Output = ()>>(future: F) -> impl Future<Output = ()> {
    let gate = Gate::current();
    async move {
        match gate {
            // Ended with its process: nobody is left to be told.
            Some(gate) => {
                let _ended = gate.wrap(future).await;
            }
            None => future.await,
        }
    }
}

/// A future that passes through a [`Gate`].
#[derive(Debug)]
pub struct Gated<F> {
    gate: Gate,
    id: Option<u64>,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mode = {
            let mut state = this.gate.state();
            let id = *this.id.get_or_insert_with(|| {
                state.tasks += 1;
                state.tasks
            });
            state.wakers.insert(id, context.waker().clone());
            state.mode
        };
        match (mode, this.future.as_mut()) {
            (Mode::Closed, _) | (_, None) => {
                this.future = None;
                Poll::Ready(None)
            }
            (Mode::Held, Some(_)) => Poll::Pending,
            (Mode::Open, Some(future)) => {
                let outer = CURRENT.replace(Some(this.gate.clone()));
                let polled = future.as_mut().poll(context);
                CURRENT.set(outer);
                polled.map(Some)
            }
        }
    }
}

impl<F> Drop for Gated<F> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.gate.state().wakers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Gate;
    use crate::tasks::Tasks;

    /// A task started by a gated one, that counts the seconds.
    async fn count(counted: std::sync::Arc<std::sync::atomic::AtomicU64>) {
        let tasks = Tasks::new();
        tasks.spawn("counts", async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let token = tasks.token();
        tasks.run_until(token.cancelled()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_tasks_of_a_process_stop_go_on_and_end_with_it() {
        let gate = Gate::new();
        let counted = std::sync::Arc::default();
        let mut process = tokio::task::JoinSet::new();
        process.spawn(gate.wrap(count(std::sync::Arc::clone(&counted))));
        let after = async |seconds: u64| {
            tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 10)).await;
            counted.load(std::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!(after(2).await, 2);
        gate.hold();
        assert_eq!(after(3).await, 2);
        gate.release();
        assert_eq!(after(0).await, 3, "its timer went off while it was held");
        gate.close();
        assert_eq!(after(3).await, 3);
        assert!(process.join_next().await.unwrap().unwrap().is_none());
    }
}
