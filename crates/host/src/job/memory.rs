//! Whether the kernel has been killing for want of memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The kernel's count of such kills, host-wide. A job that died of a KILL which nobody here sent, while the count rose,
/// is taken for a victim.
#[derive(Debug)]
pub(super) struct Kills {
    vmstat: PathBuf,
    before: Option<u64>,
}

impl Kills {
    pub(super) fn now() -> Self {
        Self::from(PathBuf::from("/proc/vmstat"))
    }

    fn from(vmstat: PathBuf) -> Self {
        let before = count(&vmstat);
        Self { vmstat, before }
    }

    pub(super) fn has_risen(&self) -> bool {
        match (self.before, count(&self.vmstat)) {
            (Some(before), Some(now)) => now > before,
            (None, _) | (_, None) => false,
        }
    }
}

fn count(vmstat: &Path) -> Option<u64> {
    let text = fs::read_to_string(vmstat).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    #[test]
    fn a_risen_count_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let vmstat = dir.path().join("vmstat");
        fs::write(&vmstat, "pgfault 99\noom_kill 3\nnr_free 1\n").unwrap();
        let kills = Kills::from(vmstat.clone());
        assert!(!kills.has_risen());
        fs::write(&vmstat, "pgfault 99\noom_kill 4\nnr_free 1\n").unwrap();
        assert!(kills.has_risen());
        fs::remove_file(&vmstat).unwrap();
        assert!(!kills.has_risen());
    }

    #[test]
    fn this_kernel_counts() {
        assert!(Kills::now().before.is_some());
    }
}
