//! Disk work that takes long, off the threads that answer the queue.

use crate::halt::Halt;

/// Runs `work` on a thread of its own and waits for it.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Halt>
where
    T: Send + 'static,
    E: Into<Halt> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(Halt::disk(anyhow::Error::from(error).context("work on files"))),
    }
}
