//! Miners and sectors: creation, pre-commits, prove-commits, and what is refused with which exit code.

use chain::params::method;
use fil_actor_miner_state::v18::{ProveCommitSectors3Params, SectorActivationManifest};
use fvm_ipld_encoding::RawBytes;
use fvm_shared::{address::Address, econ::TokenAmount, sector::RegisteredAggregateProof};
use serde_json::json;

use crate::{
    miner::{Miner, NOTHING, PROOF, proven, sector},
    node::Node,
    wallet::{Wallet, base64, unsigned, whole},
};

#[tokio::test]
async fn a_created_miner_has_its_worker_size_and_locked_deposit() {
    let node = Node::that_says(true).await;
    let deposit = node.get("StateMinerCreationDeposit", json!([[]])).await;
    let miner = Miner::create(&node).await;
    let info = miner.get("StateMinerInfo").await;
    assert_eq!((&info["SectorSize"], &info["WindowPoStProofType"]), (&json!(2048), &json!(10)));
    assert_eq!((&info["NewWorker"], &info["WindowPoStPartitionSectors"]), (&json!("<empty>"), &json!(2)));
    assert_eq!(info["Worker"], node.get("StateLookupID", json!([miner.wallet.text(), []])).await);
    let locked = TokenAmount::from_atto(deposit.as_str().unwrap().parse::<i128>().unwrap());
    assert_eq!(miner.get("StateMinerAvailableBalance").await, (whole(100) - locked).atto().to_string());
    let deadline = miner.get("StateMinerProvingDeadline").await;
    assert_eq!((&deadline["WPoStPeriodDeadlines"], &deadline["WPoStProvingPeriod"]), (&json!(6), &json!(90)));
}

#[tokio::test]
async fn a_miner_needs_its_deposit_and_a_worker_with_a_bls_key() {
    let node = Node::that_says(true).await;
    let (bls, secp) = (Wallet::bls(), Wallet::secp());
    let create = |worker: Address| chain::params::create_miner(secp.address(), worker, PROOF, vec![], vec![]).unwrap();
    let power = Address::new_id(4);
    let poor = secp.message(power, 0, method::CREATE_MINER, whole(1), create(bls.address()));
    assert_eq!(node.exit_code(secp.sign(poor)).await, 19);
    let wrong_key = secp.message(power, 1, method::CREATE_MINER, whole(100), create(secp.address()));
    assert_eq!(node.exit_code(secp.sign(wrong_key)).await, 16);
    let refunded: TokenAmount = whole(1_000) - whole(100);
    let left: i128 = node.get("WalletBalance", json!([secp.text()])).await.as_str().unwrap().parse().unwrap();
    assert!(TokenAmount::from_atto(left) > refunded, "a failed message sends nothing");
}

#[tokio::test]
async fn pre_commits_are_refused_as_the_actor_refuses_them() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(700).await;
    let now = || async { node.height().await + 1 };

    let mut old = sector(1, now().await);
    old.ticket_epoch = now().await - 601;
    assert_eq!(miner.pre_commit(&[old]).await["ExitCode"], 16, "a ticket too old");
    let mut young = sector(1, now().await);
    young.ticket_epoch = now().await;
    assert_eq!(miner.pre_commit(&[young]).await["ExitCode"], 16, "a ticket of the same epoch");
    let twice = [sector(1, now().await), sector(1, now().await)];
    assert_eq!(miner.pre_commit(&twice).await["ExitCode"], 16, "a duplicate in the batch");
    let mut short = sector(1, now().await);
    short.expiration = now().await + 86_405 + 199;
    assert_eq!(miner.pre_commit(&[short]).await["ExitCode"], 16, "a life too short");
    assert_eq!(miner.pre_commit(&[]).await["ExitCode"], 16, "an empty batch");

    let good = miner.pre_commit(&[sector(1, now().await)]).await;
    assert_eq!((&good["ExitCode"], &good["GasUsed"], &good["Return"]), (&json!(0), &json!(15_460_000), &json!("")));
    assert_eq!(miner.pre_commit(&[sector(1, now().await)]).await["ExitCode"], 16, "a number used again");
    assert_eq!(miner.sector("StateMinerSectorAllocated", 1).await, true);
    assert_eq!(miner.sector("StateMinerSectorAllocated", 2).await, false);
    let found = miner.sector("StateSectorPreCommitInfo", 1).await;
    assert_eq!(found["Info"]["SectorNumber"], 1);
    assert_eq!(miner.sector("StateSectorPreCommitInfo", 2).await, json!(null));

    let stranger = Wallet::secp();
    let params = chain::params::pre_commit(&[sector(2, now().await)]).unwrap();
    let foreign = stranger.send(Address::new_id(1000), 0, method::PRE_COMMIT_SECTOR_BATCH2, params.clone());
    assert_eq!(node.exit_code(foreign).await, 18, "not a controlling address");
    let nonsense = stranger.send(Address::new_id(1000), 1, method::PRE_COMMIT_SECTOR_BATCH2, vec![0x82]);
    assert_eq!(node.exit_code(nonsense).await, 21, "params that are none");
}

