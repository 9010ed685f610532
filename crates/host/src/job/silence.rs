//! Whether a job still lives: its progress file must change every so often, or it must compute.
//!
//! A Groth16 proof says nothing for as long as it takes, but it keeps processors busy. A child that waits for ever, for
//! a lock, a disk or a device that does not answer, does neither.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{group::Group, stat::TICKS_PER_SECOND};

/// The share of one processor below which a job counts as idle: threads that only look around use less.
const BUSY_DIVISOR: u32 = 100;
/// What the kernel may count for nothing.
const TICKS_MIN: u64 = 3;

/// Measures by the monotonic clock from the last sign of life that was seen, so that a jump of the wall clock ends no
/// job.
#[derive(Debug)]
pub(super) struct Silence {
    file: PathBuf,
    limit: Duration,
    written_at: Option<SystemTime>,
    changed: Instant,
    group: Group,
    cpu_ticks: u64,
}

impl Silence {
    pub(super) fn watch(file: PathBuf, limit: Duration, group: Group, now: Instant) -> Self {
        let written_at = written_at(&file);
        Self { file, limit, written_at, changed: now, group, cpu_ticks: cpu_ticks(group) }
    }

    pub(super) fn is_over_limit(&mut self, now: Instant) -> bool {
        let written_at = written_at(&self.file);
        if written_at != self.written_at {
            self.written_at = written_at;
            self.changed = now;
        }
        if self.runs_out_at() > now {
            return false;
        }
        // Asked only now: it means a look at every process of the host.
        let cpu_ticks = cpu_ticks(self.group);
        let is_idle = cpu_ticks.saturating_sub(self.cpu_ticks) < busy_ticks(self.limit);
        self.cpu_ticks = cpu_ticks;
        if !is_idle {
            self.changed = now;
        }
        is_idle
    }

    pub(super) fn runs_out_at(&self) -> Instant {
        self.changed + self.limit
    }
}

/// Ticks that a job which computes uses within so long.
fn busy_ticks(limit: Duration) -> u64 {
    ((limit / BUSY_DIVISOR).as_secs() * TICKS_PER_SECOND).max(TICKS_MIN)
}

fn cpu_ticks(group: Group) -> u64 {
    group.members().unwrap_or_default().iter().map(|member| member.cpu_ticks).sum()
}

fn written_at(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    /// A group without members: it uses no processor.
    fn nobody() -> Group {
        Group::led_by(i32::MAX.unsigned_abs()).unwrap()
    }

    #[test]
    fn a_change_starts_the_limit_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("progress.json");
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut silence = Silence::watch(file.clone(), 10 * second, nobody(), start);
        assert!(!silence.is_over_limit(start + 9 * second));
        fs::write(&file, "layer 1").unwrap();
        assert!(!silence.is_over_limit(start + 11 * second));
        assert!(!silence.is_over_limit(start + 20 * second));
        assert_eq!(silence.runs_out_at(), start + 21 * second);
        assert!(silence.is_over_limit(start + 21 * second));
    }

    #[test]
    fn a_hundredth_of_one_processor_is_busy() {
        assert_eq!(busy_ticks(Duration::from_secs(1800)), 1800);
        assert_eq!(busy_ticks(Duration::from_millis(100)), TICKS_MIN);
    }
}
