//! A proving sector's replica: sealed here, or by others and taken over.

use serde::{Deserialize, Serialize, Serializer};

use super::{Persisted, Placement, Sealed};
use crate::{
    id::{Place, StoreId},
    proof::{Commitment, Drawn},
};

/// A proving sector's replica. It is written as one of its two forms, which share no field but `comm_r`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ReplicaText")]
pub enum Replica {
    /// Sealed here.
    Sealed(Sealed),
    /// Sealed by others, and attached.
    Attached(Attached),
}

/// A replica that others sealed: `sealer-agent store attach` proved its files against the CommR on chain. Its ticket,
/// its CommD and its pieces are not known, and proving needs none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// Commitment to the replica, as the chain has it.
    pub comm_r: Commitment,
    /// The store that its folder became.
    pub store: StoreId,
    /// The place through which it is reached.
    pub place: Place,
}

/// A replica's text that is neither form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a replica is either sealed here (at, ticket, comm_d, comm_r, persisted) or attached (comm_r, store, place): this is \
     a part of both"
)]
pub struct HalfReplica;

/// Either form as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaText {
    comm_r: Commitment,
    at: Option<Placement>,
    ticket: Option<Drawn>,
    comm_d: Option<Commitment>,
    persisted: Option<Persisted>,
    store: Option<StoreId>,
    place: Option<Place>,
}

impl TryFrom<ReplicaText> for Replica {
    type Error = HalfReplica;

    fn try_from(text: ReplicaText) -> Result<Self, HalfReplica> {
        let ReplicaText { comm_r, at, ticket, comm_d, persisted, store, place } = text;
        match (at, ticket, comm_d, persisted, store, place) {
            (Some(at), Some(ticket), Some(comm_d), persisted, None, None) => {
                Ok(Self::Sealed(Sealed { at, ticket, comm_d, comm_r, persisted }))
            }
            (None, None, None, None, Some(store), Some(place)) => Ok(Self::Attached(Attached { comm_r, store, place })),
            _ => Err(HalfReplica),
        }
    }
}

impl Serialize for Replica {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sealed(sealed) => sealed.serialize(serializer),
            Self::Attached(attached) => attached.serialize(serializer),
        }
    }
}

impl From<Sealed> for Replica {
    fn from(sealed: Sealed) -> Self {
        Self::Sealed(sealed)
    }
}

impl From<Attached> for Replica {
    fn from(attached: Attached) -> Self {
        Self::Attached(attached)
    }
}

impl Replica {
    /// What sealing made, where it was sealed here.
    #[must_use]
    pub const fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Sealed(sealed) => Some(sealed),
            Self::Attached(_) => None,
        }
    }

    /// The attached replica, where it is one.
    #[must_use]
    pub const fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Sealed(_) => None,
            Self::Attached(attached) => Some(attached),
        }
    }

    /// Commitment to the replica.
    #[must_use]
    pub const fn comm_r(&self) -> Commitment {
        match self {
            Self::Sealed(sealed) => sealed.comm_r,
            Self::Attached(attached) => attached.comm_r,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Bytes32;

    fn attached() -> Replica {
        let store = StoreId(uuid::Uuid::nil());
        Replica::Attached(Attached { comm_r: Bytes32([2; 32]), store, place: "host1".parse().unwrap() })
    }

    #[test]
    fn a_text_that_is_half_of_each_is_refused() {
        let text = serde_json::to_value(attached()).unwrap();
        assert_eq!(serde_json::from_value::<Replica>(text.clone()).unwrap(), attached());
        for (field, value) in [
            ("comm_d", serde_json::json!(Bytes32([1; 32]))),
            ("store", serde_json::Value::Null),
            ("colour", serde_json::json!("red")),
        ] {
            let mut text = text.clone();
            text[field] = value;
            assert!(serde_json::from_value::<Replica>(text).is_err(), "{field}");
        }
    }
}
