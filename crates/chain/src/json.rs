//! Go's JSON encodings, as Lotus, Forest and Venus write them.
//!
//! Each wrapper writes what those nodes write and reads every form one of them was seen to write: `null` for empty
//! bytes, `""` for zero, `t` or `f` in front of an address.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cid::Cid;
use fvm_ipld_bitfield::{BitField, json};
use fvm_shared::{address::Address, bigint::BigInt, econ::TokenAmount};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An address: `"f01000"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressJson(pub Address);

impl Serialize for AddressJson {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&crate::address::print(&self.0))
    }
}

impl<'de> Deserialize<'de> for AddressJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::address::parse(&String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

impl From<Address> for AddressJson {
    fn from(address: Address) -> Self {
        Self(address)
    }
}

/// An amount or another big integer: a decimal string of attoFIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenJson(pub TokenAmount);

impl Default for TokenJson {
    fn default() -> Self {
        Self(TokenAmount::from_atto(0))
    }
}

impl Serialize for TokenJson {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.atto().to_string())
    }
}

impl<'de> Deserialize<'de> for TokenJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let atto: BigInt = text.parse().map_err(|e| D::Error::custom(format!("amount \"{text}\": {e}")))?;
        Ok(Self(TokenAmount::from_atto(atto)))
    }
}

impl From<TokenAmount> for TokenJson {
    fn from(amount: TokenAmount) -> Self {
        Self(amount)
    }
}

/// A CID: `{"/":"bafy…"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CidJson(pub Cid);

#[derive(Serialize, Deserialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

impl Serialize for CidJson {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Link { cid: self.0.to_string() }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for CidJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::cids::parse(&Link::deserialize(d)?.cid).map(Self).map_err(D::Error::custom)
    }
}

impl From<Cid> for CidJson {
    fn from(cid: Cid) -> Self {
        Self(cid)
    }
}

/// Bytes: standard base64 with padding; `null` reads as empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(d)?.unwrap_or_default();
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A set of numbers: run lengths, beginning with the zeros.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BitFieldJson(pub BitField);

impl Serialize for BitFieldJson {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        json::BitFieldJsonRef(&self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for BitFieldJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        json::BitFieldJson::deserialize(d).map(|bits| Self(bits.0))
    }
}

impl From<BitField> for BitFieldJson {
    fn from(bits: BitField) -> Self {
        Self(bits)
    }
}

/// Reads `null` as an empty list: Go writes a nil slice so.
pub fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(value: &T, text: &str) {
        assert_eq!(serde_json::to_string(value).unwrap(), text);
        assert_eq!(&serde_json::from_str::<T>(text).unwrap(), value);
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        round(&AddressJson(Address::new_id(1000)), r#""f01000""#);
        round(&TokenJson(TokenAmount::from_whole(1)), r#""1000000000000000000""#);
        round(&TokenJson::default(), r#""0""#);
        round(&Base64(vec![0x43, 0, 0xe8, 7]), r#""QwDoBw==""#);
        let cid = crate::cids::of_cbor(b"\x80");
        round(&CidJson(cid), &format!(r#"{{"/":"{cid}"}}"#));
        round(&BitFieldJson(BitField::new()), "[0]");
        round(&BitFieldJson(BitField::try_from_bits([5]).unwrap()), "[5,1]");
        round(&BitFieldJson(BitField::try_from_bits([0, 1, 2]).unwrap()), "[0,3]");
        round(&BitFieldJson(BitField::try_from_bits([3, 4]).unwrap()), "[3,2]");
    }

    #[test]
    fn every_form_of_nothing_is_read() {
        assert_eq!(serde_json::from_str::<TokenJson>(r#""""#).unwrap(), TokenJson::default());
        assert_eq!(serde_json::from_str::<Base64>("null").unwrap(), Base64::default());
        assert_eq!(serde_json::from_str::<Base64>(r#""""#).unwrap(), Base64::default());
        assert_eq!(serde_json::from_str::<AddressJson>(r#""t01000""#).unwrap(), AddressJson(Address::new_id(1000)));
        assert!(serde_json::from_str::<AddressJson>(r#""<empty>""#).is_err());
        assert!(serde_json::from_str::<TokenJson>(r#""1.5""#).is_err());
    }
}
