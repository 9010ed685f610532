//! The signals that end a service.

use std::{future::Future, io};

use tokio::signal::unix::{self, SignalKind};

use crate::exit::Exit;

/// What asked the service to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: a person at the terminal.
    Interrupt,
    /// SIGTERM: the service manager.
    Terminate,
}

/// Listens from now on, and answers with the first SIGINT or SIGTERM. After that one, a second ends the process at once
/// with [`Exit::Interrupted`]. Must be called within a tokio runtime.
///
/// # Errors
///
/// The signals cannot be listened to.
pub fn shutdown() -> io::Result<impl Future<Output = Signal> + Send + 'static> {
    let mut signals = Signals {
        interrupt: unix::signal(SignalKind::interrupt())?,
        terminate: unix::signal(SignalKind::terminate())?,
    };
    Ok(async move {
        let first = signals.next().await;
        tracing::info!(signal = ?first, "stopping; a second signal stops at once");
        exit_at_the_next(signals);
        first
    })
}

#[expect(clippy::disallowed_methods, reason = "outlives the drain of all tasks, and may not wait for it")]
fn exit_at_the_next(mut signals: Signals) {
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
}

#[derive(Debug)]
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
