//! What the chain says of a miner's sectors, in few questions: all of them in one, their places in one a deadline.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    ChainApi, ChainError,
    api::{SectorOnChain, TipSet},
    cids,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use fvm_ipld_bitfield::BitField;
use streams::id::{MinerId, SectorId, SectorNumber};

use super::decide::OnChain;

/// Questions under way at one time.
const ASKED_AT_ONCE: usize = 32;
/// From here on a set bit is taken for a mask (`CompactSectorNumbers`) and not for a number that was used.
const MASKED_FROM: u64 = 1 << 40;

/// A miner, as the chain has it.
#[derive(Debug, Default)]
pub(crate) struct MinerOnChain {
    /// The sectors that were asked about, and every other that is proving.
    pub(crate) sectors: BTreeMap<SectorNumber, OnChain>,
    /// The highest number the chain knows of.
    pub(crate) high_water: Option<SectorNumber>,
}

/// A miner that could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("ask the chain about miner {0}")]
    Chain(MinerId, #[source] ChainError),
    #[error("read what the chain says of miner {0}: {1}")]
    Answer(MinerId, String),
}

/// Reads all that the chain knows of these sectors, at one tipset.
pub(crate) async fn read(
    chain: &dyn ChainApi,
    miner: MinerId,
    asked: &BTreeSet<SectorNumber>,
    head: &TipSet,
) -> Result<MinerOnChain, ReadError> {
    let failed = |error| ReadError::Chain(miner, error);
    let places = places(chain, miner, head).await?;
    let mut found = MinerOnChain::default();

    let all: BTreeSet<SectorNumber> = places.keys().copied().chain(asked.iter().copied()).collect();
    let filter = BitField::try_from_bits(all.iter().map(|number| number.0))
        .map_err(|e| ReadError::Answer(miner, e.to_string()))?;
    for sector in chain.sectors(miner, &filter, &head.key).await.map_err(failed)? {
        if let Some(proving) = proving(&sector, &places, miner)? {
            found.sectors.insert(sector.number, proving);
        }
    }
    let allocated = chain.allocated_numbers(miner, &head.key).await.map_err(failed)?;
    let rest: Vec<SectorNumber> = asked.iter().filter(|number| !found.sectors.contains_key(number)).copied().collect();
    let rest: Vec<(SectorNumber, OnChain)> = stream::iter(rest)
        .map(|number| unproven(chain, SectorId { miner, number }, allocated.as_ref(), head))
        .buffer_unordered(ASKED_AT_ONCE)
        .try_collect()
        .await?;
    found.sectors.extend(rest);

    let used = allocated.as_ref().and_then(highest);
    let proving = found.sectors.iter().filter(|(_, what)| **what != OnChain::Nothing).map(|(number, _)| *number).max();
    found.high_water = used.max(proving);
    Ok(found)
}

/// The highest number in the set that is no mask.
fn highest(allocated: &BitField) -> Option<SectorNumber> {
    let below: Vec<_> = allocated.ranges().filter(|range| range.start < MASKED_FROM).collect();
    below.last().map(|range| SectorNumber(range.end.min(MASKED_FROM).saturating_sub(1)))
}

async fn places(
    chain: &dyn ChainApi,
    miner: MinerId,
    head: &TipSet,
) -> Result<BTreeMap<SectorNumber, (u64, u64)>, ReadError> {
    let failed = |error| ReadError::Chain(miner, error);
    let deadlines = chain.proving_deadline(miner, &head.key).await.map_err(failed)?.period_deadlines;
    let mut places = BTreeMap::new();
    for deadline in 0..deadlines {
        let partitions = chain.partitions(miner, deadline, &head.key).await.map_err(failed)?;
        for (partition, state) in (0_u64..).zip(partitions) {
            places.extend(state.live.iter().map(|number| (SectorNumber(number), (deadline, partition))));
        }
    }
    Ok(places)
}

/// A sector that is in no partition is terminated, though its info may be there for a while.
fn proving(
    sector: &SectorOnChain,
    places: &BTreeMap<SectorNumber, (u64, u64)>,
    miner: MinerId,
) -> Result<Option<OnChain>, ReadError> {
    let Some((deadline, partition)) = places.get(&sector.number).copied() else { return Ok(None) };
    let comm_r = cids::comm_r(&sector.sealed_cid).map_err(|e| ReadError::Answer(miner, e.to_string()))?;
    let SectorOnChain { activation, expiration, .. } = *sector;
    Ok(Some(OnChain::Proving { comm_r, activation, expiration, deadline, partition }))
}

/// A sector that is not proving: pre-committed, of old, or unknown to the chain.
async fn unproven(
    chain: &dyn ChainApi,
    id: SectorId,
    allocated: Option<&BitField>,
    head: &TipSet,
) -> Result<(SectorNumber, OnChain), ReadError> {
    let failed = |error| ReadError::Chain(id.miner, error);
    let is_used = match allocated {
        Some(allocated) => allocated.get(id.number.0),
        None => chain.sector_allocated(id.miner, id.number, &head.key).await.map_err(failed)?,
    };
    if !is_used {
        return Ok((id.number, OnChain::Nothing));
    }
    let Some(found) = chain.pre_commit(id.miner, id.number, &head.key).await.map_err(failed)? else {
        return Ok((id.number, OnChain::Spent));
    };
    let comm_r = cids::comm_r(&found.sealed_cid).map_err(|e| ReadError::Answer(id.miner, e.to_string()))?;
    Ok((id.number, OnChain::PreCommitted { comm_r, epoch: found.pre_commit_epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_not_taken_for_a_number() {
        let mut set = BitField::try_from_bits([1, 2, 17]).unwrap();
        assert_eq!(highest(&set), Some(SectorNumber(17)));
        set.set(MASKED_FROM + 5);
        assert_eq!(highest(&set), Some(SectorNumber(17)));
        assert_eq!(highest(&BitField::new()), None);
    }
}
