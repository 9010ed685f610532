//! Whether a client notices that the chain is another one than before.

use chain::{
    ChainApi as _,
    fork::{Heads, Moved},
    rpc::{JsonRpc, NodeConfig},
};
use serde_json::json;

use crate::node::Node;

async fn look(heads: &mut Heads, client: &JsonRpc) -> Moved {
    let head = client.head().await.unwrap();
    heads.look(client, &head).await.unwrap()
}

#[tokio::test]
async fn a_fork_is_noticed_with_the_height_both_branches_share() {
    let node = Node::that_says(false).await;
    let client = JsonRpc::new(&NodeConfig { endpoint: node.url().to_owned(), ..NodeConfig::default() }).unwrap();
    let mut heads = Heads::new(50);
    node.advance(60).await;
    assert_eq!(look(&mut heads, &client).await, Moved::Forked { since: 10 }, "nothing was known");
    assert_eq!(look(&mut heads, &client).await, Moved::Not);
    for epochs in [1, 1, 3, 2, 1] {
        node.advance(epochs).await;
        assert_eq!(look(&mut heads, &client).await, Moved::On);
    }
    // Looked at: 60, 61, 62, 65, 67, 68.
    node.get("Devnet.Reorganise", json!([2])).await;
    assert_eq!(look(&mut heads, &client).await, Moved::Behind { seen: 68 });
    node.advance(1).await;
    assert_eq!(look(&mut heads, &client).await, Moved::Forked { since: 65 });
    node.get("Devnet.Reorganise", json!([1, {"refill": true}])).await;
    assert_eq!(look(&mut heads, &client).await, Moved::Forked { since: 65 }, "another tipset at the same height");
    node.get("Devnet.NullRounds", json!([2])).await;
    node.advance(4).await;
    assert_eq!(look(&mut heads, &client).await, Moved::On, "null rounds are no fork");
    node.get("Devnet.Reorganise", json!([60, {"refill": true}])).await;
    let height = node.height().await;
    assert_eq!(look(&mut heads, &client).await, Moved::Forked { since: height - 50 }, "nothing is shared");
    node.get("Devnet.Misbehave", json!([{"method": "Filecoin.ChainGetTipSetByHeight", "does": "drop", "times": 1}]))
        .await;
    node.get("Devnet.Reorganise", json!([1, {"refill": true}])).await;
    let head = client.head().await.unwrap();
    heads.look(&client, &head).await.unwrap_err();
    assert!(matches!(look(&mut heads, &client).await, Moved::Forked { .. }), "a look that failed was not made");
}
