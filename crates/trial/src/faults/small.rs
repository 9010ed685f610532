//! A local store that can be filled: a small file system of its own, where this user may mount one.

use std::{path::Path, process::Command};

/// Room for the sectors of a run, of which a copy stays here, and little more.
const BYTES: &str = "64m";

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub(super) struct Small(std::path::PathBuf);

impl Small {
    /// Mounts one at `dir`, which must exist; none where that is not allowed.
    pub(super) fn mount(dir: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={BYTES}"), "tmpfs"]).arg(dir).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir.to_owned()))
    }

    /// Unmounts what is mounted there, if anything is. Lazily: what still reads there must not keep a run from ending.
    pub(super) fn unmount(dir: &Path) {
        drop(Command::new("umount").arg("-l").arg(dir).output());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Self::unmount(&self.0);
    }
}
