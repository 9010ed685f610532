//! A process group, by the number of the child that leads it.

use std::{fs, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid},
};

#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    leader: Pid,
}

impl Group {
    pub(super) fn led_by(pid: u32) -> Option<Self> {
        let leader = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Self { leader })
    }

    pub(super) fn id(self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends it to every member. Must not be called once the leader is reaped and the group gone: the number may be
    /// another's by then.
    pub(super) fn signal(self, signal: Signal) {
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::error!(group = self.id(), ?signal, %error, "signal a job"),
        }
    }

    /// Whether the leader is dead, reaped or not. Does not reap it.
    pub(super) fn leader_has_ended(self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.leader), options) {
            Ok(status) => status.is_some(),
            Err(Errno::CHILD) => true,
            Err(_) => false,
        }
    }

    /// Whether no member lives. The dead whom their parent has not reaped count as gone: they hold nothing, and behind
    /// some container inits they stay for good.
    pub(super) fn is_gone(self) -> bool {
        test_kill_process_group(self.leader) == Err(Errno::SRCH) || !has_living_member(Path::new("/proc"), self.id())
    }
}

fn has_living_member(proc: &Path, group: u32) -> bool {
    let Ok(entries) = fs::read_dir(proc) else { return true };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| state_and_group(&stat))
        .any(|(state, of)| of == group && !matches!(state, 'Z' | 'X'))
}

/// From `pid (name) state ppid pgrp …`, where the name may hold anything, parentheses and spaces too.
fn state_and_group(stat: &str) -> Option<(char, u32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_odd_names_are_read() {
        assert_eq!(state_and_group("17 (sh) S 1 17 17 0 -1"), Some(('S', 17)));
        assert_eq!(state_and_group("18 (a) Z 1) b) Z 17 4242 17 0"), Some(('Z', 4242)));
        assert_eq!(state_and_group("18 (cut"), None);
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
        assert!(!has_living_member(proc.path(), 7));
        stat("10", "10 (alive) D 1 7 7 0");
        assert!(has_living_member(proc.path(), 7));
    }
}
