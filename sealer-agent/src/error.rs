//! Errors as a person meets them.

use host::exit::{CliError, Exit};
use streams::error::QueueError;

use crate::{machine::confine::BadConfinement, slots::BadClasses, store::StoreError};

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::NotInitialised { .. } | StoreError::Away { .. } | StoreError::SectorMissing { .. } => {
                Exit::NotFound
            }
            StoreError::AlreadyInitialised { .. }
            | StoreError::Foreign { .. }
            | StoreError::NotPersistent { .. }
            | StoreError::Twice { .. } => Exit::Refused,
            StoreError::Incomplete { .. } | StoreError::Differs { .. } | StoreError::Text { .. } => Exit::Data,
            StoreError::Locked { .. } => Exit::Busy,
            StoreError::Interrupted => Exit::Interrupted,
            StoreError::Io { .. } | StoreError::Source { .. } | StoreError::Silent { .. } => Exit::Io,
        };
        let hint = error.hint();
        Self { hint, ..told(exit, error) }
    }
}

impl From<BadClasses> for CliError {
    fn from(error: BadClasses) -> Self {
        let hint = match &error {
            BadClasses::None => "say what to do, for example `sealer-agent --class pc1-cpu`".to_owned(),
            BadClasses::NoGpu(_) => {
                "to run it on the CPU, pass --allow-cpu or set `allow_cpu = true` in agent.toml".to_owned()
            }
            BadClasses::NoSlots(class) => format!("leave --class {class} out, or give it a slot"),
        };
        let exit = if error == BadClasses::None { Exit::Usage } else { Exit::Config };
        Self { hint: Some(hint), ..told(exit, error) }
    }
}

/// The queue is not an error of ours, and of another crate: no `From`.
pub(crate) fn queue(error: QueueError) -> CliError {
    let hint = error.hint();
    CliError { hint, ..told(Exit::Unavailable, error) }
}

/// The message and its causes, without saying the first one twice.
fn told(exit: Exit, error: impl std::error::Error + Send + Sync + 'static) -> CliError {
    let error = anyhow::Error::from(error);
    CliError::new(exit, format!("{error:#}"))
}

impl From<BadConfinement> for CliError {
    fn from(error: BadConfinement) -> Self {
        told(Exit::Config, error).hint("`lscpu -e` lists processors with their nodes and caches")
    }
}
