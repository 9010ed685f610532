//! A sector's part of a `ProveCommitSectors3`.

use chain::{
    ChainError,
    api::PreCommitOnChain,
    params::{ProveCommitSector, no_value},
    randomness::{entropy, tag},
};
use streams::{
    id::{Epoch, MinerId, SectorId},
    proof::Drawn,
    sector::{PreCommit, SectorRecord, SectorState},
};

use super::carrier::{Cargo, Carrier, NotReady, Passenger};
use crate::sector::{Event, park::Code};

impl Carrier {
    /// Checks that the seed is still the chain's, after whatever reorganisation there was, and asks for the pledge.
    pub(super) async fn prepare_prove_commit(&self, sector: SectorId) -> Result<Passenger, NotReady> {
        let record = self.driver.registry().get(sector).await.map_err(|e| NotReady::Later(e.to_string()))?;
        let SectorState::C2Done { pre_commit, seed, proof, .. } = &record.state else {
            return Err(NotReady::Elsewhere);
        };
        let on_chain = self.still_pre_committed(&record, pre_commit).await?;
        if on_chain.pre_commit_epoch != pre_commit.epoch {
            tracing::warn!(%sector, "its pre-commit moved from epoch {} to {}", pre_commit.epoch, on_chain.pre_commit_epoch);
            let event = match &pre_commit.message {
                Some(message) => Event::PreCommitReorged { message: message.clone() },
                // Known from the chain alone: a person has it read again.
                None => {
                    let text = "a fork moved its pre-commit, whose message is not known since a rebuild: rebuild again";
                    Event::Rejected { code: Code::PreCommitGone, text: text.to_owned() }
                }
            };
            self.tell(sector, event).await?;
            return Err(NotReady::Elsewhere);
        }
        let later = |e: ChainError| NotReady::Later(e.to_string());
        let drawn = self.draw_seed(sector.miner, on_chain.pre_commit_epoch).await.map_err(later)?;
        if drawn != *seed {
            tracing::warn!(%sector, "the seed moved from epoch {} to {}: C1 and C2 are done again", seed.epoch, drawn.epoch);
            self.tell(sector, Event::SeedDrawn { seed: drawn }).await?;
            return Err(NotReady::Elsewhere);
        }
        let pledge =
            self.chain.initial_pledge(sector.miner, self.life, record.proof, 0, &Vec::new()).await.map_err(later)?;
        let value = if pledge > on_chain.deposit { pledge - on_chain.deposit } else { no_value() };
        let cargo = ProveCommitSector {
            number: sector.number,
            pieces: record.pieces.iter().map(|piece| (piece.commitment, piece.padded_bytes)).collect(),
            proof: proof.0.clone(),
        };
        Ok(Passenger { sector, value, cargo: Cargo::ProveCommit(cargo) })
    }

    async fn still_pre_committed(
        &self,
        record: &SectorRecord,
        pre_commit: &PreCommit,
    ) -> Result<PreCommitOnChain, NotReady> {
        let sector = record.id;
        let later = |e: ChainError| NotReady::Later(e.to_string());
        if let Some(found) = self.chain.pre_commit(sector.miner, sector.number, &Vec::new()).await.map_err(later)? {
            return Ok(found);
        }
        let head = self.chain.head().await.map_err(later)?.height;
        let due = pre_commit.epoch.saturating_add(self.policy.prove_commit_duration_max);
        if head > due.saturating_add(self.policy.pre_commit_clean_up_delay) {
            let text = format!("the pre-commit of epoch {} expired at epoch {due}", pre_commit.epoch);
            self.tell(sector, Event::Rejected { code: Code::PreCommitGone, text }).await?;
            return Err(NotReady::Elsewhere);
        }
        Err(NotReady::Later("its pre-commit is not on chain at this head".to_owned()))
    }

    async fn tell(&self, sector: SectorId, event: Event) -> Result<(), NotReady> {
        self.driver.tell(sector, event).await.map(|_| ()).map_err(|e| NotReady::Later(e.to_string()))
    }

    /// The seed of a sector, if the chain has its pre-commit in the epoch that its record says.
    pub(super) async fn seed_of(&self, sector: SectorId, pre_commit: Epoch) -> Result<Option<Drawn>, ChainError> {
        let found = self.chain.pre_commit(sector.miner, sector.number, &Vec::new()).await?;
        if found.is_none_or(|found| found.pre_commit_epoch != pre_commit) {
            return Ok(None);
        }
        self.draw_seed(sector.miner, pre_commit).await.map(Some)
    }

    /// The seed's epoch follows from the pre-commit's, its value from the beacon.
    pub(super) async fn draw_seed(&self, miner: MinerId, pre_commit: Epoch) -> Result<Drawn, ChainError> {
        let epoch = self.seed_epoch(pre_commit);
        let tag = tag::INTERACTIVE_SEAL_CHALLENGE_SEED;
        let value = self.chain.randomness_from_beacon(tag, epoch, &entropy(miner), &Vec::new()).await?;
        Ok(Drawn { epoch, value })
    }

    pub(super) const fn seed_epoch(&self, pre_commit: Epoch) -> Epoch {
        pre_commit.saturating_add(self.policy.pre_commit_challenge_delay)
    }
}
