//! What this host is and has.

use std::{fs, io, thread};

use crate::slots::Machine;

/// The kernel's name for the host.
pub(crate) fn hostname() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// Cores and GPU.
pub(crate) fn discover() -> Machine {
    Machine { cores: thread::available_parallelism().map_or(1, usize::from), gpu: has_gpu() }
}

fn has_gpu() -> bool {
    let Ok(devices) = fs::read_dir("/dev") else { return false };
    devices.flatten().any(|device| {
        let name = device.file_name();
        let name = name.to_string_lossy();
        name == "dri" || name.strip_prefix("nvidia").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}
