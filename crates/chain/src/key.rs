//! A local key: the way to send that needs no wallet.
//!
//! The file holds what Lotus calls a `KeyInfo`, `{"Type":"secp256k1"|"bls","PrivateKey":"base64"}`, which is also what
//! `lotus wallet export` prints in hexadecimal. It must be readable by its owner alone.

use std::{fmt, fs, io, os::unix::fs::MetadataExt as _, path::Path};

use bls_signatures::Serialize as _;
use fvm_shared::{
    address::{Address, Payload, Protocol},
    crypto::signature::{Signature, SignatureType},
    message::Message,
};
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, SigningKey, VerifyingKey};
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::{
    address,
    json::Base64,
    message::{BadMessage, SignedMessage, unsigned_cid},
    randomness::blake2b_256,
};

/// The kinds of key an account can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `f1…`.
    Secp256k1,
    /// `f3…`.
    Bls,
}

/// A key that cannot be made, read, kept or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error("key file {path} has mode {mode:04o}, others than its owner can use it: make it 0600")]
    Exposed {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold a key. What it holds is not repeated.
    #[error("key file {path} holds no key: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, without the content.
        reason: &'static str,
    },
    /// The key cannot sign.
    #[error("sign with {address}: {reason}")]
    Sign {
        /// The key's address.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The message cannot be written down.
    #[error(transparent)]
    Message(#[from] BadMessage),
}

enum Secret {
    Secp256k1(SigningKey),
    Bls(bls_signatures::PrivateKey),
}

/// A private key with the address it speaks for. Never printed.
pub struct LocalKey {
    secret: Secret,
    address: Address,
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalKey({})", address::print(&self.address))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyInfo {
    r#type: KeyKind,
    private_key: Base64,
}

impl LocalKey {
    /// A new key.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        Self::from_secret(match kind {
            KeyKind::Secp256k1 => Secret::Secp256k1(SigningKey::random(&mut OsRng)),
            KeyKind::Bls => Secret::Bls(bls_signatures::PrivateKey::generate(&mut OsRng)),
        })
    }

    /// A key from its 32 secret bytes (BLS: little endian, as Lotus keeps it).
    pub fn from_bytes(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = |reason| KeyError::Malformed { path: "(in memory)".to_owned(), reason };
        Self::from_secret(match kind {
            KeyKind::Secp256k1 => Secret::Secp256k1(
                SigningKey::from_slice(bytes).map_err(|_| malformed("the bytes are no secp256k1 key"))?,
            ),
            KeyKind::Bls => Secret::Bls(
                bls_signatures::PrivateKey::from_bytes(bytes).map_err(|_| malformed("the bytes are no BLS key"))?,
            ),
        })
    }

    fn from_secret(secret: Secret) -> Result<Self, KeyError> {
        let address = match &secret {
            Secret::Secp256k1(key) => Address::new_secp256k1(key.verifying_key().to_encoded_point(false).as_bytes()),
            Secret::Bls(key) => Address::new_bls(&key.public_key().as_bytes()),
        };
        let address = address.map_err(|e| KeyError::Sign { address: "a new key".to_owned(), reason: e.to_string() })?;
        Ok(Self { secret, address })
    }

    /// Reads a key file. One that others can read is refused.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let name = || path.display().to_string();
        let file = |source| KeyError::File { path: name(), source };
        let mode = fs::metadata(path).map_err(file)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: name(), mode });
        }
        let text = fs::read_to_string(path).map_err(file)?;
        let text = text.trim();
        let exported = hex::decode(text).ok();
        let json = exported.as_deref().unwrap_or(text.as_bytes());
        let malformed = |reason| KeyError::Malformed { path: name(), reason };
        let info: KeyInfo = serde_json::from_slice(json)
            .map_err(|_| malformed("it is not {\"Type\":…,\"PrivateKey\":…} with type secp256k1 or bls"))?;
        Self::from_bytes(info.r#type, &info.private_key.0).map_err(|_| malformed("its private key is not valid"))
    }

    /// Writes the key to a file that does not exist yet, readable by its owner alone.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        let (kind, bytes) = match &self.secret {
            Secret::Secp256k1(key) => (KeyKind::Secp256k1, key.to_bytes().to_vec()),
            Secret::Bls(key) => (KeyKind::Bls, key.as_bytes()),
        };
        let file = |source| KeyError::File { path: path.display().to_string(), source };
        let json = serde_json::to_vec(&KeyInfo { r#type: kind, private_key: bytes.into() })
            .map_err(|e| file(io::Error::other(e)))?;
        host::durable::write_new_private(path, &json).map_err(file)
    }

    /// The key's address: `f1…` or `f3…`.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Signature, KeyError> {
        match &self.secret {
            Secret::Secp256k1(key) => {
                let (signature, recovery) = key
                    .sign_prehash_recoverable(&blake2b_256(bytes))
                    .map_err(|e| KeyError::Sign { address: address::print(&self.address), reason: e.to_string() })?;
                let mut out = signature.to_vec();
                out.push(recovery.to_byte());
                Ok(Signature::new_secp256k1(out))
            }
            Secret::Bls(key) => Ok(Signature::new_bls(key.sign(bytes).as_bytes())),
        }
    }

    /// Signs a message: the signature covers the bytes of its CID.
    pub fn sign_message(&self, message: Message) -> Result<SignedMessage, KeyError> {
        let signature = self.sign(&unsigned_cid(&message)?.to_bytes())?;
        Ok(SignedMessage { message, signature })
    }
}

