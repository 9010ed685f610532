//! Signatures of messages: BLS and secp256k1, over the bytes of the message's CID.

use bls_signatures::{PublicKey, Serialize as _};
use chain::{message::unsigned_cid, randomness::blake2b_256};
use fvm_shared::{
    address::{Address, Payload},
    crypto::signature::{SECP_SIG_LEN, Signature, SignatureType},
    message::Message,
};
use k256::ecdsa::{RecoveryId, VerifyingKey};

/// A signature that is not one, in a node's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// BLS.
    #[error("bls signature failed to verify")]
    Bls,
    /// secp256k1: the recovered key is another.
    #[error("signature did not match")]
    Secp256k1,
    /// The address has no key.
    #[error("must resolve ID addresses before using them to verify a signature")]
    NoKey,
    /// The message cannot be encoded.
    #[error("{0}")]
    Message(String),
}

/// Checks that `key` signed the message.
pub(crate) fn check(message: &Message, signature: &Signature, key: &Address) -> Result<(), BadSignature> {
    let signed = unsigned_cid(message).map_err(|e| BadSignature::Message(e.to_string()))?.to_bytes();
    match (key.payload(), signature.sig_type) {
        (Payload::BLS(public), SignatureType::BLS) => {
            bls(public, &signed, &signature.bytes).filter(|good| *good).map(|_| ()).ok_or(BadSignature::Bls)
        }
        (Payload::Secp256k1(_), SignatureType::Secp256k1) => {
            let signer = recover(&signed, &signature.bytes).ok_or(BadSignature::Secp256k1)?;
            if signer == *key { Ok(()) } else { Err(BadSignature::Secp256k1) }
        }
        (Payload::BLS(_), _) => Err(BadSignature::Bls),
        (Payload::Secp256k1(_), _) => Err(BadSignature::Secp256k1),
        _ => Err(BadSignature::NoKey),
    }
}

fn bls(public: &[u8], signed: &[u8], signature: &[u8]) -> Option<bool> {
    let key = PublicKey::from_bytes(public).ok()?;
    let signature = bls_signatures::Signature::from_bytes(signature).ok()?;
    Some(key.verify(signature, signed))
}

/// The address whose key signed.
fn recover(signed: &[u8], signature: &[u8]) -> Option<Address> {
    if signature.len() != SECP_SIG_LEN {
        return None;
    }
    let (recovery, pair) = signature.split_last()?;
    let pair = k256::ecdsa::Signature::from_slice(pair).ok()?;
    let recovery = RecoveryId::from_byte(*recovery)?;
    let key = VerifyingKey::recover_from_prehash(&blake2b_256(signed), &pair, recovery).ok()?;
    Address::new_secp256k1(key.to_encoded_point(false).as_bytes()).ok()
}
