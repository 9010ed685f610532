//! The embedded chain, asked over JSON-RPC by bytes, its clock driven by hand.

mod messages;
mod miner;
mod mining;
mod node;
mod saved;
mod serving;
mod time;
mod wallet;
mod window;
