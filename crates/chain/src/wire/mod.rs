//! The JSON shapes of the `Filecoin.*` methods in use, as Lotus v1, Forest and Venus serve them.
//!
//! Read and written by the same types: this crate's client reads them, the embedded devnet serves them. Unknown
//! members are ignored, since every node adds its own.

macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(missing_docs, reason = "the members are the node's own words, documented there")]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* }
    )*};
}

mod block;
mod message;
mod miner;
mod network;
mod sector;

pub use block::*;
pub use message::*;
pub use miner::*;
pub use network::*;
pub use sector::*;

/// A shape with a value the chain cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadShape(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Base64;

    #[test]
    fn nulls_that_nodes_were_seen_to_send_are_read() {
        let info: MinerInfoJson = serde_json::from_str(
            r#"{"Owner":"t0100","Worker":"t0100","NewWorker":"<empty>","ControlAddresses":null,"WorkerChangeEpoch":-1,
                "PeerId":null,"Multiaddrs":null,"WindowPoStProofType":10,"SectorSize":2048,
                "WindowPoStPartitionSectors":2,"ConsensusFaultElapsed":-1,"PendingOwnerAddress":null,
                "Beneficiary":"t0100","PendingBeneficiaryTerm":null}"#,
        )
        .unwrap();
        assert_eq!(info.control_addresses, []);
        let lookup: MsgLookupJson = serde_json::from_str(
            r#"{"Message":{"/":"bafy2bzacecnamqgqmifpluoeldx7zzglxcljo6oja4vrmtj7432rphldpdmm2"},
                "Receipt":{"ExitCode":0,"Return":null,"GasUsed":9,"EventsRoot":null},"ReturnDec":null,"TipSet":null,"Height":7}"#,
        )
        .unwrap();
        assert_eq!(lookup.receipt.r#return, Base64::default());
        let pre: PreCommitInfoJson = serde_json::from_str(
            r#"{"SealProof":5,"SectorNumber":9,"SealedCID":{"/":"bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz"},
                "SealRandEpoch":-3,"DealIDs":null,"Expiration":2,"UnsealedCid":null}"#,
        )
        .unwrap();
        assert_eq!((pre.deal_ids.len(), pre.seal_rand_epoch), (0, -3));
    }
}
