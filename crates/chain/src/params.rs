//! Parameters and returns of the actor methods in use, as CBOR.
//!
//! The types are the miner actor's own (`fil_actor_miner_state`, actors v18), so the encoding is the one the actor
//! reads; the golden bytes below hold it still.

use std::collections::BTreeMap;

use fil_actor_power_state::v18 as power;
use fvm_ipld_bitfield::BitField;
use fvm_ipld_encoding::{BytesDe, RawBytes, to_vec};
use fvm_shared::{
    address::Address,
    econ::TokenAmount,
    piece::PaddedPieceSize,
    randomness::Randomness,
    sector::{PoStProof, RegisteredPoStProof, RegisteredSealProof},
};
use streams::{
    id::{Epoch, SectorNumber},
    proof::{Bytes32, Commitment, SealProof},
};

pub use fil_actor_miner_state::v18::{
    CompactCommD, DeclareFaultsRecoveredParams, PieceActivationManifest, PoStPartition, PreCommitSectorBatchParams2,
    ProveCommitSectors3Params, RecoveryDeclaration, SectorActivationManifest, SectorPreCommitInfo,
    SubmitWindowedPoStParams,
};
pub use fil_actors_shared::v18::BatchReturn;
pub use power::{CreateMinerParams, CreateMinerReturn};

use crate::cids;

/// Method numbers.
pub mod method {
    /// A plain transfer.
    pub const SEND: u64 = 0;
    /// Of the power actor.
    pub const CREATE_MINER: u64 = 2;
    /// Of a miner: window PoSt.
    pub const SUBMIT_WINDOWED_POST: u64 = 5;
    /// Of a miner: recoveries.
    pub const DECLARE_FAULTS_RECOVERED: u64 = 11;
    /// Of a miner: the only pre-commit.
    pub const PRE_COMMIT_SECTOR_BATCH2: u64 = 28;
    /// Of a miner: the only prove-commit of interactive PoRep.
    pub const PROVE_COMMIT_SECTORS3: u64 = 34;
}

/// Parameters that cannot be written, or a return that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadParams {
    /// CBOR.
    #[error("encode parameters")]
    Cbor(#[from] fvm_ipld_encoding::Error),
    /// A commitment that is none.
    #[error("encode parameters: {0}")]
    Cid(#[from] cids::BadCid),
    /// A set of numbers that is too large.
    #[error("encode parameters: {0}")]
    Bits(String),
}

/// A sector to pre-commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreCommitSector {
    /// Its number.
    pub number: SectorNumber,
    /// Its seal proof type.
    pub proof: SealProof,
    /// CommR.
    pub comm_r: Commitment,
    /// CommD; `None` for a CC sector, whose data is zeros.
    pub comm_d: Option<Commitment>,
    /// The ticket's epoch.
    pub ticket_epoch: Epoch,
    /// When the sector ends.
    pub expiration: Epoch,
}

impl PreCommitSector {
    /// As the chain reads it. Deal ids stay empty: prove-commit refuses a pre-commit that has any.
    pub fn info(&self) -> Result<SectorPreCommitInfo, BadParams> {
        Ok(SectorPreCommitInfo {
            seal_proof: RegisteredSealProof::from(self.proof.number()),
            sector_number: self.number.0,
            sealed_cid: cids::sealed(&self.comm_r)?,
            seal_rand_epoch: self.ticket_epoch,
            deal_ids: Vec::new(),
            expiration: self.expiration,
            unsealed_cid: CompactCommD::new(self.comm_d.as_ref().map(cids::unsealed).transpose()?),
        })
    }
}

/// Parameters of `PreCommitSectorBatch2`.
pub fn pre_commit(sectors: &[PreCommitSector]) -> Result<Vec<u8>, BadParams> {
    let sectors = sectors.iter().map(PreCommitSector::info).collect::<Result<_, _>>()?;
    Ok(to_vec(&PreCommitSectorBatchParams2 { sectors })?)
}