/// A signature that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signature of {signer} does not verify: {reason}")]
pub struct BadSignature {
    signer: String,
    reason: &'static str,
}

/// Checks a signature over `bytes` by the key address `signer`.
pub fn verify(signature: &Signature, bytes: &[u8], signer: &Address) -> Result<(), BadSignature> {
    let bad = |reason| BadSignature { signer: address::print(signer), reason };
    match (signature.sig_type, signer.protocol()) {
        (SignatureType::Secp256k1, Protocol::Secp256k1) => {
            let (recovery, parts) = signature.bytes.split_last().ok_or_else(|| bad("it is empty"))?;
            let parts = EcdsaSignature::from_slice(parts).map_err(|_| bad("it is not r, s and v"))?;
            let recovery = RecoveryId::from_byte(*recovery).ok_or_else(|| bad("its recovery id is not 0 to 3"))?;
            let key = VerifyingKey::recover_from_prehash(&blake2b_256(bytes), &parts, recovery)
                .map_err(|_| bad("no key could have made it"))?;
            let found = Address::new_secp256k1(key.to_encoded_point(false).as_bytes());
            if found == Ok(*signer) { Ok(()) } else { Err(bad("another key made it, or other bytes were signed")) }
        }
        (SignatureType::BLS, Protocol::BLS) => {
            let Payload::BLS(public) = signer.payload() else { return Err(bad("the address has no key in it")) };
            let public = bls_signatures::PublicKey::from_bytes(public).map_err(|_| bad("the address is no point"))?;
            let parts = bls_signatures::Signature::from_bytes(&signature.bytes).map_err(|_| bad("it is no point"))?;
            if public.verify(parts, bytes) {
                Ok(())
            } else {
                Err(bad("another key made it, or other bytes were signed"))
            }
        }
        _ => Err(bad("its type is not the address' type")),
    }
}

/// Checks the signature of a message, by the key address its sender resolves to.
pub fn verify_message(signed: &SignedMessage, signer: &Address) -> Result<(), BadSignature> {
    let cid = unsigned_cid(&signed.message).map_err(|_| BadSignature {
        signer: address::print(signer),
        reason: "the message cannot be written as CBOR",
    })?;
    verify(&signed.signature, &cid.to_bytes(), signer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_key_signs_verifies_for_its_address_alone() {
        for kind in [KeyKind::Secp256k1, KeyKind::Bls] {
            let key = LocalKey::generate(kind).unwrap();
            let other = LocalKey::generate(kind).unwrap();
            let mut signature = key.sign(b"words").unwrap();
            assert_eq!(verify(&signature, b"words", &key.address()), Ok(()));
            assert!(verify(&signature, b"other words", &key.address()).is_err());
            assert!(verify(&signature, b"words", &other.address()).is_err());
            signature.bytes[3] ^= 1;
            assert!(verify(&signature, b"words", &key.address()).is_err());
            let of_other_kind =
                LocalKey::generate(if kind == KeyKind::Bls { KeyKind::Secp256k1 } else { KeyKind::Bls });
            assert!(verify(&signature, b"words", &of_other_kind.unwrap().address()).is_err());
        }
    }

    #[test]
    fn a_key_file_is_private_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [KeyKind::Secp256k1, KeyKind::Bls] {
            let path = dir.path().join(format!("{kind:?}"));
            let key = LocalKey::generate(kind).unwrap();
            key.save_new(&path).unwrap();
            assert_eq!(LocalKey::load(&path).unwrap().address(), key.address());
            assert!(key.save_new(&path).is_err());

            let exported = dir.path().join(format!("{kind:?}.hex"));
            host::durable::write_new_private(&exported, hex::encode(fs::read(&path).unwrap()).as_bytes()).unwrap();
            assert_eq!(LocalKey::load(&exported).unwrap().address(), key.address());

            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(LocalKey::load(&path), Err(KeyError::Exposed { mode: 0o640, .. })));
        }
    }

    #[test]
    fn a_malformed_key_file_is_not_repeated_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        host::durable::write_new_private(&path, b"{\"Type\":\"bls\",\"PrivateKey\":\"c2VjcmV0\"}").unwrap();
        let error = LocalKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }));
        assert!(!error.to_string().contains("c2VjcmV0"));
    }

    #[test]
    fn an_address_begins_with_its_kind() {
        let key = LocalKey::from_bytes(KeyKind::Secp256k1, &[1; 32]).unwrap();
        assert!(address::print(&key.address()).starts_with("f1"));
        let key = LocalKey::from_bytes(KeyKind::Bls, &[1; 32]).unwrap();
        assert!(address::print(&key.address()).starts_with("f3"));
    }
}
