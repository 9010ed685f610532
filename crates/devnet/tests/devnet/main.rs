//! The embedded chain, asked over JSON-RPC by bytes, its clock driven by hand.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod fixture;
mod heads;
mod lies;
mod log;
mod messages;
mod miner;
mod mining;
mod node;
mod program;
mod proofs;
mod saved;
mod sender;
mod serving;
mod time;
mod upheaval;
mod wallet;
mod window;
