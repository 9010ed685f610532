//! What is written on subjects and under keys, held still.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod golden;
mod samples;
mod subjects;
