//! One miner's state, and what messages do to it.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    api::{PreCommitOnChain, SectorLocation, SectorOnChain},
    cids,
    params::{
        BatchReturn, DeclareFaultsRecoveredParams, PreCommitSectorBatchParams2, ProveCommitSectors3Params,
        SubmitWindowedPoStParams,
    },
    policy::NetworkPolicy,
    randomness::{clear_top_bits, entropy, tag},
};
use fil_actors_shared::v18::FailCode;
use fvm_shared::{econ::TokenAmount, error::ExitCode};
use prover::{SealStatement, Verifier, WindowPostStatement};
use streams::{
    id::{Epoch, MinerId, SectorNumber},
    proof::{Bytes32, Commitment, Drawn, SealProof},
};

/// What every simulated sector is sealed with.
pub(crate) const SEAL: SealProof = SealProof::Drg2KiBV1_1;
/// Sectors in a full partition.
pub(crate) const PARTITION_SECTORS: usize = 2;

const ILLEGAL: u32 = 16;
const NOT_FOUND: u32 = 17;
const FORBIDDEN: u32 = 18;

#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    pub(super) live: BTreeSet<u64>,
    pub(super) faulty: BTreeSet<u64>,
    pub(super) recovering: BTreeSet<u64>,
}

impl Partition {
    fn to_prove(&self) -> BTreeSet<u64> {
        self.live.iter().filter(|n| !self.faulty.contains(n) || self.recovering.contains(n)).copied().collect()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Deadline {
    pub(super) partitions: Vec<Partition>,
    pub(super) submitted: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct PreCommitted {
    pub(super) on_chain: PreCommitOnChain,
    expiration: Epoch,
    unsealed: Option<Commitment>,
}

/// A miner.
#[derive(Debug, Clone, Default)]
pub(super) struct Miner {
    pub(super) allocated: BTreeSet<u64>,
    pub(super) pre_commits: BTreeMap<u64, PreCommitted>,
    pub(super) sectors: BTreeMap<u64, SectorOnChain>,
    pub(super) deadlines: Vec<Deadline>,
}

/// A window of a deadline: its index, its first epoch, the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) index: u64,
    pub(super) open: Epoch,
    pub(super) close: Epoch,
}

/// The window that an epoch is in.
pub(super) fn window_at(policy: &NetworkPolicy, epoch: Epoch) -> Window {
    let number = epoch.div_euclid(policy.challenge_window);
    let deadlines = Epoch::try_from(policy.period_deadlines).unwrap_or(1);
    let open = number * policy.challenge_window;
    let index = u64::try_from(number.rem_euclid(deadlines)).unwrap_or(0);
    Window { index, open, close: open + policy.challenge_window }
}

/// What a message needs to know of the chain it is executed on.
pub(super) struct Around<'a> {
    pub(super) id: MinerId,
    pub(super) epoch: Epoch,
    pub(super) policy: &'a NetworkPolicy,
    pub(super) verifier: &'a dyn Verifier,
    /// Draws from tickets or from the beacon.
    pub(super) tickets: &'a dyn Fn(i64, Epoch, &[u8]) -> Bytes32,
    pub(super) beacon: &'a dyn Fn(i64, Epoch, &[u8]) -> Bytes32,
    pub(super) zero_comm_d: Commitment,
    pub(super) is_owner: bool,
}

/// A message's return value, or its exit code.
pub(super) type Done = Result<Vec<u8>, u32>;

impl Miner {
    pub(super) fn new(policy: &NetworkPolicy) -> Self {
        let deadlines = (0..policy.period_deadlines).map(|_| Deadline::default()).collect();
        Self { deadlines, ..Self::default() }
    }

    pub(super) fn pre_commit(&mut self, around: &Around<'_>, params: &[u8]) -> Done {
        let params: PreCommitSectorBatchParams2 = fvm_ipld_encoding::from_slice(params).map_err(|_| ILLEGAL)?;
        if !around.is_owner {
            return Err(FORBIDDEN);
        }
        let mut numbers = BTreeSet::new();
        for sector in &params.sectors {
            let oldest = around.epoch - around.policy.ticket_age_max;
            let fits = sector.seal_rand_epoch < around.epoch && sector.seal_rand_epoch >= oldest;
            if !fits || !numbers.insert(sector.sector_number) || self.allocated.contains(&sector.sector_number) {
                return Err(ILLEGAL);
            }
        }
        for sector in params.sectors {
            let unsealed = match &sector.unsealed_cid.0 {
                Some(cid) => Some(cids::comm_d(cid).map_err(|_| ILLEGAL)?),
                None => None,
            };
            let on_chain = PreCommitOnChain {
                sealed_cid: sector.sealed_cid,
                seal_rand_epoch: sector.seal_rand_epoch,
                pre_commit_epoch: around.epoch,
                deposit: TokenAmount::from_atto(1),
            };
            self.allocated.insert(sector.sector_number);
            let expiration = sector.expiration;
            self.pre_commits.insert(sector.sector_number, PreCommitted { on_chain, expiration, unsealed });
        }
        Ok(Vec::new())
    }