#[tokio::test]
async fn an_estimate_tells_why_a_message_would_fail() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(20).await;
    let mut late = sector(1, 21);
    late.ticket_epoch = 21;
    let params = chain::params::pre_commit(&[late]).unwrap();
    let mut message =
        miner.wallet.message(Address::new_id(1000), 0, method::PRE_COMMIT_SECTOR_BATCH2, whole(1), params);
    message.gas_limit = 0;
    let (code, words) = node.ask("GasEstimateMessageGas", json!([unsigned(&message), null, []])).await.unwrap_err();
    assert_eq!(code, 3);
    assert!(words.contains("message execution failed (exit=[ErrIllegalArgument(16)]"), "{words}");
    assert!(words.contains("seal challenge epoch 21 must be before now 21"), "{words}");
    assert_eq!(miner.sector("StateMinerSectorAllocated", 1).await, false, "an estimate changes nothing");
}

#[tokio::test]
async fn a_deposit_that_is_not_there_is_exit_code_19() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(20).await;
    let many: Vec<_> = (0..200).map(|n| sector(n, 21)).collect();
    let message = miner.wallet.message(
        Address::new_id(1000),
        1,
        method::PRE_COMMIT_SECTOR_BATCH2,
        TokenAmount::default(),
        chain::params::pre_commit(&many).unwrap(),
    );
    let available: i128 = miner.get("StateMinerAvailableBalance").await.as_str().unwrap().parse().unwrap();
    let deposit = miner.node.get(
        "StateMinerPreCommitDepositForPower",
        json!([
            "f01000",
            serde_json::to_value(chain::wire::PreCommitInfoJson::of(&sector(1, 21).info().unwrap())).unwrap(),
            []
        ]),
    );
    let deposit: i128 = deposit.await.as_str().unwrap().parse().unwrap();
    let covered = deposit * 200 * 100 / 110 <= available;
    assert_eq!(node.exit_code(miner.wallet.sign(message)).await, if covered { 0 } else { 19 });
}

#[tokio::test]
async fn a_proof_comes_after_the_seed_and_a_proven_sector_gets_a_place() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(10).await;
    assert_eq!(miner.pre_commit(&[sector(3, 11), sector(4, 11)]).await["ExitCode"], 0);
    // Landed at 11, seed at 16: 14 and 16 are too early, 17 is not.
    assert_eq!(node.height().await, 12);
    assert_eq!(miner.prove_commit(&[proven(3, &NOTHING)]).await["ExitCode"], 18, "too early");
    node.advance_to(15).await;
    assert_eq!(miner.prove_commit(&[proven(3, &NOTHING)]).await["ExitCode"], 18, "in the seed's own epoch");
    assert_eq!(miner.prove_commit(&[proven(9, &NOTHING)]).await["ExitCode"], 17, "never pre-committed");
    let too_long = proven(3, &[1; 193]);
    assert_eq!(miner.prove_commit(&[too_long]).await["ExitCode"], 16, "a proof too long");

    let receipt = miner.prove_commit(&[proven(3, &NOTHING)]).await;
    assert_eq!((&receipt["ExitCode"], &receipt["GasUsed"]), (&json!(0), &json!(88_000_000)));
    assert_eq!(receipt["Return"], base64(&[0x82, 0x01, 0x80]));
    assert_eq!(miner.sector("StateSectorPreCommitInfo", 3).await, json!(null));
    let info = miner.sector("StateSectorGetInfo", 3).await;
    assert_eq!((&info["SectorNumber"], &info["SealProof"]), (&json!(3), &json!(5)));
    assert_ne!(info["InitialPledge"], "0");
    let (deadline, partition) = miner.location(3).await;
    let partition = miner.partition(deadline, usize::try_from(partition).unwrap()).await;
    assert_eq!((&partition["AllSectors"], &partition["ActiveSectors"]), (&json!([3, 1]), &json!([0])), "no power yet");
    assert_eq!(miner.get("StateMinerSectorCount").await, json!({"Live": 1, "Active": 0, "Faulty": 0}));
}

