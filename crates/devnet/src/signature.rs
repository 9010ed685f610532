//! Signatures of messages, refused in a node's words.

use chain::message::SignedMessage;
use fvm_shared::address::{Address, Protocol};

/// A signature that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// BLS.
    #[error("bls signature failed to verify")]
    Bls,
    /// secp256k1: the key that signed is another.
    #[error("signature did not match")]
    Secp256k1,
}

/// Checks that `key` signed the message.
pub(crate) fn check(signed: &SignedMessage, key: &Address) -> Result<(), BadSignature> {
    chain::key::verify_message(signed, key).map_err(|_| match key.protocol() {
        Protocol::BLS => BadSignature::Bls,
        _ => BadSignature::Secp256k1,
    })
}
