//! Lines of `/proc/<pid>/stat`, and who of the living is in a group.

use std::{fs, path::Path};

/// What a job's limits are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) state: char,
    pub(super) group: u32,
    /// Of the process and of its children that it has reaped, in ticks of which a second has [`TICKS_PER_SECOND`].
    pub(super) cpu_ticks: u64,
}

/// What the kernel tells everybody, whatever it counts in itself.
pub(super) const TICKS_PER_SECOND: u64 = 100;

impl Stat {
    /// From `pid (name) state ppid pgrp …`, where the name may hold anything, parentheses and spaces too.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |index: usize| fields.get(index).copied();
        // Fields 14 to 17 of the line; the state is field 3.
        let ticks = (11..=14).filter_map(field).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Some(Self { pid, state: field(0)?.chars().next()?, group: field(2)?.parse().ok()?, cpu_ticks: ticks })
    }

    /// The dead whom their parent has not reaped hold nothing, and behind some container inits they stay for good.
    pub(super) const fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Every process there is; `None` when that cannot be read.
pub(super) fn all(proc: &Path) -> Option<Vec<Stat>> {
    let entries = fs::read_dir(proc).ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let stat = |pid: u32| Stat::parse(pid, &fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?);
    Some(pids.filter_map(stat).collect())
}

/// The living members of a group.
pub(super) fn members(proc: &Path, group: u32) -> Option<Vec<Stat>> {
    Some(all(proc)?.into_iter().filter(|stat| stat.group == group && stat.lives()).collect())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(char, u32)> {
        Stat::parse(1, text).map(|stat| (stat.state, stat.group))
    }

    #[test]
    fn lines_with_odd_names_are_read() {
        assert_eq!(read("17 (sh) S 1 17 17 0 -1"), Some(('S', 17)));
        assert_eq!(read("18 (a) Z 1) b) Z 17 4242 17 0"), Some(('Z', 4242)));
        assert_eq!(read("18 (cut"), None);
    }

    #[test]
    fn time_on_the_processor_is_that_of_reaped_children_too() {
        let line = "17 (sh) R 1 17 17 0 -1 4194304 100 0 0 0 7 5 30 1 20 0 1 0 99 0 0";
        assert_eq!(Stat::parse(17, line).map(|stat| stat.cpu_ticks), Some(43));
    }

    #[test]
    fn only_the_living_count() {
        let proc = tempfile::tempdir().unwrap();
        let stat = |pid: &str, text: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("stat"), text).unwrap();
        };
        stat("7", "7 (dead) Z 1 7 7 0");
        stat("8", "8 (other) S 1 8 8 0");
        stat("self", "9 (self) S 1 7 7 0");
        assert_eq!(members(proc.path(), 7), Some(vec![]));
        stat("10", "10 (alive) D 1 7 7 0");
        assert_eq!(members(proc.path(), 7).unwrap().first().map(|stat| stat.pid), Some(10));
    }
}
