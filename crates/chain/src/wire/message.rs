//! Messages, signed and not, and what became of them.

use fvm_shared::{
    crypto::signature::{Signature, SignatureType},
    message::Message,
};
use serde::{Deserialize, Serialize};

use super::BadShape;
use crate::json::{AddressJson, Base64, CidJson, TokenJson, null_as_empty};

shapes! {
    /// A signature: type 1 is secp256k1, 2 is BLS.
    SignatureJson {
        r#type: u8,
        data: Base64,
    }

    /// A message. Its CID is emitted by nodes and ignored on input.
    MessageJson {
        #[serde(default)]
        version: u64,
        to: AddressJson,
        from: AddressJson,
        #[serde(default)]
        nonce: u64,
        #[serde(default)]
        value: TokenJson,
        #[serde(default)]
        gas_limit: i64,
        #[serde(default)]
        gas_fee_cap: TokenJson,
        #[serde(default)]
        gas_premium: TokenJson,
        #[serde(default)]
        method: u64,
        #[serde(default)]
        params: Base64,
        #[serde(default, rename = "CID", skip_serializing_if = "Option::is_none")]
        cid: Option<CidJson>,
    }

    /// A signed message.
    SignedMessageJson {
        message: MessageJson,
        signature: SignatureJson,
        #[serde(default, rename = "CID", skip_serializing_if = "Option::is_none")]
        cid: Option<CidJson>,
    }

    /// The spec argument of `GasEstimateMessageGas`.
    MessageSpecJson {
        max_fee: TokenJson,
    }

    /// A receipt.
    ReceiptJson {
        exit_code: u32,
        #[serde(default)]
        r#return: Base64,
        gas_used: i64,
        #[serde(default)]
        events_root: Option<CidJson>,
    }

    /// `StateSearchMsg`.
    MsgLookupJson {
        message: CidJson,
        receipt: ReceiptJson,
        #[serde(default, rename = "TipSet", deserialize_with = "null_as_empty")]
        tipset: Vec<CidJson>,
        height: i64,
    }

    /// `StateCall`, by what is used of it.
    InvocResultJson {
        msg_cid: CidJson,
        msg: MessageJson,
        msg_rct: Option<ReceiptJson>,
        #[serde(default)]
        error: String,
        #[serde(default)]
        duration: i64,
    }

    /// One of `ChainGetParentMessages`.
    ApiMessageJson {
        cid: CidJson,
        message: MessageJson,
    }
}

impl MessageJson {
    /// The shape of a message, without its CID.
    pub fn of(message: &Message) -> Result<Self, BadShape> {
        Ok(Self {
            version: message.version,
            to: message.to.into(),
            from: message.from.into(),
            nonce: message.sequence,
            value: message.value.clone().into(),
            gas_limit: i64::try_from(message.gas_limit).map_err(|_| BadShape("gas limit above 2^63".to_owned()))?,
            gas_fee_cap: message.gas_fee_cap.clone().into(),
            gas_premium: message.gas_premium.clone().into(),
            method: message.method_num,
            params: message.params.to_vec().into(),
            cid: None,
        })
    }

    /// The message.
    pub fn into_message(self) -> Result<Message, BadShape> {
        Ok(Message {
            version: self.version,
            from: self.from.0,
            to: self.to.0,
            sequence: self.nonce,
            value: self.value.0,
            method_num: self.method,
            params: self.params.0.into(),
            gas_limit: u64::try_from(self.gas_limit)
                .map_err(|_| BadShape(format!("gas limit {} is negative", self.gas_limit)))?,
            gas_fee_cap: self.gas_fee_cap.0,
            gas_premium: self.gas_premium.0,
        })
    }
}

impl SignatureJson {
    /// The shape of a signature.
    #[must_use]
    pub fn of(signature: &Signature) -> Self {
        let r#type = match signature.sig_type {
            SignatureType::Secp256k1 => 1,
            SignatureType::BLS => 2,
        };
        Self { r#type, data: signature.bytes.clone().into() }
    }

    /// The signature.
    pub fn into_signature(self) -> Result<Signature, BadShape> {
        match self.r#type {
            1 => Ok(Signature::new_secp256k1(self.data.0)),
            2 => Ok(Signature::new_bls(self.data.0)),
            other => Err(BadShape(format!("signature type {other} is not 1 (secp256k1) or 2 (BLS)"))),
        }
    }
}
