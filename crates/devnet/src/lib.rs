//! The embedded chain: the state code of the live miner actor, real proof verification, real signatures, money,
//! randomness and time, served as the JSON-RPC that Lotus serves.
//!
//! It is wrong in the same ways a real chain is: a wrong tag, a wrong nonce, a bad proof or a late message fails here
//! with the exit code and the words it fails with there. It differs where nobody else is around: one block a tipset,
//! nobody is elected, block rewards are not paid and the network's estimates stand still, gas is not metered but taken
//! from a table, and there are no markets, contracts or verified clients.
//!
//! * [`devnet`]: the chain; [`genesis`]: what it starts from; [`snapshot`]: how it is saved and forked;
//! * `miner`: thin handlers around `fil_actor_miner_state`; `apply`: one message; [`mempool`]: messages that wait;
//! * [`upheaval`]: reorganisations, lost and replaced messages; [`journal`]: what happened, for a checker;
//! * [`rpc`]: the server, and how it misbehaves when told to.
//!
//! No code that decides anything here knows the time: epochs pass when [`devnet::Devnet::advance`] is called.

mod apply;
mod blocks;
mod call;
mod economy;
mod gas;
mod miner;
mod randomness;

pub mod devnet;
pub mod genesis;
pub mod journal;
pub mod ledger;
pub mod mempool;
pub mod rpc;
pub mod rules;
pub mod signature;
pub mod snapshot;
pub mod tipset;
pub mod upheaval;

pub use call::PostVerdict;
pub use devnet::Devnet;
pub use genesis::{Genesis, GenesisMiner};
pub use miner::PresealedSector;
pub use rules::Preset;
