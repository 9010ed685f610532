//! Messages as the chain stores them: CBOR, and which bytes their CID covers.
//!
//! A signature covers the bytes of the *unsigned* message's CID. What the message is called on chain depends on the
//! key: a BLS signature is aggregated away, so a BLS message keeps the unsigned CID; a secp256k1 message is stored
//! with its signature and named by the CID of both.

use cid::Cid;
use fvm_ipld_encoding::{from_slice, to_vec};
use fvm_shared::{
    crypto::signature::{Signature, SignatureType},
    message::Message,
};
use serde::{Deserialize, Serialize};

use crate::cids;

/// The largest message a node accepts (Lotus `messagepool.go` MaxMessageSize).
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// A message that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Its bytes are not what they should be.
    #[error("message is not valid CBOR")]
    Cbor(#[from] fvm_ipld_encoding::Error),
    /// No node would accept it.
    #[error("message has {bytes} bytes, nodes accept {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// A message and its signature; CBOR `[message, signature]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The message.
    pub message: Message,
    /// The signature over the bytes of the message's CID.
    pub signature: Signature,
}

#[derive(Serialize)]
struct TupleRef<'a>(&'a Message, &'a Signature);

#[derive(Deserialize)]
struct Tuple(Message, Signature);

impl SignedMessage {
    /// CBOR of it: what is journaled and pushed.
    pub fn to_cbor(&self) -> Result<Vec<u8>, BadMessage> {
        let bytes = to_vec(&TupleRef(&self.message, &self.signature))?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads [`SignedMessage::to_cbor`] back.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, BadMessage> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge { bytes: bytes.len() });
        }
        let Tuple(message, signature) = from_slice(bytes)?;
        Ok(Self { message, signature })
    }

    /// Its name on chain.
    pub fn cid(&self) -> Result<Cid, BadMessage> {
        match self.signature.sig_type {
            SignatureType::BLS => unsigned_cid(&self.message),
            SignatureType::Secp256k1 => self.to_cbor().map(|bytes| cids::of_cbor(&bytes)),
        }
    }
}

/// The CID of a message without its signature: what is signed.
pub fn unsigned_cid(message: &Message) -> Result<Cid, BadMessage> {
    Ok(cids::of_cbor(&to_vec(message)?))
}
