//! Failures with the one who must act, chosen here where the error is known.

use std::io::ErrorKind;

use streams::{
    message::{Failure, FailureClass},
    stage::Stage,
};

use crate::{library::Panicked, params::ParamsError, verify::VerifyError};

/// Why a stage did not produce anything.
#[derive(Debug, thiserror::Error)]
pub enum StageFailure {
    /// The request, or a file it names, makes no sense. Trying again changes nothing.
    #[error("{0}")]
    BadInput(String),
    /// Earlier work does not fit: it has to be done again.
    #[error("{message}")]
    BadEarlierWork {
        /// From where.
        from: Stage,
        /// A stable word.
        code: &'static str,
        /// What was found.
        message: String,
    },
    /// The disk is full.
    #[error("no space left: {0:#}")]
    NoSpace(anyhow::Error),
    /// Parameters or verifying keys are not there.
    #[error("{0}")]
    MissingParams(String),
    /// The library panicked.
    #[error("{0}")]
    Panicked(String),
    /// What was made does not verify: on a sound machine this does not happen.
    #[error("{0}")]
    DoesNotVerify(String),
    /// The disk, or the library, without a reason that has a name.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl StageFailure {
    /// A request that makes no sense.
    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::BadInput(message.into())
    }

    /// Who must act.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::BadInput(_) => FailureClass::Park,
            Self::BadEarlierWork { from, .. } => FailureClass::RedoFrom(*from),
            // Space comes back when other sectors are finished, and a bound stage has nowhere else to go.
            Self::NoSpace(_) | Self::Panicked(_) | Self::Other(_) => FailureClass::RetryHere,
            Self::MissingParams(_) | Self::DoesNotVerify(_) => FailureClass::RetryElsewhere,
        }
    }

    /// A stable word for tables and counts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadInput(_) => "bad-input",
            Self::BadEarlierWork { code, .. } => code,
            Self::NoSpace(_) => "no-space",
            Self::MissingParams(_) => "missing-params",
            Self::Panicked(_) => "panicked",
            Self::DoesNotVerify(_) => "does-not-verify",
            Self::Other(_) => "failed",
        }
    }
}

impl From<StageFailure> for Failure {
    fn from(failure: StageFailure) -> Self {
        Self { class: failure.class(), code: failure.code().to_owned(), message: failure.to_string() }
    }
}

impl From<anyhow::Error> for StageFailure {
    fn from(error: anyhow::Error) -> Self {
        let full = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
        if full {
            return Self::NoSpace(error);
        }
        let text = format!("{error:#}");
        if text.contains("No cached parameters found") {
            return Self::MissingParams(format!("{text}: {HOW_TO_GET_PARAMS}"));
        }
        Self::Other(error)
    }
}

impl From<std::io::Error> for StageFailure {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<Panicked> for StageFailure {
    fn from(panicked: Panicked) -> Self {
        // The library unwraps some of its writes.
        if panicked.0.contains("No space left on device") {
            return Self::NoSpace(panicked.into());
        }
        Self::Panicked(panicked.to_string())
    }
}

impl From<ParamsError> for StageFailure {
    fn from(error: ParamsError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<VerifyError> for StageFailure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::MissingKey { .. } => Self::MissingParams(error.to_string()),
            VerifyError::Library(_) => Self::Other(error.into()),
        }
    }
}

/// What to do about missing parameters.
pub(crate) const HOW_TO_GET_PARAMS: &str = "set FIL_PROOFS_PARAMETER_CACHE to the folder that holds the parameters; \
     for a devnet make them with `prover params`, for other networks fetch the published ones";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_name_wherever_it_shows() {
        let deep = anyhow::Error::from(std::io::Error::from(ErrorKind::StorageFull)).context("store labels");
        assert_eq!(StageFailure::from(deep).code(), "no-space");
        let raw = std::io::Error::from_raw_os_error(28);
        assert_eq!(StageFailure::from(raw).code(), "no-space");
        let panicked = Panicked("failed to write: No space left on device (os error 28)".to_owned());
        assert_eq!(StageFailure::from(panicked).code(), "no-space");
    }
}
