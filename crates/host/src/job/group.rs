//! A process group, by the number of the child that leads it.

use std::path::Path;

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid},
};

use super::stat::{self, Stat};

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

    /// Those of it who live; `None` when nobody can tell.
    pub(super) fn members(self) -> Option<Vec<Stat>> {
        stat::members(Path::new("/proc"), self.id())
    }

    /// Whether no member lives. The dead whom their parent has not reaped count as gone: they hold nothing, and behind
    /// some container inits they stay for good.
    pub(super) fn is_gone(self) -> bool {
        test_kill_process_group(self.leader) == Err(Errno::SRCH)
            || self.members().is_some_and(|living| living.is_empty())
    }
}
