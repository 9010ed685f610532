//! Gas: what the official actors used for the same messages, by method and number of sectors.
//!
//! Nothing is metered here. Estimates and receipts agree with each other, and are near what a real network charges.

use fil_actor_miner_state::v18::{Method, PreCommitSectorBatchParams2, ProveCommitSectors3Params};
use fvm_shared::{METHOD_SEND, econ::TokenAmount, message::Message};
use num_traits::FromPrimitive as _;

/// Gas of all messages of a block, at most.
pub(crate) const BLOCK_GAS_LIMIT: u64 = 10_000_000_000;

/// The base fee: it does not move.
pub(crate) fn base_fee() -> TokenAmount {
    TokenAmount::from_atto(100)
}

/// What a node offers to whoever includes a message.
pub(crate) fn premium() -> TokenAmount {
    TokenAmount::from_atto(100_000)
}

/// Gas that a message uses.
pub(crate) fn used(message: &Message) -> u64 {
    const SEND: u64 = 500_000;
    const CREATE_MINER: u64 = 40_400_000;
    const SUBMIT_WINDOWED_POST: u64 = 22_800_000;
    const DECLARE: u64 = 20_000_000;
    if message.method_num == METHOD_SEND {
        return SEND;
    }
    if message.to == chain::address::POWER_ACTOR {
        return CREATE_MINER;
    }
    match Method::from_u64(message.method_num) {
        Some(Method::PreCommitSectorBatch2) => {
            let params = message.params.deserialize::<PreCommitSectorBatchParams2>();
            15_050_000 + 410_000 * params.map_or(0, |params| count(&params.sectors))
        }
        Some(Method::ProveCommitSectors3) => {
            let params = message.params.deserialize::<ProveCommitSectors3Params>();
            50_000_000 + 38_000_000 * params.map_or(0, |params| count(&params.sector_activations))
        }
        Some(Method::SubmitWindowedPoSt) => SUBMIT_WINDOWED_POST,
        _ => DECLARE,
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX / BLOCK_GAS_LIMIT)
}

/// What is to be put in a message: a quarter more than it uses.
pub(crate) fn limit(used: u64) -> u64 {
    used + used / 4
}
