//! What a Sealstream service needs from Linux: durable files, child processes, named tasks, configuration, exit codes
//! and the way it talks to people.
//!
//! This crate knows nothing of sectors, queues or chains, and imports no other crate of the workspace. Each module is
//! one noun and stands on its own.

pub mod cgroup;
pub mod clock;
pub mod config;
pub mod durable;
pub mod duration;
pub mod exit;
pub mod failpoint;
#[cfg(feature = "simulated")]
pub mod gate;
pub mod home;
pub mod job;
pub mod offload;
pub mod output;
pub mod retry;
pub mod signal;
pub mod tasks;
pub mod telemetry;
