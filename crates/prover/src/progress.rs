//! Telling what is happening, at most once a second.

use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use host::clock::{Clock as _, SystemClock};
use streams::{id::Timestamp, message::encode};

use crate::job;

/// Who is told.
pub trait Progress: Sync {
    /// `phase` is what is being done now; `permille` how far it is, where that is known.
    fn tell(&self, phase: &str, permille: Option<u16>);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn tell(&self, _: &str, _: Option<u16>) {}
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

    fn write(&self, phase: &str, permille: Option<u16>) -> anyhow::Result<()> {
        let at = Timestamp(SystemClock.now_unix_ms());
        let text = encode(&job::Progress { phase: phase.to_owned(), permille, at })?;
        Ok(host::durable::write(&self.path, &text)?)
    }
}

impl Progress for ProgressFile {
    fn tell(&self, phase: &str, permille: Option<u16>) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.as_ref().is_some_and(|(at, told)| told == phase && at.elapsed() < INTERVAL) {
            return;
        }
        *last = Some((Instant::now(), phase.to_owned()));
        if let Err(error) = self.write(phase, permille) {
            tracing::warn!(path = %self.path.display(), "write progress: {error:#}");
        }
    }
}

/// `done` of `total` in thousandths.
pub(crate) fn permille(done: u64, total: u64) -> Option<u16> {
    let thousandths = u128::from(done) * 1000 / u128::from(total.max(1));
    u16::try_from(thousandths.min(1000)).ok()
}
