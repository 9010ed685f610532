//! A miner under test: sends its messages, counts its nonces.

use std::cell::Cell;

use chain::params::{self, PreCommitSector, ProveCommitSector, Recovery, WindowPoSt, method};
use fvm_shared::{address::Address, econ::TokenAmount};
use serde_json::{Value, json};
use streams::{
    id::SectorNumber,
    proof::{Bytes32, SealProof},
};

use crate::{
    node::Node,
    wallet::{Wallet, from_base64, whole},
};

pub(crate) const PROOF: SealProof = SealProof::Drg2KiBV1_1;

pub(crate) struct Miner<'a> {
    pub(crate) node: &'a Node,
    pub(crate) wallet: Wallet,
    nonce: Cell<u64>,
}

/// A sector as the tests pre-commit it at `epoch`.
pub(crate) fn sector(number: u64, epoch: i64) -> PreCommitSector {
    PreCommitSector {
        number: SectorNumber(number),
        proof: PROOF,
        comm_r: Bytes32([number.to_le_bytes()[0]; 32]),
        comm_d: None,
        ticket_epoch: epoch - 6,
        expiration: epoch + 200_000,
    }
}

pub(crate) fn proven(number: u64, proof: &[u8]) -> ProveCommitSector {
    ProveCommitSector { number: SectorNumber(number), pieces: vec![], proof: proof.to_vec() }
}

/// Bytes of the right length that prove nothing.
pub(crate) const NOTHING: [u8; 192] = [1; 192];

impl<'a> Miner<'a> {
    /// `f01000`, which genesis holds already.
    pub(crate) const fn of_genesis(node: &'a Node, wallet: Wallet) -> Self {
        Self { node, wallet, nonce: Cell::new(0) }
    }

    /// Creates `f01000`. The head is at 2 afterwards.
    pub(crate) async fn create(node: &'a Node) -> Self {
        let miner = Self::of_genesis(node, Wallet::bls());
        let me = miner.wallet.address();
        let params = params::create_miner(me, me, PROOF, vec![], vec![]).unwrap();
        let receipt = miner.call(Address::new_id(4), method::CREATE_MINER, whole(100), params).await;
        assert_eq!(receipt["ExitCode"], 0, "{receipt}");
        let created = params::created_miner(&from_base64(&receipt["Return"])).unwrap();
        assert_eq!(created.id_address, Address::new_id(1000));
        miner
    }

    fn next_nonce(&self) -> u64 {
        self.nonce.replace(self.nonce.get() + 1)
    }

    /// Pushes a message; its CID.
    pub(crate) async fn push(&self, to: Address, method: u64, value: TokenAmount, params: Vec<u8>) -> Value {
        let message = self.wallet.message(to, self.next_nonce(), method, value, params);
        self.node.get("MpoolPush", json!([self.wallet.sign(message)])).await
    }

    pub(crate) async fn call(&self, to: Address, method: u64, value: TokenAmount, params: Vec<u8>) -> Value {
        let cid = self.push(to, method, value, params).await;
        self.node.receipt(&cid).await
    }

    async fn own(&self, method: u64, value: TokenAmount, params: Vec<u8>) -> Value {
        self.call(Address::new_id(1000), method, value, params).await
    }

    /// The receipt of a pre-commit, with funds for its deposit.
    pub(crate) async fn pre_commit(&self, sectors: &[PreCommitSector]) -> Value {
        self.own(method::PRE_COMMIT_SECTOR_BATCH2, whole(1), params::pre_commit(sectors).unwrap()).await
    }

    /// The receipt of a prove-commit, with funds for its pledge.
    pub(crate) async fn prove_commit(&self, sectors: &[ProveCommitSector]) -> Value {
        self.own(method::PROVE_COMMIT_SECTORS3, whole(1), params::prove_commit(sectors).unwrap()).await
    }

    pub(crate) async fn prove_commit_raw(&self, params: Vec<u8>) -> Value {
        self.own(method::PROVE_COMMIT_SECTORS3, whole(1), params).await
    }

    pub(crate) async fn submit_post(&self, post: &WindowPoSt) -> Value {
        self.own(method::SUBMIT_WINDOWED_POST, TokenAmount::default(), params::submit_window_post(post).unwrap()).await
    }

    pub(crate) async fn declare_recovered(&self, deadline: u64, partition: u64, sectors: &[u64]) -> Value {
        let sectors = sectors.iter().copied().map(SectorNumber).collect();
        let params = params::declare_recovered(&[Recovery { deadline, partition, sectors }]).unwrap();
        self.own(method::DECLARE_FAULTS_RECOVERED, TokenAmount::default(), params).await
    }

    /// A query about `f01000` at the head.
    pub(crate) async fn get(&self, method: &str) -> Value {
        self.node.get(method, json!(["f01000", []])).await
    }

    /// A query about a sector of `f01000` at the head.
    pub(crate) async fn sector(&self, method: &str, number: u64) -> Value {
        self.node.get(method, json!(["f01000", number, []])).await
    }

    /// Where a sector is: deadline and partition.
    pub(crate) async fn location(&self, number: u64) -> (u64, u64) {
        let location = self.sector("StateSectorPartition", number).await;
        (location["Deadline"].as_u64().unwrap(), location["Partition"].as_u64().unwrap())
    }

    pub(crate) async fn partition(&self, deadline: u64, partition: usize) -> Value {
        self.node.get("StateMinerPartitions", json!(["f01000", deadline, []])).await[partition].clone()
    }

    /// Lets epochs pass until a message pushed now lands in the first half of `deadline`'s window; its description.
    pub(crate) async fn advance_into(&self, deadline: u64) -> Value {
        for _ in 0..200 {
            let now = self.get("StateMinerProvingDeadline").await;
            let (open, current) = (now["Open"].as_i64().unwrap(), now["CurrentEpoch"].as_i64().unwrap());
            if now["Index"] == deadline && open <= current && current < open + 4 {
                return now;
            }
            self.node.advance(1).await;
        }
        panic!("deadline {deadline} does not open");
    }

    /// A PoSt of one partition, committed to the head's parent epoch.
    pub(crate) async fn post(&self, deadline: u64, partition: u64, proof: &[u8]) -> WindowPoSt {
        let epoch = self.node.height().await;
        let drawn = self.node.get("StateGetRandomnessFromTickets", json!([9, epoch, null, []])).await;
        WindowPoSt {
            deadline,
            partitions: vec![(partition, vec![])],
            proof_type: PROOF.window_post_number(),
            proof: proof.to_vec(),
            chain_commit_epoch: epoch,
            chain_commit_rand: Bytes32(from_base64(&drawn).try_into().unwrap()),
        }
    }

    pub(crate) async fn power(&self) -> Value {
        self.get("StateMinerPower").await["MinerPower"].clone()
    }
}
