//! Work that takes a core for a while, done where it stalls nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

/// The work panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked: {0}")]
pub struct Panicked(String);

/// Runs `work` on a thread of its own. A runtime that has but one thread runs it at once: such a runtime serves tests
/// and simulations, where one seed must be one run.
pub async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(crate::tasks::words_of(panic.as_ref())));
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| Panicked(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::offload;

    #[tokio::test]
    async fn on_one_thread_it_is_done_at_once() {
        let here = std::thread::current().id();
        assert_eq!(offload(move || std::thread::current().id()).await.unwrap(), here);
        let error = offload(|| panic!("as told")).await.unwrap_err();
        assert_eq!(error.to_string(), "the work panicked: as told");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn on_several_threads_it_stalls_nobody() {
        let here = std::thread::current().id();
        assert_ne!(offload(move || std::thread::current().id()).await.unwrap(), here);
        assert!(offload(|| panic!("as told")).await.is_err());
    }
}
