//! What is known about one window at one head: the input of every decision.

use std::collections::BTreeMap;

use streams::{
    id::{Epoch, Place, SectorNumber, StoreId},
    proof::{Bytes32, Commitment, SealProof},
    records::PostRecord,
};

use crate::deadline::Window;

/// One window as the chain, the records and the outbox show it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The head all of this was read at.
    pub(crate) head: Epoch,
    pub(crate) window: Window,
    /// Challenge randomness, its top two bits cleared.
    pub(crate) randomness: Bytes32,
    /// The seal proof type of the miner's sectors.
    pub(crate) proof: SealProof,
    /// Sectors in a full partition.
    pub(crate) partition_sectors: u64,
    /// Partitions with something to prove, by index.
    pub(crate) partitions: BTreeMap<u64, PartitionFacts>,
    /// Whether this poster holds the window's lease: only then does it hand out and send.
    pub(crate) leading: bool,
    /// Whether every result stored so far has been taken in: only then does a missing task mean a lost one.
    pub(crate) results_drained: bool,
}

/// One partition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartitionFacts {
    /// Live − faulty + recovering.
    pub(crate) to_prove: BTreeMap<SectorNumber, Target>,
    /// Live sectors that are faulty and not recovering: not proven, whatever we do.
    pub(crate) faulty: u64,
    /// `PostSubmissions` has it.
    pub(crate) submitted: bool,
    /// Its proof in `POSTS`, if one was made.
    pub(crate) record: Option<PostRecord>,
    /// What became of the message in that record.
    pub(crate) sending: Sending,
}

/// A sector to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its replica's commitment, from the chain.
    pub(crate) comm_r: Commitment,
    /// Where replicas are, the preferred one first.
    pub(crate) replicas: Vec<Located>,
}

/// A copy of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) store: StoreId,
}

/// What became of the message that carries a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No message carries it.
    Unsent,
    /// It is in the outbox, and not in a tipset that we know of.
    InFlight,
    /// It was executed and failed, or its nonce was used by another message (no exit code).
    Failed { exit_code: Option<u32> },
    /// It was executed with exit code 0; its effect is in the state at `height`.
    Accepted { height: Epoch },
}

impl PartitionFacts {
    /// The stored proof, if it answers this challenge and proves only what is to be proven.
    pub(crate) fn proof_for(&self, randomness: &Bytes32) -> Option<&PostRecord> {
        self.record.as_ref().filter(|record| {
            record.randomness == *randomness && record.proven.iter().all(|number| self.to_prove.contains_key(number))
        })
    }

    /// Whether the chain has it: by `PostSubmissions`; after the close also by the receipt, since a message that lands
    /// in the window's last epoch is in no state that a node shows. The actor accepts a proof in its window only.
    pub(crate) fn is_on_chain(&self, window: &Window, head: Epoch) -> bool {
        self.submitted || (head >= window.close && matches!(self.sending, Sending::Accepted { .. }))
    }
}
