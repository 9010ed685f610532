#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod road;
pub(crate) mod sample;
mod shuffle;
mod table;
