//! A real server for a test: on its own port, in its own folder, gone when the test is.

use std::{future::Future, time::Duration};

use crate::nats::Nats;

/// A server of the test's own.
#[derive(Debug)]
pub struct TestServer {}

impl TestServer {
    /// Starts one.
    pub async fn start() -> Self {
        todo!()
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        todo!()
    }

    /// A connection to it.
    pub async fn connect(&self) -> Nats {
        todo!()
    }

    /// A connection to it, with streams, buckets and consumers in place.
    pub async fn connect_with_layout(&self, ack_wait: Duration) -> Nats {
        let _ = ack_wait;
        todo!()
    }

    /// Kills it as a power switch would.
    pub async fn kill9(&mut self) {
        todo!()
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) {
        todo!()
    }
}

/// Waits until `look` returns `Ok`, and panics with its last words after `limit`.
pub async fn wait_for<T, F, Fut>(limit: Duration, look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let _ = (limit, look);
    todo!()
}
