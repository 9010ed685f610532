//! Keys of the tests, and messages they sign.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chain::{
    key::{KeyKind, LocalKey},
    message::SignedMessage,
    wire::{MessageJson, SignatureJson, SignedMessageJson},
};
use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use serde_json::Value;

pub(crate) struct Wallet(LocalKey);

/// FIL.
pub(crate) fn whole(fil: i64) -> TokenAmount {
    TokenAmount::from_whole(fil)
}

impl Wallet {
    /// Owner and worker of the tests' miners.
    pub(crate) fn bls() -> Self {
        Self(LocalKey::from_bytes(KeyKind::Bls, &[7; 32]).unwrap())
    }

    /// Somebody else.
    pub(crate) fn secp() -> Self {
        Self(LocalKey::from_bytes(KeyKind::Secp256k1, &[9; 32]).unwrap())
    }

    pub(crate) const fn address(&self) -> Address {
        self.0.address()
    }

    pub(crate) fn text(&self) -> String {
        chain::address::print(&self.address())
    }

    /// A message with gas that is enough for any method.
    pub(crate) fn message(&self, to: Address, nonce: u64, method: u64, value: TokenAmount, params: Vec<u8>) -> Message {
        Message {
            version: 0,
            from: self.address(),
            to,
            sequence: nonce,
            value,
            method_num: method,
            params: params.into(),
            gas_limit: 1_000_000_000,
            gas_fee_cap: TokenAmount::from_atto(200_000),
            gas_premium: TokenAmount::from_atto(100_000),
        }
    }

    /// A plain send that pays this premium.
    pub(crate) fn signed(&self, to: Address, nonce: u64, premium: i64) -> SignedMessage {
        let mut message = self.message(to, nonce, 0, TokenAmount::default(), vec![]);
        message.gas_premium = TokenAmount::from_atto(premium);
        self.0.sign_message(message).unwrap()
    }

    /// What `MpoolPush` takes.
    pub(crate) fn sign(&self, message: Message) -> Value {
        let signed = self.0.sign_message(message).unwrap();
        serde_json::to_value(SignedMessageJson {
            message: MessageJson::of(&signed.message).unwrap(),
            signature: SignatureJson::of(&signed.signature),
            cid: None,
        })
        .unwrap()
    }

    pub(crate) fn send(&self, to: Address, nonce: u64, method: u64, params: Vec<u8>) -> Value {
        self.sign(self.message(to, nonce, method, TokenAmount::default(), params))
    }
}

/// What `GasEstimateMessageGas` takes.
pub(crate) fn unsigned(message: &Message) -> Value {
    serde_json::to_value(MessageJson::of(message).unwrap()).unwrap()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}
