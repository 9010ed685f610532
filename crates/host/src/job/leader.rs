//! The process that leads a job's group: a child of this process, or one that an earlier process left running.

use std::{io, os::fd::OwnedFd, process::ExitStatus};

use futures::FutureExt as _;
use rustix::process::{Pid, PidfdFlags, getpgid, pidfd_open};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
    signal::unix,
};

use super::group::Group;

#[derive(Debug)]
pub(super) enum Leader {
    /// Ours to reap.
    Child {
        child: Child,
        /// Wakes when any child of this process changes; which one is then asked of the kernel.
        children: unix::Signal,
    },
    /// Somebody else's to reap: the descriptor is readable once it is dead, reaped or not.
    Adopted { pidfd: AsyncFd<OwnedFd> },
}

impl Leader {
    /// Takes hold of a running process that leads its own group, if `is_it` says that it is the one. That is asked once
    /// its descriptor is held: from then on its number cannot pass to another unseen.
    pub(super) fn adopt(pid: u32, is_it: impl FnOnce() -> bool) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let leads = getpgid(Some(pid)).is_ok_and(|group| group == pid);
        if !leads || !is_it() {
            return Ok(None);
        }
        Ok(Some(Self::Adopted { pidfd: watched(pidfd)? }))
    }

    /// Whether it is dead. Does not reap it.
    pub(super) fn has_ended(&self, group: Group) -> bool {
        match self {
            Self::Child { .. } => group.leader_has_ended(),
            Self::Adopted { pidfd } => pidfd.readable().now_or_never().is_some(),
        }
    }

    /// Waits until it may have ended.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Child { children, .. } => drop(children.recv().await),
            // Never cleared: what is dead stays so.
            Self::Adopted { pidfd } => drop(pidfd.readable().await),
        }
    }

    /// Its status, once it has ended; none for one that is another's to reap.
    pub(super) async fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            // Returns at once: the child is dead and only waits to be reaped.
            Self::Child { child, .. } => child.wait().await.map(Some),
            Self::Adopted { .. } => Ok(None),
        }
    }

    /// Whether its number is still its own: it has not ended, or waits to be reaped by us.
    pub(super) fn holds_its_number(&self, group: Group) -> bool {
        match self {
            Self::Child { child, .. } => child.id().is_some(),
            Self::Adopted { .. } => !self.has_ended(group),
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, for types that may close what they own; an OwnedFd does not")]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}
