//! One message applied to a state: sender, funds, method, fees.

use fil_actor_power_state::v18::Method as PowerMethod;
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorError, BURNT_FUNDS_ACTOR_ID, STORAGE_POWER_ACTOR_ID},
};
use fvm_ipld_encoding::RawBytes;
use fvm_shared::{ActorID, METHOD_SEND, error::ExitCode, message::Message, receipt::Receipt};
use num_traits::FromPrimitive as _;

use crate::{
    call::{Call, Observed, World},
    gas,
    ledger::{Kind, Ledger},
    miner,
};

/// What a message came to.
pub(crate) struct Applied {
    pub(crate) receipt: Receipt,
    /// The actor's words when it failed. Not on chain.
    pub(crate) error: String,
}

/// Applies a message. A message that fails still costs its sender the nonce and the fees.
pub(crate) fn apply(world: &World<'_>, ledger: &mut Ledger, message: &Message, observed: &mut Observed) -> Applied {
    let Some(from) = sender(ledger, message) else {
        return failed(ActorError::unchecked(ExitCode::SYS_SENDER_INVALID, "sender is not an account".to_owned()), 0);
    };
    let invalid = |text: String| failed(ActorError::unchecked(ExitCode::SYS_SENDER_STATE_INVALID, text), 0);
    let expected = ledger.actor(from).map_or(0, |actor| actor.nonce);
    if message.sequence != expected {
        return invalid(format!("nonce is {expected}, message has {}", message.sequence));
    }
    let cost = &message.gas_fee_cap * message.gas_limit;
    if ledger.balance(from) < cost {
        return invalid(format!("{} does not cover gas of {cost}", ledger.balance(from)));
    }
    ledger.bump_nonce(from);

    // Gas is set aside first: a method cannot spend it.
    let mut after = ledger.clone();
    if after.transfer(from, BURNT_FUNDS_ACTOR_ID, &cost).is_err() {
        return invalid("gas cannot be set aside".to_owned());
    }
    let used = gas::used(message);
    let applied = if used > message.gas_limit {
        failed(ActorError::unchecked(ExitCode::SYS_OUT_OF_GAS, "out of gas".to_owned()), message.gas_limit)
    } else {
        match invoke(world, &mut after, from, message, observed) {
            Ok(value) => Applied { receipt: receipt(ExitCode::OK, value, used), error: String::new() },
            Err(error) => failed(error, used),
        }
    };
    if applied.receipt.exit_code.is_success() {
        let _ = after.transfer(BURNT_FUNDS_ACTOR_ID, from, &cost);
        *ledger = after;
    }
    charge(ledger, from, message, applied.receipt.gas_used);
    applied
}

fn sender(ledger: &Ledger, message: &Message) -> Option<ActorID> {
    ledger.resolve(&message.from).filter(|id| ledger.actor(*id).is_some_and(|actor| actor.kind == Kind::Account))
}

/// The fees: base fee on gas used, premium on the limit. Nobody mines here, so both are burnt.
fn charge(ledger: &mut Ledger, from: ActorID, message: &Message, used: u64) {
    let base = gas::base_fee().min(message.gas_fee_cap.clone());
    let premium = message.gas_premium.clone().min(&message.gas_fee_cap - &base);
    let fee = base * used + premium * message.gas_limit;
    let fee = fee.min(ledger.balance(from));
    let _ = ledger.transfer(from, BURNT_FUNDS_ACTOR_ID, &fee);
}

fn invoke(
    world: &World<'_>,
    ledger: &mut Ledger,
    from: ActorID,
    message: &Message,
    observed: &mut Observed,
) -> Result<RawBytes, ActorError> {
    let to = ledger.resolve_or_create_account(&message.to).ok_or_else(|| {
        ActorError::unchecked(ExitCode::SYS_INVALID_RECEIVER, format!("actor does not exist: {}", message.to))
    })?;
    ledger
        .transfer(from, to, &message.value)
        .map_err(|e| ActorError::unchecked(ExitCode::SYS_INSUFFICIENT_FUNDS, e.to_string()))?;
    if message.method_num == METHOD_SEND {
        return Ok(RawBytes::default());
    }
    let kind = ledger.actor(to).map(|actor| actor.kind);
    let mut call = Call { world, ledger, from, to, value: message.value.clone(), observed };
    if to == STORAGE_POWER_ACTOR_ID {
        return match PowerMethod::from_u64(message.method_num) {
            Some(PowerMethod::CreateMiner | PowerMethod::CreateMinerExported) => {
                miner::create_miner(&mut call, miner::read(&message.params)?)
            }
            _ => Err(actor_error_v18!(unhandled_message, "the power actor does not run method {}", message.method_num)),
        };
    }
    match kind {
        Some(Kind::Miner) => miner::invoke(&mut call, message.method_num, &message.params),
        _ => Err(actor_error_v18!(unhandled_message, "f0{} has no method {}", to, message.method_num)),
    }
}

fn failed(error: ActorError, used: u64) -> Applied {
    Applied { receipt: receipt(error.exit_code(), RawBytes::default(), used), error: error.msg().to_owned() }
}

const fn receipt(exit_code: ExitCode, return_data: RawBytes, gas_used: u64) -> Receipt {
    Receipt { exit_code, return_data, gas_used, events_root: None }
}
