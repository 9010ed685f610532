//! What an agent that was told to stop still says to the queue: for a moment only. The queue may be away, and whatever is
//! not said there ends by itself after `ack_wait`; the files have it all.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long the queue may take to hear one last thing.
const WORDS_MAX: Duration = Duration::from_secs(1);

/// Does this to its end while the agent runs; once it is told to stop, only for a moment. `None`: it did not end.
pub(crate) async fn within<T>(stop: &CancellationToken, last: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = last => Some(done),
        () = after(stop, WORDS_MAX) => None,
    }
}

/// Waits until the agent has been told to stop, and then for so long.
pub(crate) async fn after(stop: &CancellationToken, wait: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(wait).await;
}
