//! A real server for a test: on its own port, in its own folder, gone when the test is.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    layout::{LayoutOptions, ensure},
    nats::{Nats, NatsConfig},
    server::{ServerOptions, ServerProcess},
};

mod three;

pub use three::TestCluster;

/// How often [`wait_for`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A server of the test's own. It is killed when this is dropped, and by the kernel when the test's thread ends.
#[derive(Debug)]
pub struct TestServer {
    // Dropped first: the server must be gone before its folder is.
    server: ServerProcess,
    dir: TempDir,
}

#[expect(clippy::panic, reason = "a test without its server has nothing to say")]
fn or_panic<T, E: std::error::Error>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            let mut words = format!("{what}: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                words = format!("{words}: {error}");
                cause = error.source();
            }
            panic!("{words}")
        }
    }
}

impl TestServer {
    /// Starts one. The first start on a machine may install the server.
    pub async fn start() -> Self {
        let dir = or_panic("create a folder for nats-server", TempDir::with_prefix("sealstream-nats-"));
        let options = ServerOptions {
            dir: dir.path().to_owned(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            die_with_parent: true,
        };
        let server = or_panic("start nats-server", ServerProcess::start(options).await);
        Self { server, dir }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// A connection to it.
    pub async fn connect(&self) -> Nats {
        let config = NatsConfig { url: self.url().to_owned(), name: "test".to_owned(), connect_timeout: CONNECT_LIMIT };
        or_panic("connect to nats-server", Nats::connect(&config).await)
    }

    /// A connection to it, with streams, buckets and consumers in place.
    pub async fn connect_with_layout(&self, ack_wait: Duration) -> Nats {
        let nats = self.connect().await;
        or_panic("create the layout", ensure(&nats, &LayoutOptions { replicas: 1, ack_wait }).await);
        nats
    }

    /// Kills it as a power switch would.
    pub async fn kill9(&mut self) {
        or_panic("kill nats-server", self.server.kill9().await);
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) {
        or_panic("restart nats-server", self.server.restart().await);
    }

    /// Kills it, takes away all that it stored, and starts it again where it was, empty.
    pub async fn wipe(&mut self) {
        self.kill9().await;
        or_panic("remove the store", std::fs::remove_dir_all(self.dir.path().join("store")));
        self.restart().await;
    }
}

/// Waits until `look` returns `Ok`, and panics with its last words after `limit`.
#[expect(clippy::panic, reason = "a test that waited in vain has failed")]
pub async fn wait_for<T, F, Fut>(limit: Duration, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(words) if started.elapsed() > limit => panic!("waited {limit:?} in vain: {words}"),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
