//! Sectors that others sealed: what is known of them, and a record for those whose files an agent has proven.
//!
//! The chain is read for each request, and what it says is what goes into the record; of the agent's word only "these
//! files are that replica" counts, and only for the replica that the chain has. A record is created and never
//! overwritten, so two agents with copies of one sector cannot both attach it, and a request may be made again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chain::{ChainApi, ChainError};
use streams::{
    attach::{
        AttachDone, AttachLook, AttachLookRequest, AttachRequest, AttachedOne, LookedAt, Outcome, ProvenFiles,
        SECTORS_MAX, Verdict,
    },
    error::QueueError,
    id::{Epoch, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId},
    kv::CasError,
    proof::SealProof,
    sector::{Attached, SectorRecord, SectorState},
};

use crate::{
    driver::Driver,
    miners::Miners,
    numbers::{NumberError, Numbers},
    rebuild::{
        decide::OnChain,
        onchain::{self, ReadError},
    },
    registry::RegistryError,
};

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("{0} sectors at once, the limit is {SECTORS_MAX}")]
    TooMany(usize),
    #[error("read the head")]
    Head(#[source] ChainError),
    #[error(transparent)]
    Chain(#[from] ReadError),
    #[error("note a number")]
    Number(#[from] NumberError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("create a record")]
    Queue(#[from] QueueError),
}

/// Answers for sectors that others sealed.
#[derive(Clone)]
pub(crate) struct Attaching {
    pub(crate) driver: Driver,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) miners: Arc<Miners>,
    pub(crate) numbers: Numbers,
    /// The life of the queue that they belong to.
    pub(crate) incarnation: Incarnation,
}

impl Attaching {
    /// Which of these can be attached.
    pub(crate) async fn look(&self, request: AttachLookRequest) -> Result<AttachLook, AttachError> {
        let verdicts = self.verdicts(&request.sectors).await?;
        let looked_at = |sector: &SectorId| {
            let verdict = verdicts.get(sector).cloned()?;
            Some(LookedAt { sector: *sector, verdict })
        };
        let sectors = request.sectors.iter().filter_map(looked_at).collect();
        Ok(AttachLook { incarnation: self.incarnation, sectors })
    }

    /// Creates the records of those that can be.
    pub(crate) async fn attach(&self, request: AttachRequest) -> Result<AttachDone, AttachError> {
        let AttachRequest { store, place, sectors } = request;
        let asked: Vec<SectorId> = sectors.iter().map(|files| files.sector).collect();
        let verdicts = self.verdicts(&asked).await?;
        let mut done = Vec::with_capacity(sectors.len());
        for files in sectors {
            let outcome = match verdicts.get(&files.sector) {
                Some(verdict) => self.attach_one(files, verdict, store, &place).await?,
                None => Outcome::Refused { why: "nothing is known of it".to_owned() },
            };
            done.push(AttachedOne { sector: files.sector, outcome });
        }
        Ok(AttachDone { sectors: done })
    }

    async fn verdicts(&self, sectors: &[SectorId]) -> Result<BTreeMap<SectorId, Verdict>, AttachError> {
        if sectors.len() > SECTORS_MAX {
            return Err(AttachError::TooMany(sectors.len()));
        }
        let head = self.chain.head().await.map_err(AttachError::Head)?;
        let mut by_miner: BTreeMap<MinerId, BTreeSet<SectorNumber>> = BTreeMap::new();
        for sector in sectors {
            by_miner.entry(sector.miner).or_default().insert(sector.number);
        }
        let mut verdicts = BTreeMap::new();
        for (miner, numbers) in by_miner {
            let known = self.miners.get(miner);
            let on_chain = match &known {
                Some(_) => onchain::read(&*self.chain, miner, &numbers, &head).await?.sectors,
                None => BTreeMap::new(),
            };
            for number in numbers {
                let id = SectorId { miner, number };
                let found =
                    known.as_ref().map(|miner| (miner.proof, on_chain.get(&number).copied().unwrap_or_default()));
                let record = self.record(id).await?;
                verdicts.insert(id, verdict(record.as_ref(), found, head.height));
            }
        }
        Ok(verdicts)
    }

    async fn record(&self, id: SectorId) -> Result<Option<SectorRecord>, RegistryError> {
        match self.driver.registry().get(id).await {
            Ok(record) => Ok(Some(record)),
            Err(RegistryError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn attach_one(
        &self,
        files: ProvenFiles,
        verdict: &Verdict,
        store: StoreId,
        place: &Place,
    ) -> Result<Outcome, AttachError> {
        let refused = |why: String| Ok(Outcome::Refused { why });
        let (proof, state) = match *verdict {
            Verdict::Proving { attached_in: Some(known), .. } => return Ok(again(known, store)),
            Verdict::Proving { comm_r, .. } if comm_r != files.comm_r => {
                return refused(format!("the chain has replica {comm_r}, and {} was proven", files.comm_r));
            }
            Verdict::Proving { proof, comm_r, activation, expiration, deadline, partition, attached_in: None } => {
                let state = SectorState::Proving {
                    sealed: Attached { comm_r, store, place: place.clone() }.into(),
                    pre_commit: None,
                    seed: None,
                    prove_commit: None,
                    activation,
                    expiration,
                    deadline,
                    partition,
                    finalized: true,
                };
                (proof, state)
            }
            Verdict::Ours { ref state } => return refused(ours(state)),
            Verdict::Refused { ref why } => return refused(why.clone()),
        };
        let now = self.driver.registry().now();
        // Before there is a record: a number that is in use is never given, whatever happens next.
        self.numbers.keep(files.sector, now).await?;
        let record = SectorRecord {
            state,
            what: format!("attached from store {store} at {place}"),
            ..SectorRecord::new(files.sector, self.incarnation, proof, Vec::new(), now)
        };
        match self.driver.registry().create(&record).await {
            Ok(()) => {}
            Err(CasError::Lost { .. }) => {
                let found = self.driver.registry().get(record.id).await?;
                return match found.state.attached() {
                    Some(attached) => Ok(again(attached.store, store)),
                    None => refused(ours(found.state.name())),
                };
            }
            Err(CasError::Queue(error)) => return Err(error.into()),
        }
        tracing::info!(sector = %record.id, %store, %place, "attached");
        self.driver.begin(&record).await;
        Ok(Outcome::Attached {})
    }
}

fn again(known: StoreId, store: StoreId) -> Outcome {
    if known == store {
        return Outcome::Before {};
    }
    Outcome::Refused { why: format!("it is attached in store {known}") }
}

fn ours(state: &str) -> String {
    format!("this cluster sealed it: it is {state}")
}

/// Whether a sector can be attached. Nothing of the chain is known where its miner is another's.
fn verdict(record: Option<&SectorRecord>, found: Option<(SealProof, OnChain)>, head: Epoch) -> Verdict {
    let refused = |why: String| Verdict::Refused { why };
    let attached_in = match record.map(|record| &record.state) {
        None => None,
        Some(state) => match state.attached() {
            Some(attached) => Some(attached.store),
            None => return Verdict::Ours { state: state.name().to_owned() },
        },
    };
    let Some((proof, on_chain)) = found else {
        return refused("its miner is not one of this coordinator's".to_owned());
    };
    match on_chain {
        OnChain::Proving { expiration, .. } if expiration <= head => {
            refused(format!("it expired at epoch {expiration}"))
        }
        OnChain::Proving { comm_r, activation, expiration, deadline, partition } => {
            Verdict::Proving { proof, comm_r, activation, expiration, deadline, partition, attached_in }
        }
        OnChain::PreCommitted { epoch, .. } => refused(format!(
            "it was pre-committed at epoch {epoch} and never proven: it is finished where it was begun"
        )),
        OnChain::Spent => refused("the chain has it no more: it expired, or was terminated".to_owned()),
        OnChain::Nothing => refused("the chain does not know it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use streams::proof::Bytes32;

    use super::*;
    use crate::sector::tests::sample;

    const HEAD: Epoch = 100;
    const PROOF: SealProof = SealProof::Drg2KiBV1_1;

    fn proving(expiration: Epoch) -> OnChain {
        OnChain::Proving { comm_r: Bytes32([7; 32]), activation: 5, expiration, deadline: 3, partition: 1 }
    }

    fn why(record: Option<&SectorRecord>, found: Option<(SealProof, OnChain)>) -> String {
        match verdict(record, found, HEAD) {
            Verdict::Refused { why } => why,
            Verdict::Ours { state } => ours(&state),
            Verdict::Proving { attached_in, .. } => format!("attached in {attached_in:?}"),
        }
    }

    #[test]
    fn only_what_is_proving_for_a_miner_of_ours_can_be_attached() {
        for (found, words) in [
            (None, "not one of this coordinator's"),
            (Some((PROOF, OnChain::Nothing)), "does not know"),
            (Some((PROOF, OnChain::Spent)), "no more"),
            (Some((PROOF, OnChain::PreCommitted { comm_r: Bytes32([7; 32]), epoch: 90 })), "epoch 90"),
            (Some((PROOF, proving(HEAD))), "expired at epoch 100"),
            (Some((PROOF, proving(HEAD + 1))), "attached in None"),
        ] {
            let said = why(None, found);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn what_has_a_record_keeps_it() {
        let found = Some((PROOF, proving(1_000)));
        let sealed_here = sample::record(sample::proving(true));
        assert_eq!(why(Some(&sealed_here), found), "this cluster sealed it: it is proving");
        let attached = sample::record(sample::attached());
        assert_eq!(why(Some(&attached), found), format!("attached in {:?}", Some(sample::store(2))));
        assert_eq!(again(sample::store(2), sample::store(2)), Outcome::Before {});
        assert!(matches!(again(sample::store(2), sample::store(3)), Outcome::Refused { .. }));
    }
}
