//! The program itself, on a real nats-server, with the real prover in the stages that take milliseconds at 2 KiB. The
//! tests play the coordinator.

mod cluster;
mod commands;
mod ends;
mod host_files;
mod life;
mod post;
