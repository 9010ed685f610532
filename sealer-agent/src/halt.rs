//! Why work on a task stopped before it was done, decided where the reason is known.

use std::{io, time::Duration};

use streams::{
    error::QueueError,
    kv::CasError,
    message::{Failure, FailureClass},
    stage::Stage,
};

use crate::store::StoreError;

/// Until a holder elsewhere, or a record that lags, may have moved on.
pub(crate) const BUSY_DELAY: Duration = Duration::from_secs(2);
/// Until the queue may answer again.
const QUEUE_DELAY: Duration = Duration::from_secs(2);
/// Until room, or a store that is not mounted, may be there: a person's pace.
pub(crate) const ROOM_DELAY: Duration = Duration::from_secs(10);

/// Why work on a task stopped before it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It failed: a fact for the coordinator.
    Failed(Failure),
    /// This agent was told to stop: the task goes back at once.
    Interrupted,
    /// This agent was told to stop, and its prover works on: the task stays out, and comes back to whoever goes on.
    Left,
    /// Not the sector's fault: the task goes back, and costs no attempt.
    Back { after: Duration, reason: String },
}

impl Halt {
    pub(crate) fn failed(class: FailureClass, code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure { class, code: code.to_owned(), message: message.into() })
    }

    pub(crate) fn back(after: Duration, reason: impl Into<String>) -> Self {
        Self::Back { after, reason: reason.into() }
    }

    /// An artifact could not be fetched. One that is gone or corrupt will not come back by itself: that is a failure,
    /// and not the queue's.
    pub(crate) fn unless_lost(error: QueueError, class: FailureClass, code: &str) -> Self {
        match error {
            QueueError::Missing { .. } | QueueError::Corrupt { .. } => Self::failed(class, code, error.to_string()),
            other => other.into(),
        }
    }

    /// A disk of ours failed.
    pub(crate) fn disk(error: anyhow::Error) -> Self {
        let is = |kind| error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|c| c.kind() == kind);
        let code = if is(io::ErrorKind::StorageFull) || is(io::ErrorKind::QuotaExceeded) {
            "no-space"
        } else if is(io::ErrorKind::ReadOnlyFilesystem) {
            "read-only"
        } else {
            "disk"
        };
        Self::failed(FailureClass::RetryHere, code, format!("{error:#}"))
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<QueueError> for Halt {
    fn from(error: QueueError) -> Self {
        Self::back(QUEUE_DELAY, format!("{:#}", anyhow::Error::from(error)))
    }
}

impl From<CasError> for Halt {
    fn from(error: CasError) -> Self {
        match error {
            CasError::Lost { .. } => Self::back(BUSY_DELAY, error.to_string()),
            CasError::Queue(error) => error.into(),
        }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        let (class, code) = match &error {
            StoreError::Locked { .. } => return Self::back(BUSY_DELAY, error.to_string()),
            // The disk may be mounted again, and the sector is none the worse for it.
            StoreError::Away { .. } | StoreError::Silent { .. } => return Self::back(ROOM_DELAY, error.to_string()),
            StoreError::Interrupted => return Self::Interrupted,
            StoreError::Io { .. } | StoreError::Source { .. } => return Self::disk(error.into()),
            // The copy is made again; what changes bytes once may do it again, and then a person looks.
            StoreError::Differs { .. } => (FailureClass::RetryHere, "copy-differs"),
            StoreError::Incomplete { .. } => (FailureClass::RedoFrom(Stage::Pc2), "replica-incomplete"),
            StoreError::SectorMissing { .. } => (FailureClass::Park, "sector-missing"),
            StoreError::Text { .. } => (FailureClass::Park, "unreadable"),
            StoreError::NotInitialised { .. }
            | StoreError::AlreadyInitialised { .. }
            | StoreError::Foreign { .. }
            | StoreError::NotPersistent { .. }
            | StoreError::Twice { .. } => (FailureClass::Park, "store"),
        };
        Self::failed(class, code, format!("{:#}", anyhow::Error::from(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_full_disk_has_its_own_name() {
        let halt = Halt::from(StoreError::io("write", Path::new("/s"))(io::ErrorKind::StorageFull.into()));
        let Halt::Failed(failure) = halt else { panic!("{halt:?}") };
        assert_eq!((failure.code.as_str(), failure.class), ("no-space", FailureClass::RetryHere));
        assert!(failure.message.starts_with("write /s: "), "{}", failure.message);
    }

    #[test]
    fn a_store_that_is_away_costs_no_attempt() {
        let store = streams::id::StoreId(uuid::Uuid::nil());
        let halt = Halt::from(StoreError::Away { path: "/s".into(), store, found: None });
        let Halt::Back { after: ROOM_DELAY, reason } = halt else { panic!("{halt:?}") };
        assert!(reason.contains("/s") && reason.contains(&store.to_string()), "{reason}");
    }

    #[test]
    fn only_a_lost_artifact_is_a_failure() {
        let class = FailureClass::RedoFrom(Stage::C1);
        let of = |error| Halt::unless_lost(error, class, "lost");
        let halt = of(QueueError::Missing { what: "artifact a".to_owned() });
        assert_eq!(halt, Halt::failed(class, "lost", "artifact a does not exist"));
        let [found, expected] = [1, 2].map(|byte| streams::proof::Bytes32([byte; 32]));
        let halt = of(QueueError::Corrupt { name: "a".to_owned(), found, expected });
        assert!(matches!(halt, Halt::Failed(_)), "{halt:?}");
        let halt = of(QueueError::Unavailable { what: "fetch".to_owned() });
        assert!(matches!(halt, Halt::Back { after: QUEUE_DELAY, .. }), "{halt:?}");
    }

    #[test]
    fn a_locked_sector_is_nobodys_failure() {
        let halt = Halt::from(StoreError::Locked { path: "/s".into() });
        assert!(matches!(halt, Halt::Back { after: BUSY_DELAY, .. }), "{halt:?}");
    }
}
