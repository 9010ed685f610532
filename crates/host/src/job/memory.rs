//! Whether the kernel has been killing for want of memory, and how much a job holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::group::Group;

/// The kernel's counts of such kills. Those of the job's own cgroup are certain. The host's count is not: a job that died
/// of a KILL which nobody here sent, while it rose, is taken for a victim.
#[derive(Debug)]
pub(super) struct Kills {
    before: Vec<(PathBuf, Option<u64>)>,
}

impl Kills {
    pub(super) fn among(cgroups: &[PathBuf]) -> Self {
        // Of version 2 and of version 1; both have a line `oom_kill <count>`, as the host's file has.
        let files = ["memory.events", "memory.oom_control"];
        let of_cgroups = cgroups.iter().flat_map(|cgroup| files.map(|file| cgroup.join(file))).filter(|f| f.exists());
        Self::from(of_cgroups.chain([PathBuf::from("/proc/vmstat")]).collect())
    }

    fn from(files: Vec<PathBuf>) -> Self {
        Self { before: files.into_iter().map(|file| (file.clone(), count(&file))).collect() }
    }

    pub(super) fn has_risen(&self) -> bool {
        self.before.iter().any(|(file, before)| match (before, count(file)) {
            (Some(before), Some(now)) => now > *before,
            (None, _) | (_, None) => false,
        })
    }
}

fn count(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// How much a group may hold.
#[derive(Debug)]
pub(super) struct Appetite {
    pub(super) group: Group,
    pub(super) bytes_max: u64,
}

impl Appetite {
    pub(super) fn is_over_limit(&self) -> bool {
        let held = |pid: u32| held(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?);
        let members = self.group.members().unwrap_or_default();
        members.into_iter().filter_map(|member| held(member.pid)).sum::<u64>() > self.bytes_max
    }
}

/// Bytes of a process that no file on disk backs, from its `statm`: resident pages less those shared with files.
fn held(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(resident.saturating_sub(shared) * page)
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
        let kills = Kills::from(vec![vmstat.clone()]);
        assert!(!kills.has_risen());
        fs::write(&vmstat, "pgfault 99\noom_kill 4\nnr_free 1\n").unwrap();
        assert!(kills.has_risen());
        fs::remove_file(&vmstat).unwrap();
        assert!(!kills.has_risen());
    }

    #[test]
    fn this_kernel_counts() {
        let kills = Kills::among(&[]);
        assert!(matches!(kills.before.as_slice(), [(_, Some(_))]), "{kills:?}");
    }

    #[test]
    fn mapped_files_are_not_held() {
        let page = u64::try_from(rustix::param::page_size()).unwrap();
        assert_eq!(held("900 500 120 3 0 80 0"), Some(380 * page));
        assert_eq!(held("900"), None);
    }
}