#[tokio::test]
async fn in_a_batch_a_bad_proof_does_not_hold_back_the_others() {
    let node = Node::that_says(false).await;
    let miner = Miner::create(&node).await;
    node.advance_to(10).await;
    assert_eq!(miner.pre_commit(&[sector(3, 11)]).await["ExitCode"], 0);
    node.advance_to(20).await;
    assert_eq!(miner.prove_commit(&[proven(3, &NOTHING)]).await["ExitCode"], 16, "none is valid");
    assert!(!miner.sector("StateSectorPreCommitInfo", 3).await.is_null(), "it may be proven again");
}

#[tokio::test]
async fn an_aggregate_needs_four_sectors_and_proves_all_at_once() {
    for verdict in [true, false] {
        let node = Node::that_says(verdict).await;
        let miner = Miner::create(&node).await;
        node.advance_to(10).await;
        let sectors: Vec<_> = (0..4).map(|n| sector(n, 11)).collect();
        assert_eq!(miner.pre_commit(&sectors).await["ExitCode"], 0);
        node.advance_to(20).await;
        let few = miner.prove_commit_raw(aggregate(3, Some(RegisteredAggregateProof::SnarkPackV2))).await;
        assert_eq!(few["ExitCode"], 16, "three are too few");
        let old = miner.prove_commit_raw(aggregate(4, Some(RegisteredAggregateProof::SnarkPackV1))).await;
        assert_eq!(old["ExitCode"], 16, "the first SnarkPack is gone");
        let receipt = miner.prove_commit_raw(aggregate(4, Some(RegisteredAggregateProof::SnarkPackV2))).await;
        if verdict {
            assert_eq!((&receipt["ExitCode"], &receipt["Return"]), (&json!(0), &json!(base64(&[0x82, 0x04, 0x80]))));
        } else {
            assert_eq!(receipt["ExitCode"], 16);
        }
    }
}

fn aggregate(sectors: u64, kind: Option<RegisteredAggregateProof>) -> Vec<u8> {
    let manifest = |sector_number| SectorActivationManifest { sector_number, pieces: vec![] };
    fvm_ipld_encoding::to_vec(&ProveCommitSectors3Params {
        sector_activations: (0..sectors).map(manifest).collect(),
        sector_proofs: vec![],
        aggregate_proof: RawBytes::new(vec![1; 400]),
        aggregate_proof_type: kind,
        require_activation_success: true,
        require_notification_success: false,
    })
    .unwrap()
}

#[tokio::test]
async fn an_expired_pre_commit_goes_with_its_deposit() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(10).await;
    assert_eq!(miner.pre_commit(&[sector(3, 11)]).await["ExitCode"], 0);
    let burnt =
        || async { node.get("WalletBalance", json!(["f099"])).await.as_str().unwrap().parse::<i128>().unwrap() };
    let before = burnt().await;
    // Thirty days are compiled into the actor; then the clean-up delay, to the end of a deadline.
    node.get("Devnet.NullRounds", json!([86_400])).await;
    node.advance(86_400).await;
    node.advance(200).await;
    assert_eq!(miner.sector("StateSectorPreCommitInfo", 3).await, json!(null));
    assert!(burnt().await > before, "the deposit is burnt");
}
