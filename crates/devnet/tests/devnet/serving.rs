//! JSON-RPC as a Lotus node speaks it.

use serde_json::json;

use crate::node::Node;

#[tokio::test]
async fn errors_have_the_codes_of_json_rpc() {
    let node = Node::that_says(false).await;
    let (code, words) = node.ask("StateFrobnicate", json!([])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (-32_601, "method 'Filecoin.StateFrobnicate' not found"));
    let (code, words) = node.ask("StateGetActor", json!(["f099"])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (-32_602, "wrong param count (method 'Filecoin.StateGetActor'): 1 != 2"));
    let (code, _) = node.ask("StateGetActor", json!([99, []])).await.unwrap_err();
    assert_eq!(code, -32_700);
    let (code, words) = node.ask("StateGetActor", json!(["f0123456", []])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (11, "actor not found"));
    let answer = node.post("/rpc/v1", "not json").await;
    assert_eq!(answer["error"]["code"], -32_700);
}

#[tokio::test]
async fn bytes_on_the_wire_are_those_of_a_node() {
    let node = Node::that_says(false).await;
    let answer =
        node.post("/rpc/v1", r#"{"jsonrpc":"2.0","id":7,"method":"Filecoin.StateNetworkName","params":[]}"#).await;
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 7, "result": "sealstream-fast"}));
    assert_eq!(
        node.get("StateGetActor", json!(["t099", null])).await["Balance"],
        "0",
        "either letter, null is the head"
    );
    assert_eq!(node.get("StateNetworkVersion", json!([[]])).await, 28);
    let params = node.get("StateGetNetworkParams", json!([])).await;
    assert_eq!((&params["BlockDelaySecs"], &params["PreCommitChallengeDelay"]), (&json!(1), &json!(5)));
    let v0 = node.post("/rpc/v0", r#"{"jsonrpc":"2.0","id":1,"method":"Filecoin.Version","params":[]}"#).await;
    assert_eq!(v0["result"]["APIVersion"], 0x1_05_00);
    let unknown = json!([[{"/": "bafy2bzacecnamqgqmifpluoeldx7zzglxcljo6oja4vrmtj7432rphldpdmm2"}]]);
    assert_eq!(node.ask("ChainGetTipSet", unknown).await.unwrap_err().0, 1);
}
