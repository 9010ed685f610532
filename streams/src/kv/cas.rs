//! What a refused compare-and-set means.

use std::time::Duration;

use tokio::time::Instant;

use crate::{error::QueueError, request::StoreError};

/// How long an answer of "cannot tell" is asked again: an election takes 5 to 7 s.
const UNSURE_LIMIT: Duration = Duration::from_secs(15);
/// Pause between tries.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum CasError {
    /// Somebody else changed the key first: read it again and decide again.
    #[error("{bucket} {key} was changed by another")]
    Lost {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: String,
    },
    /// The queue failed; after a time-out, whether the change was made is not known.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl CasError {
    /// Whether somebody else changed the key first.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// Offers a change until the server is sure what it thinks of it.
///
/// "Cannot tell" (10164) is answered to sole owners too, and "no leader" stored nothing: both are asked again with
/// the same revision. A time-out is not: the change may have been made, and asked again it would look lost.
pub(super) async fn until_sure<F, Fut>(mut offer: F) -> Result<u64, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<u64, StoreError>>,
{
    let started = Instant::now();
    loop {
        match offer().await {
            Err(error @ (StoreError::RevisionUnsure | StoreError::Passing(_))) => {
                if started.elapsed() > UNSURE_LIMIT {
                    return Err(error);
                }
            }
            sure => return sure,
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use super::until_sure;
    use crate::{error::QueueError, request::StoreError};

    async fn play(script: Vec<Result<u64, StoreError>>) -> (Result<u64, StoreError>, usize) {
        let mut script = VecDeque::from(script);
        let answer = until_sure(|| std::future::ready(script.pop_front().unwrap())).await;
        (answer, script.len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unsure_answer_is_asked_again_with_the_same_revision() {
        let (answer, left) = play(vec![Err(StoreError::RevisionUnsure), Err(StoreError::RevisionUnsure), Ok(8)]).await;
        assert_eq!((answer.unwrap(), left), (8, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn no_leader_is_asked_again() {
        let passing = StoreError::Passing(QueueError::Unavailable { what: "publish x".to_owned() });
        let (answer, left) = play(vec![Err(passing), Ok(8)]).await;
        assert_eq!((answer.unwrap(), left), (8, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_race_is_told_at_once() {
        let (answer, left) = play(vec![Err(StoreError::WrongRevision), Ok(8)]).await;
        assert!(matches!(answer, Err(StoreError::WrongRevision)));
        assert_eq!(left, 1, "it was not asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_is_told_and_not_asked_again() {
        let timed_out = QueueError::TimedOut { what: "publish x".to_owned(), waited: Duration::from_secs(5) };
        let (answer, left) = play(vec![Err(StoreError::Queue(timed_out)), Ok(8)]).await;
        assert!(matches!(answer, Err(StoreError::Queue(QueueError::TimedOut { .. }))));
        assert_eq!(left, 1, "it was not asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_never_sure_is_not_asked_for_ever() {
        let answer = until_sure(|| std::future::ready(Err(StoreError::RevisionUnsure))).await;
        assert!(matches!(answer, Err(StoreError::RevisionUnsure)));
    }
}
