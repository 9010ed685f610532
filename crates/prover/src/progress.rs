//! Telling what is happening, at most once a second.

use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use host::clock::{Clock as _, SystemClock};
use streams::{id::Timestamp, message::encode, records::BytesDone};

use crate::job;

/// Who is told.
pub trait Progress: Sync {
    /// `phase` is what is being done now, `how_far` how much of it is done.
    fn tell(&self, phase: &str, how_far: HowFar);
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowFar {
    /// Nobody knows.
    Unknown,
    /// So many of so many things.
    Of(u64, u64),
    /// Of so many bytes.
    Bytes(BytesDone),
}

impl HowFar {
    /// `done` of `total` bytes.
    #[must_use]
    pub const fn bytes(done: u64, total: u64) -> Self {
        Self::Bytes(BytesDone { done, total })
    }

    fn permille(self) -> Option<u16> {
        let (done, total) = match self {
            Self::Unknown => return None,
            Self::Of(done, total) | Self::Bytes(BytesDone { done, total }) => (done, total),
        };
        let thousandths = u128::from(done) * 1000 / u128::from(total.max(1));
        u16::try_from(thousandths.min(1000)).ok()
    }
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn tell(&self, _: &str, _: HowFar) {}
}

/// The same phase is written again no sooner than this.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes `progress.json`. It is there to be looked at: an error is logged, and the work goes on.
pub(crate) struct ProgressFile {
    path: PathBuf,
    last: Mutex<Option<(Instant, String)>>,
}

impl ProgressFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::new(None) }
    }

    fn write(&self, phase: &str, how_far: HowFar) -> anyhow::Result<()> {
        let at = Timestamp(SystemClock.now_unix_ms());
        let bytes = match how_far {
            HowFar::Bytes(bytes) => Some(bytes),
            HowFar::Unknown | HowFar::Of(..) => None,
        };
        let text = encode(&job::Progress { phase: phase.to_owned(), permille: how_far.permille(), bytes, at })?;
        Ok(host::durable::write(&self.path, &text)?)
    }
}

impl Progress for ProgressFile {
    fn tell(&self, phase: &str, how_far: HowFar) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.as_ref().is_some_and(|(at, told)| told == phase && at.elapsed() < INTERVAL) {
            return;
        }
        *last = Some((Instant::now(), phase.to_owned()));
        if let Err(error) = self.write(phase, how_far) {
            tracing::warn!(path = %self.path.display(), "write progress: {error:#}");
        }
    }
}