    pub(super) fn prove_commit(&mut self, around: &Around<'_>, params: &[u8]) -> Done {
        let params: ProveCommitSectors3Params = fvm_ipld_encoding::from_slice(params).map_err(|_| ILLEGAL)?;
        if !around.is_owner || params.sector_activations.len() != params.sector_proofs.len() {
            return Err(FORBIDDEN);
        }
        let (mut fail_codes, mut success_count) = (Vec::new(), 0_u32);
        let manifests = params.sector_activations.iter().zip(&params.sector_proofs);
        for (idx, (manifest, proof)) in (0_u32..).zip(manifests) {
            match self.activate(around, manifest.sector_number, proof.bytes()) {
                Ok(()) => success_count += 1,
                Err(code) => fail_codes.push(FailCode { idx, code: ExitCode::new(code) }),
            }
        }
        if success_count == 0 {
            return Err(ILLEGAL);
        }
        fvm_ipld_encoding::to_vec(&BatchReturn { success_count, fail_codes }).map_err(|_| ILLEGAL)
    }

    fn activate(&mut self, around: &Around<'_>, number: u64, proof: &[u8]) -> Result<(), u32> {
        let found = self.pre_commits.get(&number).ok_or(NOT_FOUND)?;
        let seed_epoch = found.on_chain.pre_commit_epoch + around.policy.pre_commit_challenge_delay;
        if around.epoch <= seed_epoch {
            return Err(FORBIDDEN);
        }
        let ticket_epoch = found.on_chain.seal_rand_epoch;
        let bound = entropy(around.id);
        let statement = SealStatement {
            proof: SEAL,
            miner: around.id,
            number: SectorNumber(number),
            comm_r: cids::comm_r(&found.on_chain.sealed_cid).map_err(|_| ILLEGAL)?,
            comm_d: found.unsealed.unwrap_or(around.zero_comm_d),
            ticket: Drawn { epoch: ticket_epoch, value: (around.tickets)(tag::SEAL_RANDOMNESS, ticket_epoch, &bound) },
            seed: Drawn {
                epoch: seed_epoch,
                value: (around.beacon)(tag::INTERACTIVE_SEAL_CHALLENGE_SEED, seed_epoch, &bound),
            },
        };
        if !around.verifier.seal(&statement, proof).unwrap_or(false) {
            return Err(ILLEGAL);
        }
        let sector = SectorOnChain {
            number: SectorNumber(number),
            seal_proof: SEAL.number(),
            sealed_cid: found.on_chain.sealed_cid,
            activation: around.epoch,
            expiration: found.expiration,
            initial_pledge: TokenAmount::from_atto(1),
        };
        self.pre_commits.remove(&number);
        self.sectors.insert(number, sector);
        self.assign(around, number);
        Ok(())
    }

    /// Puts a sector into a deadline that opens more than one window ahead.
    fn assign(&mut self, around: &Around<'_>, number: u64) {
        let deadlines = around.policy.period_deadlines.max(4);
        let now = window_at(around.policy, around.epoch).index;
        let index = (now + 2 + number % (deadlines - 3)) % deadlines;
        let Some(deadline) = usize::try_from(index).ok().and_then(|index| self.deadlines.get_mut(index)) else {
            return;
        };
        let room = deadline.partitions.iter().position(|partition| partition.live.len() < PARTITION_SECTORS);
        let partition = room.unwrap_or_else(|| {
            deadline.partitions.push(Partition::default());
            deadline.partitions.len() - 1
        });
        if let Some(partition) = deadline.partitions.get_mut(partition) {
            partition.live.insert(number);
        }
    }

