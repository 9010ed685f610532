//! What this host is and has, and what is done with it.
//!
//! [`discover`] reads what there is, [`needs`] says what a job takes, the [`book`] who may start, and [`seats`] are its
//! entries for as long as jobs last. [`terms`] are what a stage's prover is given and allowed. [`eta`] says how long a job will still take.
//! What a person may say about all of it is in [`config`].

use std::{fs, io, path::Path, thread};

pub(crate) mod activity;
pub(crate) mod book;
pub(crate) mod config;
pub(crate) mod confine;
pub(crate) mod discover;
pub(crate) mod eta;
pub(crate) mod needs;
pub(crate) mod seats;
pub(crate) mod terms;

/// The kernel's name for the host.
pub(crate) fn hostname() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// What was found on this host, of its GPUs those that this agent was given.
pub(crate) fn discover() -> discover::Host {
    let mut host = discover::host(Path::new("/"));
    if let Ok(visible) = std::env::var(seats::VISIBLE_GPUS) {
        host.limit_gpus(&visible);
    }
    let (cpus, cores, l3, nodes) = (host.cpus.len(), host.cores.len(), host.l3.len(), host.nodes.len());
    let gpus: Vec<&str> = host.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    tracing::info!(cpus, cores, l3, nodes, memory_gib = host.memory_bytes >> 30, ?gpus, "machine");
    host
}

/// What there is for this agent's jobs.
pub(crate) fn means(config: &crate::config::Config, host: &discover::Host) -> book::Means {
    seats::means(config, host, thread::available_parallelism().map_or(1, usize::from))
}
