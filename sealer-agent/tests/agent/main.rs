//! The program itself, on a real nats-server, with the real prover in the stages that take milliseconds at 2 KiB. The
//! tests play the coordinator.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

mod adoption;
mod cluster;
mod commands;
mod confined;
mod ends;
mod fleet;
mod host_files;
mod life;
mod lost_queue;
mod outage;
mod post;
mod settings;
mod stores;