    pub(super) fn window_post(&mut self, around: &Around<'_>, params: &[u8]) -> Done {
        let params: SubmitWindowedPoStParams = fvm_ipld_encoding::from_slice(params).map_err(|_| ILLEGAL)?;
        let window = window_at(around.policy, around.epoch);
        let challenge = window.open - around.policy.challenge_lookback;
        let committed = (around.tickets)(tag::POST_CHAIN_COMMIT, params.chain_commit_epoch, &[]);
        let in_time = (challenge..around.epoch).contains(&params.chain_commit_epoch);
        if !around.is_owner || params.deadline != window.index || !in_time || params.chain_commit_rand.0 != committed.0
        {
            return Err(ILLEGAL);
        }
        let drawn = (around.beacon)(tag::WINDOWED_POST_CHALLENGE_SEED, challenge, &entropy(around.id));
        let sectors = self.sectors.clone();
        let index = usize::try_from(params.deadline).map_err(|_| ILLEGAL)?;
        let deadline = self.deadlines.get_mut(index).ok_or(ILLEGAL)?;
        let mut listed = Vec::new();
        for part in &params.partitions {
            let at =
                usize::try_from(part.index).ok().and_then(|index| deadline.partitions.get(index)).ok_or(NOT_FOUND)?;
            if deadline.submitted.contains(&part.index) {
                return Err(ILLEGAL);
            }
            let proven = at.to_prove().into_iter().filter(|number| !part.skipped.get(*number));
            for number in proven {
                let comm_r = sectors.get(&number).and_then(|s| cids::comm_r(&s.sealed_cid).ok()).ok_or(NOT_FOUND)?;
                listed.push((SectorNumber(number), comm_r));
            }
        }
        let randomness = clear_top_bits(drawn);
        let statement = WindowPostStatement { proof: SEAL, miner: around.id, randomness, sectors: listed };
        let proof = params.proofs.first().map(|proof| proof.proof_bytes.as_slice()).unwrap_or_default();
        if !around.verifier.window_post(&statement, proof).unwrap_or(false) {
            return Err(ILLEGAL);
        }
        for part in &params.partitions {
            deadline.submitted.insert(part.index);
            let at = usize::try_from(part.index).ok().and_then(|index| deadline.partitions.get_mut(index));
            let Some(at) = at else { continue };
            let skipped: BTreeSet<u64> = at.live.iter().copied().filter(|number| part.skipped.get(*number)).collect();
            at.faulty = at.faulty.difference(&at.recovering).copied().chain(skipped).collect();
            at.recovering.clear();
        }
        Ok(Vec::new())
    }

    pub(super) fn recover(&mut self, around: &Around<'_>, params: &[u8]) -> Done {
        let params: DeclareFaultsRecoveredParams = fvm_ipld_encoding::from_slice(params).map_err(|_| ILLEGAL)?;
        if !around.is_owner {
            return Err(FORBIDDEN);
        }
        for declared in &params.recoveries {
            let deadline = usize::try_from(declared.deadline).ok().and_then(|index| self.deadlines.get_mut(index));
            let partition = usize::try_from(declared.partition).ok();
            let at = deadline.and_then(|d| partition.and_then(|index| d.partitions.get_mut(index))).ok_or(NOT_FOUND)?;
            for number in declared.sectors.iter().filter(|number| at.faulty.contains(number)).collect::<Vec<_>>() {
                at.recovering.insert(number);
            }
        }
        Ok(Vec::new())
    }

    /// The last epoch of a window has passed: what was not proven is faulty. Returns the partitions that were missed.
    pub(super) fn close(&mut self, window: Window) -> Vec<u64> {
        let Some(deadline) = usize::try_from(window.index).ok().and_then(|index| self.deadlines.get_mut(index)) else {
            return Vec::new();
        };
        let submitted = std::mem::take(&mut deadline.submitted);
        let mut missed = Vec::new();
        for (index, partition) in (0..).zip(&mut deadline.partitions) {
            if submitted.contains(&index) {
                continue;
            }
            if !partition.to_prove().is_empty() {
                missed.push(index);
            }
            partition.recovering.clear();
            partition.faulty = partition.live.clone();
        }
        missed
    }

    pub(super) fn location(&self, number: u64) -> Option<SectorLocation> {
        (0..).zip(&self.deadlines).find_map(|(deadline, held)| {
            let found = (0..).zip(&held.partitions).find(|(_, partition)| partition.live.contains(&number));
            found.map(|(partition, _)| SectorLocation { deadline, partition })
        })
    }
}
