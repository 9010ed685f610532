//! What a node says about a miner's windows, read whole at one tipset.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chain::{
    ChainApi,
    api::{PartitionState, TipSet, TipSetKey},
    cids,
    randomness::{clear_top_bits, entropy, tag},
};
use fvm_ipld_bitfield::BitField;
use streams::{
    id::{Epoch, MinerId, SectorNumber},
    proof::{Bytes32, Commitment, SealProof},
};

use crate::deadline::Window;

/// A partition as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionReading {
    /// Live − faulty + recovering.
    pub(crate) to_prove: BTreeSet<SectorNumber>,
    /// Live, faulty and not recovering.
    pub(crate) faulty: u64,
}

/// What stays the same for the whole of a window, once its challenge is deep enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowReading {
    pub(crate) randomness: Bytes32,
    /// Partitions with something to prove.
    pub(crate) partitions: BTreeMap<u64, PartitionReading>,
}

/// What stays the same for all of a miner's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MinerReading {
    /// The seal proof of its sector size. Sectors sealed otherwise (synthetic, non-interactive) are proven the same way.
    pub(crate) proof: SealProof,
    /// Sectors in a full partition.
    pub(crate) partition_sectors: u64,
}

/// How a miner proves.
pub(crate) async fn miner(api: &dyn ChainApi, miner: MinerId, head: &TipSet) -> anyhow::Result<MinerReading> {
    let info = api.miner_info(miner, &head.key).await.context("read miner info")?;
    let proof = SealProof::from_sector_size(info.sector_size)
        .with_context(|| format!("sectors of {} bytes cannot be proven", info.sector_size))?;
    anyhow::ensure!(
        info.window_post_proof == proof.window_post_number(),
        "window PoSt type {} cannot be made: the miner was created before V1.1 proofs",
        info.window_post_proof
    );
    Ok(MinerReading { proof, partition_sectors: info.partition_sectors })
}

/// Challenge and partitions of a window, at `head`.
pub(crate) async fn window(api: &dyn ChainApi, window: &Window, head: &TipSet) -> anyhow::Result<WindowReading> {
    let Window { miner, deadline, challenge, .. } = *window;
    let drawn = api
        .randomness_from_beacon(tag::WINDOWED_POST_CHALLENGE_SEED, challenge, &entropy(miner), &head.key)
        .await
        .context("draw the challenge")?;
    let partitions = api.partitions(miner, deadline, &head.key).await.context("read partitions")?;
    let partitions = (0..).zip(partitions.iter().map(partition)).filter(|(_, p)| !p.to_prove.is_empty()).collect();
    Ok(WindowReading { randomness: clear_top_bits(drawn), partitions })
}

/// What is to be proven of a partition.
pub(crate) fn partition(state: &PartitionState) -> PartitionReading {
    let healthy = &state.live - &state.faulty;
    let recovering = &state.recovering & &state.live;
    let to_prove = (&healthy | &recovering).iter().map(SectorNumber).collect();
    let faulty = (&(&state.faulty & &state.live) - &state.recovering).len();
    PartitionReading { to_prove, faulty }
}

/// The head while the window is not closed, then the window's last tipset: afterwards the deadline's state is about
/// its next window.
pub(crate) async fn within(api: &dyn ChainApi, window: &Window, head: &TipSet) -> anyhow::Result<TipSet> {
    if head.height < window.close {
        return Ok(head.clone());
    }
    let last: Epoch = window.close.saturating_sub(1);
    api.tipset_by_height(last, &head.key).await.context("find the window's last tipset")
}

/// The partitions the chain has a proof of in this window, by `PostSubmissions`.
pub(crate) async fn submitted(api: &dyn ChainApi, window: &Window, head: &TipSet) -> anyhow::Result<BTreeSet<u64>> {
    let within = within(api, window, head).await?;
    if within.height < window.open {
        return Ok(BTreeSet::new());
    }
    submitted_at(api, window, &within.key).await
}

/// The same, at a tipset within the window.
pub(crate) async fn submitted_at(api: &dyn ChainApi, window: &Window, at: &TipSetKey) -> anyhow::Result<BTreeSet<u64>> {
    let deadlines = api.deadlines(window.miner, at).await.context("read deadlines")?;
    let index = usize::try_from(window.deadline).context("deadline index")?;
    let deadline = deadlines.get(index).with_context(|| format!("the node lists no deadline {index}"))?;
    Ok(deadline.post_submissions.iter().collect())
}

/// Commitments of sectors.
pub(crate) async fn commitments(
    api: &dyn ChainApi,
    miner: MinerId,
    numbers: &BTreeSet<SectorNumber>,
    head: &TipSet,
) -> anyhow::Result<BTreeMap<SectorNumber, Commitment>> {
    if numbers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let filter = BitField::try_from_bits(numbers.iter().map(|number| number.0)).context("list sectors")?;
    let infos = api.sectors(miner, &filter, &head.key).await.context("read sectors")?;
    let comm_r = |info: &chain::api::SectorOnChain| {
        let comm_r = cids::comm_r(&info.sealed_cid).with_context(|| format!("read sector {}", info.number))?;
        Ok((info.number, comm_r))
    };
    infos.iter().map(comm_r).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(numbers: &[u64]) -> BitField {
        BitField::try_from_bits(numbers.iter().copied()).unwrap()
    }

    #[test]
    fn recovering_sectors_are_proven_and_other_faults_are_not() {
        let state = PartitionState {
            all: bits(&[0, 1, 2, 3, 4]),
            faulty: bits(&[1, 2]),
            recovering: bits(&[2]),
            live: bits(&[0, 1, 2, 3]),
            active: bits(&[0, 3]),
        };
        let reading = partition(&state);
        assert_eq!(reading.to_prove, [0, 2, 3].map(SectorNumber).into());
        assert_eq!(reading.faulty, 1);
    }

    #[test]
    fn terminated_sectors_are_nobodys_work() {
        let state = PartitionState {
            all: bits(&[0, 1]),
            faulty: bits(&[1]),
            recovering: bits(&[1]),
            live: bits(&[]),
            active: bits(&[]),
        };
        let reading = partition(&state);
        assert!(reading.to_prove.is_empty());
        assert_eq!(reading.faulty, 0);
    }
}
