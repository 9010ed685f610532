//! The queue's server: which version is good enough, where to get it, and how to run one.

use std::{net::IpAddr, path::PathBuf};

mod version;
pub use version::{TooOld, Version, check_version};

/// The version this system is tested with, and the one it installs.
pub const PINNED: &str = "2.15.1";

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its folder: configuration, store, log.
    pub dir: PathBuf,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port, or one that is free.
    pub port: Option<u16>,
    /// Whether the server dies with the thread that started it, however that ends.
    pub die_with_parent: bool,
}

/// A server could not be found, installed or started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error("port {port} on {host} is taken by another program")]
    PortTaken {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
}

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {}

/// Finds a server of a good version on PATH or in the cache, or installs the pinned one there.
pub async fn find_or_install() -> Result<PathBuf, ServerError> {
    todo!()
}

impl ServerProcess {
    /// Starts a server and waits until it answers.
    pub async fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let _ = options;
        todo!()
    }

    /// Where it listens: `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> &str {
        todo!()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        todo!()
    }

    /// Kills it as a power switch would, and waits until it is gone.
    pub async fn kill9(&mut self) -> Result<(), ServerError> {
        todo!()
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        todo!()
    }

    /// Stops it in order.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        todo!()
    }

    /// Waits until it exits by itself, which it never should.
    pub async fn exited(&mut self) -> String {
        todo!()
    }
}