/// A sector to activate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProveCommitSector {
    /// Its number.
    pub number: SectorNumber,
    /// Its pieces in order, commitment and padded size; none in a CC sector.
    pub pieces: Vec<(Commitment, u64)>,
    /// The PoRep.
    pub proof: Vec<u8>,
}

/// Parameters of `ProveCommitSectors3` with one proof a sector. A sector that cannot be activated does not hold back
/// the others.
pub fn prove_commit(sectors: &[ProveCommitSector]) -> Result<Vec<u8>, BadParams> {
    let manifest = |sector: &ProveCommitSector| {
        let piece = |(commitment, padded_bytes): &(Commitment, u64)| {
            Ok(PieceActivationManifest {
                cid: cids::unsealed(commitment)?,
                size: PaddedPieceSize(*padded_bytes),
                verified_allocation_key: None,
                notify: Vec::new(),
            })
        };
        let pieces = sector.pieces.iter().map(piece).collect::<Result<_, BadParams>>()?;
        Ok(SectorActivationManifest { sector_number: sector.number.0, pieces })
    };
    Ok(to_vec(&ProveCommitSectors3Params {
        sector_activations: sectors.iter().map(manifest).collect::<Result<_, BadParams>>()?,
        sector_proofs: sectors.iter().map(|s| RawBytes::new(s.proof.clone())).collect(),
        aggregate_proof: RawBytes::default(),
        aggregate_proof_type: None,
        require_activation_success: false,
        require_notification_success: false,
    })?)
}

/// A window PoSt to submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPoSt {
    /// The deadline, which must be open.
    pub deadline: u64,
    /// Partitions, each with the sectors skipped.
    pub partitions: Vec<(u64, Vec<SectorNumber>)>,
    /// `RegisteredPoStProof` number of the miner.
    pub proof_type: i64,
    /// The proof: all partitions' in order.
    pub proof: Vec<u8>,
    /// An epoch from the challenge on, before the one it lands in.
    pub chain_commit_epoch: Epoch,
    /// Randomness from tickets at that epoch, tag 9, no entropy.
    pub chain_commit_rand: Bytes32,
}

/// Parameters of `SubmitWindowedPoSt`.
pub fn submit_window_post(post: &WindowPoSt) -> Result<Vec<u8>, BadParams> {
    let partition =
        |(index, skipped): &(u64, Vec<SectorNumber>)| Ok(PoStPartition { index: *index, skipped: bits(skipped)? });
    Ok(to_vec(&SubmitWindowedPoStParams {
        deadline: post.deadline,
        partitions: post.partitions.iter().map(partition).collect::<Result<_, BadParams>>()?,
        proofs: vec![PoStProof {
            post_proof: RegisteredPoStProof::from(post.proof_type),
            proof_bytes: post.proof.clone(),
        }],
        chain_commit_epoch: post.chain_commit_epoch,
        chain_commit_rand: Randomness(post.chain_commit_rand.0.to_vec()),
    })?)
}

/// Sectors of one partition declared recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Their deadline.
    pub deadline: u64,
    /// Their partition.
    pub partition: u64,
    /// The sectors.
    pub sectors: Vec<SectorNumber>,
}

/// Parameters of `DeclareFaultsRecovered`.
pub fn declare_recovered(recoveries: &[Recovery]) -> Result<Vec<u8>, BadParams> {
    let declaration = |r: &Recovery| {
        Ok(RecoveryDeclaration { deadline: r.deadline, partition: r.partition, sectors: bits(&r.sectors)? })
    };
    let recoveries = recoveries.iter().map(declaration).collect::<Result<_, BadParams>>()?;
    Ok(to_vec(&DeclareFaultsRecoveredParams { recoveries })?)
}

/// Parameters of `CreateMiner`.
pub fn create_miner(
    owner: Address,
    worker: Address,
    proof: SealProof,
    peer: Vec<u8>,
    multiaddrs: Vec<Vec<u8>>,
) -> Result<Vec<u8>, BadParams> {
    Ok(to_vec(&CreateMinerParams {
        owner,
        worker,
        window_post_proof_type: RegisteredPoStProof::from(proof.window_post_number()),
        peer,
        multiaddrs: multiaddrs.into_iter().map(BytesDe).collect(),
    })?)
}

