//! Whether a job still speaks: its progress file must change every so often.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Measures by the monotonic clock from the last change that was seen, so that a jump of the wall clock ends no job.
#[derive(Debug)]
pub(super) struct Silence {
    file: PathBuf,
    limit: Duration,
    written_at: Option<SystemTime>,
    changed: Instant,
}

impl Silence {
    pub(super) fn watch(file: PathBuf, limit: Duration, now: Instant) -> Self {
        let written_at = written_at(&file);
        Self { file, limit, written_at, changed: now }
    }

    pub(super) fn is_over_limit(&mut self, now: Instant) -> bool {
        let written_at = written_at(&self.file);
        if written_at != self.written_at {
            self.written_at = written_at;
            self.changed = now;
        }
        self.runs_out_at() <= now
    }

    pub(super) fn runs_out_at(&self) -> Instant {
        self.changed + self.limit
    }
}

fn written_at(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    #[test]
    fn a_change_starts_the_limit_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("progress.json");
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut silence = Silence::watch(file.clone(), 10 * second, start);
        assert!(!silence.is_over_limit(start + 9 * second));
        fs::write(&file, "layer 1").unwrap();
        assert!(!silence.is_over_limit(start + 11 * second));
        assert!(!silence.is_over_limit(start + 20 * second));
        assert_eq!(silence.runs_out_at(), start + 21 * second);
        assert!(silence.is_over_limit(start + 21 * second));
    }
}
