//! Messages: estimate, push, look up.

use chain::{
    json::{AddressJson, CidJson, TokenJson},
    message::SignedMessage,
    wire::{InvocResultJson, MessageJson, MsgLookupJson, SignatureJson, SignedMessageJson},
};
use fvm_shared::{econ::TokenAmount, error::ExitCode, message::Message};
use serde::Deserialize;
use serde_json::Value;

use super::{
    chain_methods::{message_json, receipt},
    error::RpcError,
    request::{Args, Key, Version, answer},
};
use crate::{apply::Applied, devnet::Devnet, gas};

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(devnet: &mut Devnet, name: &str, args: Args<'_>) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "MpoolGetNonce" => nonce(devnet, args),
        "MpoolPush" => push(devnet, args),
        "MpoolPending" => pending(devnet, args),
        "GasEstimateMessageGas" => estimate(devnet, args),
        "StateCall" => state_call(devnet, args),
        "StateSearchMsg" => search(devnet, args),
        _ => return None,
    })
}

fn nonce(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address,) = args.read::<(AddressJson,)>(1)?;
    answer(devnet.next_nonce(&address.0)??)
}

fn push(devnet: &mut Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (shape,) = args.read::<(SignedMessageJson,)>(1)?;
    let message = shape.message.into_message().map_err(RpcError::plain)?;
    let signature = shape.signature.into_signature().map_err(RpcError::plain)?;
    let cid = devnet.push(SignedMessage { message, signature })??;
    answer(CidJson(cid))
}

fn pending(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (_,) = args.read::<(Key,)>(1)?;
    let mut shapes = Vec::new();
    for included in devnet.mempool.all() {
        shapes.push(SignedMessageJson {
            message: message_json(included)?,
            signature: SignatureJson::of(&included.signed.signature),
            cid: Some(included.cid.into()),
        });
    }
    answer(shapes)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    max_fee: Option<TokenJson>,
}

/// Fills in what a message lacks of gas, after executing it.
fn estimate(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (shape, spec, _) = args.read::<(MessageJson, Option<Spec>, Key)>(3)?;
    let mut message = shape.into_message().map_err(RpcError::plain)?;
    if message.gas_limit == 0 {
        let applied = devnet.dry_run(&message)?;
        refuse_failure("estimating gas used", &message, &applied)?;
        message.gas_limit = gas::limit(applied.receipt.gas_used);
    }
    if message.gas_premium.is_zero() {
        message.gas_premium = gas::premium();
    }
    if message.gas_fee_cap.is_zero() {
        // Room for a base fee that rises for twenty epochs.
        message.gas_fee_cap = gas::base_fee() * 11 + &message.gas_premium;
    }
    if let Some(max_fee) = spec.and_then(|spec| spec.max_fee).map(|fee| fee.0).filter(TokenAmount::is_positive) {
        message.gas_fee_cap = message.gas_fee_cap.min(max_fee.div_floor(message.gas_limit.max(1)));
        message.gas_premium = message.gas_premium.min(message.gas_fee_cap.clone());
    }
    answer(MessageJson::of(&message).map_err(RpcError::plain)?)
}

fn refuse_failure(doing: &str, message: &Message, applied: &Applied) -> Result<(), RpcError> {
    let exit = applied.receipt.exit_code;
    if exit.is_success() {
        return Ok(());
    }
    let code = exit.value();
    let text = format!(
        "{doing}: message execution failed (exit=[{}], revert reason=[none], vm error=[message failed with backtrace:\n00: {} (method {}) -- {} ({code})\n])",
        exit_name(exit),
        chain::address::print(&message.to),
        message.method_num,
        applied.error,
    );
    Err(if exit == ExitCode::SYS_OUT_OF_GAS { RpcError::out_of_gas(text) } else { RpcError::execution_reverted(text) })
}

/// Exit codes by the names Lotus gives them.
fn exit_name(exit: ExitCode) -> String {
    let name = match exit.value() {
        1 => "SysErrSenderInvalid",
        2 => "SysErrSenderStateInvalid",
        5 => "SysErrInvalidReceiver",
        6 => "SysErrInsufficientFunds",
        7 => "SysErrOutOfGas",
        16 => "ErrIllegalArgument",
        17 => "ErrNotFound",
        18 => "ErrForbidden",
        19 => "ErrInsufficientFunds",
        20 => "ErrIllegalState",
        21 => "ErrSerialization",
        22 => "ErrUnhandledMessage",
        23 => "ErrUnspecified",
        24 => "ErrAssertionFailed",
        other => return other.to_string(),
    };
    format!("{name}({})", exit.value())
}

fn state_call(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (shape, _) = args.read::<(MessageJson, Key)>(2)?;
    let message = shape.into_message().map_err(RpcError::plain)?;
    let applied = devnet.dry_run(&message)?;
    answer(InvocResultJson {
        msg_cid: chain::message::unsigned_cid(&message).map_err(RpcError::plain)?.into(),
        msg: MessageJson::of(&message).map_err(RpcError::plain)?,
        msg_rct: Some(receipt(&applied.receipt)),
        error: applied.error,
        duration: 0,
    })
}

fn search(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (cid, limit, allow_replaced) = match args.version {
        Version::V0 => (args.read::<(CidJson,)>(1)?.0, -1, true),
        Version::V1 => {
            let (_, cid, limit, allow_replaced) = args.read::<(Key, CidJson, i64, bool)>(4)?;
            (cid, limit, allow_replaced)
        }
    };
    let found = devnet.find_message(&cid.0);
    let found = found.filter(|(landed, _, _)| allow_replaced || *landed == cid.0);
    let found = found.filter(|(_, _, shown)| limit < 0 || shown.header.height >= devnet.height() - limit);
    answer(found.map(|(landed, outcome, shown)| MsgLookupJson {
        message: landed.into(),
        receipt: receipt(outcome),
        tipset: vec![shown.cid.into()],
        height: shown.header.height,
    }))
}