/// Reads the return of `CreateMiner`.
pub fn created_miner(return_value: &[u8]) -> Result<CreateMinerReturn, BadParams> {
    Ok(fvm_ipld_encoding::from_slice(return_value)?)
}

/// Reads the return of `ProveCommitSectors3`: which sectors failed, by their index in the batch, with exit codes.
pub fn batch_failures(return_value: &[u8]) -> Result<Vec<(usize, u32)>, BadParams> {
    let batch: BatchReturn = fvm_ipld_encoding::from_slice(return_value)?;
    batch
        .fail_codes
        .iter()
        .map(|fail| {
            let index = usize::try_from(fail.idx).map_err(|e| BadParams::Bits(e.to_string()))?;
            Ok((index, fail.code.value()))
        })
        .collect()
}

/// Reads parameters of `ProveCommitSectors3`: the proof of each sector.
pub fn proofs(params: &[u8]) -> Result<BTreeMap<SectorNumber, Vec<u8>>, BadParams> {
    let params: ProveCommitSectors3Params = fvm_ipld_encoding::from_slice(params)?;
    let numbers = params.sector_activations.iter().map(|sector| SectorNumber(sector.sector_number));
    Ok(numbers.zip(params.sector_proofs.into_iter().map(|proof| proof.to_vec())).collect())
}

/// Nothing to send.
#[must_use]
pub fn no_value() -> TokenAmount {
    TokenAmount::from_atto(0)
}

fn bits(numbers: &[SectorNumber]) -> Result<BitField, BadParams> {
    BitField::try_from_bits(numbers.iter().map(|n| n.0)).map_err(|e| BadParams::Bits(e.to_string()))
}

#[cfg(test)]
mod tests {
    use fil_actor_miner_state::v18::{DataActivationNotification, VerifiedAllocationKey};
    use fvm_ipld_encoding::from_slice;

    use super::*;

    const COMM_R: &str = "bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz";
    const ZERO_32_GIB: &str = "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq";

    // Executed by the real v18 actor, or decoded and written again byte for byte by its types.
    const PRE_COMMIT: &str = "8182870807d82a5829000182e20381e802204d77208f60bfea4bd26a341e8fa1f22627279837ed65df1ec959bafbd4a411591904d2801a00186a00d82a5828000181e203922020077e5fde35c50a9303a55009e3498a4ebedff39c42b710b730d8ec7ac7afa63e870808d82a5829000182e20381e802204d77208f60bfea4bd26a341e8fa1f22627279837ed65df1ec959bafbd4a411591904d2801a00186a00f6";
    const PROVE_COMMIT: &str = "868282078082088184d82a5828000181e203922020077e5fde35c50a9303a55009e3498a4ebedff39c42b710b730d8ec7ac7afa63e1b0000000800000000821903e9182a81824200054319010282430102034304050640f6f5f4";
    const POST: &str =
        "850281820042701481820d4409090909190b4058200707070707070707070707070707070707070707070707070707070707070707";
    const RECOVERED: &str = "8181830200427014";

    fn comm_r() -> Commitment {
        cids::comm_r(&cids::parse(COMM_R).unwrap()).unwrap()
    }

    fn comm_d() -> Commitment {
        cids::comm_d(&cids::parse(ZERO_32_GIB).unwrap()).unwrap()
    }

    #[test]
    fn pre_commits_have_the_bytes_the_actor_reads() {
        let sector = |number, comm_d| PreCommitSector {
            number: SectorNumber(number),
            proof: SealProof::Drg32GiBV1_1,
            comm_r: comm_r(),
            comm_d,
            ticket_epoch: 1234,
            expiration: 1_600_000,
        };
        let bytes = pre_commit(&[sector(7, Some(comm_d())), sector(8, None)]).unwrap();
        assert_eq!(hex::encode(bytes), PRE_COMMIT);
    }

