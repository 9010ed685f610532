//! A ticket chain and a beacon that follow from a seed.
//!
//! Tickets depend on the seed, the tipset's height and the branch; the beacon on the seed and the round alone, which
//! is the epoch. So a proof made over this randomness once can be kept in a file and stays right.

use chain::randomness::{blake2b_256, draw};
use streams::{id::Epoch, proof::Bytes32};

use crate::tipset::Tipset;

/// Bytes of a BLS signature, which tickets and beacon entries are on a real chain.
const VRF_BYTES: usize = 96;

/// A draw that the chain cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDraw {
    /// The epoch has not come.
    #[error("cannot draw randomness from the future: epoch {epoch} is after {head}")]
    Future {
        /// The epoch asked for.
        epoch: Epoch,
        /// The newest epoch there is.
        head: Epoch,
    },
}

/// The ticket of a tipset. `branch` counts reorganisations, so that a new branch has other tickets.
pub(crate) fn ticket(seed: &[u8; 32], branch: u64, height: Epoch) -> Vec<u8> {
    expand(b"ticket", seed, branch, height)
}

/// The beacon entry of a round.
pub(crate) fn beacon_entry(seed: &[u8; 32], round: Epoch) -> Vec<u8> {
    expand(b"beacon", seed, 0, round)
}

fn expand(what: &[u8], seed: &[u8; 32], branch: u64, at: Epoch) -> Vec<u8> {
    let mut out = Vec::with_capacity(VRF_BYTES);
    for part in 0u8..3 {
        let input = [what, seed, &branch.to_be_bytes(), &at.to_be_bytes(), &[part]].concat();
        out.extend_from_slice(&blake2b_256(&input));
    }
    out
}

/// Draws as seen from a tipset: the last of `tipsets`.
#[derive(Clone, Copy)]
pub(crate) struct Draws<'a> {
    pub(crate) seed: &'a [u8; 32],
    /// From genesis, ascending heights.
    pub(crate) tipsets: &'a [Tipset],
}

impl Draws<'_> {
    /// `StateGetRandomnessFromTickets`: the ticket of the tipset at or before `epoch`.
    pub(crate) fn ticket(&self, tag: i64, epoch: Epoch, entropy: &[u8]) -> Result<Bytes32, NoDraw> {
        self.not_future(epoch)?;
        // A young chain has no ticket before genesis; the draw still names the epoch asked for.
        let after = self.tipsets.partition_point(|tipset| tipset.header.height <= epoch.max(0));
        let proof = self
            .tipsets
            .get(..after)
            .and_then(<[Tipset]>::last)
            .map(|tipset| tipset.header.ticket.vrf_proof.as_slice());
        Ok(draw(&blake2b_256(proof.unwrap_or_default()), tag, epoch, entropy))
    }

    /// `StateGetRandomnessFromBeacon`: the entry of the epoch itself, a null round or not.
    pub(crate) fn beacon(&self, tag: i64, epoch: Epoch, entropy: &[u8]) -> Result<Bytes32, NoDraw> {
        self.not_future(epoch)?;
        let entry = beacon_entry(self.seed, epoch.max(0));
        Ok(draw(&blake2b_256(&entry), tag, epoch, entropy))
    }

    fn not_future(&self, epoch: Epoch) -> Result<(), NoDraw> {
        let head = self.tipsets.last().map_or(0, |tipset| tipset.header.height);
        if epoch > head { Err(NoDraw::Future { epoch, head }) } else { Ok(()) }
    }
}
