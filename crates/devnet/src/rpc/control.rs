//! Driving the chain: what no real node offers.

use serde_json::Value;

use super::{
    error::RpcError,
    request::{Args, answer},
};
use crate::devnet::Devnet;

/// Epochs one call may let pass.
const ADVANCE_MAX: u64 = 100_000;

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(devnet: &mut Devnet, name: &str, args: Args<'_>) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "Advance" => advance(devnet, args),
        "NullRounds" => null_rounds(devnet, args),
        "Reorganise" => reorganise(devnet, args),
        "PostVerdicts" => args.none().and_then(|()| answer(devnet.post_verdicts())),
        _ => return None,
    })
}

/// `[epochs]`: lets epochs pass; answers the head's height.
fn advance(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (epochs,) = args.read::<(u64,)>(1)?;
    if epochs > ADVANCE_MAX {
        return Err(RpcError::plain(format!("{epochs} epochs at once, at most {ADVANCE_MAX}")));
    }
    answer(devnet.advance(epochs)?)
}

/// `[rounds]`: leaves the next rounds without a block.
fn null_rounds(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (rounds,) = args.read::<(u64,)>(1)?;
    devnet.null_rounds(rounds);
    answer(())
}

/// `[depth]`: abandons the last tipsets; answers the head's height.
fn reorganise(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (depth,) = args.read::<(usize,)>(1)?;
    answer(devnet.reorganise(depth)?)
}
