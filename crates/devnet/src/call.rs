//! What a handler sees of the world while it runs.

use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorDowncast as _, ActorError, BURNT_FUNDS_ACTOR_ID},
};
use fvm_shared::{ActorID, clock::ChainEpoch, econ::TokenAmount, error::ExitCode};
use prover::{Verifier, VerifyError};
use serde::{Deserialize, Serialize};
use streams::{
    id::{Epoch, MinerId},
    proof::Bytes32,
};

use crate::{
    blocks::Blocks, economy::Economy, journal::DeadlineClose, ledger::Ledger, randomness::Draws, rules::Rules,
};

/// Everything around a state transition that the transition does not change.
pub(crate) struct World<'a> {
    pub(crate) blocks: &'a Blocks,
    pub(crate) rules: &'a Rules,
    pub(crate) economy: &'a Economy,
    pub(crate) verifier: &'a dyn Verifier,
    pub(crate) draws: Draws<'a>,
    pub(crate) epoch: ChainEpoch,
}

/// What verification said of a submitted window PoSt, whatever the actor did with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostVerdict {
    /// The miner.
    pub miner: MinerId,
    /// The deadline.
    pub deadline: u64,
    /// Partitions proven by the message.
    pub partitions: Vec<u64>,
    /// The epoch of the message.
    pub epoch: Epoch,
    /// Whether the proof is one.
    pub valid: bool,
}

/// What happened that no state keeps.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) posts: Vec<PostVerdict>,
    pub(crate) closes: Vec<DeadlineClose>,
}

/// One call of an actor's method.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a World<'a>,
    pub(crate) ledger: &'a mut Ledger,
    /// The caller.
    pub(crate) from: ActorID,
    /// The actor that is called; it already holds what the message sent.
    pub(crate) to: ActorID,
    /// What the message sent.
    pub(crate) value: TokenAmount,
    pub(crate) observed: &'a mut Observed,
}

impl Call<'_> {
    pub(crate) const fn miner(&self) -> MinerId {
        MinerId(self.to)
    }

    /// The called actor's funds.
    pub(crate) fn balance(&self) -> TokenAmount {
        self.ledger.balance(self.to)
    }

    pub(crate) fn burn(&mut self, amount: &TokenAmount) -> Result<(), ActorError> {
        if !amount.is_positive() {
            return Ok(());
        }
        self.ledger
            .transfer(self.to, BURNT_FUNDS_ACTOR_ID, amount)
            .map_err(|e| ActorError::unchecked(ExitCode::SYS_INSUFFICIENT_FUNDS, format!("burn funds: {e}")))
    }

    /// Randomness from tickets, bound to the called miner.
    pub(crate) fn ticket(&self, tag: i64, epoch: ChainEpoch, entropy: &[u8]) -> Result<Bytes32, ActorError> {
        self.world.draws.ticket(tag, epoch, entropy).map_err(|e| actor_error_v18!(illegal_argument, e))
    }

    /// Randomness from the beacon, bound to the called miner.
    pub(crate) fn beacon(&self, tag: i64, epoch: ChainEpoch, entropy: &[u8]) -> Result<Bytes32, ActorError> {
        self.world.draws.beacon(tag, epoch, entropy).map_err(|e| actor_error_v18!(illegal_argument, e))
    }
}

/// A failure of the state code: its own exit code when it has one, else the actor's "illegal state".
pub(crate) fn illegal_state(what: &'static str) -> impl FnOnce(anyhow::Error) -> ActorError {
    move |error| error.downcast_default(ExitCode::USR_ILLEGAL_STATE, what)
}

/// Verification that could not run says nothing about the proof: no exit code of the real actor means this, so it
/// gets one that none of its checks use, and an operator is told.
pub(crate) fn unverifiable(error: VerifyError) -> ActorError {
    tracing::error!(error = %error, "a proof could not be checked");
    ActorError::unchecked(ExitCode::USR_UNSPECIFIED, error.to_string())
}
