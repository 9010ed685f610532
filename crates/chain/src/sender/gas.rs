//! What a message may cost: the node's estimate with a margin, under a cap.

use fvm_shared::{bigint::BigInt, econ::TokenAmount, message::Message};

use super::SenderConfig;

/// Gas of a whole block (Lotus `params_shared_vals.go` BlockGasLimit): no message can use more.
const BLOCK_GAS_LIMIT: u64 = 10_000_000_000;

/// Fills the gas of `message` from what the node estimated for it.
pub(super) fn price(mut message: Message, estimated: &Message, config: &SenderConfig) -> Message {
    message.gas_limit = (estimated.gas_limit.saturating_mul(config.gas_limit_percent) / 100).min(BLOCK_GAS_LIMIT);
    message.gas_fee_cap = estimated.gas_fee_cap.clone();
    let max_fee = config.max_fee.0.atto();
    if max_fee > &BigInt::from(0) && message.gas_limit > 0 {
        let cap = TokenAmount::from_atto(max_fee / BigInt::from(message.gas_limit));
        message.gas_fee_cap = message.gas_fee_cap.min(cap);
    }
    // A premium above the cap is refused by every node.
    message.gas_premium = estimated.gas_premium.clone().min(message.gas_fee_cap.clone());
    message
}

#[cfg(test)]
mod tests {
    use fvm_shared::address::Address;

    use super::*;

    fn message(gas_limit: u64, fee_cap: u64, premium: u64) -> Message {
        Message {
            version: 0,
            from: Address::new_id(100),
            to: Address::new_id(1000),
            sequence: 3,
            value: TokenAmount::from_atto(0),
            method_num: 28,
            params: Vec::new().into(),
            gas_limit,
            gas_fee_cap: TokenAmount::from_atto(fee_cap),
            gas_premium: TokenAmount::from_atto(premium),
        }
    }

    #[test]
    fn the_limit_gets_its_margin_and_never_exceeds_a_block() {
        let config = SenderConfig { gas_limit_percent: 125, ..SenderConfig::default() };
        assert_eq!(price(message(0, 0, 0), &message(1_000, 7, 5), &config), message(1_250, 7, 5));
        assert_eq!(price(message(0, 0, 0), &message(9_999_999_999, 7, 5), &config).gas_limit, BLOCK_GAS_LIMIT);
        assert_eq!(price(message(0, 0, 0), &message(u64::MAX, 7, 5), &config).gas_limit, BLOCK_GAS_LIMIT);
    }

    #[test]
    fn the_whole_fee_stays_under_its_cap_and_the_premium_under_the_fee_cap() {
        let max_fee = TokenAmount::from_atto(6_000).into();
        let config = SenderConfig { gas_limit_percent: 100, max_fee, ..SenderConfig::default() };
        assert_eq!(price(message(0, 0, 0), &message(1_000, 100, 50), &config), message(1_000, 6, 6));
        assert_eq!(price(message(0, 0, 0), &message(1_000, 5, 2), &config), message(1_000, 5, 2));
    }
}
