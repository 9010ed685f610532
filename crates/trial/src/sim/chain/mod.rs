//! A modelled chain: tipsets, a pool, miners, and what goes wrong with all of them.
//!
//! It executes the four messages this system sends by the actor's rules that matter here: who may call, numbers once,
//! the age of a ticket, the seed's epoch, proofs that verify, open deadlines. Each tipset keeps the state after its
//! messages, so a reorg is a shorter list.

mod api;
mod miner;
mod node;
mod world;

pub(crate) use self::{
    miner::SEAL,
    node::{Node, NodeRates},
    world::World,
};
