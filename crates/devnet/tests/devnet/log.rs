//! The log: what a checker reads afterwards.

use chain::params::method;
use serde_json::{Value, json};

use crate::{
    miner::{Miner, NOTHING, proven, sector},
    node::Node,
    node::genesis,
    program::Program,
    wallet::{Wallet, whole},
};

async fn lines(node: &Node) -> Vec<Value> {
    node.get("Devnet.Log", json!([])).await["lines"].as_array().unwrap().clone()
}

fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["line"] == kind).collect()
}

#[tokio::test]
async fn tipsets_messages_pushes_and_reorganisations_are_written_down() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let message = wallet.message(Wallet::bls().address(), 0, 0, whole(5), vec![]);
    let cid = node.get("MpoolPush", json!([wallet.sign(message)])).await;
    node.ask("MpoolPush", json!([wallet.send(Wallet::bls().address(), 0, 0, vec![])])).await.unwrap_err();
    node.advance(2).await;
    let dropped = node.get("MpoolPush", json!([wallet.send(Wallet::bls().address(), 1, 0, vec![])])).await;
    node.get("Devnet.MempoolDrop", json!([])).await;
    node.get("Devnet.Reorganise", json!([2])).await;

    let lines = lines(&node).await;
    let tipsets = of(&lines, "tipset");
    assert_eq!(tipsets.iter().map(|line| line["height"].as_i64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(tipsets[0]["parent"].is_null());
    assert_eq!((&tipsets[2]["parent"], &tipsets[2]["beacon"]), (&tipsets[1]["cid"], &json!(2)));
    let message = &tipsets[1]["messages"][0];
    assert_eq!((&message["cid"], &message["nonce"], &message["exit_code"]), (&cid["/"], &json!(0), &json!(0)));
    assert_eq!((&message["from"], &message["value"]), (&json!(wallet.text()), &json!("5000000000000000000")));
    let pushed = of(&lines, "pushed");
    assert_eq!((pushed.len(), &pushed[0]["cid"], &pushed[0]["height"]), (2, &cid["/"], &json!(0)));
    let refused = of(&lines, "refused");
    assert!(refused[0]["reason"].as_str().unwrap().contains("GasPremium"), "{refused:?}");
    assert_eq!(of(&lines, "dropped")[0]["cids"], json!([dropped["/"]]));
    let reorganised = of(&lines, "reorganised")[0];
    assert_eq!(reorganised["abandoned"], json!([tipsets[1]["cid"], tipsets[2]["cid"]]));
    assert_eq!((&reorganised["waiting"], &reorganised["lost"]), (&json!([cid["/"]]), &json!([])));
    assert_eq!((&reorganised["head"], &reorganised["height"]), (&tipsets[0]["cid"], &json!(0)));

    let tail = node.get("Devnet.Log", json!([2, 3])).await;
    assert_eq!((&tail["from"], &tail["next"]), (&json!(2), &json!(5)));
    assert_eq!(tail["lines"].as_array().unwrap()[..], lines[2..5]);
}

#[tokio::test]
async fn a_deadline_says_what_was_proven_and_what_was_missed() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(10).await;
    miner.pre_commit(&[sector(0, 11), sector(1, 11)]).await;
    node.advance_to(20).await;
    miner.prove_commit(&[proven(0, &NOTHING), proven(1, &NOTHING)]).await;
    let ((deadline, partition), (other, _)) = (miner.location(0).await, miner.location(1).await);
    assert_eq!(other, deadline, "both are proven together");
    let now = miner.advance_into(deadline).await;
    let post = miner.post(deadline, partition, &NOTHING).await;
    assert_eq!(miner.submit_post(&post).await["ExitCode"], 0);
    node.advance_to(now["Close"].as_i64().unwrap() + 90).await;

    let lines = lines(&node).await;
    let posts = of(&lines, "post");
    let tipset = of(&lines, "tipset").into_iter().find(|line| line["cid"] == posts[0]["tipset"]).unwrap();
    assert_eq!(tipset["messages"][0]["method"], method::SUBMIT_WINDOWED_POST);
    assert_eq!((&posts[0]["miner"], &posts[0]["valid"]), (&json!("f01000"), &json!(true)));
    assert_eq!((&posts[0]["deadline"], &posts[0]["partitions"]), (&json!(deadline), &json!([partition])));
    let closes: Vec<&Value> =
        of(&lines, "deadline-closed").into_iter().filter(|line| line["deadline"] == deadline).collect();
    let close = |proven: bool, faulty: Value, missed: Value| json!([{"partition": 0, "proven": proven, "live": [0, 1], "faulty": faulty, "missed": missed}]);
    let told: Vec<&Value> = closes.iter().map(|line| &line["partitions"]).collect();
    assert_eq!(told, [&close(true, json!([]), json!([])), &close(false, json!([0, 1]), json!([0, 1]))]);
    assert_eq!(closes[0]["epoch"], now["Close"].as_i64().unwrap() - 1);
}

#[tokio::test]
async fn the_program_appends_its_log_to_a_file() {
    let program = Program::start(&genesis(), None);
    program.node().advance(3).await;
    let (log, folder) = program.stop_and_read_log();
    let program = Program::on(folder, None);
    program.node().advance(1).await;
    let (longer, _folder) = program.stop_and_read_log();
    assert_eq!(longer[..log.len()], log);
    let kinds: Vec<&str> = longer.iter().map(|line| line["line"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "tipset", "tipset", "tipset", "started", "tipset"]);
    assert_eq!((&longer[4]["height"], &longer[4]["head"]), (&json!(3), &longer[3]["cid"]));
}
