//! The post office against a real nats-server: each test has its own, on its own port and in its own folder.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod artifacts;
mod buckets;
mod calls;
mod fixture;
mod layout;
mod leases;
mod publishing;
mod pulling;
mod reports;
mod server;
mod snapshots;
mod three;