    #[test]
    fn prove_commits_have_the_bytes_the_actor_reads() {
        let golden: ProveCommitSectors3Params = from_slice(&hex::decode(PROVE_COMMIT).unwrap()).unwrap();
        let with_every_member = ProveCommitSectors3Params {
            sector_activations: vec![
                SectorActivationManifest { sector_number: 7, pieces: vec![] },
                SectorActivationManifest {
                    sector_number: 8,
                    pieces: vec![PieceActivationManifest {
                        cid: cids::unsealed(&comm_d()).unwrap(),
                        size: PaddedPieceSize(34_359_738_368),
                        verified_allocation_key: Some(VerifiedAllocationKey { client: 1001, id: 42 }),
                        notify: vec![DataActivationNotification {
                            address: Address::new_id(5),
                            payload: RawBytes::new(vec![0x19, 0x01, 0x02]),
                        }],
                    }],
                },
            ],
            sector_proofs: vec![RawBytes::new(vec![1, 2, 3]), RawBytes::new(vec![4, 5, 6])],
            aggregate_proof: RawBytes::default(),
            aggregate_proof_type: None,
            require_activation_success: true,
            require_notification_success: false,
        };
        assert_eq!(hex::encode(to_vec(&with_every_member).unwrap()), PROVE_COMMIT);
        assert_eq!(to_vec(&golden).unwrap(), to_vec(&with_every_member).unwrap());

        let ours = prove_commit(&[
            ProveCommitSector { number: SectorNumber(7), pieces: vec![], proof: vec![1, 2, 3] },
            ProveCommitSector { number: SectorNumber(8), pieces: vec![(comm_d(), 1 << 35)], proof: vec![4, 5, 6] },
        ])
        .unwrap();
        let read: ProveCommitSectors3Params = from_slice(&ours).unwrap();
        assert_eq!(read.sector_proofs, golden.sector_proofs);
        assert_eq!(read.sector_activations[1].pieces[0].cid, golden.sector_activations[1].pieces[0].cid);
        assert!(!read.require_activation_success && read.aggregate_proof_type.is_none());
        assert_eq!(
            proofs(&ours).unwrap(),
            [(7, vec![1, 2, 3]), (8, vec![4, 5, 6])].map(|(n, p)| (SectorNumber(n), p)).into()
        );
    }

    #[test]
    fn posts_and_recoveries_have_the_bytes_the_actor_reads() {
        let skipped = vec![SectorNumber(3), SectorNumber(4)];
        let post = submit_window_post(&WindowPoSt {
            deadline: 2,
            partitions: vec![(0, skipped.clone())],
            proof_type: SealProof::Drg32GiBV1_1.window_post_number(),
            proof: vec![9; 4],
            chain_commit_epoch: 2880,
            chain_commit_rand: Bytes32([7; 32]),
        });
        assert_eq!(hex::encode(post.unwrap()), POST);
        let recovered = declare_recovered(&[Recovery { deadline: 2, partition: 0, sectors: skipped }]);
        assert_eq!(hex::encode(recovered.unwrap()), RECOVERED);
    }

    #[test]
    fn a_miner_is_created_with_the_window_proof_of_its_sectors() {
        let owner = Address::new_id(100);
        let bytes = create_miner(owner, owner, SealProof::Drg2KiBV1_1, vec![1, 2], vec![vec![3]]).unwrap();
        assert_eq!(hex::encode(&bytes), "854200644200640a420102814103");
        let read: CreateMinerParams = from_slice(&bytes).unwrap();
        assert_eq!(i64::from(read.window_post_proof_type), 10);
        let created =
            to_vec(&CreateMinerReturn { id_address: Address::new_id(1000), robust_address: Address::new_actor(b"m") });
        assert_eq!(created_miner(&created.unwrap()).unwrap().id_address, Address::new_id(1000));
    }

    #[test]
    fn a_batch_tells_which_of_its_sectors_failed() {
        assert_eq!(batch_failures(&hex::decode("820180").unwrap()).unwrap(), vec![]);
        assert_eq!(batch_failures(&hex::decode("820181820210").unwrap()).unwrap(), vec![(2, 16)]);
        assert!(batch_failures(&[]).is_err());
    }
}
