//! Proof types, commitments and randomness, as every process writes them down.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::Epoch;

/// An interactive V1.1 seal proof, the only kind new sectors use; written as its registered number
/// (go-state-types `abi/sector.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub enum SealProof {
    /// 2 KiB sectors (tests and devnets).
    Drg2KiBV1_1,
    /// 8 MiB sectors (tests and devnets).
    Drg8MiBV1_1,
    /// 512 MiB sectors (test networks).
    Drg512MiBV1_1,
    /// 32 GiB sectors.
    Drg32GiBV1_1,
    /// 64 GiB sectors.
    Drg64GiBV1_1,
}

impl SealProof {
    /// Every type, smallest first.
    pub const ALL: [Self; 5] =
        [Self::Drg2KiBV1_1, Self::Drg8MiBV1_1, Self::Drg512MiBV1_1, Self::Drg32GiBV1_1, Self::Drg64GiBV1_1];

    /// Bytes of a replica.
    #[must_use]
    pub const fn sector_size(self) -> u64 {
        match self {
            Self::Drg2KiBV1_1 => 2 << 10,
            Self::Drg8MiBV1_1 => 8 << 20,
            Self::Drg512MiBV1_1 => 512 << 20,
            Self::Drg32GiBV1_1 => 32 << 30,
            Self::Drg64GiBV1_1 => 64 << 30,
        }
    }

    /// Bytes of user data that fit: 127 of every 128 (Fr32 padding).
    #[must_use]
    pub const fn unpadded_size(self) -> u64 {
        self.sector_size() / 128 * 127
    }

    /// `RegisteredSealProof`: 5 to 9.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Drg2KiBV1_1 => 5,
            Self::Drg8MiBV1_1 => 6,
            Self::Drg512MiBV1_1 => 7,
            Self::Drg32GiBV1_1 => 8,
            Self::Drg64GiBV1_1 => 9,
        }
    }

    /// The `RegisteredPoStProof` of window PoSt over such sectors: V1.1, 10 to 14.
    #[must_use]
    pub const fn window_post_number(self) -> i64 {
        self.number() + 5
    }

    /// How long a sector's label chain is: layers of SDR.
    #[must_use]
    pub const fn layers(self) -> u32 {
        match self {
            Self::Drg32GiBV1_1 | Self::Drg64GiBV1_1 => 11,
            _ => 2,
        }
    }

    /// The type for a sector size in bytes.
    #[must_use]
    pub fn from_sector_size(bytes: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.sector_size() == bytes)
    }

    /// `2KiB` … `64GiB`.
    #[must_use]
    pub const fn size_name(self) -> &'static str {
        match self {
            Self::Drg2KiBV1_1 => "2KiB",
            Self::Drg8MiBV1_1 => "8MiB",
            Self::Drg512MiBV1_1 => "512MiB",
            Self::Drg32GiBV1_1 => "32GiB",
            Self::Drg64GiBV1_1 => "64GiB",
        }
    }
}

/// A seal proof number this system does not make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seal proof type {0} is not one this system makes (5 to 9: interactive V1.1, 2KiB to 64GiB)")]
pub struct UnknownSealProof(pub String);

impl TryFrom<i64> for SealProof {
    type Error = UnknownSealProof;

    fn try_from(number: i64) -> Result<Self, UnknownSealProof> {
        Self::ALL.into_iter().find(|p| p.number() == number).ok_or_else(|| UnknownSealProof(number.to_string()))
    }
}

impl From<SealProof> for i64 {
    fn from(proof: SealProof) -> Self {
        proof.number()
    }
}

impl FromStr for SealProof {
    type Err = UnknownSealProof;

    /// Reads a size name: `2KiB`, `8MiB`, `512MiB`, `32GiB`, `64GiB`.
    fn from_str(text: &str) -> Result<Self, UnknownSealProof> {
        Self::ALL
            .into_iter()
            .find(|p| p.size_name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownSealProof(text.to_owned()))
    }
}

impl fmt::Display for SealProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.size_name())
    }
}

/// 32 bytes, written in hexadecimal: a commitment (CommD, CommR, piece), a digest, or drawn randomness.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes32(pub [u8; 32]);

/// CommD, CommR or a piece commitment (raw bytes; the chain crate turns them into CIDs).
pub type Commitment = Bytes32;

/// A SHA-256 digest.
pub type Sha256 = Bytes32;

impl fmt::Display for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Bytes32 {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out)?;
        Ok(Self(out))
    }
}

impl Serialize for Bytes32 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Randomness drawn from the chain, with the epoch it was drawn at: a seal ticket or a PoRep seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// The epoch of the draw (`SealRandEpoch` for a ticket).
    pub epoch: Epoch,
    /// The drawn value, as the chain returned it.
    pub value: Bytes32,
}

/// Proof bytes, base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofBytes(pub Vec<u8>);

impl fmt::Debug for ProofBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofBytes({} B)", self.0.len())
    }
}

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(d)?;
        base64::engine::general_purpose::STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}
